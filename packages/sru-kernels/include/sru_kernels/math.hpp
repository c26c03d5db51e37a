#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "sru_kernels/host_device.hpp"

// exp, sigmoid and tanh without branches or calls, so that loops over columns vectorise. On a GPU the float
// versions are CUDA's own.
namespace sru_kernels::SRU_KERNELS_VARIANT {

template <typename To, typename From>
SRU_KERNELS_HOST_DEVICE To bit_cast(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    std::memcpy(&result, &value, sizeof(To));
    return result;
}

/// a·b + c, fused if the target has the instruction. Explicit, because a compiler that is free to fuse may
/// choose differently for a vector loop and its remainder, and results would depend on the thread count.
template <typename A>
SRU_KERNELS_HOST_DEVICE A multiply_add(A a, A b, A c) {
#if defined(__CUDA_ARCH__)
    return fma(a, b, c);
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    if constexpr (sizeof(A) == sizeof(float)) {
        return __builtin_fmaf(a, b, c);
    } else {
        return __builtin_fma(a, b, c);
    }
#else
    return a * b + c;
#endif
}

template <typename A>
struct ExpConstants {
    static constexpr bool is_float = sizeof(A) == sizeof(float);
    using Bits = std::conditional_t<is_float, std::uint32_t, std::uint64_t>;
    static constexpr int mantissa_bits = is_float ? 23 : 52;
    static constexpr Bits exponent_bias = is_float ? 127 : 1023;
    static constexpr A round_to_integer = A(is_float ? 0x1.8p23 : 0x1.8p52);
    static constexpr A log2_e = A(is_float ? 0x1.715476p+0 : 0x1.71547652b82fep+0);
    static constexpr A ln2_high = A(is_float ? 0x1.62e4p-1 : 0x1.62e42fee00000p-1);
    static constexpr A ln2_low = A(is_float ? 0x1.7f7d1cp-20 : 0x1.a39ef35793c76p-33);
    static constexpr A lowest = A(is_float ? -88.0 : -709.0);  // rounds to an n whose 2^n is taken as 0
    static constexpr int degree = is_float ? 7 : 13;
};

SRU_KERNELS_HOST_DEVICE constexpr double factorial(int n) { return n <= 1 ? 1.0 : n * factorial(n - 1); }

/// Σ_{k=first}^{degree} r^(k-first) / k!, by Horner's rule.
template <int first, int degree, typename A>
SRU_KERNELS_HOST_DEVICE A exp_series(A r) {
    constexpr A coefficient = static_cast<A>(1.0 / factorial(first));
    if constexpr (first == degree) {
        return coefficient;
    } else {
        return multiply_add(exp_series<first + 1, degree>(r), r, coefficient);
    }
}

/// e^x = scale · (1 + excess) with scale a power of two and |excess| < 0.42.
template <typename A>
struct Exp {
    A scale;
    A excess;
};

/// Splits e^x for x ≤ 0. Where e^x would be subnormal the scale is 0; NaN stays NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln(2)/2, n·ln2_high exact (Cody and Waite); adding 1.5·2^mantissa rounds to the
/// integer n and leaves it in the lowest bits. The Taylor series is accurate to a tenth of an ulp.
template <typename A>
SRU_KERNELS_HOST_DEVICE Exp<A> split_exp(A x) {
    using C = ExpConstants<A>;
    x = x < C::lowest ? C::lowest : x;
    const A shifted = multiply_add(x, C::log2_e, C::round_to_integer);
    const A n = shifted - C::round_to_integer;
    A r = multiply_add(n, -C::ln2_high, x);
    r = multiply_add(n, -C::ln2_low, r);
    const auto bits = (bit_cast<typename C::Bits>(shifted) + C::exponent_bias) << C::mantissa_bits;
    const A tail = exp_series<2, C::degree>(r) * r;
    return {bit_cast<A>(bits), multiply_add(tail, r, r)};
}

template <typename A>
SRU_KERNELS_HOST_DEVICE A absolute(A x) {
#if defined(__CUDA_ARCH__)
    return fabs(x);  // a modifier of the instruction that reads it
#else
    using Bits = typename ExpConstants<A>::Bits;
    return bit_cast<A>(static_cast<Bits>(bit_cast<Bits>(x) & (~Bits{0} >> 1)));
#endif
}

#if defined(__CUDA_ARCH__)
/// e^x for −88 ≤ x ≤ 0, from one approximate 2^y. y = x·log2(e) is rounded; the remainder x − y·ln 2 is so
/// small that its exponential is 1 plus itself. Accurate to 5 ulp, up to 4 of them due to the instruction.
__device__ __forceinline__ float exp_of_negative_in_range(float x) {
    using C = ExpConstants<float>;
    const float y = x * C::log2_e;
    const float rest = multiply_add(y, -C::ln2_low, multiply_add(y, -C::ln2_high, x));
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(y));
    return multiply_add(power, rest, power);
}

/// The larger of two numbers, or NaN.
__device__ __forceinline__ float maximum(float a, float b) {
#if __CUDA_ARCH__ >= 800
    float result;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
#else
    return a < b ? b : a;
#endif
}
#endif

/// e^x for x ≤ 0.
template <typename A>
SRU_KERNELS_HOST_DEVICE A exp_of_negative(A x) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(A) == sizeof(float)) {
        return exp_of_negative_in_range(maximum(x, ExpConstants<A>::lowest));
    }
#endif
    const Exp<A> e = split_exp(x);
    return multiply_add(e.scale, e.excess, e.scale);
}

/// 1/x for x from 1 to 2, accurate to an ulp; exactly 1 at 1.
///
/// Vector units divide about ten times slower than they multiply. With fused instructions, floats therefore
/// start from the quadratic whose residual 1 − x·y is T₃(3 − 2x)/99 (T₃: Chebyshev) and take two Newton
/// steps.
template <typename A>
SRU_KERNELS_HOST_DEVICE A reciprocal(A x) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(A) == sizeof(float)) {
        A y;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    }
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    if constexpr (sizeof(A) == sizeof(float)) {
        A y = multiply_add(multiply_add(A(32.0 / 99), x, A(-144.0 / 99)), x, A(210.0 / 99));
        y = multiply_add(multiply_add(-x, y, A(1)), y, y);
        return multiply_add(multiply_add(-x, y, A(1)), y, y);
    }
#endif
    return A(1) / x;
}

/// σ(x) and 1 − σ(x), each to full relative precision: neither is computed by subtraction. Accurate to 3 ulp;
/// on a GPU, to 8 ulp for the smaller one in float32.
template <typename A>
struct Gate {
    A open;
    A closed;
};

template <typename A>
SRU_KERNELS_HOST_DEVICE Gate<A> sigmoid(A x) {
    const A z = exp_of_negative(-absolute(x));
    const A large = reciprocal(A(1) + z);
    const A small = z * large;
    const bool negative = x < A(0);  // Clang does not vectorise a choice between pairs
    return {negative ? small : large, negative ? large : small};
}

/// tanh(x) = −m/(2 + m) with m = e^(−2|x|) − 1, which is accurate near 0, where 1 − e^(−2|x|) cancels.
template <typename A>
SRU_KERNELS_HOST_DEVICE A tanh(A x) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(A) == sizeof(float)) return ::tanhf(x);
#endif
    const Exp<A> e = split_exp(A(-2) * absolute(x));
    const A m = multiply_add(e.scale, e.excess, e.scale - A(1));
    const A magnitude = -m / (A(2) + m);
    return x < A(0) ? -magnitude : magnitude;
}

#if defined(__CUDA_ARCH__)
/// Σ (−1)^k r^(2k) / (first + 2k)! to `degree`, by Horner's rule: cos(r) for first = 0, sin(r) / r for
/// first = 1.
template <int first, int degree, typename A>
__device__ __forceinline__ A alternating_series(A square) {
    constexpr A coefficient = static_cast<A>(1.0 / factorial(first));
    if constexpr (first + 2 > degree) {
        return coefficient;
    } else {
        return multiply_add(-alternating_series<first + 2, degree>(square), square, coefficient);
    }
}

/// The sine of x plus `turns` quarter turns. CUDA's own function uses local memory for large x and a table
/// for doubles.
///
/// x is split into a whole number of quarter turns and a remainder of at most half of one. Two terms of 2/π
/// keep the remainder as accurate as x, up to |x| = 2^22, or 2^50 for doubles.
template <typename A>
__device__ __forceinline__ A sine_ahead(A x, int turns) {
    constexpr bool is_float = sizeof(A) == sizeof(float);
    constexpr A high = A(is_float ? 0x1.45f306p-1 : 0x1.45f306dc9c883p-1);
    constexpr A low = A(is_float ? 0x1.b9391p-26 : -0x1.6b01ec5417056p-55);
    constexpr A quarter_turn = A(0x1.921fb54442d18p+0);
    constexpr int degree = is_float ? 10 : 18;
    const A product = x * high, whole = rint(product);
    const A rest = (product - whole) + multiply_add(x, low, multiply_add(x, high, -product));
    const A angle = rest * quarter_turn, square = angle * angle;
    const auto quadrant = static_cast<unsigned int>(static_cast<long long>(whole)) + turns;
    const A sine = angle * alternating_series<1, degree>(square);
    const A cosine = alternating_series<0, degree>(square);
    const A value = (quadrant & 1) == 0 ? sine : cosine;
    return (quadrant & 2) == 0 ? value : -value;
}
#endif

template <typename A>
SRU_KERNELS_HOST_DEVICE A sine(A x) {
#if defined(__CUDA_ARCH__)
    return sine_ahead(x, 0);
#else
    return std::sin(x);
#endif
}

template <typename A>
SRU_KERNELS_HOST_DEVICE A cosine(A x) {
#if defined(__CUDA_ARCH__)
    return sine_ahead(x, 1);
#else
    return std::cos(x);
#endif
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/math.hpp"
#include "sru_kernels/types.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// Explicit vectors, for loops whose sums must stay in registers: the compiler would keep them in memory.
namespace sru_kernels::SRU_KERNELS_VARIANT {

#if defined(__AVX512F__)
constexpr Index vector_size = 64;
#elif defined(__AVX2__)
constexpr Index vector_size = 32;
#else
constexpr Index vector_size = 16;
#endif

/// As many numbers as fit in a vector register.
template <typename A>
struct Vector {
    typedef A Raw __attribute__((vector_size(vector_size)));
    typedef A Unaligned __attribute__((vector_size(vector_size), aligned(alignof(A)), may_alias));
    static constexpr Index size = vector_size / Index{sizeof(A)};

    Raw raw;

    SRU_KERNELS_HOST_DEVICE static Vector zero() { return {Raw{}}; }
    SRU_KERNELS_HOST_DEVICE static Vector all(A value) { return {value - Raw{}}; }
    SRU_KERNELS_HOST_DEVICE static Vector load(const A* from) {
        return {*reinterpret_cast<const Unaligned*>(from)};
    }
    SRU_KERNELS_HOST_DEVICE void store(A* to) const { *reinterpret_cast<Unaligned*>(to) = raw; }

    SRU_KERNELS_HOST_DEVICE friend Vector operator*(Vector a, Vector b) { return {a.raw * b.raw}; }
    SRU_KERNELS_HOST_DEVICE friend Vector operator+(Vector a, Vector b) { return {a.raw + b.raw}; }
};

/// a·b + c, fused on x86 processors that support it.
template <typename A>
SRU_KERNELS_HOST_DEVICE Vector<A> multiply_add(Vector<A> a, Vector<A> b, Vector<A> c) {
#if defined(__AVX512F__)
    if constexpr (sizeof(A) == sizeof(float)) {
        return {_mm512_fmadd_ps(a.raw, b.raw, c.raw)};
    } else {
        return {_mm512_fmadd_pd(a.raw, b.raw, c.raw)};
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(A) == sizeof(float)) {
        return {_mm256_fmadd_ps(a.raw, b.raw, c.raw)};
    } else {
        return {_mm256_fmadd_pd(a.raw, b.raw, c.raw)};
    }
#else
    return {a.raw * b.raw + c.raw};
#endif
}

/// The sums of neighbouring groups of `group` lanes, alternating between a and b.
template <std::size_t group, typename A, std::size_t... lane>
SRU_KERNELS_HOST_DEVICE Vector<A> add_neighbours(Vector<A> a, Vector<A> b, std::index_sequence<lane...>) {
    constexpr std::size_t lanes = sizeof...(lane);
    // Clang has only the first of these built-in functions, GCC before version 12 only the second.
#if defined(__clang__)
    return {__builtin_shufflevector(a.raw, b.raw, (lane / group % 2 == 0 ? lane : lanes + lane - group)...) +
            __builtin_shufflevector(a.raw, b.raw, (lane / group % 2 == 0 ? lane + group : lanes + lane)...)};
#else
    using Integer = std::conditional_t<sizeof(A) == sizeof(int), int, long long>;
    typedef Integer Places __attribute__((vector_size(vector_size)));
    const Places first{Integer(lane / group % 2 == 0 ? lane : lanes + lane - group)...};
    const Places second{Integer(lane / group % 2 == 0 ? lane + group : lanes + lane)...};
    return {__builtin_shuffle(a.raw, b.raw, first) + __builtin_shuffle(a.raw, b.raw, second)};
#endif
}

/// The sum of the lanes of each of `count` vectors, which are overwritten; the first call has as many vectors
/// as lanes. Adding in pairs takes a quarter of the instructions of summing one vector after the other.
template <Index count, typename A, std::size_t group = 1>
SRU_KERNELS_HOST_DEVICE Vector<A> sums_of_lanes(Vector<A>* vectors) {
    if constexpr (count == 1) {
        return vectors[0];
    } else {
        using Lanes = std::make_index_sequence<std::size_t(Vector<A>::size)>;
        for (Index i = 0; i < count / 2; ++i) {
            vectors[i] = add_neighbours<group>(vectors[2 * i], vectors[2 * i + 1], Lanes{});
        }
        return sums_of_lanes<count / 2, A, 2 * group>(vectors);
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "sru_kernels/math.hpp"

// Matrix products of floats on tensor cores, which use only the leading 11 bits of a factor. A factor is
// therefore split into two terms, which hold 22 bits.
namespace sru_kernels::SRU_KERNELS_VARIANT {

/// D += A B with A (16, 8) and B (8, 8). With g = lane / 4 and t = lane % 4 a lane holds
///
///     A: (g, t), (g+8, t), (g, t+4), (g+8, t+4)        B: (t, g), (t+4, g)
///     D: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)
///
/// All lanes of a warp participate. Compute capability 8.0 or newer.
__device__ __forceinline__ void add_product([[maybe_unused]] float (&d)[4],
                                            [[maybe_unused]] const std::uint32_t (&a)[4],
                                            [[maybe_unused]] const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(CUSHIM)
    cushim::mma_m16n8k8_tf32(d, a, b, d);
#endif
}

/// Factors as sums of two terms; the second is 0 for values that fit in a half type.
template <int n>
struct Split {
    std::uint32_t high[n], low[n];

    __device__ __forceinline__ explicit Split(const float (&x)[n]) {
#pragma unroll
        for (int i = 0; i < n; ++i) {
            high[i] = bit_cast<std::uint32_t>(x[i]) & 0xffffe000U;
            low[i] = bit_cast<std::uint32_t>(x[i] - bit_cast<float>(high[i]));
        }
    }
};

/// D += A B with an error of about 2^-20 relative to the sum of the magnitudes; a short factor has no second
/// term.
template <bool a_is_short, bool b_is_short>
__device__ __forceinline__ void add_product(float (&d)[4], const Split<4>& a, const Split<2>& b) {
    if constexpr (!a_is_short) add_product(d, a.low, b.high);
    if constexpr (!b_is_short) add_product(d, a.high, b.low);
    add_product(d, a.high, b.high);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

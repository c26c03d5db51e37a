#pragma once

#include <cuda_runtime.h>

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// Hides from the compiler that a number does not change. Otherwise it would keep derived values, such as a
/// multiple of a stride for each step of an unrolled loop, in registers that are needed elsewhere.
template <typename Integer>
__device__ __forceinline__ void hide([[maybe_unused]] Integer& number) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(number) == 8) {
        asm volatile("" : "+l"(number));
    } else {
        asm volatile("" : "+r"(number));
    }
#endif
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

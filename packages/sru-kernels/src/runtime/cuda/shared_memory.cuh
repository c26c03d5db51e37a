#pragma once

#include <cuda_runtime.h>

#include "sru_kernels/host_device.hpp"

/// Declares dynamic shared memory, whose size is set at launch.
#if defined(CUSHIM_DYNAMIC_SMEM)
#define SRU_KERNELS_SHARED_MEMORY(name) CUSHIM_DYNAMIC_SMEM(name)
#else
#define SRU_KERNELS_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// The most shared memory that a block can have without an attribute set by the host.
constexpr int most_shared_memory = 48 * 1024;

/// Lays out the shared memory of a block on the host. A kernel gets the offsets as a parameter, which needs
/// no registers.
struct SharedMemory {
    int used = 0;

    /// Returns the offset of an array, a multiple of 16.
    template <typename Element>
    int take(int count) {
        const int offset = used;
        used += (count * static_cast<int>(sizeof(Element)) + 15) / 16 * 16;
        return offset;
    }
};

/// The stride, in elements, of rows that begin at multiples of 16 bytes.
template <typename Element>
constexpr int aligned_stride(int width) {
    constexpr int piece = 16 / sizeof(Element);
    return (width + piece - 1) / piece * piece;
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

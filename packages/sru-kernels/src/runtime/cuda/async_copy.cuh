#pragma once

#include <cuda_runtime.h>

// Asynchronous copies from global to shared memory, in groups. After a wait, a thread sees its own copies;
// the rest of its warp sees them after `__syncwarp`.
namespace sru_kernels::SRU_KERNELS_VARIANT {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr bool has_async_copies = false;
#else
constexpr bool has_async_copies = true;
#endif

/// Starts a copy of 16 bytes between 16-byte-aligned addresses. Requires `has_async_copies`.
__device__ __forceinline__ void copy_async([[maybe_unused]] void* shared,
                                           [[maybe_unused]] const void* global) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const auto address = static_cast<unsigned int>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
#elif defined(CUSHIM)
    cushim::async_copy(shared, global, 16, 16);
#endif
}

/// Ends a group: all copies started since the last group, possibly none.
__device__ __forceinline__ void commit_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#elif defined(CUSHIM)
    cushim::async_commit();
#endif
}

/// Waits until at most the `left` newest groups are in flight.
template <int left>
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#elif defined(CUSHIM)
    cushim::async_wait(left);
#endif
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "launch.hpp"
#include "sru_kernels/storage.hpp"
#include "sru_steps.cuh"

// From the arguments to a kernel in the caller's stream.
namespace sru_kernels::cuda {

/// Whether all arrays that are present can be read 16 bytes at a time.
template <std::size_t count>
bool all_aligned(const void* const (&arrays)[count]) {
    for (const void* array : arrays) {
        if (reinterpret_cast<std::uintptr_t>(array) % 16 != 0) return false;
    }
    return true;
}

/// Launches `select(zero of the storage type, columns per thread)`, a kernel that takes the arguments alone.
template <typename S, typename Args, typename Select>
void launch_stored(const char* name, const Args& args, const Launch& launch, bool aligned,
                   const Select& select) {
    constexpr int wide = 16 / sizeof(S);
    const DeviceGuard guard(name, launch.device);
    const bool is_wide = choose_wide(name, args, launch, wide, aligned);
    const auto kernel = is_wide ? select(S{}, std::integral_constant<int, wide>{})
                                : select(S{}, std::integral_constant<int, 1>{});
    const cudaLaunchConfig_t config = grid_for(args, launch, is_wide ? wide : 1);
    check_launch(name, args, launch, cudaLaunchKernelEx(&config, kernel, args));
}

template <typename Args, typename Select>
void launch_sru(const char* name, const Args& args, const Launch& launch, bool aligned,
                const Select& select) {
    using namespace SRU_KERNELS_VARIANT;
    if (args.batch == 0) return;
    dispatch_storage(args.dtype,
                     [&](auto zero) { launch_stored<decltype(zero)>(name, args, launch, aligned, select); });
}

}  // namespace sru_kernels::cuda

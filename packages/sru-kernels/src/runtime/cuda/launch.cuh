#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "cells/fields.hpp"
#include "runtime/cuda/launch.hpp"
#include "sru_kernels/storage.hpp"

namespace sru_kernels::cuda {

/// Visits fields to check whether all arrays except byte masks can be read 16 bytes at a time.
struct Alignment {
    bool is_wide = true;

    template <typename Field, typename Rule>
    void operator()(const char*, Field field, Rule, const char*) {
        if constexpr (std::is_same_v<Field, In> || std::is_same_v<Field, Out>) {
            is_wide = is_wide && reinterpret_cast<std::uintptr_t>(field) % 16 == 0;
        }
    }
};

template <typename Args>
bool all_aligned(Args args) {
    Alignment alignment;
    args.visit_fields(alignment);
    return alignment.is_wide;
}

/// Lets the blocks of a kernel use more shared memory than the default limit.
template <typename Args, typename... More>
void allow_shared_memory(void (*kernel)(Args, More...), const Work& work, const Launch& launch,
                         const Args& args, int bytes) {
    const cudaError_t status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) fail_launch(work, launch, shape_of(args), status);
}

/// Launches `kernel` in the caller's stream with the parameters `args` and `more`. Errors include
/// `shape_of(args)`.
template <typename Args, typename... More>
void launch_grid(void (*kernel)(Args, More...), const Work& work, const Launch& launch,
                 const cudaLaunchConfig_t& grid, const Args& args, const More&... more) {
    const cudaError_t status = cudaLaunchKernelEx(&grid, kernel, args, more...);
    if (status != cudaSuccess) fail_launch(work, launch, shape_of(args), status);
}

/// Launches the kernel `select(zero of the storage type, columns per thread, whether to read through a
/// ring)`.
template <typename Args, typename Select>
void launch_kernel(const Args& args, const Work& work, const Launch& launch, const Select& select) {
    if (work.rows == 0 || work.row_size == 0) return;
    SRU_KERNELS_VARIANT::dispatch_storage(work.dtype, [&](auto zero) {
        constexpr std::integral_constant<int, 1> narrow;
        constexpr std::integral_constant<int, 16 / sizeof(zero)> wide;
        const DeviceGuard guard(work.kernel, launch.device);
        const bool is_wide = choose_wide(work, launch, wide);
        const auto kernel = is_wide ? select(zero, wide, std::true_type{})
                            : fits_ring(work, launch.device, narrow)
                                ? select(zero, narrow, std::true_type{})
                                : select(zero, narrow, std::false_type{});
        launch_grid(kernel, work, launch, grid_for(work, launch, is_wide ? wide : narrow), args);
    });
}

/// Launches the kernel `select(zero of the storage type)` if teams are chosen; returns false otherwise.
template <typename Args, typename Select>
bool launch_team(const Args& args, const Work& work, const Team& team, const Launch& launch,
                 const Select& select) {
    if (!choose_team(work, team, launch)) return false;
    SRU_KERNELS_VARIANT::dispatch_storage(work.dtype, [&](auto zero) {
        const DeviceGuard guard(work.kernel, launch.device);
        launch_grid(select(zero), work, launch, grid_for_team(work, launch, team.threads), args);
    });
    return true;
}

}  // namespace sru_kernels::cuda

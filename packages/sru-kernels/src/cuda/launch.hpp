#pragma once

#include <cuda_runtime.h>

#include <string>

#include "sru_kernels/cuda/sru.hpp"

namespace sru_kernels::cuda {

/// The most threads of a block: what the kernels are compiled for. Blocks are smaller where there would be
/// too few.
constexpr int largest_block = 128;

/// The name of an error and what CUDA says about it.
std::string describe(cudaError_t status);

/// Throws Error, and takes the error from CUDA, which keeps it for whoever asks next.
[[noreturn]] void fail(const std::string& message);

/// Makes a device the current one of this thread; the one before comes back at the end of the scope. Throws
/// Error.
class DeviceGuard {
 public:
    DeviceGuard(const char* kernel, int device);
    ~DeviceGuard();
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
    int before_ = 0;
    bool changed_ = false;
};

/// Returns whether a thread shall take `wide` columns rather than one; throws std::invalid_argument where the
/// caller wants it to and the arrays do not allow it.
bool choose_wide(const char* kernel, const SruInputs& in, const Launch& launch, int wide, bool aligned);

/// A thread for each `columns` columns, with as many blocks for each direction.
cudaLaunchConfig_t grid_for(const SruInputs& in, const Launch& launch, int columns);

/// Throws Error unless `status` is success.
void check_launch(const char* kernel, const SruInputs& in, const Launch& launch, cudaError_t status);

}  // namespace sru_kernels::cuda

#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace sru_kernels::cuda {

/// The newest CUDA version that the driver supports, such as 13000 for 13.0; 0 without a driver.
int driver_version();

/// Throws Error if CUDA sees no device or does not start.
std::vector<cudaDeviceProp> devices();

}  // namespace sru_kernels::cuda

#pragma once

#include <cuda_runtime.h>

#include <string>

#include "runtime/cuda/kernel.hpp"
#include "sru_kernels/types.hpp"

namespace sru_kernels::cuda {

/// The most threads of a block: what the kernels are compiled for. Blocks are smaller where there would be
/// too few.
constexpr int largest_block = 128;

/// What the launcher knows of a kernel: it computes columns, which do not depend on each other. A thread
/// takes one, or several neighbours of a row.
struct Work {
    const char* kernel;
    DType dtype;
    Index rows;
    Index row_size;          // columns of a row in one direction
    Index directions;        // each has blocks of its own
    bool allows_wide;        // may a thread take several columns, if `row_size` does not forbid it?
    const char* wide_needs;  // the conditions, for an error message
};

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

/// Returns whether a thread takes `wide` columns rather than one; throws std::invalid_argument where the
/// caller wants that and the work does not allow it.
bool choose_wide(const Work& work, const Launch& launch, int wide);

/// A thread for each `columns` columns, with as many blocks for each direction.
cudaLaunchConfig_t grid_for(const Work& work, const Launch& launch, int columns);

/// Throws Error for a launch that CUDA refused.
[[noreturn]] void fail_launch(const Work& work, const Launch& launch, const std::string& shape,
                              cudaError_t status);

}  // namespace sru_kernels::cuda

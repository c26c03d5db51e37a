#pragma once

#include <cstdint>
#include <stdexcept>

namespace sru_kernels::cuda {

/// Where and how a kernel runs.
struct Launch {
    int device;
    std::uintptr_t stream;   // a cudaStream_t; 0 is the default stream
    int columns_per_thread;  // 1, or as many as 16 bytes of the storage type hold; 0 lets the kernel choose
    int threads_per_column;  // 1, or the kernel's team; 0 lets the kernel choose
};

/// A failed launch; the message names the kernel, its shape and CUDA's error.
class Error : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// Launches the kernel that takes `Args` in a stream; defined in `cuda_*.cu` of its cell.
///
/// It neither allocates nor synchronizes, so a CUDA graph can capture it. Arrays are in device memory. The
/// result does not depend on `columns_per_thread`, and on `threads_per_column` only up to rounding. Throws
/// Error, or std::invalid_argument if the arrays do not allow the chosen values of these two.
template <typename Args>
void run(const Args& args, const Launch& launch);

}  // namespace sru_kernels::cuda

#pragma once

#include <cstdint>
#include <stdexcept>

#include "sru_kernels/sru.hpp"

namespace sru_kernels::cuda {

/// Where and how a kernel runs.
struct Launch {
    int device;
    std::uintptr_t stream;   // a cudaStream_t; 0 is the default stream
    int columns_per_thread;  // 1, or as many as 16 bytes of the storage type hold; 0 leaves the choice
};

/// CUDA refused a launch; names the kernel, its shape and CUDA's error.
class Error : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

// Both return as soon as the kernel is in the stream, and allocate and wait for nothing, so that a CUDA graph
// can capture them. Arrays lie in the memory of the device. The result does not depend on
// `columns_per_thread`. They throw Error, and std::invalid_argument for a `columns_per_thread` that the
// arrays do not allow.

void sru_forward(const SruForward& args, const Launch& launch);
void sru_backward(const SruBackward& args, const Launch& launch);

}  // namespace sru_kernels::cuda

#pragma once

#include "sru_kernels/gated_linear.hpp"

namespace sru_kernels::cpu {

// With the instruction set of `instruction_set()` on up to `num_threads` threads, on which results do not
// depend. Both throw std::bad_alloc, before anything is written, where there is no memory to work in.

void gated_linear_forward(const GatedLinearForward& args, int num_threads);

/// Writes every gradient.
void gated_linear_backward(const GatedLinearBackward& args, int num_threads);

}  // namespace sru_kernels::cpu

#pragma once

#include "sru_kernels/sru.hpp"

namespace sru_kernels::cpu {

/// Runs the recurrence with the instruction set of `instruction_set()` on up to `num_threads` threads.
void sru_forward(const SruForward& args, int num_threads);

/// Writes every gradient. The result does not depend on `num_threads`.
void sru_backward(const SruBackward& args, int num_threads);

/// Takes one step of a layer. The result depends neither on `num_threads` nor on the rest of the batch.
void sru_step(const SruStep& args, int num_threads);

}  // namespace sru_kernels::cpu

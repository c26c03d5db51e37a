#pragma once

#include "sru_kernels/sru.hpp"

namespace sru_kernels::bindings {

// What can be checked without a look at memory. All throw std::invalid_argument, a ValueError in Python.

void check(const SruForward& args, int num_threads);
void check(const SruBackward& args, int num_threads);

}  // namespace sru_kernels::bindings

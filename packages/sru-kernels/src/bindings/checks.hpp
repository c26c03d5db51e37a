#pragma once

#include "sru_kernels/gated_linear.hpp"
#include "sru_kernels/sru.hpp"

namespace sru_kernels::bindings {

// What can be checked without a look at memory. All throw std::invalid_argument, a ValueError in Python.

void check(const SruForward& args);
void check(const SruBackward& args);
void check(const SruStep& args);
void check(const GatedLinearForward& args);
void check(const GatedLinearBackward& args);

/// What a device needs besides: `FUNCTION: NAME must be at least MINIMUM, got VALUE`.
void check_at_least(const char* function, const char* name, Index value, Index minimum);

}  // namespace sru_kernels::bindings

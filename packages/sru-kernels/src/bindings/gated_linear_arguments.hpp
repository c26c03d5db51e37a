#pragma once

#include <pybind11/pybind11.h>

#include "sru_kernels/gated_linear.hpp"

namespace sru_kernels::bindings {

// The structs of the kernels from the named tuples of `sru_kernels/gated_linear.py`, as in
// `sru_arguments.hpp`.

GatedLinearForward gated_linear_forward_arguments(const pybind11::tuple& fields);
GatedLinearBackward gated_linear_backward_arguments(const pybind11::tuple& fields);

}  // namespace sru_kernels::bindings

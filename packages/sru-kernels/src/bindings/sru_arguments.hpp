#pragma once

#include <pybind11/pybind11.h>

#include "sru_kernels/sru.hpp"

namespace sru_kernels::bindings {

// The structs of the kernels from the named tuples of `sru_kernels/sru.py`, whose fields stand in the same
// order. Taken by position: matching twenty keywords takes longer than the arithmetic of a decoding step. All
// throw pybind11::type_error when a field has another type or there are more or fewer of them.

SruForward sru_forward_arguments(const pybind11::tuple& fields);
SruBackward sru_backward_arguments(const pybind11::tuple& fields);
SruStep sru_step_arguments(const pybind11::tuple& fields);

}  // namespace sru_kernels::bindings

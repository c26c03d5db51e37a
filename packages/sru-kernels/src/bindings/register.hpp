#pragma once

#include <pybind11/pybind11.h>

namespace sru_kernels::bindings {

/// Adds `build_info()`: what this extension was built with and what it found on this machine.
void register_build_info(pybind11::module_& module);

/// Adds `DType` and `Activation`; before any function that takes them.
void register_enums(pybind11::module_& module);

/// Adds the submodule `cpu`: the kernels that run on the CPU.
void register_cpu(pybind11::module_& module);

}  // namespace sru_kernels::bindings

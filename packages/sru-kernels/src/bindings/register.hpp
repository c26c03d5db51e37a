#pragma once

#include <pybind11/pybind11.h>

namespace sru_kernels::bindings {

/// Adds `build_info()`: what this extension was built with and what it found on this machine.
void register_build_info(pybind11::module_& module);

}  // namespace sru_kernels::bindings

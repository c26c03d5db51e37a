#include <pybind11/pybind11.h>

#include "register.hpp"

PYBIND11_MODULE(_native, module) {
    module.doc() = "The compiled half of sru_kernels.";
    sru_kernels::bindings::register_build_info(module);
    sru_kernels::bindings::register_enums(module);
    sru_kernels::bindings::register_cpu(module);
}

#include <pybind11/pybind11.h>

#include "cells/gated_linear/fields.hpp"
#include "cells/ligru/fields.hpp"
#include "cells/sru/fields.hpp"
#include "kernels.hpp"

PYBIND11_MODULE(_native, module) {
    using namespace sru_kernels;
    module.doc() = "The compiled half of sru_kernels.";
    pybind11::options options;
    options.disable_function_signatures();
    bindings::register_runtime(module);
    bindings::add_cpu_kernels<SruForward, SruBackward, SruStep>(module);
    bindings::add_cpu_kernels<GatedLinearForward, GatedLinearBackward>(module);
    bindings::add_cpu_kernels<LigruForward, LigruBackward>(module);
}

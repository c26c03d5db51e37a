#include <pybind11/pybind11.h>

#include "register.hpp"
#include "sru_kernels/cpu/instruction_set.hpp"
#include "sru_kernels/cpu/threads.hpp"

namespace py = pybind11;

namespace sru_kernels::bindings {
namespace {

// __cplusplus is a year and a month; C++17 is 201703.
constexpr long cxx_standard() { return __cplusplus / 100 % 100; }

py::dict build_info() {
    py::dict info;
    info["version"] = SRU_KERNELS_VERSION;
    info["compiler"] = SRU_KERNELS_COMPILER;
    info["cxx_standard"] = cxx_standard();
    info["instruction_set"] = cpu::to_string(cpu::instruction_set());
    info["openmp"] = cpu::openmp_library();  // None if there is none
    info["max_threads"] = cpu::max_threads();
    return info;
}

}  // namespace

void register_build_info(py::module_& module) {
    module.attr("__version__") = SRU_KERNELS_VERSION;
    module.def("build_info", &build_info, "What this extension was built with and found on this machine.");
}

}  // namespace sru_kernels::bindings

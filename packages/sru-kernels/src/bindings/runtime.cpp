#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>

#include "kernels.hpp"
#include "runtime/cpu/instruction_set.hpp"
#include "runtime/cpu/threads.hpp"

namespace sru_kernels::bindings {
namespace {

py::dict build_info() {
    using namespace py::literals;
    return py::dict("version"_a = SRU_KERNELS_VERSION, "compiler"_a = SRU_KERNELS_COMPILER,
                    "cxx_standard"_a = __cplusplus / 100 % 100,  // a year and a month; C++17 is 201703
                    "instruction_set"_a = cpu::to_string(cpu::instruction_set()),
                    "openmp"_a = cpu::openmp_library(),  // None if there is none
                    "max_threads"_a = cpu::max_threads());
}

}  // namespace

void register_runtime(py::module_& module) {
    module.attr("__version__") = SRU_KERNELS_VERSION;
    module.attr("fields") = py::dict();
    module.def("build_info", &build_info, "What this extension was built with and found on this machine.");
    py::native_enum<DType>(module, enum_name<DType>, "enum.Enum",
                           R"(How inputs, outputs and their gradients are stored.

States and sums are float32, or float64 for float64: the accumulation dtype.)")
        .value("float32", DType::float32)
        .value("float64", DType::float64)
        .value("float16", DType::float16)
        .value("bfloat16", DType::bfloat16)
        .finalize();
    py::native_enum<Activation>(module, enum_name<Activation>, "enum.Enum",
                                "A function that a cell applies to each number; each cell has some of them.")
        .value("identity", Activation::identity)
        .value("tanh", Activation::tanh)
        .value("relu", Activation::relu)
        .value("sin", Activation::sin)
        .value("leaky_relu", Activation::leaky_relu)
        .finalize();
    module.def_submodule("cpu").def(
        "instruction_set", [] { return cpu::to_string(cpu::instruction_set()); },
        R"(Return the instruction set that the kernels use: "baseline", "avx2", "avx512" or "avx512_bf16".

It is the widest that this processor runs, or a narrower one named by the environment variable
SRU_KERNELS_INSTRUCTION_SET, which is read once, at first use.

Raises:
    ValueError: The variable holds an unknown word, or a set that this processor lacks.
)");
}

}  // namespace sru_kernels::bindings

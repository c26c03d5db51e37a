#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>

#include "register.hpp"
#include "sru_kernels/types.hpp"

namespace py = pybind11;

namespace sru_kernels::bindings {

void register_enums(py::module_& module) {
    py::native_enum<DType>(module, "DType", "enum.Enum", "How u, x, h and their gradients are stored.")
        .value("float32", DType::float32)
        .value("float64", DType::float64)
        .value("float16", DType::float16)
        .value("bfloat16", DType::bfloat16)
        .finalize();
    py::native_enum<Activation>(module, "Activation", "enum.Enum",
                                "What is applied to the state before the output gate.")
        .value("identity", Activation::identity)
        .value("tanh", Activation::tanh)
        .value("relu", Activation::relu)
        .finalize();
}

}  // namespace sru_kernels::bindings

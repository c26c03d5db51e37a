#include "sru_arguments.hpp"

#include <cstdint>

#include "fields.hpp"

namespace sru_kernels::bindings {
namespace {

constexpr py::ssize_t num_inputs = 16;

// In the order in which braces are evaluated, which is that of the fields.
SruInputs inputs(Fields& fields) {
    return {fields.member("dtype", "a DType", members_of<DType>("DType")),
            fields.member("activation", "an Activation", members_of<Activation>("Activation")),
            fields.size("length"),
            fields.size("batch"),
            fields.size("hidden_size"),
            fields.size("num_directions"),
            fields.size("num_gates"),
            fields.array("u"),
            fields.array("v"),
            fields.array("bias"),
            fields.array("c0"),
            fields.array("x"),
            fields.array("mask_c"),
            static_cast<const std::uint8_t*>(fields.array("mask_pad")),
            fields.number("scale_x"),
            fields.flag("v_per_position")};
}

}  // namespace

SruForward sru_forward_arguments(const py::tuple& tuple) {
    Fields fields("sru_forward", "an SruForward", tuple, num_inputs + 3);
    return {inputs(fields), fields.array("h"), fields.array("c"), fields.array("c_last")};
}

SruBackward sru_backward_arguments(const py::tuple& tuple) {
    Fields fields("sru_backward", "an SruBackward", tuple, num_inputs + 8);
    return {
        inputs(fields),         fields.array("c"),      fields.array("grad_h"), fields.array("grad_c_last"),
        fields.array("grad_u"), fields.array("grad_x"), fields.array("grad_v"), fields.array("grad_bias"),
        fields.array("grad_c0")};
}

SruStep sru_step_arguments(const py::tuple& tuple) {
    Fields fields("sru_step", "an SruStep", tuple, 16);
    return {fields.member("dtype", "a DType", members_of<DType>("DType")),
            fields.member("activation", "an Activation", members_of<Activation>("Activation")),
            fields.size("batch"),
            fields.size("input_size"),
            fields.size("columns"),
            fields.size("num_gates"),
            fields.array("weight"),
            fields.array("input"),
            fields.array("v"),
            fields.array("bias"),
            fields.array("c0"),
            fields.array("x"),
            fields.number("scale_x"),
            fields.array("h"),
            fields.array("c_last"),
            fields.array("weight_scale")};
}

}  // namespace sru_kernels::bindings

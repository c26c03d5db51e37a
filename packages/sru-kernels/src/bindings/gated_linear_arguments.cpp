#include "gated_linear_arguments.hpp"

#include "fields.hpp"

namespace sru_kernels::bindings {
namespace {

constexpr py::ssize_t num_inputs = 11;

// In the order in which braces are evaluated, which is that of the fields.
GatedLinearInputs inputs(Fields& fields) {
    return {fields.member("dtype", "a DType", members_of<DType>("DType")),
            fields.size("length"),
            fields.size("batch"),
            fields.size("heads"),
            fields.size("key_size"),
            fields.size("value_size"),
            fields.size("segment_length"),
            fields.array("q"),
            fields.array("k"),
            fields.array("v"),
            fields.array("log_g")};
}

}  // namespace

GatedLinearForward gated_linear_forward_arguments(const py::tuple& tuple) {
    Fields fields("gated_linear_forward", "a GatedLinearForward", tuple, num_inputs + 4);
    return {inputs(fields), fields.array("s0"), fields.array("o"), fields.array("s"), fields.array("starts")};
}

GatedLinearBackward gated_linear_backward_arguments(const py::tuple& tuple) {
    Fields fields("gated_linear_backward", "a GatedLinearBackward", tuple, num_inputs + 8);
    return {inputs(fields),         fields.array("starts"),     fields.array("grad_o"),
            fields.array("grad_s"), fields.array("grad_q"),     fields.array("grad_k"),
            fields.array("grad_v"), fields.array("grad_log_g"), fields.array("grad_s0")};
}

}  // namespace sru_kernels::bindings

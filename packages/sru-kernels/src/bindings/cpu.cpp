#include <pybind11/pybind11.h>

#include "checks.hpp"
#include "register.hpp"
#include "sru_kernels/cpu/instruction_set.hpp"
#include "sru_kernels/cpu/sru.hpp"

namespace py = pybind11;

namespace sru_kernels::bindings {
namespace {

/// An address as an integer, 0 for an absent array: what `data_ptr()` and `ctypes.data` give.
using Address = std::uintptr_t;

const void* input(Address address) { return reinterpret_cast<const void*>(address); }
void* output(Address address) { return reinterpret_cast<void*>(address); }

SruInputs inputs(DType dtype, Activation activation, Index length, Index batch, Index hidden_size,
                 Index num_directions, Index num_gates, Address u, Address v, bool v_per_position,
                 Address bias, Address c0, Address x, double scale_x, Address mask_c, Address mask_pad) {
    return {dtype,         activation,
            length,        batch,
            hidden_size,   num_directions,
            num_gates,     input(u),
            input(v),      input(bias),
            input(c0),     input(x),
            input(mask_c), static_cast<const std::uint8_t*>(input(mask_pad)),
            scale_x,       v_per_position};
}

void sru_forward(DType dtype, Activation activation, Index length, Index batch, Index hidden_size,
                 Index num_directions, Index num_gates, Address u, Address v, bool v_per_position,
                 Address bias, Address c0, Address x, double scale_x, Address mask_c, Address mask_pad,
                 Address h, Address c, Address c_last, int num_threads) {
    const SruForward args{inputs(dtype, activation, length, batch, hidden_size, num_directions, num_gates, u,
                                 v, v_per_position, bias, c0, x, scale_x, mask_c, mask_pad),
                          output(h), output(c), output(c_last)};
    check(args, num_threads);
    const py::gil_scoped_release release;
    cpu::sru_forward(args, num_threads);
}

void sru_backward(DType dtype, Activation activation, Index length, Index batch, Index hidden_size,
                  Index num_directions, Index num_gates, Address u, Address v, bool v_per_position,
                  Address bias, Address c0, Address x, double scale_x, Address mask_c, Address mask_pad,
                  Address c, Address grad_h, Address grad_c_last, Address grad_u, Address grad_x,
                  Address grad_v, Address grad_bias, Address grad_c0, int num_threads) {
    const SruBackward args{inputs(dtype, activation, length, batch, hidden_size, num_directions, num_gates, u,
                                  v, v_per_position, bias, c0, x, scale_x, mask_c, mask_pad),
                           input(c),
                           input(grad_h),
                           input(grad_c_last),
                           output(grad_u),
                           output(grad_x),
                           output(grad_v),
                           output(grad_bias),
                           output(grad_c0)};
    check(args, num_threads);
    const py::gil_scoped_release release;
    cpu::sru_backward(args, num_threads);
}

}  // namespace

void register_cpu(py::module_& module) {
    auto kernels = module.def_submodule(
        "cpu", "Kernels that run on the CPU; `sru_kernels/cpu.pyi` states the contract.");
    kernels.def(
        "instruction_set", [] { return cpu::to_string(cpu::instruction_set()); },
        "The instruction set that the kernels use: \"baseline\", \"avx2\" or \"avx512\".");
    // By position: matching twenty keywords here takes longer than a decoding step; cpu.py names them.
    kernels.def("sru_forward", &sru_forward, "See `sru_kernels.cpu.sru_forward`.");
    kernels.def("sru_backward", &sru_backward, "See `sru_kernels.cpu.sru_backward`.");
}

}  // namespace sru_kernels::bindings

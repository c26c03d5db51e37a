#include <pybind11/pybind11.h>

#include "checks.hpp"
#include "register.hpp"
#include "sru_arguments.hpp"
#include "sru_kernels/cpu/instruction_set.hpp"
#include "sru_kernels/cpu/sru.hpp"

namespace py = pybind11;

namespace sru_kernels::bindings {
namespace {

void sru_forward(const py::tuple& fields, int num_threads) {
    const SruForward args = sru_forward_arguments(fields);
    check(args);
    check_at_least("sru_forward", "num_threads", num_threads, 1);
    const py::gil_scoped_release release;
    cpu::sru_forward(args, num_threads);
}

void sru_backward(const py::tuple& fields, int num_threads) {
    const SruBackward args = sru_backward_arguments(fields);
    check(args);
    check_at_least("sru_backward", "num_threads", num_threads, 1);
    const py::gil_scoped_release release;
    cpu::sru_backward(args, num_threads);
}

void sru_step(const py::tuple& fields, int num_threads) {
    const SruStep args = sru_step_arguments(fields);
    check(args);
    check_at_least("sru_step", "num_threads", num_threads, 1);
    const py::gil_scoped_release release;
    cpu::sru_step(args, num_threads);
}

}  // namespace

void register_cpu(py::module_& module) {
    auto kernels =
        module.def_submodule("cpu", "Kernels that run on the CPU; `sru_kernels/cpu.py` states the contract.");
    kernels.def(
        "instruction_set", [] { return cpu::to_string(cpu::instruction_set()); },
        "The instruction set that the kernels use: \"baseline\", \"avx2\" or \"avx512\".");
    kernels.def("sru_forward", &sru_forward, "See `sru_kernels.cpu.sru_forward`.");
    kernels.def("sru_backward", &sru_backward, "See `sru_kernels.cpu.sru_backward`.");
    kernels.def("sru_step", &sru_step, "See `sru_kernels.cpu.sru_step`.");
}

}  // namespace sru_kernels::bindings

#include <pybind11/pybind11.h>

#include "checks.hpp"
#include "gated_linear_arguments.hpp"
#include "register.hpp"
#include "sru_arguments.hpp"
#include "sru_kernels/cpu/gated_linear.hpp"
#include "sru_kernels/cpu/instruction_set.hpp"
#include "sru_kernels/cpu/sru.hpp"

namespace py = pybind11;

namespace sru_kernels::bindings {
namespace {

template <typename Args>
void run(const char* function, const Args& args, int num_threads, void (*kernel)(const Args&, int)) {
    check(args);
    check_at_least(function, "num_threads", num_threads, 1);
    const py::gil_scoped_release release;
    kernel(args, num_threads);
}

void sru_forward(const py::tuple& fields, int num_threads) {
    run("sru_forward", sru_forward_arguments(fields), num_threads, cpu::sru_forward);
}

void sru_backward(const py::tuple& fields, int num_threads) {
    run("sru_backward", sru_backward_arguments(fields), num_threads, cpu::sru_backward);
}

void sru_step(const py::tuple& fields, int num_threads) {
    run("sru_step", sru_step_arguments(fields), num_threads, cpu::sru_step);
}

void gated_linear_forward(const py::tuple& fields, int num_threads) {
    run("gated_linear_forward", gated_linear_forward_arguments(fields), num_threads,
        cpu::gated_linear_forward);
}

void gated_linear_backward(const py::tuple& fields, int num_threads) {
    run("gated_linear_backward", gated_linear_backward_arguments(fields), num_threads,
        cpu::gated_linear_backward);
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
    kernels.def("gated_linear_forward", &gated_linear_forward, "See `sru_kernels.cpu.gated_linear_forward`.");
    kernels.def("gated_linear_backward", &gated_linear_backward,
                "See `sru_kernels.cpu.gated_linear_backward`.");
}

}  // namespace sru_kernels::bindings

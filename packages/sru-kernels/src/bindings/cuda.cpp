#include <pybind11/pybind11.h>

#include "checks.hpp"
#include "sru_arguments.hpp"
#include "sru_kernels/cuda/devices.hpp"
#include "sru_kernels/cuda/sru.hpp"

namespace py = pybind11;

namespace sru_kernels::bindings {
namespace {

cuda::Launch launch_on(const char* function, int device, std::uintptr_t stream, int columns_per_thread) {
    check_at_least(function, "device", device, 0);
    check_at_least(function, "columns_per_thread", columns_per_thread, 0);
    return {device, stream, columns_per_thread};
}

void sru_forward(const py::tuple& fields, int device, std::uintptr_t stream, int columns_per_thread) {
    const SruForward args = sru_forward_arguments(fields);
    check(args);
    const cuda::Launch launch = launch_on("sru_forward", device, stream, columns_per_thread);
    const py::gil_scoped_release release;
    cuda::sru_forward(args, launch);
}

void sru_backward(const py::tuple& fields, int device, std::uintptr_t stream, int columns_per_thread) {
    const SruBackward args = sru_backward_arguments(fields);
    check(args);
    const cuda::Launch launch = launch_on("sru_backward", device, stream, columns_per_thread);
    const py::gil_scoped_release release;
    cuda::sru_backward(args, launch);
}

py::list devices() {
    py::list found;
    for (const cuda::Device& device : cuda::devices()) {
        found.append(py::make_tuple(device.name, py::make_tuple(device.major, device.minor),
                                    device.multiprocessors, device.memory));
    }
    return found;
}

/// Makes cuda::Error the exception that Python knows, which exists in builds without CUDA too.
void register_error() {
    static const py::handle type =
        py::object(py::module_::import("sru_kernels.cuda").attr("Error")).release();
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const cuda::Error& error) {
            py::set_error(type, error.what());
        }
    });
}

}  // namespace
}  // namespace sru_kernels::bindings

PYBIND11_MODULE(_cuda, module) {
    using namespace sru_kernels;
    module.doc() = "The compiled half of sru_kernels.cuda.";
    py::module_::import("sru_kernels._native");  // holds the enums
    bindings::register_error();
    module.attr("toolkit") = SRU_KERNELS_CUDA_TOOLKIT;
    module.attr("architectures") = SRU_KERNELS_CUDA_ARCHITECTURES;
    module.attr("runtime") = SRU_KERNELS_CUDART;
    module.def("driver_version", &cuda::driver_version);
    module.def("devices", &bindings::devices);
    module.def("sru_forward", &bindings::sru_forward, "See `sru_kernels.cuda.sru_forward`.");
    module.def("sru_backward", &bindings::sru_backward, "See `sru_kernels.cuda.sru_backward`.");
}

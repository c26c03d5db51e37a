#include <pybind11/pybind11.h>

#include "arguments.hpp"
#include "cells/gated_linear/fields.hpp"
#include "cells/ligru/fields.hpp"
#include "cells/sru/fields.hpp"
#include "runtime/cuda/devices.hpp"
#include "runtime/cuda/kernel.hpp"

namespace sru_kernels::bindings {
namespace {

/// Adds a function that launches a kernel; `sru_kernels/cuda.py` documents it.
template <typename Args>
void add_launcher(py::module_& module) {
    module.def(Args::kernel.name, [](const py::tuple& fields, int device, std::uintptr_t stream, int columns,
                                     int threads) {
        const auto args = read_arguments<Args>(
            fields, {{"device", device}, {"columns_per_thread", columns}, {"threads_per_column", threads}},
            0);
        const py::gil_scoped_release release;
        cuda::run(args, cuda::Launch{device, stream, columns, threads});
    });
}

/// Adds the kernels of a cell.
template <typename... Args>
void add_launchers(py::module_& module) {
    (add_launcher<Args>(module), ...);
}

py::list devices() {
    py::list found;
    for (const cudaDeviceProp& device : cuda::devices()) {
        found.append(py::make_tuple(device.name, py::make_tuple(device.major, device.minor),
                                    device.multiProcessorCount, device.totalGlobalMem));
    }
    return found;
}

bool fits(py::handle dtype, Index key_size, Index value_size) {
    for (const auto& [member, known] : members_of<DType>()) {
        if (dtype.is(member)) return gated_linear_fits(known, key_size, value_size);
    }
    return false;
}

}  // namespace
}  // namespace sru_kernels::bindings

PYBIND11_MODULE(_cuda, module) {
    using namespace sru_kernels;
    module.doc() = "The compiled half of sru_kernels.cuda.";
    pybind11::module_::import("sru_kernels._native");  // holds the enums
    // A subclass of the error that builds without CUDA also have.
    pybind11::register_local_exception<cuda::Error>(
        module, "Error", pybind11::module_::import("sru_kernels.cuda").attr("Error"));
    module.attr("toolkit") = SRU_KERNELS_CUDA_TOOLKIT;
    module.attr("architectures") = SRU_KERNELS_CUDA_ARCHITECTURES;
    module.attr("runtime") = SRU_KERNELS_CUDART;
    module.def("driver_version", &cuda::driver_version);
    module.def("devices", &bindings::devices);
    module.def("gated_linear_fits", &bindings::fits);
    bindings::add_launchers<SruForward, SruBackward>(module);
    bindings::add_launchers<GatedLinearForward, GatedLinearBackward>(module);
    bindings::add_launchers<LigruForward, LigruBackward>(module);
}

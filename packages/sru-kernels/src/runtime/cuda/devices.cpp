#include "runtime/cuda/devices.hpp"

#include "runtime/cuda/launch.hpp"

namespace sru_kernels::cuda {
namespace {

void check(cudaError_t status) {
    if (status != cudaSuccess) fail("CUDA did not start: " + describe(status));
}

}  // namespace

int driver_version() {
    int version = 0;
    return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

std::vector<cudaDeviceProp> devices() {
    int count = 0;
    check(cudaGetDeviceCount(&count));
    std::vector<cudaDeviceProp> found(static_cast<std::size_t>(count));
    for (int index = 0; index < count; ++index) {
        check(cudaGetDeviceProperties(&found[static_cast<std::size_t>(index)], index));
    }
    return found;
}

}  // namespace sru_kernels::cuda

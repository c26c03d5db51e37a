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

std::vector<Device> devices() {
    int count = 0;
    check(cudaGetDeviceCount(&count));
    std::vector<Device> found;
    for (int index = 0; index < count; ++index) {
        cudaDeviceProp properties;
        check(cudaGetDeviceProperties(&properties, index));
        found.push_back(Device{properties.name, properties.major, properties.minor,
                               properties.multiProcessorCount, properties.totalGlobalMem});
    }
    return found;
}

}  // namespace sru_kernels::cuda

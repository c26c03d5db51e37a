#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sru_kernels::cuda {

/// A GPU as CUDA describes it.
struct Device {
    std::string name;
    int major, minor;  // its compute capability
    int multiprocessors;
    std::size_t memory;  // in bytes
};

/// The newest CUDA that the driver supports, such as 13000 for 13.0; 0 without a driver.
int driver_version();

/// Throws Error where CUDA sees no device, or does not start.
std::vector<Device> devices();

}  // namespace sru_kernels::cuda

#pragma once
#pragma GCC system_header

// The simulated machine. Environment variables describe it and are read at every call, so that a test can
// change it in a running process.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace cushim {

inline int setting(const char* name, int otherwise) {
    const char* text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

/// 0 without a driver.
inline int driver_version() { return setting("CUSHIM_DRIVER", CUDART_VERSION); }
inline int devices() { return setting("CUSHIM_DEVICES", 1); }
inline int multiprocessors() { return setting("CUSHIM_MULTIPROCESSORS", 8); }
/// 0 if cooperative launches are not supported.
inline int cooperative_launch() { return setting("CUSHIM_COOPERATIVE_LAUNCH", 1); }
/// The largest shared memory of a block, in bytes.
inline int most_shared_memory() { return setting("CUSHIM_SHARED_MEMORY", 227 * 1024); }
/// 10 * major + minor.
inline int compute_capability() { return setting("CUSHIM_COMPUTE_CAPABILITY", 120); }
/// The cudaError_t that every launch returns.
inline cudaError_t launch_error() { return static_cast<cudaError_t>(setting("CUSHIM_LAUNCH_ERROR", 0)); }

/// The error of every call if the driver or the devices are missing, or the driver is older than the
/// runtime's major version.
inline cudaError_t machine_error() {
    if (driver_version() / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
    return devices() > 0 ? cudaSuccess : cudaErrorNoDevice;
}

inline cudaError_t device_error(int device) {
    if (const auto error = machine_error()) return error;
    return device >= 0 && device < devices() ? cudaSuccess : cudaErrorInvalidDevice;
}

/// The error of a cooperative launch whose blocks cannot all run at once. A multiprocessor runs one block.
inline cudaError_t cooperation_error(uint64_t blocks) {
    if (!cooperative_launch()) return cudaErrorNotSupported;
    return blocks <= uint64_t(multiprocessors()) ? cudaSuccess : cudaErrorCooperativeLaunchTooLarge;
}

inline int& current_device() {
    static thread_local int device = 0;
    return device;
}

inline cudaError_t& last_error() {
    static thread_local cudaError_t error = cudaSuccess;
    return error;
}

inline cudaError_t set_error(cudaError_t error) {
    if (error != cudaSuccess) last_error() = error;
    return error;
}

/// The shared memory that a kernel's attribute permits, in bytes.
inline int& permitted_shared_memory(const void* kernel) {
    static std::map<const void*, int> permitted;
    return permitted.try_emplace(kernel, 48 * 1024).first->second;
}

/// The largest shared memory of a block of this kernel, in bytes.
inline size_t shared_memory_limit(const void* kernel) {
    return std::min(permitted_shared_memory(kernel), most_shared_memory());
}

inline cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value > most_shared_memory())
        return set_error(cudaErrorInvalidValue);
    permitted_shared_memory(kernel) = value;
    return cudaSuccess;
}

struct ErrorText {
    cudaError_t error;
    const char *name, *text;
};

inline const ErrorText& error_text(cudaError_t error) {
    static constexpr ErrorText known[] = {
        {cudaSuccess, "cudaSuccess", "no error"},
        {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
        {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
        {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
        {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
         "CUDA driver version is insufficient for CUDA runtime version"},
        {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
        {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
        {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
        {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
         "no kernel image is available for execution on the device"},
        {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
        {cudaErrorCooperativeLaunchTooLarge, "cudaErrorCooperativeLaunchTooLarge",
         "too many blocks in cooperative launch"},
        {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
        {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
    };
    for (const auto& entry : known) {
        if (entry.error == error) return entry;
    }
    return *(std::end(known) - 1);
}

}  // namespace cushim

#pragma once
#pragma GCC system_header

// The runtime API used by launch code. Device memory is host memory.
#include "cushim/launch.h"
#include "cushim/machine.h"

#define CUSHIM_API extern "C" inline
// CUDA's header declares these as C functions, but the shim needs templates, which see the type of the
// kernel.
#define cudaLaunchKernel cushim_cudaLaunchKernel
#define cudaLaunchKernelEx cushim_cudaLaunchKernelEx
#define cudaLaunchCooperativeKernel cushim_cudaLaunchCooperativeKernel
#define cudaFuncSetAttribute cushim_cudaFuncSetAttribute
#define cudaOccupancyMaxActiveBlocksPerMultiprocessor cushim_cudaOccupancyMaxActiveBlocksPerMultiprocessor

CUSHIM_API cudaError_t cudaMalloc(void** p, size_t n) {
    *p = aligned_alloc(256, (std::max<size_t>(n, 1) + 255) / 256 * 256);
    if (*p) memset(*p, 0xff, n);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
CUSHIM_API cudaError_t cudaFree(void* p) {
    free(p);
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind) {
    memcpy(d, s, n);
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind, cudaStream_t) {
    memcpy(d, s, n);
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaMemset(void* d, int v, size_t n) {
    memset(d, v, n);
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t) {
    memset(d, v, n);
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
CUSHIM_API cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

CUSHIM_API cudaError_t cudaGetLastError() { return std::exchange(cushim::last_error(), cudaSuccess); }
CUSHIM_API cudaError_t cudaPeekAtLastError() { return cushim::last_error(); }
CUSHIM_API const char* CUDARTAPI cudaGetErrorName(cudaError_t e) { return cushim::error_text(e).name; }
CUSHIM_API const char* CUDARTAPI cudaGetErrorString(cudaError_t e) { return cushim::error_text(e).text; }

CUSHIM_API cudaError_t cudaDriverGetVersion(int* version) {
    *version = cushim::driver_version();
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
CUSHIM_API cudaError_t cudaGetDeviceCount(int* count) {
    const auto error = cushim::machine_error();
    *count = error ? 0 : cushim::devices();
    return cushim::set_error(error);
}
CUSHIM_API cudaError_t cudaGetDevice(int* device) {
    *device = cushim::current_device();
    return cushim::set_error(cushim::machine_error());
}
CUSHIM_API cudaError_t cudaSetDevice(int device) {
    const auto error = cushim::device_error(device);
    if (!error) cushim::current_device() = device;
    return cushim::set_error(error);
}
CUSHIM_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    if (const auto error = cushim::device_error(device)) return cushim::set_error(error);
    switch (attribute) {
        case cudaDevAttrMultiProcessorCount:
            *value = cushim::multiprocessors();
            break;
        case cudaDevAttrCooperativeLaunch:
            *value = cushim::cooperative_launch();
            break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            *value = cushim::most_shared_memory();
            break;
        case cudaDevAttrComputeCapabilityMajor:
            *value = cushim::compute_capability() / 10;
            break;
        case cudaDevAttrComputeCapabilityMinor:
            *value = cushim::compute_capability() % 10;
            break;
        default:
            *value = 0;
    }
    return cudaSuccess;
}
#undef cudaGetDeviceProperties
CUSHIM_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (const auto error = cushim::device_error(device)) return cushim::set_error(error);
    *properties = cudaDeviceProp{};
    strcpy(properties->name, "Stand-in");
    properties->major = cushim::compute_capability() / 10;
    properties->minor = cushim::compute_capability() % 10;
    properties->multiProcessorCount = cushim::multiprocessors();
    properties->totalGlobalMem = size_t{8} << 30;
    return cudaSuccess;
}

template <typename K>
cudaError_t cudaFuncSetAttribute(K kernel, cudaFuncAttribute attribute, int value) {
    return cushim::set_attribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <typename K>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, K, int, size_t) {
    *n = 1;
    return cudaSuccess;
}
template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* c, void (*k)(P...), A&&... a) {
    bool coop = false;
    for (unsigned i = 0; i < c->numAttrs; ++i) {
        if (c->attrs[i].id == cudaLaunchAttributeCooperative) coop = c->attrs[i].val.cooperative;
    }
    return cushim::launch(k, c->gridDim, c->blockDim, c->dynamicSmemBytes, coop, std::forward<A>(a)...);
}
template <typename... P>
cudaError_t cudaLaunchKernel(void (*k)(P...), dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
    return cushim::launch_void(k, g, b, a, s, false, std::index_sequence_for<P...>{});
}
template <typename... P>
cudaError_t cudaLaunchCooperativeKernel(void (*k)(P...), dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
    return cushim::launch_void(k, g, b, a, s, true, std::index_sequence_for<P...>{});
}

// A stand-in for libcudart.so.13: host memory is device memory, and kernels are PTX translated by
// translate.py. Linked with the translated kernels into one library, it runs extensions built by nvcc with
// -cudart shared, unmodified.
#include <sys/mman.h>

#include "ptxrun.h"
#undef cudaLaunchKernel
#undef cudaLaunchKernelEx
#undef cudaLaunchCooperativeKernel
#undef cudaFuncSetAttribute
#undef cudaOccupancyMaxActiveBlocksPerMultiprocessor
extern "C" const ptxrun::Entry ptxrun_entries[];
static std::map<const void*, const ptxrun::Entry*>& table() {
    static std::map<const void*, const ptxrun::Entry*> t;
    return t;
}
static thread_local std::string last_launch;  // kernel, blocks, threads per block
static cudaError_t go(const void* f, dim3 g, dim3 b, void** a, size_t dyn, bool coop) {
    using namespace ptxrun;
    if (const auto error = cushim::machine_error()) return cushim::set_error(error);
    if (const auto error = cushim::launch_error()) return cushim::set_error(error);
    auto it = table().find(f);
    if (it == table().end()) {
        fprintf(stderr, "ptxrun: launch of a kernel that is not in the translated PTX\n");
        return cushim::set_error(cudaErrorInvalidDeviceFunction);
    }
    const Entry* e = it->second;
    uint64_t nt = (uint64_t)b.x * b.y * b.z;
    last_launch = std::string(e->name) + " " + std::to_string(g.x) + " " + std::to_string(b.x);
    if (!nt || nt > e->max_threads || !g.x || !g.y || !g.z || g.y > 65535 || g.z > 65535)
        return cushim::set_error(cudaErrorInvalidConfiguration);
    if (e->static_smem + dyn > cushim::shared_memory_limit(f))
        return cushim::set_error(cudaErrorInvalidValue);
    if (coop)
        if (const auto error = cushim::cooperation_error(uint64_t(g.x) * g.y * g.z))
            return cushim::set_error(error);
    inexact = cushim::setting("CUSHIM_INEXACT", 0);
    std::vector<unsigned char> P(4096, 0);
    for (size_t i = 0; i < e->params.size(); ++i)
        memcpy(P.data() + e->params[i].first, a[i], e->params[i].second);
    const uint32_t total = e->static_smem + dyn;
    alignas(16) uint32_t ws[8] = {32};
    const unsigned char* pp = P.data();
    uint64_t envp = coop ? (uint64_t)ws : 0;
    const size_t len = (total + 4096) / 4096 * 4096;
    cushim::launch_body(
        g, b, coop, [=] { e->fn(pp); },
        [=](int begin) {  // each block gets new shared memory, filled with NaN bits
            if (begin) {
                smem = (unsigned char*)mmap(nullptr, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                            -1, 0);
                memset(smem, 0xff, len);
                smem_size = total;
                dyn_smem = (uint32_t)dyn;
                env = envp;
            } else
                munmap(smem, len);
        });
    return cudaSuccess;
}
struct Cfg {
    dim3 g, b;
    size_t s;
    cudaStream_t st;
};
static thread_local std::vector<Cfg> cfgs;
#define API extern "C" __attribute__((visibility("default")))
API void** __cudaRegisterFatBinary(void*) {
    static void* h;
    return &h;
}
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API char __cudaInitModule(void**) { return 1; }
API void __cudaRegisterFunction(void**, const char* host, char*, const char* dev, int, uint3*, uint3*, dim3*,
                                dim3*, int*) {
    for (const auto* e = ptxrun_entries; e->name; ++e)
        if (!strcmp(e->name, dev)) table()[host] = e;
}
API void __cudaRegisterVar(void**, char*, char*, const char* n, int, size_t, int, int) {
    fprintf(stderr, "ptxrun: device variable %s is not shared with the host\n", n);
}
API unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t s, cudaStream_t st) {
    cfgs.push_back({g, b, s, st});
    return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* s, void* st) {
    auto c = cfgs.back();
    cfgs.pop_back();
    *g = c.g;
    *b = c.b;
    *s = c.s;
    *(cudaStream_t*)st = c.st;
    return cudaSuccess;
}
API cudaError_t __cudaGetKernel(cudaKernel_t* k, const void* f) {
    *k = (cudaKernel_t)f;
    return cudaSuccess;
}
API cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
    return go((const void*)k, g, b, a, s, false);
}
API cudaError_t cudaLaunchKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
    return go(f, g, b, a, s, false);
}
API cudaError_t cudaLaunchCooperativeKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t) {
    return go(f, g, b, a, s, true);
}
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** a) {
    bool coop = false;
    for (unsigned i = 0; i < c->numAttrs; ++i)
        if (c->attrs[i].id == cudaLaunchAttributeCooperative) coop = c->attrs[i].val.cooperative;
    return go(f, c->gridDim, c->blockDim, a, c->dynamicSmemBytes, coop);
}
API cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int value) {
    return cushim::set_attribute(f, attribute, value);
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void*, int, size_t) {
    *n = 1;
    return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void*, int, size_t,
                                                                       unsigned) {
    *n = 1;
    return cudaSuccess;
}
API const char* ptxrun_last_launch() { return last_launch.c_str(); }

// The shim's functions are inline; taking their addresses makes them part of this library.
__attribute__((used)) static const void* keep[] = {(void*)(cudaError_t (*)(void**, size_t))cudaMalloc,
                                                   (void*)cudaFree,
                                                   (void*)cudaMemcpy,
                                                   (void*)cudaMemcpyAsync,
                                                   (void*)cudaMemset,
                                                   (void*)cudaMemsetAsync,
                                                   (void*)cudaDeviceSynchronize,
                                                   (void*)cudaStreamSynchronize,
                                                   (void*)cudaGetLastError,
                                                   (void*)cudaPeekAtLastError,
                                                   (void*)cudaGetErrorName,
                                                   (void*)cudaGetErrorString,
                                                   (void*)cudaDriverGetVersion,
                                                   (void*)cudaRuntimeGetVersion,
                                                   (void*)cudaGetDeviceCount,
                                                   (void*)cudaGetDevice,
                                                   (void*)cudaSetDevice,
                                                   (void*)cudaDeviceGetAttribute,
                                                   (void*)cudaGetDeviceProperties};

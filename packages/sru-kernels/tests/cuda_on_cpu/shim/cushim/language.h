#pragma once
#pragma GCC system_header

// The keywords and built-in variables of CUDA, which its headers leave to nvcc.
#if defined(__CUDACC__)
#error "cushim is for host compilers, not for nvcc"
#endif

#include <cuda_runtime_api.h>

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#include <sys/mman.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
namespace cushim {
/// Hides the shim's own bookkeeping from the race detector.
struct Quiet {
    Quiet() {
        AnnotateIgnoreReadsBegin("", 0);
        AnnotateIgnoreWritesBegin("", 0);
    }
    ~Quiet() {
        AnnotateIgnoreWritesEnd("", 0);
        AnnotateIgnoreReadsEnd("", 0);
    }
};
}  // namespace cushim
#define CUSHIM_TSAN 1
#define CUSHIM_QUIET cushim::Quiet quiet_
#else
#define CUSHIM_QUIET ((void)0)
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define CUSHIM 1  // marks code compiled with this shim instead of nvcc

#undef __shared__
#define __shared__ thread_local
#ifndef __forceinline__
#define __forceinline__ inline __attribute__((always_inline))
#endif
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __align__
#define __align__(n) __attribute__((aligned(n)))
#define CUSHIM_DYNAMIC_SMEM(name) \
    thread_local __attribute__((aligned(1024))) unsigned char name[cushim::kMaxSmem]

inline thread_local uint3 threadIdx{}, blockIdx{};
inline thread_local dim3 blockDim, gridDim;
namespace cushim {
constexpr size_t kMaxSmem = 228 * 1024;
constexpr size_t kStack = 256 * 1024;
}  // namespace cushim

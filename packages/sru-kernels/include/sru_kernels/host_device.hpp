#pragma once

#if defined(__CUDACC__)
#define SRU_KERNELS_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define SRU_KERNELS_HOST_DEVICE [[gnu::always_inline]] inline
#endif

// Headers with code are compiled once per instruction set, each build in its own namespace. Otherwise the
// linker would keep one copy of an inline function for all builds, and AVX-512 code would run on any
// processor.
#if !defined(SRU_KERNELS_VARIANT)
#define SRU_KERNELS_VARIANT baseline
#endif

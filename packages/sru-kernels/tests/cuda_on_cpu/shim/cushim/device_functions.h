#pragma once
#pragma GCC system_header

// CUDA's device functions: barriers, warp operations, loads, atomics and arithmetic.
#include "cushim/barriers.h"

static constexpr int warpSize = 32;
inline void __syncthreads() { cushim::block_sync(); }
inline int __syncthreads_or(int p) {
    CUSHIM_QUIET;
    cushim::block_sync(p);
    return cushim::B->last_or;
}
inline int __syncthreads_and(int p) {
    CUSHIM_QUIET;
    cushim::block_sync(p);
    return cushim::B->last_and;
}
inline int __syncthreads_count(int p) {
    CUSHIM_QUIET;
    cushim::block_sync(p);
    return cushim::B->last_cnt;
}
inline void __syncwarp(unsigned m = 0xffffffffu) { cushim::warp_sync(m); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __nanosleep(unsigned) {
    std::this_thread::yield();
    ++cushim::B->progress;
    cushim::B->yield();
}
namespace cushim {
inline int lane() {
    CUSHIM_QUIET;
    return B->cur->lin % 32;
}
inline void async_copy(void* to, const void* from, unsigned size, unsigned taken) {
    if (size != 4 && size != 8 && size != 16) die("cp.async of a size that is not 4, 8 or 16");
    if (taken > size) die("cp.async reads more than it writes");
    if ((uintptr_t)to % size || (taken && (uintptr_t)from % size)) die("misaligned access of cp.async");
    B->cur->copies.issue({static_cast<unsigned char*>(to), from, size, taken, {}});
}
inline void async_commit() { B->cur->copies.commit(); }
inline void async_wait(unsigned left) { B->cur->copies.wait(left); }
}  // namespace cushim
template <typename T>
T __shfl_sync(unsigned m, T v, int src, int w = 32) {
    int l = cushim::lane();
    return cushim::warp_exchange(m, v, (l & ~(w - 1)) | (src & (w - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned m, T v, int x, int w = 32) {
    int l = cushim::lane(), s = l ^ x;
    return cushim::warp_exchange(m, v, (s & ~(w - 1)) > (l | (w - 1)) - (w - 1) ? l : s);
}
template <typename T>
T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32) {
    int l = cushim::lane(), s = l + (int)d;
    return cushim::warp_exchange(m, v, s > (l | (w - 1)) ? l : s);
}
template <typename T>
T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32) {
    int l = cushim::lane(), s = l - (int)d;
    return cushim::warp_exchange(m, v, s < (l & ~(w - 1)) ? l : s);
}
inline unsigned __ballot_sync(unsigned m, int p) {
    CUSHIM_QUIET;
    unsigned r = 0;
    auto& w = cushim::B->warps[cushim::B->cur->lin / 32];
    w.slot[cushim::lane()] = p != 0;
    cushim::warp_sync(m, false);
    for (int i = 0; i < 32; ++i)
        if (m >> i & 1 && w.slot[i]) r |= 1u << i;
    cushim::warp_sync(m, false);
    return r;
}
inline int __any_sync(unsigned m, int p) { return __ballot_sync(m, p) != 0; }
inline int __all_sync(unsigned m, int p) { return __ballot_sync(m, p) == m; }
inline unsigned __activemask() { return 0xffffffffu; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }

template <typename T>
T __ldg(const T* p) {
    return *p;
}
template <typename T>
T __ldcg(const T* p) {
    return *p;
}
template <typename T>
T __ldca(const T* p) {
    return *p;
}
template <typename T>
T __ldcs(const T* p) {
    return *p;
}
template <typename T>
T __ldcv(const T* p) {
    return *static_cast<const volatile T*>(p);
}
template <typename T>
void __stcg(T* p, T v) {
    *p = v;
}
template <typename T>
void __stcs(T* p, T v) {
    *p = v;
}
template <typename T>
void __stwt(T* p, T v) {
    *p = v;
}
template <typename T, typename F>
T cushim_rmw(T* p, F f) {
    T old, want;
    __atomic_load(p, &old, __ATOMIC_SEQ_CST);
    do want = f(old);
    while (!__atomic_compare_exchange(p, &old, &want, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return old;
}
template <typename T, typename U>
T atomicAdd(T* p, U v) {
    return cushim_rmw(p, [=](T o) { return T(o + T(v)); });
}
template <typename T, typename U>
T atomicSub(T* p, U v) {
    return cushim_rmw(p, [=](T o) { return T(o - T(v)); });
}
template <typename T, typename U>
T atomicMax(T* p, U v) {
    return cushim_rmw(p, [=](T o) { return o < T(v) ? T(v) : o; });
}
template <typename T, typename U>
T atomicMin(T* p, U v) {
    return cushim_rmw(p, [=](T o) { return T(v) < o ? T(v) : o; });
}
template <typename T, typename U>
T atomicOr(T* p, U v) {
    return cushim_rmw(p, [=](T o) { return T(o | T(v)); });
}
template <typename T, typename U>
T atomicExch(T* p, U v) {
    return cushim_rmw(p, [=](T) { return T(v); });
}
template <typename T, typename U, typename V>
T atomicCAS(T* p, U c, V v) {
    return cushim_rmw(p, [=](T o) { return o == T(c) ? T(v) : o; });
}
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.f / a; }
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline float __saturatef(float x) { return x != x ? 0.f : fminf(fmaxf(x, 0.f), 1.f); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __int_as_float(int x) {
    float f;
    memcpy(&f, &x, 4);
    return f;
}
inline int __float_as_int(float x) {
    int f;
    memcpy(&f, &x, 4);
    return f;
}
inline float __uint_as_float(unsigned x) {
    float f;
    memcpy(&f, &x, 4);
    return f;
}
inline unsigned __float_as_uint(float x) {
    unsigned f;
    memcpy(&f, &x, 4);
    return f;
}
using std::max;
using std::min;

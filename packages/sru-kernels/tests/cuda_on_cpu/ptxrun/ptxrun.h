// The functions and types that translate.py uses in the C++ it generates.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>  // the shim's

#include <cfenv>
namespace ptxrun {
struct Entry {
    const char* name;
    void (*fn)(const unsigned char*);
    unsigned static_smem, max_threads;
    std::vector<std::pair<int, int>> params;
};
inline thread_local unsigned char* smem = nullptr;
inline thread_local uint32_t smem_size = 0, dyn_smem = 0;
inline thread_local uint64_t env = 0;
inline uint32_t envreg(int i) { return i == 1 ? (uint32_t)(env >> 32) : (uint32_t)env; }
inline void* sh(uint32_t a, unsigned n) {
    if (a % n) cushim::die("misaligned shared access");
    if (a + n > smem_size) cushim::die("shared access out of bounds");
    return smem + a;
}
inline uint64_t chk(uint64_t a, unsigned n) {
    if (a % n) cushim::die("misaligned access");
    return a;
}
inline int inexact = 0;  // -1 or 1: approximate results are below or above the exact ones
inline float off(float exact, int ulps) {
    if (!inexact || !std::isfinite(exact) || exact == 0 || exact == 1) return exact;
    uint32_t bits;
    memcpy(&bits, &exact, 4);
    bits += inexact * ulps;
    memcpy(&exact, &bits, 4);
    return exact;
}
inline void acq() {
    std::this_thread::yield();
    std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void rel() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void bar(uint32_t id) {
    if (id) cushim::die("named barriers are not supported");
    cushim::block_sync();
}
template <typename T, typename F>
T rmw(T* p, F f) {
    T o, w;
    __atomic_load(p, &o, 5);
    do w = f(o);
    while (!__atomic_compare_exchange(p, &o, &w, true, 5, 5));
    return o;
}
inline uint32_t shfl(uint32_t v, int src, bool ok, uint32_t m, bool& p) {
    int l = cushim::lane();
    p = ok;
    return cushim::warp_exchange(m, v, ok ? src : l);
}
inline uint32_t shfl_idx(uint32_t v, uint32_t b, uint32_t c, uint32_t m, bool& p) {
    int l = cushim::lane(), seg = c >> 8 & 31, mx = (l & seg) | (c & 31 & ~seg), mn = l & seg,
        j = mn | (b & 31 & ~seg);
    return shfl(v, j, j <= mx, m, p);
}
inline uint32_t shfl_bfly(uint32_t v, uint32_t b, uint32_t c, uint32_t m, bool& p) {
    int l = cushim::lane(), seg = c >> 8 & 31, mx = (l & seg) | (c & 31 & ~seg), j = l ^ (int)(b & 31);
    return shfl(v, j, j <= mx, m, p);
}
inline uint32_t shfl_down(uint32_t v, uint32_t b, uint32_t c, uint32_t m, bool& p) {
    int l = cushim::lane(), seg = c >> 8 & 31, mx = (l & seg) | (c & 31 & ~seg), j = l + (int)(b & 31);
    return shfl(v, j, j <= mx, m, p);
}
inline uint32_t shfl_up(uint32_t v, uint32_t b, uint32_t c, uint32_t m, bool& p) {
    int l = cushim::lane(), seg = c >> 8 & 31, mx = (l & seg) | (c & 31 & ~seg), j = l - (int)(b & 31);
    return shfl(v, j, j >= mx, m, p);
}
}  // namespace ptxrun
template <typename T, typename U>
inline T as(U u) {
    static_assert(sizeof(T) <= sizeof(U) || sizeof(T) == sizeof(U), "");
    T t;
    memcpy(&t, &u, sizeof t);
    return t;
}
template <typename R, typename T>
inline R bits(T t) {
    R r = 0;
    memcpy(&r, &t, std::min(sizeof r, sizeof t));
    return r;
}
template <typename T>
inline T ldv(const void* p) {
    T t;
    memcpy(&t, p, sizeof t);
    return t;
}
template <typename T>
inline T ldv_a(const void* p) {
    T t;
    __atomic_load((T*)p, &t, __ATOMIC_SEQ_CST);
    return t;
}
template <typename T>
inline void stv_a(void* p, T v) {
    __atomic_store((T*)p, &v, __ATOMIC_SEQ_CST);
}
template <typename F>
inline auto dir(F f, int mode) {
    int o = fegetround();
    fesetround(mode);
    asm volatile("" ::: "memory");
    auto r = f();
    volatile auto k = r;
    fesetround(o);
    return (decltype(r))k;
}
struct H {
    uint16_t x;
    operator float() const {
        __half_raw r;
        r.x = x;
        return __half2float(__half(r));
    }
};
struct BF {
    uint16_t x;
    operator float() const { return as<float>((uint32_t)x << 16); }
};
template <typename D>
struct Cvt {
    template <typename S>
    static D f(S s) {
        return (D)s;
    }
};
template <>
struct Cvt<H> {
    template <typename S>
    static H f(S s) {
        return H{__half_raw(__double2half((double)s)).x};
    }
    static H f(H s) { return s; }
};
template <>
struct Cvt<BF> {
    template <typename S>
    static BF f(S s) {
        return BF{__nv_bfloat16_raw(__double2bfloat16((double)s)).x};
    }
    static BF f(BF s) { return s; }
};
template <typename D, typename S>
inline D cvt_f(S s) {
    return Cvt<D>::f(s);
}
template <typename D, typename S>
inline D cvt_dir(S s, int mode) {
    if constexpr (std::is_same_v<D, float> || std::is_same_v<D, double>)
        return dir(
            [&] {
                volatile S k = s;
                return (D)k;
            },
            mode);
    else {
        cushim::die("directed rounding to 16 bits");
    }
}
template <typename S>
inline auto wide(S s) {
    if constexpr (std::is_same_v<S, double>)
        return s;
    else
        return (float)s;
}
template <typename S>
inline auto rnd_rni(S s) {
    return std::nearbyint(wide(s));
}
template <typename S>
inline auto rnd_rzi(S s) {
    return std::trunc(wide(s));
}
template <typename S>
inline auto rnd_rmi(S s) {
    return std::floor(wide(s));
}
template <typename S>
inline auto rnd_rpi(S s) {
    return std::ceil(wide(s));
}
template <typename D, typename S>
inline D cvt_i(S s) {
    if (s != s) return 0;
    double d = s, lo = (double)std::numeric_limits<D>::min(), hi = (double)std::numeric_limits<D>::max();
    return d <= lo ? std::numeric_limits<D>::min() : d >= hi ? std::numeric_limits<D>::max() : (D)d;
}
template <typename D, typename S>
inline D sat_i(S s) {
    __int128 v = s;
    return v < std::numeric_limits<D>::min()   ? std::numeric_limits<D>::min()
           : v > std::numeric_limits<D>::max() ? std::numeric_limits<D>::max()
                                               : (D)s;
}
template <typename T>
inline bool isnan_(T t) {
    return (double)t != (double)t;
}
template <typename T>
inline T sat(T t) {
    double d = t;
    return cvt_f<T>(d != d ? 0.0 : d < 0 ? 0.0 : d > 1 ? 1.0 : d);
}
template <typename T>
inline T ftz(T t) {
    return std::fabs((double)t) < 1.17549435e-38 && (double)t != 0 ? (T)std::copysign(T(0), t) : t;
}
// 16-bit types are computed in double and rounded once
#define PTXRUN_BIN(N, OP)                                                               \
    inline float f_##N(float a, float b) { return a OP b; }                             \
    inline double f_##N(double a, double b) { return a OP b; }                          \
    inline H f_##N(H a, H b) { return cvt_f<H>((double)(float)a OP(double)(float) b); } \
    inline BF f_##N(BF a, BF b) { return cvt_f<BF>((double)(float)a OP(double)(float) b); }
PTXRUN_BIN(add, +);
PTXRUN_BIN(sub, -);
PTXRUN_BIN(mul, *);
PTXRUN_BIN(div, /);
inline H f_fma(H a, H b, H c) { return cvt_f<H>((double)(float)a * (float)b + (float)c); }
inline BF f_fma(BF a, BF b, BF c) { return cvt_f<BF>((double)(float)a * (float)b + (float)c); }
struct H2 {
    H a, b;
};
struct BF2 {
    BF a, b;
};
#define PTXRUN_V2(T)                                                        \
    inline T f_add(T x, T y) { return {f_add(x.a, y.a), f_add(x.b, y.b)}; } \
    inline T f_sub(T x, T y) { return {f_sub(x.a, y.a), f_sub(x.b, y.b)}; } \
    inline T f_mul(T x, T y) { return {f_mul(x.a, y.a), f_mul(x.b, y.b)}; } \
    inline T f_fma(T x, T y, T z) { return {f_fma(x.a, y.a, z.a), f_fma(x.b, y.b, z.b)}; }
PTXRUN_V2(H2);
PTXRUN_V2(BF2);
#define PTXRUN_UN(N, E)                                \
    inline float f_##N(float x) { return (float)(E); } \
    inline double f_##N(double x) { return E; }        \
    inline H f_##N(H h) {                              \
        double x = (float)h;                           \
        return cvt_f<H>(E);                            \
    }                                                  \
    inline BF f_##N(BF h) {                            \
        double x = (float)h;                           \
        return cvt_f<BF>(E);                           \
    }
PTXRUN_UN(rcp, 1 / x);
PTXRUN_UN(sqrt, std::sqrt(x));
PTXRUN_UN(rsqrt, 1 / std::sqrt(x));
PTXRUN_UN(ex2, std::exp2(x));
PTXRUN_UN(lg2, std::log2(x));
PTXRUN_UN(tanh, std::tanh(x));
PTXRUN_UN(sin, std::sin(x));
PTXRUN_UN(cos, std::cos(x));
PTXRUN_UN(abs, std::fabs(x));
PTXRUN_UN(neg, -x);
template <typename T>
inline T f_min(T a, T b) {
    return isnan_(a) ? b : isnan_(b) ? a : (double)b < (double)a ? b : a;
}
template <typename T>
inline T f_max(T a, T b) {
    return isnan_(a) ? b : isnan_(b) ? a : (double)a < (double)b ? b : a;
}
template <typename T>
inline T f_min_nan(T a, T b) {
    return isnan_(a) ? a : isnan_(b) ? b : f_min(a, b);
}
template <typename T>
inline T f_max_nan(T a, T b) {
    return isnan_(a) ? a : isnan_(b) ? b : f_max(a, b);
}
template <typename T>
inline T i_div(T a, T b) {
    if (!b) return (T)-1;
    if (std::is_signed<T>::value && b == (T)-1) return (T)(0 - (std::make_unsigned_t<T>)a);
    return a / b;
}
template <typename T>
inline T i_rem(T a, T b) {
    if (!b) return a;
    if (std::is_signed<T>::value && b == (T)-1) return 0;
    return a % b;
}
inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, unsigned t) {
    uint32_t r = 0;
    for (int i = 0; i < 8; ++i)
        if (t >> i & 1) r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return r;
}
inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t s) {
    uint64_t x = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; ++i) {
        unsigned k = s >> 4 * i & 15, v = x >> 8 * (k & 7) & 255;
        if (k & 8) v = v & 128 ? 255 : 0;
        r |= v << 8 * i;
    }
    return r;
}
template <typename T>
inline T bfi(T a, T b, uint32_t pos, uint32_t len) {
    pos &= 255;
    len &= 255;
    T m = len >= 8 * sizeof(T) ? ~T(0) : (T(1) << len) - 1;
    if (pos >= 8 * sizeof(T)) return b;
    m <<= pos;
    return (b & ~m) | ((a << pos) & m);
}
template <typename T>
inline T bfe(T a, uint32_t pos, uint32_t len) {
    pos &= 255;
    len &= 255;
    if (!len) return 0;
    T r = 0;
    constexpr unsigned w = 8 * sizeof(T);
    bool s = std::is_signed<T>::value && (a >> std::min(pos + len - 1, w - 1) & 1);
    for (unsigned i = 0; i < w; ++i) {
        bool b = i < len && pos + i < w ? (a >> (pos + i) & 1) : s;
        if (b) r |= (T)((std::make_unsigned_t<T>)1 << i);
    }
    return r;
}
inline uint32_t brev(uint32_t x) {
    uint32_t r = 0;
    for (int i = 0; i < 32; ++i) r |= (x >> i & 1) << (31 - i);
    return r;
}
inline uint32_t bfindu(uint64_t x, bool shift, unsigned w) {
    if (!x) return 0xffffffffu;
    unsigned k = 63 - __builtin_clzll(x);
    return shift ? w - 1 - k : k;
}
inline uint32_t bfind(int64_t x, unsigned w, bool shift) {
    return bfindu(x < 0 ? ~(uint64_t)x & (w == 64 ? ~0ull : (1ull << w) - 1) : (uint64_t)x, shift, w);
}

#pragma once
#pragma GCC system_header

// Matrix products with operands distributed over the lanes of a warp as in the PTX manual ("Matrix Fragments
// for mma.m16n8k16", "... mma.m16n8k8"). Sums are computed in double and rounded once; a GPU rounds more
// often.
#include <array>
#include <cstdint>
#include <cstring>

#include "cushim/device_functions.h"

namespace cushim {

constexpr uint32_t kWholeWarp = 0xffffffffu;

/// Returns the values passed by all lanes of the warp.
template <typename T>
std::array<T, 32> warp_gather(const T& mine) {
    static_assert(sizeof(T) <= sizeof(Warp::fragments[0]));
    CUSHIM_QUIET;
    auto& fragments = B->warps[B->cur->lin / 32].fragments;
    memcpy(fragments[B->cur->lin % 32], &mine, sizeof(T));
    warp_sync(kWholeWarp, false);
    std::array<T, 32> all;
    for (int i = 0; i < 32; ++i) memcpy(&all[i], fragments[i], sizeof(T));
    warp_sync(kWholeWarp, false);
    return all;
}

struct Operands {
    uint32_t a[4], b[2];
};

/// d = a b + c. A lane holds rows lane / 4 and lane / 4 + 8 and columns 2 (lane % 4) and 2 (lane % 4) + 1 of
/// d. `a_at(row, k)` and `b_at(k, column)` return the elements of the operands.
template <int depth, typename A, typename Bs>
void accumulate(float (&d)[4], const float (&c)[4], A a_at, Bs b_at) {
    const int lane = cushim::lane();
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = c[i];
        for (int k = 0; k < depth; ++k) sum += static_cast<double>(a_at(row, k)) * b_at(k, column);
        d[i] = static_cast<float>(sum);
    }
}

/// mma.sync.aligned.m16n8k16.row.col.f32.H.H.f32, where H is __half or __nv_bfloat16.
template <typename H>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    Operands mine;
    memcpy(mine.a, a, sizeof(a));
    memcpy(mine.b, b, sizeof(b));
    const auto all = warp_gather(mine);
    const auto half = [](uint32_t pair, int k) {
        const auto bits = static_cast<uint16_t>(pair >> k % 2 * 16);
        H value;
        memcpy(&value, &bits, sizeof(bits));
        return static_cast<float>(value);
    };
    accumulate<16>(
        d, c, [&](int row, int k) { return half(all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k); },
        [&](int k, int column) { return half(all[column * 4 + k % 8 / 2].b[k / 8], k); });
}

/// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32, which ignores the last 13 bits of the operands.
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             const float (&c)[4]) {
    Operands mine;
    memcpy(mine.a, a, sizeof(a));
    memcpy(mine.b, b, sizeof(b));
    const auto all = warp_gather(mine);
    const auto tf32 = [](uint32_t bits) {
        bits &= ~0x1fffu;
        float value;
        memcpy(&value, &bits, sizeof(bits));
        return value;
    };
    accumulate<8>(
        d, c, [&](int row, int k) { return tf32(all[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2]); },
        [&](int k, int column) { return tf32(all[column * 4 + k % 4].b[k / 4]); });
}

/// cvt.rna.tf32.f32: the bits of the nearest number with a 10-bit mantissa, ties away from zero.
inline uint32_t to_tf32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
    return is_finite ? (bits + 0x1000u) & ~0x1fffu : bits;
}

/// ldmatrix.sync.aligned.m8n8: `n` matrices of 8 rows of 16 bytes in shared memory. Lane 8 j + i passes the
/// address of row i of matrix j; each lane gets two adjacent elements of row lane / 4, or of that column if
/// `transposed`.
template <int n, bool transposed>
void ldmatrix(uint32_t (&r)[n], const void* row) {
    if ((uintptr_t)row % 16) die("misaligned row of ldmatrix");
    const auto rows = warp_gather(row);
    const int lane = cushim::lane(), outer = lane / 4, inner = lane % 4 * 2;
    for (int j = 0; j < n; ++j) {
        uint16_t pair[2];
        for (int k = 0; k < 2; ++k) {
            const auto from = transposed ? rows[8 * j + inner + k] : rows[8 * j + outer];
            memcpy(&pair[k], static_cast<const uint16_t*>(from) + (transposed ? outer : inner + k), 2);
        }
        memcpy(&r[j], pair, sizeof(pair));
    }
}

}  // namespace cushim

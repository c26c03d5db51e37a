#pragma once
#pragma GCC system_header

// The barriers of a warp, of a block and of a cooperative launch.
#include <cstdint>
#include <cstring>

#include "cushim/block.h"

namespace cushim {

inline void block_sync(int pred = 0) {
    asm volatile("" ::: "memory");
    CUSHIM_QUIET;
    Block* b = B;
    unsigned g = b->bar.gen;
    ++b->progress;
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&b->bar.sync[g & 1]);
#endif
    b->acc_or |= pred != 0;
    b->acc_and &= pred != 0;
    b->acc_cnt += pred != 0;
    if (++b->bar.count == b->alive) b->release();
    while (b->bar.gen == g) b->yield();
    asm volatile("" ::: "memory");
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&b->bar.sync[g & 1]);
#endif
}
/// Waits for the lanes of the mask. Shuffles and votes wait too, but do not order memory.
inline void warp_sync(uint32_t mask, bool orders_memory = true) {
    asm volatile("" ::: "memory");
    CUSHIM_QUIET;
    Block* b = B;
    Warp& w = b->warps[b->cur->lin / 32];
    unsigned lane = b->cur->lin % 32;
    unsigned in_block = b->nthreads - (b->cur->lin & ~31u);
    if (in_block < 32) mask &= (1u << in_block) - 1;
    if (!(mask >> lane & 1)) die("calling lane is not in the mask of a *_sync warp operation");
    if (mask & w.exited) die("a lane in the mask of a *_sync warp operation has exited");
    Bar& r = w.bars[mask];
    unsigned g = r.gen;
    ++b->progress;
#if defined(__SANITIZE_THREAD__)
    if (orders_memory) __tsan_release(&r.sync[g & 1]);
#endif
    if (++r.count == (unsigned)__builtin_popcount(mask)) {
        r.count = 0;
        ++r.gen;
        const unsigned first = b->cur->lin & ~31u;
        if (orders_memory)
            for (unsigned i = 0; i < 32; ++i)
                if (mask >> i & 1) b->publish(first + i, first + i + 1);
    } else
        while (r.gen == g) {
            if (mask & w.exited) die("a lane in the mask of a *_sync warp operation has exited");
            b->yield();
        }
#if defined(__SANITIZE_THREAD__)
    if (orders_memory) __tsan_acquire(&r.sync[g & 1]);
#endif
}
inline void grid_sync() {
    CUSHIM_QUIET;
    Block* b = B;
    if (!b->gridbar) die("grid sync in a launch that is not cooperative");
    block_sync();
    if (b->cur->lin == 0) b->gridbar->wait();
    block_sync();
}
template <typename T>
T warp_exchange(uint32_t mask, T v, int src) {
    static_assert(sizeof(T) <= 8, "shuffle of more than 8 bytes");
    CUSHIM_QUIET;
    Warp& w = B->warps[B->cur->lin / 32];
    unsigned lane = B->cur->lin % 32;
    uint64_t raw = 0;
    memcpy(&raw, &v, sizeof(T));
    w.slot[lane] = raw;
    warp_sync(mask, false);
    T r;
    if (mask >> src & 1)
        memcpy(&r, &w.slot[src], sizeof(T));
    else
        memset(&r, 0xff, sizeof(T));  // undefined on hardware
    warp_sync(mask, false);
    return r;
}

}  // namespace cushim

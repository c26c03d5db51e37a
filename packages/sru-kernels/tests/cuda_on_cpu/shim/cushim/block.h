#pragma once
#pragma GCC system_header

// One OS thread runs a block; each of its CUDA threads is a fiber that the sanitizers know of.
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "cushim/async_copy.h"
#include "cushim/language.h"
#include "cushim/machine.h"

namespace cushim {

[[noreturn]] inline void die(const char* why);

struct GridBar {  // a barrier for the OS threads, that is the blocks, of a cooperative launch
    std::mutex m;
    std::condition_variable cv;
    unsigned n = 0, count = 0, gen = 0;
    void wait() {
        std::unique_lock<std::mutex> l(m);
        unsigned g = gen;
        if (++count == n) {
            count = 0;
            ++gen;
            cv.notify_all();
        } else
            cv.wait(l, [&] { return gen != g; });
    }
};

struct Bar {
    unsigned count = 0, gen = 0;
    char sync[2];
};
struct Launch {
    char begin = 0, end = 0;
};
struct Warp {
    uint64_t slot[32];
    unsigned char fragments[32][24];
    uint32_t exited = 0;
    std::map<uint32_t, Bar> bars;
};

#if defined(CUSHIM_TSAN)
struct StackFree {
    void operator()(char* p) const { munmap(p, kStack); }
};
inline char* new_stack() {
    return (char*)mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
}
#else
struct StackFree {
    void operator()(char* p) const { delete[] p; }
};
inline char* new_stack() { return new char[kStack]; }
#endif
struct Fiber {
    ucontext_t ctx{};
    std::unique_ptr<char[], StackFree> stack;
    bool done = true;
    uint3 tid{};
    unsigned lin = 0;
    Copies copies;
    void* tsan = nullptr;
    void* fake = nullptr;
};

struct Block {
    uint3 bid{};
    dim3 bdim, gdim;
    GridBar* gridbar = nullptr;
    Launch* launch = nullptr;
    const std::function<void()>* body = nullptr;
    const std::function<void(int)>* hook = nullptr;
    unsigned nthreads = 0, alive = 0;
    Bar bar;
    unsigned last_or = 0, acc_or = 0, acc_and = 1, last_and = 1, acc_cnt = 0, last_cnt = 0;
    std::vector<Warp> warps;
    std::vector<std::unique_ptr<Fiber>> fibers;
    Fiber* cur = nullptr;
    ucontext_t main{};
    uint64_t progress = 0;
    void* main_tsan = nullptr;
    void* main_fake = nullptr;
    const void* main_bottom = nullptr;
    size_t main_size = 0;
    void run();
    void yield();

    /// Called when all threads have arrived at the barrier of the block.
    void release() {
        bar.count = 0;
        ++bar.gen;
        last_or = std::exchange(acc_or, 0);
        last_and = std::exchange(acc_and, 1);
        last_cnt = std::exchange(acc_cnt, 0);
        publish(0, nthreads);
    }

    /// Makes the copies of some threads visible to all.
    void publish(unsigned first, unsigned end) {
        for (unsigned i = first; i < end; ++i) fibers[i]->copies.publish(fibers[i].get() != cur);
    }
};
inline thread_local Block* B = nullptr;

inline void die(const char* why) {
    fprintf(stderr, "cushim: %s at block (%u,%u,%u) thread (%u,%u,%u)\n", why, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    abort();
}

inline void entry() {
    Block* b = B;
    Fiber* f = b->cur;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &b->main_bottom, &b->main_size);
#endif
#if defined(CUSHIM_TSAN)
    __tsan_acquire(&b->launch->begin);
#endif
    (*b->body)();
    {
        CUSHIM_QUIET;
        f->done = true;
        f->copies = {};
        --b->alive;
        ++b->progress;
        b->warps[f->lin / 32].exited |= 1u << (f->lin % 32);
        if (b->bar.count && b->bar.count == b->alive) b->release();  // exited threads count as arrived
    }
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&b->launch->end);
    __tsan_switch_to_fiber(b->main_tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(nullptr, b->main_bottom, b->main_size);
#endif
    setcontext(&b->main);
}

inline void Block::yield() {
    Fiber* f = cur;
    f->copies.hide();
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(main_tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&f->fake, main_bottom, main_size);
#endif
    swapcontext(&f->ctx, &main);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->fake, &main_bottom, &main_size);
#endif
    f->copies.show();
}

inline void Block::run() {
    CUSHIM_QUIET;
    B = this;
    blockIdx = bid;
    blockDim = bdim;
    gridDim = gdim;
    nthreads = alive = bdim.x * bdim.y * bdim.z;
    bar = Bar{};
    warps.assign((nthreads + 31) / 32, Warp{});
    if (fibers.size() < nthreads) fibers.resize(nthreads);
    if (hook) (*hook)(1);  // called with 1 before the block and with 0 after it
    std::vector<unsigned> order(nthreads);
    for (unsigned i = 0; i < nthreads; ++i) order[i] = i;
    const unsigned seed = setting("CUSHIM_SEED", 0);
    std::mt19937 rng(seed * 7919 + bid.x + 131 * bid.y);
#if defined(__SANITIZE_THREAD__)
    main_tsan = __tsan_get_current_fiber();
#endif
    // A thread that never blocks passes its stack to the next one: elementwise kernels need a single stack.
    std::vector<std::unique_ptr<char[], StackFree>> spare;
    bool first = true;
    while (alive) {
        if (seed) std::shuffle(order.begin(), order.end(), rng);
        uint64_t before = progress;
        for (unsigned i : order) {
            auto& p = fibers[i];
            if (first) {
                if (!p) p = std::make_unique<Fiber>();
                Fiber* f = p.get();
                f->done = false;
                f->lin = i;
                f->tid = uint3{i % bdim.x, i / bdim.x % bdim.y, i / (bdim.x * bdim.y)};
                if (!f->stack) {
                    if (!spare.empty()) {
                        f->stack = std::move(spare.back());
                        spare.pop_back();
                    } else
                        f->stack.reset(new_stack());
                }
                getcontext(&f->ctx);
                f->ctx.uc_stack.ss_sp = f->stack.get();
                f->ctx.uc_stack.ss_size = kStack;
                f->ctx.uc_link = nullptr;
                makecontext(&f->ctx, entry, 0);
#if defined(__SANITIZE_THREAD__)
                f->tsan = __tsan_create_fiber(0);
#endif
            }
            Fiber* f = p.get();
            if (f->done) continue;
            cur = f;
            threadIdx = f->tid;
#if defined(__SANITIZE_ADDRESS__)
            __sanitizer_start_switch_fiber(&main_fake, f->stack.get(), kStack);
#endif
#if defined(__SANITIZE_THREAD__)
            __tsan_switch_to_fiber(f->tsan, __tsan_switch_to_fiber_no_sync);
#endif
            swapcontext(&main, &f->ctx);
#if defined(__SANITIZE_ADDRESS__)
            __sanitizer_finish_switch_fiber(main_fake, nullptr, nullptr);
#endif
            if (f->done) {
#if defined(CUSHIM_TSAN)
                __tsan_destroy_fiber(
                    f->tsan);  // its stack is not reused, which would look like a race or hide one
#else
                if (f->stack) spare.push_back(std::move(f->stack));
#endif
            }
        }
        if (!first && progress == before && alive)
            die("deadlock: the threads of the block wait at barriers that cannot complete");
        first = false;
    }
    if (hook) (*hook)(0);
    B = nullptr;
}

}  // namespace cushim

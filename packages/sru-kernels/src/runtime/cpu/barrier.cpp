#include "runtime/cpu/barrier.hpp"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace sru_kernels::cpu {
namespace {

/// How often a thread looks before it offers its processor, and how often it does that before it sleeps. Some
/// microseconds and some tens of them: waking a thread takes longer.
constexpr int glances = 256, offers = 64;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

struct alignas(64) Barriers::Barrier {
    std::atomic<int> arrived{0};
    std::atomic<unsigned> round{0};  // how often all have passed
    std::mutex mutex;
    std::condition_variable passed;

    bool has_passed(unsigned before) const { return round.load(std::memory_order_acquire) != before; }

    void open() {
        arrived.store(0, std::memory_order_relaxed);
        {
            // Not between a sleeper's last look and its sleep.
            const std::lock_guard<std::mutex> lock(mutex);
            round.fetch_add(1, std::memory_order_release);
        }
        passed.notify_all();
    }

    void sleep_until_passed(unsigned before) {
        for (int i = 0; i < glances; ++i) {
            if (has_passed(before)) return;
            pause();
        }
        for (int i = 0; i < offers; ++i) {
            sched_yield();
            if (has_passed(before)) return;
        }
        std::unique_lock<std::mutex> lock(mutex);
        passed.wait(lock, [&] { return has_passed(before); });
    }
};

Barriers::Barriers(int count) : barriers_(new Barrier[static_cast<unsigned>(count)]) {}

Barriers::~Barriers() { delete[] barriers_; }

void Barriers::wait(int barrier, int threads) const {
    if (threads == 1) return;
    Barrier& here = barriers_[barrier];
    const unsigned before = here.round.load(std::memory_order_relaxed);
    if (here.arrived.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
        here.open();
    } else {
        here.sleep_until_passed(before);
    }
}

}  // namespace sru_kernels::cpu

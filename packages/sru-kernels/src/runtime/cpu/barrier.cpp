#include "runtime/cpu/barrier.hpp"

#include <pthread.h>
#include <sched.h>

#include <atomic>

namespace sru_kernels::cpu {
namespace {

/// How many times a thread polls before it yields its processor, and yields before it sleeps: several
/// microseconds, then several tens of microseconds. Waking a thread takes longer.
constexpr int glances = 256, offers = 64;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

// Sleeping uses POSIX: with std::condition_variable, wheels would require the libstdc++ of GCC 12.
struct alignas(64) Barriers::Barrier {
    std::atomic<int> arrived{0};
    std::atomic<unsigned> round{0};  // how many times all have passed
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t passed = PTHREAD_COND_INITIALIZER;

    ~Barrier() {
        pthread_cond_destroy(&passed);
        pthread_mutex_destroy(&mutex);
    }

    bool has_passed(unsigned before) const { return round.load(std::memory_order_acquire) != before; }

    void open() {
        arrived.store(0, std::memory_order_relaxed);
        // Locked, so that this cannot happen between a sleeper's last poll and its sleep.
        pthread_mutex_lock(&mutex);
        round.fetch_add(1, std::memory_order_release);
        pthread_mutex_unlock(&mutex);
        pthread_cond_broadcast(&passed);
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
        pthread_mutex_lock(&mutex);
        while (!has_passed(before)) pthread_cond_wait(&passed, &mutex);
        pthread_mutex_unlock(&mutex);
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

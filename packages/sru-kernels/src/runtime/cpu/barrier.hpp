#pragma once

// Barriers for the threads of a team. Compiled once, not per instruction set.
namespace sru_kernels::cpu {

/// A set of reusable barriers.
///
/// A thread spins for several microseconds, because the others are about to arrive, then yields its processor
/// to other processes, and finally sleeps. OpenMP's own barriers spin for milliseconds, which takes the
/// processor from the very thread they wait for if there are more threads than processors.
class Barriers {
 public:
    explicit Barriers(int count);
    ~Barriers();
    Barriers(const Barriers&) = delete;
    Barriers& operator=(const Barriers&) = delete;

    /// Returns when `threads` threads have called it for this barrier. Their earlier writes are then visible.
    void wait(int barrier, int threads) const;

 private:
    struct Barrier;
    Barrier* const barriers_;
};

}  // namespace sru_kernels::cpu

#pragma once

// Where threads of a team wait for each other. Compiled once, not per instruction set.
namespace sru_kernels::cpu {

/// Some barriers that threads pass again and again.
///
/// A thread spins for some microseconds, as those beside it are about to arrive, then offers its processor to
/// other processes, and in the end sleeps. OpenMP's own barriers spin for milliseconds, which takes the
/// processor from the very thread that is waited for where there are more threads than processors.
class Barriers {
 public:
    explicit Barriers(int count);
    ~Barriers();
    Barriers(const Barriers&) = delete;
    Barriers& operator=(const Barriers&) = delete;

    /// Returns when `threads` threads have called it for this barrier. What they wrote before is then
    /// visible.
    void wait(int barrier, int threads) const;

 private:
    struct Barrier;
    Barrier* const barriers_;
};

}  // namespace sru_kernels::cpu

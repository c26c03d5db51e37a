#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "runtime/cpu/vectors.hpp"
#include "sru_kernels/types.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

inline Index rounded_up(Index size, Index to) { return (size + to - 1) / to * to; }

/// Working memory, one piece per thread. It is allocated before the threads start, because an exception in
/// one of them would end the process.
template <typename A>
class WorkSpace {
 public:
    WorkSpace(Index size, int num_threads)
        : size_(rounded_up(size, alignment / Index{sizeof(A)})),
          memory_(static_cast<A*>(::operator new(bytes(num_threads), std::align_val_t{alignment}))) {}
    ~WorkSpace() { ::operator delete(memory_, std::align_val_t{alignment}); }
    WorkSpace(const WorkSpace&) = delete;
    WorkSpace& operator=(const WorkSpace&) = delete;

    A* of_thread(Index thread) const { return memory_ + thread * size_; }

 private:
    static constexpr Index alignment = 64;

    std::size_t bytes(int num_threads) const {
        std::size_t result = 0;
        const bool overflows =
            __builtin_mul_overflow(static_cast<std::size_t>(size_) * sizeof(A), num_threads, &result);
        return overflows ? SIZE_MAX : result;
    }

    const Index size_;
    A* const memory_;
};

/// Divides a thread's memory into pieces of whole vectors. If `memory` is null, only counts.
template <typename A>
struct Pieces {
    A* memory;
    Index used = 0;

    A* take(Index size) {
        A* piece = memory == nullptr ? nullptr : memory + used;
        used += rounded_up(size, Vector<A>::size);
        return piece;
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

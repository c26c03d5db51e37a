#pragma once

#include "runtime/cpu/instruction_set.hpp"

namespace sru_kernels::cpu {

/// The builds of the kernel that takes `Args`. The file `cpu_*.cpp` of its cell is compiled once per
/// instruction set and defines the one that SRU_KERNELS_VARIANT names.
///
/// A kernel runs on up to `num_threads` threads, and its results do not depend on how many. Before it writes
/// anything it throws std::bad_alloc if it cannot allocate working memory, and std::invalid_argument if
/// offsets are wrong.
template <typename Args>
struct Builds {
    static void baseline(const Args& args, int num_threads);
    static void avx2(const Args& args, int num_threads);
    static void avx512(const Args& args, int num_threads);
};

/// Runs a kernel with the instruction set of `instruction_set()`.
template <typename Args>
void run(const Args& args, int num_threads) {
#if defined(SRU_KERNELS_X86_VARIANTS)
    const InstructionSet set = instruction_set();
    if (set >= InstructionSet::avx512) return Builds<Args>::avx512(args, num_threads);
    if (set == InstructionSet::avx2) return Builds<Args>::avx2(args, num_threads);
#endif
    Builds<Args>::baseline(args, num_threads);
}

}  // namespace sru_kernels::cpu

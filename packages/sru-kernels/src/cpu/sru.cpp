#include "sru_kernels/cpu/sru.hpp"

#include "sru_kernels/cpu/instruction_set.hpp"
#include "sru_variants.hpp"

namespace sru_kernels::cpu {

void sru_forward(const SruForward& args, int num_threads) {
#if defined(SRU_KERNELS_X86_VARIANTS)
    const InstructionSet set = instruction_set();
    if (set == InstructionSet::avx512) return avx512::sru::run_forward(args, num_threads);
    if (set == InstructionSet::avx2) return avx2::sru::run_forward(args, num_threads);
#endif
    baseline::sru::run_forward(args, num_threads);
}

void sru_backward(const SruBackward& args, int num_threads) {
#if defined(SRU_KERNELS_X86_VARIANTS)
    const InstructionSet set = instruction_set();
    if (set == InstructionSet::avx512) return avx512::sru::run_backward(args, num_threads);
    if (set == InstructionSet::avx2) return avx2::sru::run_backward(args, num_threads);
#endif
    baseline::sru::run_backward(args, num_threads);
}

void sru_step(const SruStep& args, int num_threads) {
#if defined(SRU_KERNELS_X86_VARIANTS)
    const InstructionSet set = instruction_set();
    if (set == InstructionSet::avx512) return avx512::sru::run_step(args, num_threads);
    if (set == InstructionSet::avx2) return avx2::sru::run_step(args, num_threads);
#endif
    baseline::sru::run_step(args, num_threads);
}

}  // namespace sru_kernels::cpu

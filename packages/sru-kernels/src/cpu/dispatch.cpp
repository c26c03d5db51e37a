#include "kernels.hpp"
#include "sru_kernels/cpu/gated_linear.hpp"
#include "sru_kernels/cpu/instruction_set.hpp"
#include "sru_kernels/cpu/sru.hpp"

namespace sru_kernels {

// One for each build of the loops.
namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

namespace cpu {
namespace {

const Kernels& kernels() {
#if defined(SRU_KERNELS_X86_VARIANTS)
    const InstructionSet set = instruction_set();
    if (set == InstructionSet::avx512) return avx512::kernels;
    if (set == InstructionSet::avx2) return avx2::kernels;
#endif
    return baseline::kernels;
}

}  // namespace

void sru_forward(const SruForward& args, int num_threads) { kernels().sru_forward(args, num_threads); }

void sru_backward(const SruBackward& args, int num_threads) { kernels().sru_backward(args, num_threads); }

void sru_step(const SruStep& args, int num_threads) { kernels().sru_step(args, num_threads); }

void gated_linear_forward(const GatedLinearForward& args, int num_threads) {
    kernels().gated_linear_forward(args, num_threads);
}

void gated_linear_backward(const GatedLinearBackward& args, int num_threads) {
    kernels().gated_linear_backward(args, num_threads);
}

}  // namespace cpu
}  // namespace sru_kernels

#include "runtime/cpu/instruction_set.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace sru_kernels::cpu {
namespace {

constexpr const char* variable = "SRU_KERNELS_INSTRUCTION_SET";

InstructionSet choose_instruction_set() {
    const InstructionSet widest = detect_instruction_set();
    const char* wanted = std::getenv(variable);
    if (wanted == nullptr || *wanted == '\0') return widest;
    for (const auto set : {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512}) {
        if (to_string(set) != wanted) continue;
        if (set <= widest) return set;
        throw std::invalid_argument(std::string(variable) + ": this processor has no " + wanted +
                                    "; the widest set it runs is " + std::string(to_string(widest)));
    }
    throw std::invalid_argument(std::string(variable) + " must be baseline, avx2 or avx512, got \"" + wanted +
                                "\"; unset it to use the widest set of this processor");
}

#if defined(__x86_64__)
/// Asks the processor itself, because __builtin_cpu_supports of Clang 14 does not know F16C.
bool has_f16c() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

}  // namespace

InstructionSet detect_instruction_set() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512) return InstructionSet::avx512;
    if (avx2) return InstructionSet::avx2;
#endif
    return InstructionSet::baseline;
}

InstructionSet instruction_set() {
    static const InstructionSet chosen = choose_instruction_set();
    return chosen;
}

std::string_view to_string(InstructionSet set) {
    constexpr std::string_view names[] = {"baseline", "avx2", "avx512"};
    return names[static_cast<int>(set)];
}

}  // namespace sru_kernels::cpu

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
    for (const auto set : {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512,
                           InstructionSet::avx512_bf16}) {
        if (to_string(set) != wanted) continue;
        if (set <= widest) return set;
        throw std::invalid_argument(std::string(variable) + ": this processor has no " + wanted +
                                    "; the widest set it runs is " + std::string(to_string(widest)));
    }
    throw std::invalid_argument(std::string(variable) +
                                " must be baseline, avx2, avx512 or avx512_bf16, got \"" + wanted +
                                "\"; unset it to use the widest set of this processor");
}

#if defined(__x86_64__)
/// The registers that the operating system saves in a context switch, as bits of XCR0.
unsigned saved_registers() {
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool has_all(unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; }
#endif

}  // namespace

InstructionSet detect_instruction_set() {
#if defined(__x86_64__)
    // Not __builtin_cpu_supports: Clang 14's does not know F16C, and Zig's always returns false.
    constexpr unsigned of_avx2 = bit_FMA | bit_F16C | bit_OSXSAVE | bit_AVX;
    constexpr unsigned of_avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    constexpr unsigned ymm = 0x06, zmm = 0xe6;  // XMM and YMM; also the masks and all of ZMM
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    const bool avx2 = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && has_all(ecx, of_avx2) &&
                      __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && has_all(ebx, bit_AVX2) &&
                      has_all(saved_registers(), ymm);
    if (!avx2) return InstructionSet::baseline;
    const bool avx512 = has_all(ebx, of_avx512) && has_all(saved_registers(), zmm);
    if (!avx512) return InstructionSet::avx2;
    constexpr unsigned of_bf16 = 1U << 5;
    const bool bf16 =
        eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && has_all(eax, of_bf16);
    return bf16 ? InstructionSet::avx512_bf16 : InstructionSet::avx512;
#else
    return InstructionSet::baseline;
#endif
}

InstructionSet instruction_set() {
    static const InstructionSet chosen = choose_instruction_set();
    return chosen;
}

std::string_view to_string(InstructionSet set) {
    constexpr std::string_view names[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
    return names[static_cast<int>(set)];
}

}  // namespace sru_kernels::cpu

#pragma once

#include <string_view>

namespace sru_kernels::cpu {

/// The vector instructions that the kernels are built for, narrowest first.
enum class InstructionSet { baseline, avx2, avx512, avx512_bf16 };

/// Returns the widest set that this processor and this operating system both support.
///
/// `avx2` includes FMA and F16C, `avx512` adds F, BW, DQ and VL, and `avx512_bf16` adds bfloat16 products,
/// which few kernels use; the others run their `avx512` build. Processors other than x86-64 report
/// `baseline`; if their vectors (NEON) are part of the architecture, the compiler uses them anyway.
InstructionSet detect_instruction_set();

/// Returns the set that the kernels use: the widest, or the one named by SRU_KERNELS_INSTRUCTION_SET.
///
/// The variable is read once, at the first successful call. Throws std::invalid_argument if its value is
/// unknown or names a set that this processor lacks.
InstructionSet instruction_set();

/// The name users see: "baseline", "avx2", "avx512" or "avx512_bf16".
std::string_view to_string(InstructionSet set);

}  // namespace sru_kernels::cpu

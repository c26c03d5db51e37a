#pragma once

#include <cstdint>
#include <type_traits>

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/math.hpp"
#include "sru_kernels/types.hpp"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

// Conversions of 16-bit numbers in integer arithmetic, which vectorises for every instruction set. GPUs use
// their own instructions.
namespace sru_kernels::SRU_KERNELS_VARIANT {

/// The bits of an IEEE 754 binary16. An enum, because compilers do not vectorise loops over structs.
enum class Half : std::uint16_t {};

/// The bits of the upper half of a float32.
enum class BFloat16 : std::uint16_t {};

/// The type of states and sums, by storage type.
template <typename S>
using AccumulationType = std::conditional_t<std::is_same_v<S, double>, double, float>;

SRU_KERNELS_HOST_DEVICE float load(float value) { return value; }
SRU_KERNELS_HOST_DEVICE double load(double value) { return value; }
SRU_KERNELS_HOST_DEVICE float load(std::int8_t value) { return static_cast<float>(value); }

SRU_KERNELS_HOST_DEVICE float load(BFloat16 value) {
    return bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

SRU_KERNELS_HOST_DEVICE float load(Half value) {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(static_cast<unsigned short>(value)));
#else
    const auto bits = static_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    const std::uint32_t magnitude = (bits & 0x7fffU) << 13;
    // The exponent biases differ by 112; multiplying by 2^112 also converts subnormals.
    const std::uint32_t finite = bit_cast<std::uint32_t>(bit_cast<float>(magnitude) * 0x1p112F);
    const std::uint32_t rest = magnitude < 0x0f800000U ? finite : (magnitude | 0x7f800000U);
    return bit_cast<float>(sign | rest);
#endif
}

template <typename S>
SRU_KERNELS_HOST_DEVICE S store(AccumulationType<S> value) {
    return value;
}

/// Rounds to nearest, ties to even. NaN becomes quiet and keeps its sign, except on a GPU.
template <>
SRU_KERNELS_HOST_DEVICE BFloat16 store<BFloat16>(float value) {
#if defined(__CUDA_ARCH__)
    return static_cast<BFloat16>(__bfloat16_as_ushort(__float2bfloat16_rn(value)));
#else
    const auto bits = bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    const std::uint32_t nan = (bits >> 16) | 0x40U;
    return static_cast<BFloat16>((bits & 0x7fffffffU) > 0x7f800000U ? nan : rounded);
#endif
}

/// Rounds to nearest, ties to even. 65520 and above become infinite; NaN as above.
template <>
SRU_KERNELS_HOST_DEVICE Half store<Half>(float value) {
#if defined(__CUDA_ARCH__)
    return static_cast<Half>(__half_as_ushort(__float2half_rn(value)));
#else
    const auto bits = bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7fffffffU;
    // The last bit of 0.5 is 2^-24, the smallest half: adding 0.5 rounds to a multiple of it.
    const std::uint32_t subnormal = bit_cast<std::uint32_t>(bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
    const std::uint32_t normal = (magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
    const std::uint32_t finite = magnitude < 0x38800000U ? subnormal : normal;
    const std::uint32_t rest = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
    const std::uint32_t result = magnitude < 0x47800000U ? finite : rest;
    return static_cast<Half>((bits >> 16 & 0x8000U) | result);
#endif
}

/// Calls `visit` with a value of the storage type.
template <typename Visit>
void dispatch_storage(DType dtype, const Visit& visit) {
    switch (dtype) {
        case DType::float32:
            return visit(float{});
        case DType::float64:
            return visit(double{});
        case DType::float16:
            return visit(Half{});
        case DType::bfloat16:
            return visit(BFloat16{});
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

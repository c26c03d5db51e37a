#pragma once

#include <cstdint>

namespace sru_kernels {

using Index = std::int64_t;

/// How inputs, outputs and their gradients are stored. States and sums are float32, or float64 for float64.
enum class DType : std::int8_t { float32, float64, float16, bfloat16 };

/// An elementwise function; each cell supports some of them.
enum class Activation : std::int8_t { identity, tanh, relu, sin, leaky_relu };

}  // namespace sru_kernels

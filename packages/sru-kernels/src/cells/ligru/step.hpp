#pragma once

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/math.hpp"
#include "sru_kernels/types.hpp"

// One time step of one column of the light GRU, forward and backward (Ravanelli et al., 2018, section III):
//
//   z = σ(s_z)     h = z h' + (1 − z) g(s_h) m        s = u + p are the sums before σ and g, h' is the state
//                                                     before the step, m the dropout mask
//
// p is U h', or w (U h' − mean) / deviation + b in the stabilised light GRU (Moumen and Parcollet, 2023,
// section 3).
namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {

/// The arguments of g and σ in a column.
template <typename A>
struct Sums {
    A h, z;
};

/// Gradients of the sums, and the part of the gradient of h' that does not pass through the product.
template <typename A>
struct Gradients {
    A h, z, before;
};

/// The slope of a leaky ReLU below zero.
template <typename A>
constexpr A leak = A(0.01);

template <Activation activation, typename A>
SRU_KERNELS_HOST_DEVICE A activate(A s) {
    if constexpr (activation == Activation::tanh) return tanh(s);
    if constexpr (activation == Activation::sin) return sine(s);
    if constexpr (activation == Activation::leaky_relu) return s < A(0) ? leak<A> * s : s;
    return s < A(0) ? A(0) : s;  // keeps NaN
}

/// g'(s), given s and g(s).
template <Activation activation, typename A>
SRU_KERNELS_HOST_DEVICE A activation_slope(A s, A g) {
    if constexpr (activation == Activation::tanh) return multiply_add(-g, g, A(1));
    if constexpr (activation == Activation::sin) return cosine(s);
    if constexpr (activation == Activation::leaky_relu) return s > A(0) ? A(1) : leak<A>;
    return s > A(0) ? A(1) : A(0);
}

/// The state after a step.
template <Activation activation, typename A>
SRU_KERNELS_HOST_DEVICE A forward(Sums<A> s, A mask, A before) {
    const Gate<A> z = sigmoid(s.z);
    return multiply_add(z.open, before, z.closed * (activate<activation>(s.h) * mask));
}

/// `grad` is the gradient of the state after the step.
template <Activation activation, typename A>
SRU_KERNELS_HOST_DEVICE Gradients<A> backward(Sums<A> s, A mask, A before, A grad) {
    const Gate<A> z = sigmoid(s.z);
    const A g = activate<activation>(s.h);
    const A slope = activation_slope<activation>(s.h, g) * mask;
    return {grad * (z.closed * slope), grad * ((before - g * mask) * (z.open * z.closed)), grad * z.open};
}

/// p for a normalized number of a product.
template <typename A>
SRU_KERNELS_HOST_DEVICE A scale(A normalized, A weight, A bias) {
    return multiply_add(normalized, weight, bias);
}

/// The gradient of a number of a product. `grad` is the gradient of its p times the weight of the norm;
/// `mean_grad` and `mean_aligned` are the means of `grad` and of `grad` times `normalized` over the 2·D
/// numbers.
template <typename A>
SRU_KERNELS_HOST_DEVICE A through_norm(A grad, A normalized, A rstd, A mean_grad, A mean_aligned) {
    return rstd * (grad - multiply_add(normalized, mean_aligned, mean_grad));
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

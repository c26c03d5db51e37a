#pragma once

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/math.hpp"

// One time step of one element of the state of linear attention with a gate per key (Yang et al., 2024,
// section 3), forward and backward:
//
//   s = g s' + k v        s' is the element before the step, in row k, g, q and column v, o of the state
//   o = Σ q s             over the rows
//
// A may also be a vector.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

template <typename A>
SRU_KERNELS_HOST_DEVICE A next_state(A s_before, A g, A k, A v) {
    return multiply_add(k, v, g * s_before);
}

/// Adds the contribution of an element of the state to the output of its column.
template <typename A>
SRU_KERNELS_HOST_DEVICE A add_output(A o, A q, A s) {
    return multiply_add(q, s, o);
}

/// Sums over the state: over a row for q, k and `g`, over a column for v.
template <typename A>
struct Gradients {
    A q, k, v, g;
};

/// Adds the contributions of an element of the state to the gradients, and propagates `grad_s` from the state
/// after the step to the state before it.
///
/// The gradient of log g is g times the gradient of g: exactly 0 for a closed gate.
template <typename A>
SRU_KERNELS_HOST_DEVICE void add_gradients(A q, A k, A v, A g, A s_before, A s, A grad_o, A& grad_s,
                                           Gradients<A>& sums) {
    grad_s = multiply_add(q, grad_o, grad_s);
    sums.q = multiply_add(s, grad_o, sums.q);
    sums.k = multiply_add(grad_s, v, sums.k);
    sums.v = multiply_add(grad_s, k, sums.v);
    sums.g = multiply_add(grad_s, s_before, sums.g);
    grad_s = grad_s * g;
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

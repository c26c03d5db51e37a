#pragma once

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/math.hpp"

// One time step of one number of the state of linear attention with a gate for each key (Yang et al., 2024,
// section 3), forward and backward:
//
//   s = g s' + k v        s' is the number before the step, in row k, g, q and column v, o of the state
//   o = Σ q s             over the rows
//
// A may also be a vector of numbers.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

template <typename A>
SRU_KERNELS_HOST_DEVICE A next_state(A s_before, A g, A k, A v) {
    return multiply_add(k, v, g * s_before);
}

/// Adds the contribution of a number of the state to the output of its column.
template <typename A>
SRU_KERNELS_HOST_DEVICE A add_output(A o, A q, A s) {
    return multiply_add(q, s, o);
}

/// Sums over the state: those for q, k and `g` over a row, the one for v over a column.
template <typename A>
struct Gradients {
    A q, k, v, g;
};

/// Adds the contributions of a number of the state to the gradients, and takes `grad_s` from the state after
/// the step to the one before it.
///
/// The gradient of log g is g times that of g: exactly 0 for a closed gate.
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

#pragma once

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/math.hpp"
#include "sru_kernels/types.hpp"

// One time step of one column of the Simple Recurrent Unit, forward and backward (Lei et al., 2018, section
// 3):
//
//   f = σ(u_f + v_f c' + b_f)     r = σ(u_r + v_r c' + b_r)          c' is the state before the step
//   c = f c' + (1 − f) u_c        h = r m g(c) + (1 − r m) x'        m is the dropout mask, x' the highway
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// The parameters of a column. With v per position, `v_f` and `v_r` belong to the position.
template <typename A>
struct Parameters {
    A v_f, v_r, b_f, b_r, mask;
};

/// The inputs of a step; `highway` is ignored if there is none.
template <typename A>
struct Inputs {
    A u_c, u_f, u_r, highway;
};

template <typename A>
struct Outputs {
    A h, c;
};

/// Gradients of the inputs of a step. Those of the biases equal those of `u_f` and `u_r`.
template <typename A>
struct Gradients {
    A u_c, u_f, u_r, highway, v_f, v_r, c_before;
};

template <typename A>
SRU_KERNELS_HOST_DEVICE A activate(Activation activation, A c) {
    if (activation == Activation::tanh) return tanh(c);
    if (activation == Activation::relu) return c < A(0) ? A(0) : c;
    return c;
}

/// g'(c), given c and g(c).
template <typename A>
SRU_KERNELS_HOST_DEVICE A activation_slope(Activation activation, A c, A g) {
    if (activation == Activation::tanh) return multiply_add(-g, g, A(1));
    if (activation == Activation::relu) return c <= A(0) ? A(0) : A(1);
    return A(1);
}

template <typename A>
struct Gates {
    Gate<A> f, r;
};

template <typename A>
SRU_KERNELS_HOST_DEVICE Gates<A> gates(const Inputs<A>& in, const Parameters<A>& p, A c_before) {
    return {sigmoid(multiply_add(p.v_f, c_before, in.u_f + p.b_f)),
            sigmoid(multiply_add(p.v_r, c_before, in.u_r + p.b_r))};
}

template <typename A>
SRU_KERNELS_HOST_DEVICE A next_state(const Inputs<A>& in, const Gate<A>& f, A c_before) {
    return multiply_add(f.open, c_before, f.closed * in.u_c);
}

/// h from g(c) and its `weight` r m.
template <bool has_highway, typename A>
SRU_KERNELS_HOST_DEVICE A output(const Inputs<A>& in, A weight, A g) {
    const A h = weight * g;
    if constexpr (has_highway) return multiply_add(A(1) - weight, in.highway, h);
    return h;
}

template <Activation activation, bool has_highway, typename A>
SRU_KERNELS_HOST_DEVICE Outputs<A> forward(const Inputs<A>& in, const Parameters<A>& p, A c_before) {
    const Gates<A> gate = gates(in, p, c_before);
    const A c = next_state(in, gate.f, c_before);
    return {output<has_highway>(in, gate.r.open * p.mask, activate(activation, c)), c};
}

/// The coefficients of a step's gradients that are linear in the gradient of c, and the gradients that do not
/// depend on it.
template <typename A>
struct Linearized {
    A c_before, difference;  // c' and c' − u_c
    Gate<A> f;
    A grad_g, slope;  // the gradient of g(c), and g'(c)
    A grad_u_r, grad_highway;
};

/// The gates are recomputed from the inputs and c'. `g` and `slope` are g(c) and g'(c).
template <bool has_highway, typename A>
SRU_KERNELS_HOST_DEVICE Linearized<A> linearize(const Inputs<A>& in, const Parameters<A>& p, A c_before, A g,
                                                A slope, A grad_h) {
    const auto [f, r] = gates(in, p, c_before);
    const A weight = r.open * p.mask;
    Linearized<A> step{c_before, c_before - in.u_c, f, grad_h * weight, slope, A(0), A(0)};
    A contrast = g;
    if constexpr (has_highway) {
        contrast = g - in.highway;
        step.grad_highway = grad_h * (A(1) - weight);
    }
    step.grad_u_r = grad_h * p.mask * contrast * (r.open * r.closed);
    return step;
}

/// `grad_c` is the gradient of c from later steps.
template <typename A>
SRU_KERNELS_HOST_DEVICE Gradients<A> gradients(const Linearized<A>& step, const Parameters<A>& p, A grad_c) {
    const A total_c = multiply_add(step.grad_g, step.slope, grad_c);
    Gradients<A> grad{};
    grad.u_c = total_c * step.f.closed;
    grad.u_f = total_c * step.difference * (step.f.open * step.f.closed);
    grad.u_r = step.grad_u_r;
    grad.highway = step.grad_highway;
    grad.v_f = grad.u_f * step.c_before;
    grad.v_r = grad.u_r * step.c_before;
    grad.c_before = multiply_add(grad.u_r, p.v_r, multiply_add(grad.u_f, p.v_f, total_c * step.f.open));
    return grad;
}

/// Maps the gradient of a state to that of an earlier one.
template <typename A>
struct Affine {
    A factor, constant;
};

/// The map from the gradient of c to the gradient of c'.
template <typename A>
SRU_KERNELS_HOST_DEVICE Affine<A> affine(const Linearized<A>& step, const Parameters<A>& p) {
    const A factor = multiply_add(step.difference * (step.f.open * step.f.closed), p.v_f, step.f.open);
    return {factor, multiply_add(step.grad_g * step.slope, factor, step.grad_u_r * p.v_r)};
}

template <Activation activation, bool has_highway, typename A>
SRU_KERNELS_HOST_DEVICE Gradients<A> backward(const Inputs<A>& in, const Parameters<A>& p, A c_before, A c,
                                              A grad_h, A grad_c) {
    const A g = activate(activation, c);
    const A slope = activation_slope(activation, c, g);
    return gradients(linearize<has_highway>(in, p, c_before, g, slope, grad_h), p, grad_c);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

#pragma once

#include "cells/sru/cuda_columns.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// The sums over time of each step's contribution to the gradients of the parameters; for v only if it is the
/// same at all positions.
template <typename A, int columns, bool v_varies = false>
struct ParameterSums {
    A v_f[columns]{}, v_r[columns]{}, b_f[columns]{}, b_r[columns]{}, c_reset[columns]{};

    __device__ __forceinline__ void add(const Gradients<A>& grad, int k) {
        if constexpr (!v_varies) {
            v_f[k] += grad.v_f;
            v_r[k] += grad.v_r;
        }
        b_f[k] += grad.u_f;
        b_r[k] += grad.u_r;
    }

    __device__ __forceinline__ void write_to(const SruBackward& args, const Place& place) const {
        const Index plane = args.batch * args.columns();
        A* sums = static_cast<A*>(args.grad_bias) + place.at;
        write<A>(sums, b_f);
        write<A>(sums + plane, b_r);
        if (args.grad_c_reset != nullptr) write<A>(static_cast<A*>(args.grad_c_reset) + place.at, c_reset);
        if constexpr (!v_varies) {
            sums = static_cast<A*>(args.grad_v) + place.at;
            write<A>(sums, v_f);
            write<A>(sums + plane, v_r);
        }
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

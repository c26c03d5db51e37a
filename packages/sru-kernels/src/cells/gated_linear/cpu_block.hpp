#pragma once

#include "cells/gated_linear/cpu_rows.hpp"

// The state is stored column-major here, so that sums over a row are sums of vectors. A block consists of
// adjacent rows: two vectors of every column. Blocks share only the gradient of v.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Columns of a block processed at a time; their states after each step of a segment fit in the L2 cache.
constexpr Index tile = 64;

/// The arrays that a block reads and writes for some steps and columns.
template <typename A>
struct Block {
    static constexpr Index vectors = 2;
    static constexpr Index lanes = Vector<A>::size;
    static constexpr Index size = vectors * lanes;

    const A *q, *k, *g;           // (steps, size)
    A *grad_q, *grad_k, *grad_g;  // added to
    const A *v, *grad_o;          // (steps, columns)
    A* grad_v;                    // added to
    Index key_stride;             // from one step to the next
    Index value_stride;
};

/// Computes the states (columns, size) after each of some steps from the state before the first. Slot `step`
/// of `states` holds the state before that step.
template <typename A>
void advance(const Block<A>& given, Steps steps, Index columns, A* states) {
    using Lanes = Vector<A>;
    const Block<A> block = given;
    const Index slot = columns * block.size;
    for (Index step = steps.first; step < steps.first + steps.count; ++step) {
        Lanes k[block.vectors], g[block.vectors];
        for (Index j = 0; j < block.vectors; ++j) {
            const Index at = step * block.key_stride + j * block.lanes;
            k[j] = Lanes::load(block.k + at);
            g[j] = Lanes::load(block.g + at);
        }
        const A* v = block.v + step * block.value_stride;
        for (Index column = 0; column < columns; ++column) {
            const Lanes v_column = Lanes::all(v[column]);
            for (Index j = 0; j < block.vectors; ++j) {
                A* s = states + step * slot + column * block.size + j * block.lanes;
                next_state(Lanes::load(s), g[j], k[j], v_column).store(s + slot);
            }
        }
    }
}

/// Propagates `grad_s` from the state after the last step back to the state before the first.
///
/// The gradients of q, k and g are sums over the columns and stay in registers. The gradient of v is a sum
/// over rows, which are lanes here.
template <typename A>
void retreat(const Block<A>& given, Steps steps, Index columns, const A* states, A* grad_s,
             const Ahead& ahead) {
    using Lanes = Vector<A>;
    const Block<A> block = given;
    const Index slot = columns * block.size;
    for (Index step = steps.first + steps.count - 1; step >= steps.first; --step) {
        ahead.fetch(step);
        const A* s_before = states + step * slot;
        const A* v = block.v + step * block.value_stride;
        const A* grad_o = block.grad_o + step * block.value_stride;
        A* grad_v = block.grad_v + step * block.value_stride;
        Lanes q[block.vectors], k[block.vectors], g[block.vectors];
        Gradients<Lanes> sums[block.vectors];
        for (Index j = 0; j < block.vectors; ++j) {
            const Index at = step * block.key_stride + j * block.lanes;
            q[j] = Lanes::load(block.q + at);
            k[j] = Lanes::load(block.k + at);
            g[j] = Lanes::load(block.g + at);
            sums[j] = {Lanes::load(block.grad_q + at), Lanes::load(block.grad_k + at), Lanes::zero(),
                       Lanes::load(block.grad_g + at)};
        }
        for (Index column = 0; column < columns; column += block.lanes) {
            Lanes over_rows[block.lanes];
            for (Index lane = 0; lane < block.lanes; ++lane) {
                const Lanes v_column = Lanes::all(v[column + lane]);
                const Lanes grad_column = Lanes::all(grad_o[column + lane]);
                over_rows[lane] = Lanes::zero();
                for (Index j = 0; j < block.vectors; ++j) {
                    const Index at = (column + lane) * block.size + j * block.lanes;
                    Lanes grad = Lanes::load(grad_s + at);
                    sums[j].v = over_rows[lane];  // of this column
                    add_gradients(q[j], k[j], v_column, g[j], Lanes::load(s_before + at),
                                  Lanes::load(s_before + slot + at), grad_column, grad, sums[j]);
                    over_rows[lane] = sums[j].v;
                    grad.store(grad_s + at);
                }
            }
            const Lanes total = sums_of_lanes<block.lanes>(over_rows);
            (Lanes::load(grad_v + column) + total).store(grad_v + column);
        }
        for (Index j = 0; j < block.vectors; ++j) {
            const Index at = step * block.key_stride + j * block.lanes;
            sums[j].q.store(block.grad_q + at);
            sums[j].k.store(block.grad_k + at);
            sums[j].g.store(block.grad_g + at);
        }
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

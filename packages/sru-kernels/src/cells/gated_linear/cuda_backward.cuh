#pragma once

#include "cells/gated_linear/cuda_chunks.cuh"
#include "runtime/cuda/shared_memory.cuh"

// What the backward kernel holds in shared memory, and the order in which it takes the chunks.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Offsets in the shared memory of a block, and sizes of rows.
struct BackwardMemory {
    int keys, column_stride;
    int staged_keys, staged_gates, staged_columns;  // strides
    int q, k, g;                                    // (steps, keys)
    int ends, y;                                    // the keys at the end of the chunk, and Y in their place
    int grad_v, u;                                  // (steps, columns), and U in its place
    int v, grad_o;                                  // (steps, columns)
    int a, grad_a, gates, z;                        // (steps, steps), (keys)
    int next_q, next_k, next_g, next_v, next_grad_o;  // as they come from global memory
    int bytes;

    template <typename S, typename A = AccumulationType<S>>
    static BackwardMemory of(const Shape& shape, Index key_size) {
        SharedMemory shared;
        BackwardMemory m{};
        const int steps = shape.steps();
        m.keys = keys_per_thread<A> * shape.parts();
        m.column_stride = shape.columns + 4;
        m.staged_keys = aligned_stride<S>(static_cast<int>(key_size));
        m.staged_gates = aligned_stride<A>(static_cast<int>(key_size));
        m.staged_columns = aligned_stride<S>(shape.columns);
        m.q = shared.take<A>(steps * m.keys);
        m.k = shared.take<A>(steps * m.keys);
        m.g = shared.take<A>(steps * m.keys);
        m.y = m.ends = shared.take<A>(steps * m.keys);
        m.u = m.grad_v = shared.take<A>(steps * (m.keys > m.column_stride ? m.keys : m.column_stride));
        m.v = shared.take<A>(steps * m.column_stride);
        m.grad_o = shared.take<A>(steps * m.column_stride);
        m.a = shared.take<A>(steps * steps);
        m.grad_a = shared.take<A>(steps * steps);
        m.gates = shared.take<A>(m.keys);
        m.z = shared.take<A>(m.keys);
        m.next_q = shared.take<S>(steps * m.staged_keys);
        m.next_k = shared.take<S>(steps * m.staged_keys);
        m.next_g = shared.take<A>(steps * m.staged_gates);
        m.next_v = shared.take<S>(steps * m.staged_columns);
        m.next_grad_o = shared.take<S>(steps * m.staged_columns);
        m.bytes = shared.used;
        return m;
    }
};

/// A chunk on the way from the last state that is known before another one, which is differentiated, up to
/// that.
struct Task {
    int segment;  // the step that the segment begins with
    int known;    // before which the state is known: `segment`, or a step where it starts anew
    int now;      // the first step of the chunk
    int end;      // the step after the chunk to differentiate
    bool anew;    // at `known`

    /// Whether the chunk is the one to differentiate.
    __device__ __forceinline__ bool is_last(int steps) const { return end - now <= steps; }
    __device__ __forceinline__ int count(int steps) const { return is_last(steps) ? end - now : steps; }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

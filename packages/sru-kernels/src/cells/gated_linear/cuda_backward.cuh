#pragma once

#include "cells/gated_linear/cuda_keys.cuh"
#include "runtime/cuda/shared_memory.cuh"

// The parts of the backward kernel that do not depend on how a block stores and multiplies the states.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Offsets in a block's shared memory, and row sizes.
struct BackwardMemory {
    int keys, key_stride, column_stride;
    int staged_keys, staged_gates, staged_columns;  // strides
    int pair_stride;                                // of grad_a
    int q, k, g;                                    // (steps, keys)
    int ends, y;                                    // the keys at the end of the chunk; Y shares their memory
    int u, grad_v;                                  // U shares the memory for the sums of grad_v
    int v, starts;                                  // (steps, columns), and the queries at the start
    int grad_o;                                     // (steps, columns)
    int a, grad_a, gates, z;                        // (steps, steps), (keys)
    int next_q, next_k, next_g, next_v, next_grad_o;  // as stored in global memory
    int bytes;

    template <typename S, typename States, typename A = AccumulationType<S>>
    static BackwardMemory of(const Shape& shape, Index key_size) {
        SharedMemory shared;
        BackwardMemory m{};
        const int steps = shape.steps();
        m.keys = keys_per_thread<A> * shape.parts();
        m.key_stride = m.keys + States::key_padding;
        m.column_stride = shape.columns + States::column_padding;
        const int longer = m.key_stride > m.column_stride ? m.key_stride : m.column_stride;
        m.staged_keys = aligned_stride<S>(static_cast<int>(key_size));
        m.staged_gates = aligned_stride<A>(static_cast<int>(key_size));
        m.staged_columns = aligned_stride<S>(shape.columns);
        m.pair_stride = steps > half_steps ? steps : half_steps;
        m.q = shared.take<A>(steps * m.key_stride);
        m.k = shared.take<A>(steps * m.key_stride);
        m.g = shared.take<A>(steps * m.key_stride);
        m.y = m.ends = shared.take<A>(steps * m.key_stride);
        m.u = m.grad_v = shared.take<A>(steps * (States::adds_in_shared ? longer : m.key_stride));
        m.v = m.starts = shared.take<A>(steps * longer);
        m.grad_o = shared.take<A>(steps * m.column_stride);
        m.a = shared.take<A>(steps * steps);
        m.grad_a = shared.take<A>(steps * m.pair_stride);
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

/// A chunk between a known state and the chunk to differentiate, or that chunk itself: the kernel recomputes
/// the states from the last known one.
struct Task {
    int segment;      // the first step of the segment
    int known;        // the step before which the state is known: `segment`, or a restart
    int now;          // the first step of the chunk
    int end;          // the step after the chunk to differentiate
    bool is_restart;  // whether the state restarts at `known`

    /// Whether the chunk is the one to differentiate.
    __device__ __forceinline__ bool is_last(int steps) const { return end - now <= steps; }
    __device__ __forceinline__ int count(int steps) const { return is_last(steps) ? end - now : steps; }
};

/// The arguments, the shared memory, and the position of a block in the batch and in time.
template <typename S>
struct BackwardPlace {
    using A = AccumulationType<S>;

    const GatedLinearBackward& args;
    const Shape& shape;
    const BackwardMemory& m;
    unsigned char* const shared;
    Thread thread;
    StateWalk walk;

    __device__ __forceinline__ BackwardPlace(const GatedLinearBackward& args, const Shape& shape,
                                             const BackwardMemory& memory, unsigned char* shared)
        : args(args),
          shape(shape),
          m(memory),
          shared(shared),
          thread(shape),
          walk(args, static_cast<int>(blockIdx.x)) {}

    template <typename Element = A>
    __device__ __forceinline__ Element* in(int offset) const {
        return reinterpret_cast<Element*>(shared + offset);
    }
    __device__ __forceinline__ int key_size() const { return static_cast<int>(args.key_size); }
    __device__ __forceinline__ int value_size() const { return static_cast<int>(args.value_size); }
    __device__ __forceinline__ SharedRows<A> key_rows(int offset) const {
        return {in(offset), m.key_stride, m.keys};
    }
    __device__ __forceinline__ A* column_row(int offset, int row) const {
        return in(offset) + row * m.column_stride;
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

#pragma once

#include "cells/gated_linear/cuda_backward.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// The work of a block on one state.
template <typename S, typename States, typename A = AccumulationType<S>>
struct BackwardBlock : BackwardPlace<S> {
    using BackwardPlace<S>::args;
    using BackwardPlace<S>::shape;
    using BackwardPlace<S>::m;
    using BackwardPlace<S>::thread;
    using BackwardPlace<S>::walk;
    using BackwardPlace<S>::in;
    using BackwardPlace<S>::key_size;
    using BackwardPlace<S>::value_size;
    using BackwardPlace<S>::key_rows;

    __device__ __forceinline__ BackwardBlock(const GatedLinearBackward& args, const Shape& shape,
                                             const BackwardMemory& memory, unsigned char* shared)
        : BackwardPlace<S>(args, shape, memory, shared) {}

    __device__ __forceinline__ void run() {
        States states(*this);
        if (args.grad_s_reset != nullptr) clear_grad_s_reset();
        states.read_grad(args.grad_s, walk.state);
        const int end = walk.count, length = walk.segment_length();
        Task task{};
        Task next = task_before(end, end == 0 ? 0 : (end - 1) / length * length);
        for (bool has_task = false;; has_task = true) {
            thread.hide_place();
            walk.hide_place();
            if (has_task) wait_for_copies<0>();
            __syncthreads();  // also protects data still being read from the writes below
            if (has_task) {
                unpack_chunk(task);
                __syncthreads();
            }
            fetch_chunk(next);
            const bool retreats = has_task && task.is_last(shape.steps());
            if (retreats) {
                retreat(task, states);
            } else if (has_task) {
                move_to_end(thread, key_rows(m.k), in(m.g), shape.steps(), in(m.ends), in(m.gates));
                __syncthreads();
                states.advance();
            }
            if (next.end == 0) break;
            if (retreats || !has_task) read_known(next, states);
            task = next;
            next = task_after(task);
        }
        states.write_grad(args.grad_s0, walk.state);
    }

    __device__ __forceinline__ void clear_grad_s_reset() const {
        const int count = key_size() * value_size();
        A* numbers = static_cast<A*>(args.grad_s_reset) + Index{walk.state} * count;
#pragma unroll 1
        for (int i = thread.index; i < count; i += static_cast<int>(blockDim.x)) numbers[i] = 0;
    }

    /// The first task for the chunk that ends at step `end`, in the segment that begins at step `segment`.
    __device__ __forceinline__ Task task_before(int end, int segment) const {
        Task task{segment, segment, segment, end, false};
        for (int last = end - 1; args.marks != nullptr && last >= segment && last >= 0; last -= 32) {
            const unsigned int found = walk.starts(last, thread.lane, -1, segment);
            if (found == 0) continue;
            task.known = task.now = last - (__ffs(static_cast<int>(found)) - 1);
            task.is_restart = true;
            break;
        }
        return task;
    }

    __device__ __forceinline__ Task task_after(const Task& task) const {
        if (task.is_last(shape.steps())) {
            return task_before(task.now,
                               task.now > task.segment ? task.segment : task.segment - walk.segment_length());
        }
        Task next = task;
        next.now += shape.steps();
        return next;
    }

    __device__ __forceinline__ void read_known(const Task& task, States& states) const {
        const Index place = task.is_restart ? walk.head : walk.slot(task.segment / walk.segment_length());
        states.read(task.is_restart ? args.s_reset : args.starts, place);
    }

    __device__ __forceinline__ void fetch_chunk(const Task& task) const {
        if (task.end == 0) return;
        const int count = task.count(shape.steps());
        const auto of_keys = [&](const void* array, int to) {
            fetch(thread, walk.template rows<S>(array, task.now, key_size(), 0, key_size()), count,
                  SharedRows<S>{this->template in<S>(to), m.staged_keys, key_size()});
        };
        const auto of_values = [&](const void* array, int to) {
            fetch(thread, walk.template rows<S>(array, task.now, value_size(), 0, value_size()), count,
                  SharedRows<S>{this->template in<S>(to), m.staged_columns, value_size()});
        };
        of_keys(args.k, m.next_k);
        fetch(thread, walk.template rows<A>(args.log_g, task.now, key_size(), 0, key_size()), count,
              SharedRows<A>{in(m.next_g), m.staged_gates, key_size()});
        of_values(args.v, m.next_v);
        if (task.is_last(shape.steps())) {
            of_keys(args.q, m.next_q);
            of_values(args.grad_o, m.next_grad_o);
        }
        commit_copies();
    }

    __device__ __forceinline__ void unpack_chunk(const Task& task) const {
        const int count = task.count(shape.steps());
        const auto number = [](S value) { return load(value); };
        const auto of_keys = [&](int from, int to) {
            unpack(thread, SharedRows<S>{this->template in<S>(from), m.staged_keys, key_size()}, count,
                   key_rows(to), count, number);
        };
        const auto of_values = [&](int from, int width, int to, int rows) {
            const SharedRows<A> columns{in(to), m.column_stride, shape.columns};
            unpack(thread, SharedRows<S>{this->template in<S>(from), m.staged_columns, width}, count, columns,
                   rows, number);
        };
        of_keys(m.next_k, m.k);
        unpack(thread, SharedRows<A>{in(m.next_g), m.staged_gates, key_size()}, count, key_rows(m.g), count,
               [](A log_g) { return exp_of_negative(log_g); });
        of_values(m.next_v, value_size(), m.v, count);
        if (!task.is_last(shape.steps())) return;
        of_keys(m.next_q, m.q);
        of_values(m.next_grad_o, args.grad_o == nullptr ? 0 : value_size(), m.grad_o,
                  States::on_tensor_cores ? shape.steps() : count);
    }

    /// Writes the gradients of a chunk, given the state before it and the gradient of the state after it, and
    /// propagates the latter to the state before the chunk.
    __device__ __forceinline__ void retreat(const Task& task, States& states) {
        const int count = task.count(shape.steps());
        meet(thread, key_rows(m.q), in(m.k), in(m.g), count, in(m.a), shape.steps());
        move_to_end(thread, key_rows(m.k), in(m.g), count, in(m.ends), in(m.gates));
        states.multiply_values(count);
        __syncthreads();
        states.multiply(task.now, count);
        __syncthreads();
        thread.hide_place();
        differentiate(task.now, count);
        __syncthreads();
        states.retreat(count);
        if (task.is_restart && task.now == task.known) {
            states.add_grad(args.grad_s_reset, walk.state);
        }
    }

    /// Writes the gradients of q, k and log g.
    __device__ __forceinline__ void differentiate(int first, int count) const {
        const Index at = walk.at(first, key_size());
        const KeyRows<S> rows{in(m.q),
                              in(m.k),
                              in(m.g),
                              in(m.u),
                              in(m.y),
                              in(m.z),
                              in(m.grad_a),
                              in(m.starts),
                              shape.steps(),
                              m.key_stride,
                              m.pair_stride,
                              key_size(),
                              static_cast<S*>(args.grad_q) + at,
                              static_cast<S*>(args.grad_k) + at,
                              static_cast<A*>(args.grad_log_g) + at,
                              walk.pitch(key_size())};
        const int bits = 31 - __clz(m.keys), halves = (shape.steps() - 1) / half_steps + 1;
#pragma unroll 1
        for (int i = thread.index; i < halves << bits; i += static_cast<int>(blockDim.x)) {
            HalfKey<S>(rows, i & (m.keys - 1), (i >> bits) * half_steps, count).differentiate();
        }
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

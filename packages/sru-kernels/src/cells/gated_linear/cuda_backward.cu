#include "cells/gated_linear/cuda_backward.cuh"
#include "cells/gated_linear/cuda_keys.cuh"
#include "cells/gated_linear/cuda_launch.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// A block's work on a state.
template <typename S, typename A = AccumulationType<S>>
struct BackwardBlock {
    const GatedLinearBackward& args;
    const Shape& shape;
    const BackwardMemory& m;
    unsigned char* const shared;
    Thread thread;
    StateWalk walk;

    __device__ __forceinline__ BackwardBlock(const GatedLinearBackward& args, const Shape& shape,
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
        return {in(offset), m.keys, m.keys};
    }
    __device__ __forceinline__ A* column_row(int offset, int row) const {
        return in(offset) + row * m.column_stride;
    }
    __device__ __forceinline__ StateRows<A> states() const {
        return {thread, args.key_size, args.value_size, thread.column(),
                in_fours<A>(args.value_size, args.starts, args.s_reset, args.grad_s, args.grad_s0,
                            args.grad_s_reset)};
    }

    __device__ __forceinline__ void run() {
        Owned<A> state, grad;
        if (args.grad_s_reset != nullptr) {
            grad.clear();
            states().write(args.grad_s_reset, walk.state, grad);
        }
        states().read(args.grad_s, walk.state, grad);
        const int end = walk.count, length = walk.segment_length();
        Task task{};
        Task next = task_before(end, end == 0 ? 0 : (end - 1) / length * length);
        for (bool has_task = false;; has_task = true) {
            thread.hide_place();
            walk.hide_place();
            if (has_task) {
                wait_for_copies<0>();
                __syncthreads();
                unpack_chunk(task);
                __syncthreads();
            }
            fetch_chunk(next);
            const bool retreats = has_task && task.is_last(shape.steps());
            if (retreats) {
                retreat(task, state, grad);
            } else if (has_task) {
                advance(state);
            }
            if (next.end == 0) break;
            if (retreats || !has_task) read_known(next, state);
            task = next;
            next = task_after(task);
        }
        states().write(args.grad_s0, walk.state, grad);
    }

    /// The first task for the chunk that ends at a step, in a segment that begins at another.
    __device__ __forceinline__ Task task_before(int end, int segment) const {
        Task task{segment, segment, segment, end, false};
        for (int last = end - 1; args.marks != nullptr && last >= segment && last >= 0; last -= 32) {
            const unsigned int found = walk.starts(last, thread.lane, -1, segment);
            if (found == 0) continue;
            task.known = task.now = last - (__ffs(static_cast<int>(found)) - 1);
            task.anew = true;
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

    __device__ __forceinline__ void read_known(const Task& task, Owned<A>& state) const {
        const Index place = task.anew ? walk.head : walk.slot(task.segment / walk.segment_length());
        states().read(task.anew ? args.s_reset : args.starts, place, state);
    }

    __device__ __forceinline__ void fetch_chunk(const Task& task) const {
        if (task.end == 0) return;
        const int count = task.count(shape.steps());
        const auto of_keys = [&](const void* array, int to) {
            fetch(thread, walk.rows<S>(array, task.now, key_size(), 0, key_size()), count,
                  SharedRows<S>{in<S>(to), m.staged_keys, key_size()});
        };
        const auto of_values = [&](const void* array, int to) {
            fetch(thread, walk.rows<S>(array, task.now, value_size(), 0, value_size()), count,
                  SharedRows<S>{in<S>(to), m.staged_columns, value_size()});
        };
        of_keys(args.k, m.next_k);
        fetch(thread, walk.rows<A>(args.log_g, task.now, key_size(), 0, key_size()), count,
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
            unpack(thread, SharedRows<S>{in<S>(from), m.staged_keys, key_size()}, count, key_rows(to), count,
                   number);
        };
        const auto of_values = [&](int from, int width, int to) {
            const SharedRows<A> rows{in(to), m.column_stride, shape.columns};
            unpack(thread, SharedRows<S>{in<S>(from), m.staged_columns, width}, count, rows, count, number);
        };
        of_keys(m.next_k, m.k);
        unpack(thread, SharedRows<A>{in(m.next_g), m.staged_gates, key_size()}, count, key_rows(m.g), count,
               [](A log_g) { return exp_of_negative(log_g); });
        of_values(m.next_v, value_size(), m.v);
        if (!task.is_last(shape.steps())) return;
        of_keys(m.next_q, m.q);
        of_values(m.next_grad_o, args.grad_o == nullptr ? 0 : value_size(), m.grad_o);
    }

    /// Takes the state through a whole chunk.
    __device__ __forceinline__ void advance(Owned<A>& state) const {
        bring_to_end(thread, key_rows(m.k), in(m.g), shape.steps(), in(m.ends), in(m.gates));
        __syncthreads();
        state.advance(thread, in(m.gates), in(m.ends), m.keys, in(m.v), m.column_stride, shape.steps());
    }

    /// Writes the gradients of a chunk, given the state before it and the gradient of the state after it,
    /// which it takes to that of the state before.
    __device__ __forceinline__ void retreat(const Task& task, const Owned<A>& state, Owned<A>& grad) {
        const int count = task.count(shape.steps());
        meet(thread, key_rows(m.q), in(m.k), in(m.g), count, in(m.a), shape.steps());
        bring_to_end(thread, key_rows(m.k), in(m.g), count, in(m.ends), in(m.gates));
        multiply_values(count);
        __syncthreads();
        write_grad_v(task.now, count, grad);
        __syncthreads();  // u and y take the places of grad_v and the keys
        thread.hide_place();
        multiply_states(count, state, grad);
        __syncthreads();
        thread.hide_place();
        const Index at = walk.at(task.now, key_size());
        const KeyRows<S> rows{in(m.g),
                              in(m.grad_a),
                              in(m.z),
                              in(m.q),
                              in(m.k),
                              in(m.u),
                              in(m.y),
                              m.keys,
                              shape.steps(),
                              static_cast<S*>(args.grad_q) + at,
                              static_cast<S*>(args.grad_k) + at,
                              static_cast<A*>(args.grad_log_g) + at,
                              walk.pitch(key_size())};
#pragma unroll 1
        for (int key = thread.index; key < key_size(); key += static_cast<int>(blockDim.x)) {
            differentiate_key<most_steps<A>>(rows, key, count);
        }
        bring_to_start(thread, key_rows(m.q), in(m.g), count);
        __syncthreads();
        grad.advance(thread, in(m.gates), in(m.q), m.keys, in(m.grad_o), m.column_stride, count);
        if (task.anew && task.now == task.known) {
            if (args.grad_s_reset != nullptr) states().add(args.grad_s_reset, walk.state, grad);
            grad.clear();
        }
    }

    /// grad_a_ts = do_t · v_s
    __device__ __forceinline__ void multiply_values(int count) const {
        for_each_piece(thread, count, count, [&](int t, int s) {
            if (s > t) return;
            A sum = 0;
#pragma unroll 2
            for (int column = 0; column < shape.columns; column += 4) {
                A grad_o[4], v[4];
                read4(column_row(m.grad_o, t) + column, grad_o);
                read4(column_row(m.v, s) + column, v);
#pragma unroll
                for (int j = 0; j < 4; ++j) sum = multiply_add(grad_o[j], v[j], sum);
            }
            in(m.grad_a)[s * shape.steps() + t] = sum;
        });
    }

    /// The gradient of v: Σ_t A_ts do_t and the keys times the gradient of the state.
    ///
    /// The warps hold different keys. They add to the rows in turns, in the same order every time.
    __device__ __forceinline__ void write_grad_v(int first, int count, const Owned<A>& grad) const {
        const int warps = static_cast<int>(blockDim.x) / 32, warp = thread.index / 32;
#pragma unroll 1
        for (int turn = 0; turn < warps; ++turn) {
#pragma unroll 1
            for (int s = (warp + turn) & (warps - 1); s < count; s += warps) {
                A k[Owned<A>::keys], sums[columns_per_thread];
                read_keys(in(m.ends) + s * m.keys, thread, k);
                grad.times_keys(k, sums);
                A* row = column_row(m.grad_v, s) + thread.column();
                sum_over_lanes<columns_per_thread>(
                    sums, thread.lane, shape.groups(), 32, 0,
                    [&](int j, A sum) { row[j] = turn == 0 ? sum : row[j] + sum; });
            }
            __syncthreads();
        }
        const bool wide = in_fours<S>(args.value_size, args.grad_v);
        for_each_piece(thread, count, shape.columns / 4, [&](int s, int four) {
            A sums[4];
            read4(column_row(m.grad_v, s) + 4 * four, sums);
            for (int t = s; t < count; ++t) {
                add_four(in(m.a)[t * shape.steps() + s], column_row(m.grad_o, t) + 4 * four, sums);
            }
            S* to = static_cast<S*>(args.grad_v) + walk.at(first + s, value_size()) + 4 * four;
            store4(to, sums, value_size() - 4 * four, wide);
        });
    }

    /// U, Y and Z of `cuda_keys.cuh`.
    __device__ __forceinline__ void multiply_states(int count, const Owned<A>& state,
                                                    const Owned<A>& grad) const {
        constexpr int keys = Owned<A>::keys;
        const auto put = [&](const A(&sums)[keys], A* row) {
            sum_over_lanes<keys>(sums, thread.lane, 1, shape.groups(), 0,
                                 [&](int i, A sum) { row[thread.key(i)] = sum; });
        };
        A sums[keys];
#pragma unroll 1
        for (int t = 0; t < count; ++t) {
            A columns[columns_per_thread];
            read4(column_row(m.grad_o, t) + thread.column(), columns);
            state.times_columns(columns, sums);
            put(sums, in(m.u) + t * m.keys);
            read4(column_row(m.v, t) + thread.column(), columns);
            grad.times_columns(columns, sums);
            put(sums, in(m.y) + t * m.keys);
        }
#pragma unroll
        for (int i = 0; i < keys; ++i) {
            sums[i] = 0;
#pragma unroll
            for (int j = 0; j < columns_per_thread; ++j) {
                sums[i] = multiply_add(state.s[i][j], grad.s[i][j], sums[i]);
            }
        }
        put(sums, in(m.z));
    }
};

template <typename S>
__global__ void __launch_bounds__(largest_backward_block)
    gated_linear_backward_kernel(const GatedLinearBackward args, const Shape shape,
                                 const BackwardMemory memory) {
    SRU_KERNELS_SHARED_MEMORY(shared);
    BackwardBlock<S> block(args, shape, memory, shared);
    block.run();
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

template <>
void sru_kernels::cuda::run(const GatedLinearBackward& args, const Launch& launch) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::gated_linear;
    check(args, launch);
    if (args.states() == 0) return;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        Division division = divide_keys<AccumulationType<S>>(args);
        const auto memory = fit(
            division.shape, [&](const Shape& shape) { return BackwardMemory::of<S>(shape, args.key_size); });
        launch_blocks(args, launch, division, memory, gated_linear_backward_kernel<S>);
    });
}

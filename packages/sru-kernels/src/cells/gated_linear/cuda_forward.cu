#include "cells/gated_linear/cuda_chunks.cuh"
#include "cells/gated_linear/cuda_launch.cuh"
#include "cells/gated_linear/cuda_tensor.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Offsets in a block's shared memory, and row sizes.
struct ForwardMemory {
    int keys, key_stride, column_stride;
    int staged_keys, staged_gates, staged_columns;  // strides
    int q, k, g, v;                                 // (steps, keys or columns)
    int o;                                          // (steps, columns), in the memory of g
    int a, gates;                                   // (steps, steps), (keys)
    int next_q, next_k, next_g, next_v;             // as stored in global memory
    int bytes;

    template <typename S, typename State>
    static ForwardMemory of(const Shape& shape, Index key_size) {
        using A = AccumulationType<S>;
        SharedMemory shared;
        ForwardMemory m{};
        const int steps = shape.steps();
        m.keys = keys_per_thread<A> * shape.parts();
        m.key_stride = m.keys + State::key_padding;
        m.column_stride = shape.columns + State::column_padding;
        m.staged_keys = aligned_stride<S>(static_cast<int>(key_size));
        m.staged_gates = aligned_stride<A>(static_cast<int>(key_size));
        m.staged_columns = aligned_stride<S>(shape.columns);
        m.q = shared.take<A>(steps * m.key_stride);
        m.k = shared.take<A>(steps * m.key_stride);
        m.g = m.o = shared.take<A>(steps * (m.key_stride > m.column_stride ? m.key_stride : m.column_stride));
        m.v = shared.take<A>(steps * m.column_stride);
        m.a = shared.take<A>(steps * steps);
        m.gates = shared.take<A>(m.keys);
        m.next_q = shared.take<S>(steps * m.staged_keys);
        m.next_k = shared.take<S>(steps * m.staged_keys);
        m.next_g = shared.take<A>(steps * m.staged_gates);
        m.next_v = shared.take<S>(steps * m.staged_columns);
        m.bytes = shared.used;
        return m;
    }
};

/// The work of a block on some columns of one state.
template <typename S, typename State, typename A = AccumulationType<S>>
struct ForwardBlock {
    const GatedLinearForward& args;
    const Shape& shape;
    const ForwardMemory& m;
    unsigned char* const shared;
    Thread thread;
    StateWalk walk;
    const Index column;  // the block's first

    __device__ __forceinline__ ForwardBlock(const GatedLinearForward& args, const Shape& shape,
                                            const ForwardMemory& memory, unsigned char* shared)
        : args(args),
          shape(shape),
          m(memory),
          shared(shared),
          thread(shape),
          walk(args, static_cast<int>(blockIdx.x) / shape.tiles),
          column(static_cast<int>(blockIdx.x) % shape.tiles * shape.columns) {}

    template <typename Element = A>
    __device__ __forceinline__ Element* in(int offset) const {
        return reinterpret_cast<Element*>(shared + offset);
    }
    __device__ __forceinline__ int key_size() const { return static_cast<int>(args.key_size); }
    __device__ __forceinline__ SharedRows<A> key_rows(int offset) const {
        return {in(offset), m.key_stride, m.keys};
    }

    __device__ __forceinline__ void run() {
        State state(args, shape, thread, column,
                    in_fours<A>(args.value_size, args.s0, args.s, args.starts, args.s_reset));
        state.read(args.s0, walk.state);
        const int slots = args.starts == nullptr ? 0 : walk.slots();
        int segment = -1, left = 0;
        Chunk chunk{0, 0, false};
        for (bool has_chunk = false;; has_chunk = true) {
            thread.hide_place();
            walk.hide_place();
            if (has_chunk) {
                wait_for_copies<0>();
                __syncthreads();
                unpack_chunk(chunk);
                __syncthreads();
            }
            const bool new_segment = left == 0 || chunk.first + chunk.count == walk.count;
            if (new_segment) {
                left = walk.segment_length();
                ++segment;
            }
            const Chunk next = walk.chunk_from(chunk.first + chunk.count, left, shape.steps(), thread.lane);
            fetch_chunk(next);
            if (has_chunk) advance(chunk, state);
            if (new_segment && segment < slots) state.write(args.starts, walk.slot(segment));
            if (next.count == 0) break;
            if (next.is_restart) state.read(args.s_reset, walk.head);
            left -= next.count;
            chunk = next;
        }
        state.write(args.s, walk.state);
    }

    __device__ __forceinline__ void fetch_chunk(const Chunk& chunk) const {
        const auto of_keys = [&](const void* array, int to) {
            fetch(thread, walk.rows<S>(array, chunk.first, key_size(), 0, key_size()), chunk.count,
                  SharedRows<S>{in<S>(to), m.staged_keys, key_size()});
        };
        of_keys(args.q, m.next_q);
        of_keys(args.k, m.next_k);
        fetch(thread, walk.rows<A>(args.log_g, chunk.first, key_size(), 0, key_size()), chunk.count,
              SharedRows<A>{in(m.next_g), m.staged_gates, key_size()});
        fetch(thread, walk.rows<S>(args.v, chunk.first, args.value_size, column, width()), chunk.count,
              SharedRows<S>{in<S>(m.next_v), m.staged_columns, width()});
        commit_copies();
    }

    /// The number of the block's columns inside the state.
    __device__ __forceinline__ int width() const {
        return static_cast<int>(within(0, args.value_size - column, shape.columns));
    }

    __device__ __forceinline__ void unpack_chunk(const Chunk& chunk) const {
        const int rows = State::on_tensor_cores ? shape.steps() : chunk.count;
        const auto number = [](S value) { return load(value); };
        const SharedRows<S> q{in<S>(m.next_q), m.staged_keys, key_size()};
        const SharedRows<S> k{in<S>(m.next_k), m.staged_keys, key_size()};
        const SharedRows<A> log_g{in(m.next_g), m.staged_gates, key_size()};
        const SharedRows<S> v{in<S>(m.next_v), m.staged_columns, width()};
        unpack(thread, q, chunk.count, key_rows(m.q), rows, number);
        unpack(thread, k, chunk.count, key_rows(m.k), rows, number);
        unpack(thread, log_g, chunk.count, key_rows(m.g), chunk.count,
               [](A x) { return exp_of_negative(x); });
        unpack(thread, v, chunk.count, SharedRows<A>{in(m.v), m.column_stride, shape.columns}, rows, number);
    }

    /// Writes the outputs of a chunk and advances the state to its end.
    __device__ __forceinline__ void advance(const Chunk& chunk, State& state) const {
        meet(thread, key_rows(m.q), in(m.k), in(m.g), chunk.count, in(m.a), shape.steps());
        __syncthreads();
        move_to_start(thread, key_rows(m.q), in(m.g), chunk.count);
        move_to_end(thread, key_rows(m.k), in(m.g), chunk.count, in(m.k), in(m.gates));
        __syncthreads();
        state.multiply(in(m.q), m.key_stride, in(m.o), m.column_stride, chunk.count);
        state.advance(in(m.gates), in(m.k), m.key_stride, in(m.v), m.column_stride, chunk.count);
        __syncthreads();
        const bool wide = in_fours<S>(args.value_size, args.o);
        for_each_piece(thread, chunk.count, shape.columns / 4, [&](int t, int four) {
            A sums[4];
            read4(in(m.o) + t * m.column_stride + 4 * four, sums);
            for (int s = 0; s <= t; ++s) {
                add_four(in(m.a)[t * shape.steps() + s], in(m.v) + s * m.column_stride + 4 * four, sums);
            }
            const Index first = column + 4 * four;
            S* to = static_cast<S*>(args.o) + walk.at(chunk.first + t, args.value_size) + first;
            store4(to, sums, args.value_size - first, wide);
        });
    }
};

template <typename S, bool on_tensor_cores>
__global__ void __launch_bounds__(largest_forward_block, on_tensor_cores ? 3 : 4)
    gated_linear_forward_kernel(const GatedLinearForward args, const Shape shape,
                                const ForwardMemory memory) {
    SRU_KERNELS_SHARED_MEMORY(shared);
    using State = std::conditional_t<on_tensor_cores, TensorState<S>, PlainState<AccumulationType<S>>>;
    ForwardBlock<S, State> block(args, shape, memory, shared);
    block.run();
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

template <>
void sru_kernels::cuda::run(const GatedLinearForward& args, const Launch& launch) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::gated_linear;
    check(args, launch);
    if (args.states() == 0 || args.value_size == 0) return;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        using A = AccumulationType<S>;
        Shape shape = shape_of_keys<A>(args.key_size);
        const Index wanted = multiprocessors(launch.device);
        if constexpr (sizeof(A) == sizeof(float)) {
            // With the largest heads, shared memory suffices for the columns of two warps.
            const int threads = args.key_size > 64 ? 64 : largest_forward_block;
            const Division division =
                divide_columns(args, shape, TensorState<S>::columns_per_warp, threads, wanted);
            const auto memory = ForwardMemory::of<S, TensorState<S>>(division.shape, args.key_size);
            if (has_fast_tensor_cores(launch.device) && memory.bytes <= most_shared_memory) {
                return launch_blocks(args, launch, division, memory, gated_linear_forward_kernel<S, true>);
            }
        }
        shape.group_bits = 5 - shape.part_bits;
        const int columns_per_warp = columns_per_thread << shape.group_bits;
        Division division = divide_columns(args, shape, columns_per_warp, largest_forward_block, wanted);
        const auto memory = fit(division.shape, [&](const Shape& smaller) {
            return ForwardMemory::of<S, PlainState<A>>(smaller, args.key_size);
        });
        launch_blocks(args, launch, division, memory, gated_linear_forward_kernel<S, false>);
    });
}

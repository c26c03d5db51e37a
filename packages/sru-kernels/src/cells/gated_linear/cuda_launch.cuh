#pragma once

#include <stdexcept>
#include <string>

#include "cells/gated_linear/cuda_block.cuh"
#include "runtime/cuda/launch.cuh"
#include "runtime/cuda/shared_memory.cuh"

namespace sru_kernels {

inline std::string shape_of(const GatedLinearInputs& in) {
    const auto comma = [](Index size) { return std::to_string(size) + ", "; };
    return "(T, B, H, K, V) = (" + comma(in.length) + comma(in.batch) + comma(in.heads) + comma(in.key_size) +
           std::to_string(in.value_size) + ")";
}

}  // namespace sru_kernels

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// How states are distributed over blocks and threads.
struct Division {
    Shape shape;
    int threads;  // per block
};

/// Whether tensor cores, with three products for one, multiply floats faster than the FMA units: true for
/// data center GPUs, not for graphics cards.
inline bool has_fast_tensor_cores(int device) {
    const int major = cuda::attribute(cudaDevAttrComputeCapabilityMajor, device);
    return major >= 8 && major < 12 && cuda::attribute(cudaDevAttrComputeCapabilityMinor, device) == 0;
}

/// The smallest exponent for which a power of two is at least `count`.
inline int bits_of(Index count) {
    int bits = 0;
    while ((Index{1} << bits) < count) ++bits;
    return bits;
}

template <typename A>
Shape shape_of_keys(Index key_size) {
    Shape shape{};
    shape.step_bits = bits_of(most_steps<A>);
    shape.part_bits = bits_of((key_size + keys_per_thread<A> - 1) / keys_per_thread<A>);
    shape.tiles = 1;
    return shape;
}

/// A warp holds all keys of `columns_per_warp` columns. Blocks shrink if there would be too few of them.
inline Division divide_columns(const GatedLinearForward& args, Shape shape, int columns_per_warp,
                               int most_threads, Index multiprocessors) {
    const auto tiles = [&](int threads) {
        const int columns = threads / 32 * columns_per_warp;
        return (args.value_size + columns - 1) / columns;
    };
    int threads = 32;
    while (threads < most_threads && tiles(threads) > 1) threads *= 2;
    while (threads > 32 && args.states() * tiles(threads) < multiprocessors) threads /= 2;
    shape.columns = threads / 32 * columns_per_warp;
    shape.tiles = static_cast<int>(tiles(threads));
    return {shape, threads};
}

/// A block holds a state, and a warp holds all columns of some keys: most sums of a step run over columns.
template <typename A>
Division divide_keys(const GatedLinearBackward& args) {
    Shape shape = shape_of_keys<A>(args.key_size);
    shape.group_bits = bits_of((args.value_size + columns_per_thread - 1) / columns_per_thread);
    if (shape.group_bits + shape.part_bits < 5) shape.group_bits = 5 - shape.part_bits;
    shape.columns = columns_per_thread << shape.group_bits;
    return {shape, 1 << (shape.group_bits + shape.part_bits)};
}

/// Some warps of a block hold all columns of `rows_per_warp` keys each, the others all keys of that many
/// columns.
inline Division divide_rows(const GatedLinearBackward& args, int rows_per_warp) {
    Shape shape = shape_of_keys<float>(args.key_size > rows_per_warp ? args.key_size : rows_per_warp);
    const int keys = keys_per_thread<float> * shape.parts();
    const int column_warps =
        args.value_size == 0 ? 1 : (static_cast<int>(args.value_size) - 1) / rows_per_warp + 1;
    shape.columns = column_warps * rows_per_warp;
    return {shape, 32 * (keys / rows_per_warp + column_warps)};
}

/// Halves the steps per chunk until shared memory suffices. `memory_for(shape)` returns the memory needed.
template <typename Memory>
auto fit(Shape& shape, const Memory& memory_for) {
    auto memory = memory_for(shape);
    while (memory.bytes > most_shared_memory) {
        --shape.step_bits;
        memory = memory_for(shape);
    }
    return memory;
}

template <typename Args>
void check(const Args& args, const cuda::Launch& launch) {
    const std::string kernel = Args::kernel.name;
    cuda::refuse_columns(Args::kernel.name, launch);
    if (args.length > INT32_MAX) {
        throw std::invalid_argument(kernel + ": length must be at most " + std::to_string(INT32_MAX) +
                                    " on a GPU, got " + std::to_string(args.length));
    }
    if (gated_linear_fits(args.dtype, args.key_size, args.value_size)) return;
    throw std::invalid_argument(kernel + ": the state of a head must fit into registers of a GPU, got " +
                                shape_of(args));
}

/// Launches a kernel in the caller's stream.
template <typename Args, typename Memory>
void launch_blocks(const Args& args, const cuda::Launch& launch, const Division& division,
                   const Memory& memory, void (*kernel)(Args, Shape, Memory)) {
    cuda::Work work{};
    work.kernel = Args::kernel.name;
    work.dtype = args.dtype;
    const cudaLaunchConfig_t grid =
        cuda::grid_of(work, launch, args.states() * division.shape.tiles, division.threads, memory.bytes);
    const cuda::DeviceGuard guard(work.kernel, launch.device);
    if (memory.bytes > most_shared_memory)
        cuda::allow_shared_memory(kernel, work, launch, args, memory.bytes);
    cuda::launch_grid(kernel, work, launch, grid, args, division.shape, memory);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

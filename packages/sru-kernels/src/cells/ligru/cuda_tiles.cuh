#pragma once

#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include "cells/ligru/fields.hpp"
#include "cells/ligru/step.hpp"
#include "cells/marks.hpp"
#include "sru_kernels/storage.hpp"

// A GPU processes the rows of both directions together, step by step, because a step is a product of the
// states of all rows with one matrix.
//
// A block owns some columns of the matrix, resident in its shared memory if they fit, and therefore some
// units of the state, for some of the rows. A step is one stage, or two with a norm, whose means are over all
// units. Between stages, all blocks of the grid meet at a barrier; on a device without grid-wide barriers,
// each stage is a separate launch.
namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {

/// The states and columns that a warp multiplies: one number per lane.
constexpr int tile_rows = 4, tile_columns = 8;
constexpr int most_warps = 8;  // of a block
constexpr unsigned int whole_warp = 0xffffffffU;

/// How the work is divided; a parameter of the kernels.
struct Division {
    Index rows;             // B·N
    Index quads_per_block;  // a quad is `tile_rows` rows
    int width;              // of a state in the scratch memory: D, rounded up to a multiple of 4
    int tiles;              // of `tile_columns` columns
    int tiles_per_block, tile_blocks;
    bool is_wide;  // whether a row of the weight can be read 16 bytes at a time
};

/// Stages `first` to `end`, as far as they exist.
struct Stages {
    Index first, end;
};

/// Adjacent numbers that are read at once.
template <typename Element, int size>
struct alignas(size * sizeof(Element)) Numbers {
    Element at[size];
};

/// An activation as a type; std::integral_constant converts only on the host.
template <Activation activation>
struct Constant {
    static constexpr Activation value = activation;
};

/// The numbers of the accumulation type in 16 bytes, which a lane multiplies at a time.
template <typename A>
constexpr int piece = 16 / sizeof(A);

/// The position of a lane in the tile of its warp.
struct Lane {
    const int index = static_cast<int>(threadIdx.x) % 32;
    const int row = index / tile_columns, column = index % tile_columns;
};

/// A tile of columns and a quad of rows.
struct Task {
    int tile_in_block;
    Index quad_in_block;
    int tile;
    Index first_row;
};

/// The tasks of a warp. A lane owns the same numbers of a state at every step, so it sees its own writes.
class Tasks {
 public:
    __device__ __forceinline__ explicit Tasks(const Division& division)
        : first_tile_(static_cast<int>(blockIdx.x) % division.tile_blocks * division.tiles_per_block),
          first_quad_(static_cast<int>(blockIdx.x) / division.tile_blocks * division.quads_per_block),
          tiles_(static_cast<int>(within(0, division.tiles - first_tile_, Index{division.tiles_per_block}))),
          quads_(within(0, (division.rows + tile_rows - 1) / tile_rows - first_quad_,
                        division.quads_per_block)) {}

    __device__ __forceinline__ Task first() const { return settled(0, static_cast<int>(threadIdx.x) / 32); }
    __device__ __forceinline__ Task after(const Task& task) const {
        return settled(task.tile_in_block, task.quad_in_block + static_cast<int>(blockDim.x) / 32);
    }
    __device__ __forceinline__ bool has(const Task& task) const { return task.tile_in_block < tiles_; }

 private:
    /// Quads beyond the last belong to the following tiles. A division would take longer.
    __device__ __forceinline__ Task settled(int tile, Index quad) const {
        while (tile < tiles_ && quad >= quads_) {
            quad -= quads_;
            ++tile;
        }
        return {tile, quad, first_tile_ + tile, (first_quad_ + quad) * tile_rows};
    }

    int first_tile_;
    Index first_quad_;
    int tiles_;
    Index quads_;
};

/// A direction of a sequence.
struct Row {
    Index index;  // among all rows
    bool exists, reversed;
    Walked walked;

    __device__ __forceinline__ Row(const LigruInputs& in, const Division& division, Index wanted)
        : index(wanted < division.rows ? wanted : division.rows - 1),
          exists(wanted < division.rows),
          reversed(in.num_directions == 2 && (index & 1) != 0),
          walked(in.walked(in.num_directions == 2 ? index >> 1 : index)) {
        if (!exists) walked.count = 0;
    }

    __device__ __forceinline__ Index position(Index step) const {
        return walked.first + (reversed ? walked.count - 1 - step : step) * walked.stride;
    }
    /// The index of a step in a (T, B, N) array.
    __device__ __forceinline__ Index place(const LigruInputs& in, Index step) const {
        return position(step) * in.num_directions + (reversed ? 1 : 0);
    }
};

/// The number of steps of the longest row, the same in every warp.
__device__ __forceinline__ Index longest_row(const LigruInputs& in) {
    if (in.cu_seqlens == nullptr) return in.length;
    Index most = 0;
    const auto take = [&](Index count) { most = most < count ? count : most; };
    for (Index row = static_cast<int>(threadIdx.x) % 32; row < in.batch; row += 32)
        take(in.walked(row).count);
    for (int distance = 16; distance > 0; distance /= 2) take(__shfl_xor_sync(whole_warp, most, distance));
    return most;
}

/// Calls `run(stage)` for those of `stages` that exist. The first stage sets the states; each step then takes
/// one stage, or two with a norm.
template <typename Run>
__device__ __forceinline__ void run_stages(const LigruInputs& in, const Stages& stages, const Run& run) {
    const Index last = longest_row(in) << (in.has_norm ? 1 : 0);
    for (Index stage = stages.first; stage < stages.end && stage <= last; ++stage) {
        if (stage > stages.first) cooperative_groups::this_grid().sync();
        run(stage);
    }
}

/// The sum of a number over the lanes of a row.
template <typename A>
__device__ __forceinline__ A sum_of_row(A number) {
#pragma unroll
    for (int distance = tile_columns / 2; distance > 0; distance /= 2) {
        number += __shfl_xor_sync(whole_warp, number, distance);
    }
    return number;
}

/// Sums each number of a tile over the lanes. Each lane returns the number of its row and column.
template <typename A, int count = tile_rows * tile_columns>
__device__ __forceinline__ A sum_of_lanes(const A (&sums)[count], int lane) {
    constexpr int half = count / 2;
    const bool keeps_upper = (lane & half) != 0;
    A left[half];
#pragma unroll
    for (int i = 0; i < half; ++i) {
        const A given = keeps_upper ? sums[i] : sums[i + half];
        const A kept = keeps_upper ? sums[i + half] : sums[i];
        left[i] = kept + __shfl_xor_sync(whole_warp, given, half);
    }
    if constexpr (half == 1) {
        return left[0];
    } else {
        return sum_of_lanes<A, half>(left, lane);
    }
}

/// The product of a quad of states with a tile of columns: each lane returns the number of its row and
/// column. A lane multiplies every 32nd piece, and reads its next piece of the states ahead of time. The
/// order of summation depends only on `depth`, the length of a state in memory. `read(column, k)` returns a
/// piece of a column.
template <typename S, typename Read>
__device__ __forceinline__ AccumulationType<S> multiply(const AccumulationType<S>* states, int depth,
                                                        Index first_row, Index rows, const Lane& lane,
                                                        const Read& read) {
    using A = AccumulationType<S>;
    using Piece = Numbers<A, piece<A>>;
    constexpr int stride = 32 * piece<A>;
    const A* from[tile_rows];
#pragma unroll
    for (int row = 0; row < tile_rows; ++row) {
        from[row] = states + (first_row + row < rows ? first_row + row : rows - 1) * depth;
    }
    A sums[tile_rows * tile_columns] = {};
    Piece next[tile_rows];
    const auto fetch = [&](int k) {
        const int at = k < depth ? k : 0;  // beyond the end the value is not used
#pragma unroll
        for (int row = 0; row < tile_rows; ++row) next[row] = *reinterpret_cast<const Piece*>(from[row] + at);
    };
    fetch(lane.index * piece<A>);
#pragma unroll 1
    for (int start = 0; start < depth; start += stride) {
        const int k = start + lane.index * piece<A>;
        Piece now[tile_rows];
#pragma unroll
        for (int row = 0; row < tile_rows; ++row) now[row] = next[row];
        fetch(k + stride);
        __syncwarp();  // otherwise the compiler would move the loads after the products
        if (k >= depth) continue;
#pragma unroll
        for (int column = 0; column < tile_columns; ++column) {
            const Numbers<S, piece<A>> weights = read(column, k);
#pragma unroll
            for (int n = 0; n < piece<A>; ++n) {
                const A weight = load(weights.at[n]);
#pragma unroll
                for (int row = 0; row < tile_rows; ++row) {
                    A& sum = sums[row * tile_columns + column];
                    sum = multiply_add(now[row].at[n], weight, sum);
                }
            }
        }
    }
    return sum_of_lanes(sums, lane.index);
}

/// Fills the shared memory of a block with its columns of a matrix: (tiles, columns, depth).
template <typename S, typename Matrix>
__device__ __forceinline__ void keep_columns(S* memory, const Division& division, int depth,
                                             const Matrix& matrix) {
    const int first = static_cast<int>(blockIdx.x) % division.tile_blocks * division.tiles_per_block;
    const int size = tile_columns * depth, all = division.tiles_per_block * size;
    for (int i = static_cast<int>(threadIdx.x); i < all; i += static_cast<int>(blockDim.x)) {
        const int tile = i / size, place = i - tile * size;
        const int column = Matrix::has_columns_side_by_side ? place % tile_columns : place / depth;
        const int k = Matrix::has_columns_side_by_side ? place / tile_columns : place - column * depth;
        memory[tile * size + column * depth + k] = matrix.at(first + tile, column, k);
    }
    __syncthreads();
}

/// Calls `apply` with an activation that is known at compile time.
template <typename Apply>
__device__ __forceinline__ auto with_activation(Activation activation, const Apply& apply) {
    if (activation == Activation::tanh) return apply(Constant<Activation::tanh>{});
    if (activation == Activation::sin) return apply(Constant<Activation::sin>{});
    if (activation == Activation::leaky_relu) return apply(Constant<Activation::leaky_relu>{});
    return apply(Constant<Activation::relu>{});
}

/// A number from an optional array of the accumulation type.
template <typename A>
__device__ __forceinline__ A number_of(const void* array, Index at, A otherwise) {
    return array == nullptr ? otherwise : static_cast<const A*>(array)[at];
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

#pragma once

#include <stdexcept>
#include <string>

#include "cells/ligru/cuda_tiles.cuh"
#include "runtime/cuda/launch.cuh"
#include "runtime/cuda/shared_memory.cuh"

namespace sru_kernels {

inline std::string shape_of(const LigruInputs& in) {
    const auto comma = [](Index size) { return std::to_string(size) + ", "; };
    return "(T, B, N, D) = (" + comma(in.length) + comma(in.batch) + comma(in.num_directions) +
           std::to_string(in.hidden_size) + ")";
}

}  // namespace sru_kernels

namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {

/// The contents of a tile of the product in a kernel.
struct Tile {
    int units;  // of the state
    int gates;  // that a column spans
};

/// Divides the tiles among one block per multiprocessor. If there are fewer tiles, rows are divided too.
inline Division divide(const LigruInputs& in, const Tile& tile, Index multiprocessors) {
    const auto pieces = [](Index size, Index piece) { return (size + piece - 1) / piece; };
    Division division{};
    division.rows = in.batch * in.num_directions;
    division.width = static_cast<int>(pieces(in.hidden_size, 4) * 4);
    division.tiles = static_cast<int>(pieces(in.hidden_size, tile.units));
    division.tiles_per_block = static_cast<int>(pieces(division.tiles, multiprocessors));
    division.tile_blocks = static_cast<int>(pieces(division.tiles, division.tiles_per_block));
    const Index quads = pieces(division.rows, tile_rows);
    const Index groups = within(1, multiprocessors / division.tile_blocks, quads);
    division.quads_per_block = pieces(quads, groups);
    return division;
}

inline Index blocks_of(const Division& division) {
    const Index rows = division.quads_per_block * tile_rows;
    return (division.rows + rows - 1) / rows * division.tile_blocks;
}

template <typename Args>
void check(const Args& args, const cuda::Launch& launch) {
    cuda::refuse_columns(Args::kernel.name, launch);
    const auto address = reinterpret_cast<std::uintptr_t>(args.scratch);
    if (!args.has_states() || (address != 0 && address % 16 == 0)) return;
    throw std::invalid_argument(std::string(Args::kernel.name) +
                                ": scratch is required on a GPU, at an address that 16 divides");
}

/// Launches the kernel `select(zero of the storage type, whether its columns are in shared memory)`: once for
/// all stages, or once per stage if blocks cannot wait for each other.
template <typename Args, typename Select>
void launch_stages(const Args& args, const cuda::Launch& launch, const Tile& tile, const Select& select) {
    check(args, launch);
    if (!args.has_states()) return;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        cuda::Work work{};
        work.kernel = Args::kernel.name;
        work.dtype = args.dtype;
        const cuda::DeviceGuard guard(work.kernel, launch.device);
        Division division = divide(args, tile, cuda::multiprocessors(launch.device));
        division.is_wide = args.hidden_size % piece<AccumulationType<S>> == 0 &&
                           reinterpret_cast<std::uintptr_t>(args.weight) % 16 == 0;
        const Index memory =
            Index{division.tiles_per_block} * tile_columns * tile.gates * division.width * Index{sizeof(S)};
        const bool waits = cuda::attribute(cudaDevAttrCooperativeLaunch, launch.device) != 0;
        const bool resident =
            waits && args.has_steps() &&
            memory <= cuda::attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, launch.device);
        const auto kernel = resident ? select(zero, std::true_type{}) : select(zero, std::false_type{});
        const int shared = resident ? static_cast<int>(memory) : 0;
        if (shared > most_shared_memory) cuda::allow_shared_memory(kernel, work, launch, args, shared);
        const Index tasks = division.tiles_per_block * division.quads_per_block;
        const int threads = 32 * static_cast<int>(within(1, tasks, most_warps));
        cudaLaunchConfig_t grid = cuda::grid_of(work, launch, blocks_of(division), threads, shared);
        if (waits) {
            cudaLaunchAttribute cooperative{};
            cooperative.id = cudaLaunchAttributeCooperative;
            cooperative.val.cooperative = 1;
            grid.attrs = &cooperative;
            grid.numAttrs = 1;
            cuda::launch_grid(kernel, work, launch, grid, args, division, Stages{0, INT64_MAX});
            return;
        }
        const Index stages = 1 + args.length * (args.has_norm ? 2 : 1);
        for (Index stage = 0; stage < stages; ++stage) {
            cuda::launch_grid(kernel, work, launch, grid, args, division, Stages{stage, stage + 1});
        }
    });
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

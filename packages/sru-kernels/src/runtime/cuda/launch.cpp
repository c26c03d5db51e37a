#include "runtime/cuda/launch.hpp"

#include <string>

namespace sru_kernels::cuda {
namespace {

constexpr int warp = 32;
constexpr int smallest_block = warp;

constexpr Index most_blocks = INT32_MAX;  // in a grid

/// Threads per multiprocessor above which a thread computes more than one column. With fewer, the latency of
/// a step dominates; more columns per thread increase it and leave the bytes in flight unchanged. Not
/// measured.
constexpr Index enough_threads = 128;

/// Columns per multiprocessor below which teams share them. Above it teams do not help: their threads wait
/// for each other, and issue slots are the limit. Predicted from machine code, not measured.
constexpr Index few_columns = 96;

const char* to_string(DType dtype) {
    constexpr const char* names[] = {"float32", "float64", "float16", "bfloat16"};
    return names[static_cast<int>(dtype)];
}

}  // namespace

int attribute(cudaDeviceAttr name, int device) {
    int value = 0;
    cudaDeviceGetAttribute(&value, name, device);
    return value;
}

Index multiprocessors(int device) { return attribute(cudaDevAttrMultiProcessorCount, device); }

std::string describe(cudaError_t status) {
    return std::string(cudaGetErrorName(status)) + " (" + cudaGetErrorString(status) + ")";
}

void fail(const std::string& message) {
    cudaGetLastError();
    throw Error(message);
}

DeviceGuard::DeviceGuard(const char* kernel, int device) {
    cudaError_t status = cudaGetDevice(&before_);
    if (status == cudaSuccess && before_ != device) {
        status = cudaSetDevice(device);
        changed_ = status == cudaSuccess;
    }
    if (status == cudaSuccess) return;
    fail(std::string(kernel) + ": cannot use device " + std::to_string(device) + ": " + describe(status));
}

DeviceGuard::~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
}

bool fits_ring(const Work& work, int device, int columns) {
    return work.allows_rings && work.row_size % (warp * columns) == 0 &&
           attribute(cudaDevAttrComputeCapabilityMajor, device) >= 8;  // cp.async
}

bool choose_wide(const Work& work, const Launch& launch, int wide) {
    const int wanted = launch.columns_per_thread;
    if (wanted == 1) return false;
    const bool possible = fits_ring(work, launch.device, wide);
    if (wanted == 0) {
        const Index threads = work.rows * work.directions * work.row_size / wide;
        return possible && threads >= enough_threads * multiprocessors(launch.device);
    }
    const std::string head = std::string(work.kernel) + ": columns_per_thread ";
    if (wanted != wide) {
        throw std::invalid_argument(head + "must be 0, 1 or " + std::to_string(wide) + " for " +
                                    to_string(work.dtype) + ", got " + std::to_string(wanted));
    }
    if (!possible) {
        throw std::invalid_argument(
            head + "= " + std::to_string(wide) + " needs a hidden_size that " + std::to_string(warp * wide) +
            " divides, arrays aligned to 16 bytes, one v for all positions and compute "
            "capability 8.0; pass 0 to let the kernel choose");
    }
    return true;
}

bool choose_team(const Work& work, const Team& team, const Launch& launch) {
    const int wanted = launch.threads_per_column;
    if (work.rows == 0 || work.row_size == 0 || wanted == 1) return false;
    if (wanted == 0) {
        const Index columns = work.rows * work.directions * work.row_size;
        return launch.columns_per_thread == 0 && team.is_allowed && team.length >= team.steps &&
               columns < few_columns * multiprocessors(launch.device);
    }
    const std::string head = std::string(work.kernel) + ": threads_per_column ";
    if (wanted != team.threads) {
        throw std::invalid_argument(head + "must be 0, 1 or " + std::to_string(team.threads) + ", got " +
                                    std::to_string(wanted));
    }
    if (!team.is_allowed || launch.columns_per_thread > 1) {
        throw std::invalid_argument(head + "= " + std::to_string(wanted) + " needs " + team.needs +
                                    "; pass 0 to let the kernel choose");
    }
    return true;
}

void refuse_columns(const char* kernel, const Launch& launch) {
    const auto refuse = [&](const char* option, int value) {
        throw std::invalid_argument(std::string(kernel) + ": " + option + ", got " + std::to_string(value));
    };
    if (launch.columns_per_thread != 0) refuse("columns_per_thread must be 0", launch.columns_per_thread);
    if (launch.threads_per_column > 1) refuse("threads_per_column must be 0 or 1", launch.threads_per_column);
}

cudaLaunchConfig_t grid_of(const Work& work, const Launch& launch, Index blocks, int block,
                           int shared_memory) {
    if (blocks > most_blocks) {
        throw std::invalid_argument(std::string(work.kernel) + ": needs a grid of " + std::to_string(blocks) +
                                    " blocks, but CUDA allows at most " + std::to_string(most_blocks) +
                                    "; split the batch");
    }
    return {dim3(static_cast<unsigned int>(blocks)),
            dim3(static_cast<unsigned int>(block)),
            static_cast<std::size_t>(shared_memory),
            reinterpret_cast<cudaStream_t>(launch.stream),
            nullptr,
            0};
}

cudaLaunchConfig_t grid_for(const Work& work, const Launch& launch, int columns) {
    const Index threads = work.rows * work.row_size / columns;
    const auto blocks = [&](int block) { return work.directions * ((threads + block - 1) / block); };
    const Index wanted = multiprocessors(launch.device);
    int block = largest_block;
    while (block > smallest_block && blocks(block) < wanted) block /= 2;
    return grid_of(work, launch, blocks(block), block);
}

cudaLaunchConfig_t grid_for_team(const Work& work, const Launch& launch, int threads) {
    const Index blocks = work.rows * ((work.row_size + team_columns - 1) / team_columns);
    return grid_of(work, launch, work.directions * blocks, threads * team_columns);
}

void fail_launch(const Work& work, const Launch& launch, const std::string& shape, cudaError_t status) {
    fail(std::string(work.kernel) + ": CUDA did not launch the kernel for " + shape + " in " +
         to_string(work.dtype) + " on device " + std::to_string(launch.device) + ": " + describe(status));
}

}  // namespace sru_kernels::cuda

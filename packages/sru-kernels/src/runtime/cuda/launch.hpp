#pragma once

#include <cuda_runtime.h>

#include <string>

#include "runtime/cuda/kernel.hpp"
#include "sru_kernels/types.hpp"

namespace sru_kernels::cuda {

/// The largest block size, for which the kernels are compiled. Blocks shrink if there would be too few.
constexpr int largest_block = 128;

/// The longest row that a ring can read: it counts steps in 32 bits.
constexpr Index longest_in_ring = INT32_MAX / 2;

/// The adjacent columns of a row that the teams of a block process: one per lane of a warp.
constexpr int team_columns = 32;

/// The launcher's description of a kernel that computes independent columns. A thread computes one column or
/// several adjacent columns of a row, or a team of threads shares a column.
struct Work {
    const char* kernel;
    DType dtype;
    Index rows;
    Index row_size;     // columns per row and direction
    Index directions;   // each has its own blocks
    bool allows_rings;  // whether a ring may be used if the columns of a warp divide `row_size`
};

/// The launcher's description of a kernel for teams.
struct Team {
    int threads;   // per team
    Index steps;   // processed at a time
    Index length;  // of a row, on average
    bool is_allowed;
    const char* needs;  // the conditions, for an error message
};

/// The name of an error and CUDA's description of it.
std::string describe(cudaError_t status);

/// Throws Error, after clearing CUDA's last error, which the next caller would otherwise see.
[[noreturn]] void fail(const std::string& message);

/// Makes a device current in this thread; restores the previous device at the end of the scope. Throws Error.
class DeviceGuard {
 public:
    DeviceGuard(const char* kernel, int device);
    ~DeviceGuard();
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
    int before_ = 0;
    bool changed_ = false;
};

/// A property of a device.
int attribute(cudaDeviceAttr name, int device);
Index multiprocessors(int device);

/// Whether the warps of a kernel with `columns` columns per thread can read through rings in shared memory.
bool fits_ring(const Work& work, int device, int columns);

/// Returns whether a thread computes `wide` columns rather than one, which needs rings. Throws
/// std::invalid_argument if the caller asks for it and the work does not allow it.
bool choose_wide(const Work& work, const Launch& launch, int wide);

/// Returns whether teams share the columns. Throws std::invalid_argument if the caller asks for it and the
/// work does not allow it.
bool choose_team(const Work& work, const Team& team, const Launch& launch);

/// Throws std::invalid_argument if the caller sets columns or threads, which this kernel does not support.
void refuse_columns(const char* kernel, const Launch& launch);

/// A grid of `blocks` blocks of `block` threads. Throws std::invalid_argument if CUDA allows fewer.
cudaLaunchConfig_t grid_of(const Work& work, const Launch& launch, Index blocks, int block,
                           int shared_memory = 0);

/// One thread per `columns` columns, with the same number of blocks for each direction.
cudaLaunchConfig_t grid_for(const Work& work, const Launch& launch, int columns);

/// One block per `team_columns` columns of a row, with one warp per thread of a team.
cudaLaunchConfig_t grid_for_team(const Work& work, const Launch& launch, int threads);

/// Throws the Error of a failed launch.
[[noreturn]] void fail_launch(const Work& work, const Launch& launch, const std::string& shape,
                              cudaError_t status);

}  // namespace sru_kernels::cuda

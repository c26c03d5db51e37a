#pragma once
#include "cushim/barriers.h"
namespace cooperative_groups {
struct grid_group {
    void sync() const { cushim::grid_sync(); }
    unsigned long long size() const {
        return (unsigned long long)gridDim.x * gridDim.y * gridDim.z * blockDim.x * blockDim.y * blockDim.z;
    }
    unsigned long long thread_rank() const {
        return ((unsigned long long)(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) *
                   (blockDim.x * blockDim.y * blockDim.z) +
               cushim::B->cur->lin;
    }
    bool is_valid() const { return cushim::B->gridbar != nullptr; }
};
struct thread_block {
    void sync() const { cushim::block_sync(); }
    unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; }
    unsigned thread_rank() const { return cushim::B->cur->lin; }
};
inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
inline void sync(const grid_group& g) { g.sync(); }
inline void sync(const thread_block& g) { g.sync(); }
}  // namespace cooperative_groups

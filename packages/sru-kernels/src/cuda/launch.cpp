#include "launch.hpp"

#include <initializer_list>
#include <string>

namespace sru_kernels::cuda {
namespace {

constexpr int smallest_block = 32;  // a warp

/// Threads a multiprocessor must have before a thread takes more than one column. Below it the latency of a
/// step decides, which more columns make longer, and the bytes in flight are the same either way. By
/// reasoning: this was not measured.
constexpr Index enough_threads = 128;

const char* to_string(DType dtype) {
    switch (dtype) {
        case DType::float32:
            return "float32";
        case DType::float64:
            return "float64";
        case DType::float16:
            return "float16";
        case DType::bfloat16:
            break;
    }
    return "bfloat16";
}

Index multiprocessors(int device) {
    int count = 0;
    cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
    return count;
}

}  // namespace

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

bool choose_wide(const char* kernel, const SruInputs& in, const Launch& launch, int wide, bool aligned) {
    const int wanted = launch.columns_per_thread;
    if (wanted == 1) return false;
    const bool possible = aligned && in.hidden_size % wide == 0 && !in.v_per_position;
    if (wanted == 0) {
        const Index threads = in.batch * in.columns() / wide;
        return possible && threads >= enough_threads * multiprocessors(launch.device);
    }
    const std::string head = std::string(kernel) + ": columns_per_thread ";
    if (wanted != wide) {
        throw std::invalid_argument(head + "must be 0, 1 or " + std::to_string(wide) + " for " +
                                    to_string(in.dtype) + ", got " + std::to_string(wanted));
    }
    if (!possible) {
        throw std::invalid_argument(
            head + "= " + std::to_string(wide) +
            " needs a hidden_size that it divides, addresses that 16 divides and one v for "
            "all positions; pass 0 to leave the choice to the kernel");
    }
    return true;
}

cudaLaunchConfig_t grid_for(const SruInputs& in, const Launch& launch, int columns) {
    const Index threads = in.batch * in.hidden_size / columns;
    const auto blocks = [&](int block) { return in.num_directions * ((threads + block - 1) / block); };
    const Index wanted = multiprocessors(launch.device);
    int block = largest_block;
    while (block > smallest_block && blocks(block) < wanted) block /= 2;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned int>(blocks(block)));
    config.blockDim = dim3(static_cast<unsigned int>(block));
    config.stream = reinterpret_cast<cudaStream_t>(launch.stream);
    return config;
}

void check_launch(const char* kernel, const SruInputs& in, const Launch& launch, cudaError_t status) {
    if (status == cudaSuccess) return;
    std::string shape;
    for (const Index size : {in.length, in.batch, in.num_gates, in.columns()}) {
        shape += (shape.empty() ? "" : ", ") + std::to_string(size);
    }
    fail(std::string(kernel) + ": CUDA did not launch the kernel for (T, B, K, N·D) = (" + shape + ") in " +
         to_string(in.dtype) + " on device " + std::to_string(launch.device) + ": " + describe(status));
}

}  // namespace sru_kernels::cuda

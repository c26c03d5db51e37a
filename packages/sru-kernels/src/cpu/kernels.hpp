#pragma once

#include "sru_kernels/gated_linear.hpp"
#include "sru_kernels/host_device.hpp"
#include "sru_kernels/sru.hpp"

namespace sru_kernels {

/// The kernels as they were built for one instruction set.
struct Kernels {
    void (*sru_forward)(const SruForward& args, int num_threads);
    void (*sru_backward)(const SruBackward& args, int num_threads);
    void (*sru_step)(const SruStep& args, int num_threads);
    void (*gated_linear_forward)(const GatedLinearForward& args, int num_threads);
    void (*gated_linear_backward)(const GatedLinearBackward& args, int num_threads);
};

namespace SRU_KERNELS_VARIANT {

namespace sru {
void run_forward(const SruForward& args, int num_threads);
void run_backward(const SruBackward& args, int num_threads);
void run_step(const SruStep& args, int num_threads);
}  // namespace sru

namespace gated_linear {
void run_forward(const GatedLinearForward& args, int num_threads);
void run_backward(const GatedLinearBackward& args, int num_threads);
}  // namespace gated_linear

}  // namespace SRU_KERNELS_VARIANT
}  // namespace sru_kernels

#pragma once

#include "sru_kernels/sru.hpp"

// The entry points of each build of the loops; `sru.cpp` chooses among them.
#define SRU_KERNELS_DECLARE(variant)                             \
    namespace sru_kernels::variant::sru {                        \
    void run_forward(const SruForward& args, int num_threads);   \
    void run_backward(const SruBackward& args, int num_threads); \
    void run_step(const SruStep& args, int num_threads);         \
    }

SRU_KERNELS_DECLARE(baseline)
SRU_KERNELS_DECLARE(avx2)
SRU_KERNELS_DECLARE(avx512)

#undef SRU_KERNELS_DECLARE

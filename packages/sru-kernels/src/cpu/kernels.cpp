#include "kernels.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

extern const Kernels kernels;  // a constant is otherwise seen in its own file alone
const Kernels kernels{sru::run_forward, sru::run_backward, sru::run_step, gated_linear::run_forward,
                      gated_linear::run_backward};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

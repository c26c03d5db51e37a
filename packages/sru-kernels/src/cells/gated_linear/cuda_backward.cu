#include "cells/gated_linear/cuda_backward_block.cuh"
#include "cells/gated_linear/cuda_backward_plain.cuh"
#include "cells/gated_linear/cuda_backward_tensor.cuh"
#include "cells/gated_linear/cuda_launch.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

template <typename S, bool on_tensor_cores>
using BackwardStates = std::conditional_t<on_tensor_cores, TensorStates<S>, PlainStates<S>>;

template <typename S, bool on_tensor_cores>
__global__ void __launch_bounds__(largest_backward_block)
    gated_linear_backward_kernel(const GatedLinearBackward args, const Shape shape,
                                 const BackwardMemory memory) {
    SRU_KERNELS_SHARED_MEMORY(shared);
    BackwardBlock<S, BackwardStates<S, on_tensor_cores>> block(args, shape, memory, shared);
    block.run();
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

template <>
void sru_kernels::cuda::run(const GatedLinearBackward& args, const Launch& launch) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::gated_linear;
    check(args, launch);
    if (args.states() == 0) return;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        using A = AccumulationType<S>;
        if constexpr (sizeof(A) == sizeof(float)) {
            constexpr Index most = TensorStates<S>::most_rows;
            if (has_fast_tensor_cores(launch.device) && args.key_size <= most && args.value_size <= most) {
                const Division division = divide_rows(args, TensorStates<S>::rows_per_warp);
                const auto memory = BackwardMemory::of<S, TensorStates<S>>(division.shape, args.key_size);
                return launch_blocks(args, launch, division, memory, gated_linear_backward_kernel<S, true>);
            }
        }
        Division division = divide_keys<A>(args);
        const auto memory = fit(division.shape, [&](const Shape& shape) {
            return BackwardMemory::of<S, PlainStates<S>>(shape, args.key_size);
        });
        launch_blocks(args, launch, division, memory, gated_linear_backward_kernel<S, false>);
    });
}

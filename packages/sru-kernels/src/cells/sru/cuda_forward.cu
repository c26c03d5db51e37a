#include "cells/sru/cuda_steps.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// How many steps are read ahead: as many as fit into registers on every architecture.
template <typename S, int columns>
constexpr int forward_depth = columns > 1 || sizeof(S) == 8 ? 4 : 6;

template <typename S, int columns, bool ragged>
__global__ void __launch_bounds__(cuda::largest_block, min_blocks<S, columns>)
    sru_forward_kernel(const SruForward args) {
    using A = AccumulationType<S>;
    const Place place(args, columns);
    if (place.row >= args.batch) return;

    const Walked positions = walked<ragged>(args, place.row);
    const ColumnParameters<A, columns> own(args, place);
    const A scale = highway_scale<A>(args);
    const ResetState<A, columns> reset(args, place);
    A c[columns];
    read(args.c0, place.at, c, A(0));

    InputReader<S, columns> reader(args, positions, place.first, place.reversed);
    Walk<S> h_out(args.h, positions, args.columns(), place.first, place.reversed);
    Walk<A> c_out(args.c, positions, args.columns(), place.first, place.reversed);

    const auto advance = [&](const StepInputs<S, columns>& step) {
        A h[columns]{};
        if (!step.is_padding()) {
            reset.replace(step.is_start(place.reversed), c);
            const UnpackedInputs<S, columns> in(step, scale);
            A weight[columns], g[columns];
#pragma unroll
            for (int k = 0; k < columns; ++k) {
                const auto p = parameters<S>(own, k, step, args.v_per_position);
                const Gates<A> gate = gates(in.column(k), p, c[k]);
                c[k] = next_state(in.column(k), gate.f, c[k]);
                weight[k] = gate.r.open * p.mask;
            }
            activate(args.activation, c, g);
#pragma unroll
            for (int k = 0; k < columns; ++k) h[k] = output<true>(in.column(k), weight[k], g[k]);
        }
        write<S>(h_out.at, h);
        h_out.advance();
        if (args.c != nullptr) write<A>(c_out.at, c);
        c_out.advance();
    };

    const auto read_step = [&](StepInputs<S, columns>& step, Index) { reader.read(step); };
    read_ahead<StepInputs<S, columns>, forward_depth<S, columns>>(positions.count, read_step, advance);
    write<A>(static_cast<A*>(args.c_last) + place.at, c);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cuda::run(const SruForward& args, const Launch& launch) {
    launch_kernel(args, work_of(args), launch, [&](auto zero, auto columns) {
        using namespace SRU_KERNELS_VARIANT::sru;
        using S = decltype(zero);
        return args.cu_seqlens == nullptr ? sru_forward_kernel<S, columns(), false>
                                          : sru_forward_kernel<S, columns(), true>;
    });
}

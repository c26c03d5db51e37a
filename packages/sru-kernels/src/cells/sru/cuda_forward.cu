#include "cells/sru/cuda_columns.cuh"
#include "cells/sru/cuda_readers.cuh"
#include "cells/sru/cuda_team.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// The body of the forward pass: the columns of a thread, step by step.
template <typename S, int columns, bool v_varies>
class Forward {
    using A = AccumulationType<S>;

 public:
    __device__ __forceinline__ Forward(const SruForward& args, const Place& place, const Walked& positions)
        : args_(args),
          place_(place),
          own_(args, place),
          c_reset_(args.c_reset, place.first),
          scale_(highway_scale<A>(args)),
          h_out_(args.h, positions, args.columns(), place.first, place.reversed),
          c_out_(args.c, positions, args.columns(), place.first, place.reversed) {
        read(args.c0, place.at, c_, A(0));
    }

    /// The chain of states first, then g of all of them under one branch, then the outputs.
    template <int steps>
    __device__ __forceinline__ void take(const Step<S, columns> (&given)[steps]) {
        A c[steps][columns], weight[steps][columns], g[steps][columns];
#pragma unroll
        for (int i = 0; i < steps; ++i) {
            const UnpackedInputs<S, columns> in(given[i], scale_);
#pragma unroll
            for (int k = 0; k < columns; ++k) {
                const auto p = parameters<v_varies>(own_, k, given[i]);
                const Gates<A> gate = gates(in.column(k), p, c_[k]);
                c[i][k] = c_[k] = next_state(in.column(k), gate.f, c_[k]);
                weight[i][k] = gate.r.open * p.mask;
            }
        }
        with_activation(args_.activation, [&](Activation activation) {
#pragma unroll
            for (int i = 0; i < steps; ++i)
#pragma unroll
                for (int k = 0; k < columns; ++k) g[i][k] = activate(activation, c[i][k]);
        });
#pragma unroll
        for (int i = 0; i < steps; ++i) {
            const UnpackedInputs<S, columns> in(given[i], scale_);
            A h[columns];
#pragma unroll
            for (int k = 0; k < columns; ++k) h[k] = output<true>(in.column(k), weight[i][k], g[i][k]);
            write_step(h, c[i]);
        }
    }

    __device__ __forceinline__ void take(const Step<S, columns>& step, Marks marks, bool) {
        if (marks.is_padding) {
            const A h[columns]{};
            write_step(h, c_);
            return;
        }
        if (marks.is_start) c_reset_.get(c_);
        const Step<S, columns> given[1] = {step};
        take(given);
    }

    __device__ __forceinline__ void finish() const {
        write<A>(static_cast<A*>(args_.c_last) + place_.at, c_);
    }

 private:
    __device__ __forceinline__ void write_step(const A (&h)[columns], const A (&c)[columns]) {
        write<S>(h_out_.at, h);
        h_out_.advance();
        if (args_.c != nullptr) write<A>(c_out_.at, c);
        c_out_.advance();
    }

    const SruForward& args_;
    const Place& place_;
    ColumnParameters<A, columns> own_;
    SeldomNeeded<A, columns> c_reset_;
    A scale_, c_[columns];
    Walk<S> h_out_;
    Walk<A> c_out_;
};

template <typename S, int columns, bool in_ring, bool v_varies>
__global__ void __launch_bounds__(cuda::largest_block, min_blocks<S, columns>)
    sru_forward_kernel(const SruForward args) {
    if (in_ring && !has_async_copies) return;
    const Place place(args, columns);
    if (place.row >= args.batch) return;
    const Walked positions = args.walked(place.row);
    Reader<SruForward, S, columns, in_ring, v_varies> reader(args, place, positions);
    Forward<S, columns, v_varies> body(args, place, positions);
    reader.each(body);
    body.finish();
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cuda::run(const SruForward& args, const Launch& launch) {
    if (launch_team(args, launch)) return;
    launch_kernel(args, work_of(args), launch, [&](auto zero, auto columns, auto in_ring) {
        using namespace SRU_KERNELS_VARIANT::sru;
        using S = decltype(zero);
        if constexpr (!in_ring()) {
            if (args.v_per_position) return sru_forward_kernel<S, columns(), false, true>;
        }
        return sru_forward_kernel<S, columns(), in_ring(), false>;
    });
}

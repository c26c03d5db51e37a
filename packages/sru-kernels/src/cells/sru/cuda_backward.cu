#include "cells/sru/cuda_columns.cuh"
#include "cells/sru/cuda_readers.cuh"
#include "cells/sru/cuda_sums.cuh"
#include "cells/sru/cuda_team.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Writes the gradients of the inputs of each position, step by step.
template <typename S, int columns, bool v_varies>
class GradientWriter {
    using A = AccumulationType<S>;

 public:
    __device__ __forceinline__ GradientWriter(const SruBackward& args, const Place& place,
                                              const Walked& positions)
        : args_(args),
          scale_(highway_scale<A>(args)),
          u_(args.grad_u, positions, args.num_gates * args.columns(), place.first, !place.reversed),
          highway_(args.num_gates == 4
                       ? u_.beside(3 * args.columns())
                       : Walk<S>(args.grad_x, positions, args.columns(), place.first, !place.reversed)),
          v_(args.grad_v, positions, 2 * args.columns(), place.first, !place.reversed) {}

    __device__ __forceinline__ void operator()(const Gradients<A> (&grad)[columns]) {
        const Index width = args_.columns();
        put(u_.at, grad, [](const Gradients<A>& one) { return one.u_c; });
        put(u_.at + width, grad, [](const Gradients<A>& one) { return one.u_f; });
        put(u_.at + 2 * width, grad, [](const Gradients<A>& one) { return one.u_r; });
        u_.advance();
        if (args_.num_gates == 4 || args_.grad_x != nullptr) {
            put(highway_.at, grad, [this](const Gradients<A>& one) { return one.highway * scale_; });
        }
        highway_.advance();
        if constexpr (v_varies) {
            put(v_.at, grad, [](const Gradients<A>& one) { return one.v_f; });
            put(v_.at + width, grad, [](const Gradients<A>& one) { return one.v_r; });
            v_.advance();
        }
    }

 private:
    template <typename Element, typename Part>
    __device__ __forceinline__ void put(Element* to, const Gradients<A> (&grad)[columns], const Part& part) {
        A values[columns];
#pragma unroll
        for (int k = 0; k < columns; ++k) values[k] = part(grad[k]);
        write<Element>(to, values);
    }

    const SruBackward& args_;
    A scale_;
    Walk<S> u_, highway_;
    Walk<A> v_;
};

/// The body of the backward pass: the columns of a thread, from the last step to the first.
template <typename S, int columns, bool v_varies>
class Backward {
    using A = AccumulationType<S>;

 public:
    __device__ __forceinline__ Backward(const SruBackward& args, const Place& place, const Walked& positions)
        : args_(args),
          place_(place),
          own_(args, place),
          c0_(args.c0, place.at),
          c_reset_(args.c_reset, place.first),
          scale_(highway_scale<A>(args)),
          writer_(args, place, positions) {
        const Walk<const A> c(args.c, positions, args.columns(), place.first, !place.reversed);
        read(positions.count == 0 ? nullptr : c.at, 0, c_, A(0));
        read(args.grad_c_last, place.at, grad_c_, A(0));
    }

    /// g and its slope for all steps under one branch, then the chain of gradients.
    template <int steps>
    __device__ __forceinline__ void take(const Step<S, columns> (&given)[steps]) {
        A c_before[steps][columns], g[steps][columns], slope[steps][columns];
#pragma unroll
        for (int i = 0; i < steps; ++i) unpack(given[i].c_before, c_before[i]);
        with_activation(args_.activation, [&](Activation activation) {
#pragma unroll
            for (int i = 0; i < steps; ++i) slopes(activation, i == 0 ? c_ : c_before[i - 1], g[i], slope[i]);
        });
#pragma unroll
        for (int i = 0; i < steps; ++i) step_back(given[i], c_before[i], g[i], slope[i]);
        assign(c_, c_before[steps - 1]);
    }

    __device__ __forceinline__ void take(const Step<S, columns>& given, Marks marks, bool is_last) {
        A saved[columns];
        unpack(given.c_before, saved);
        if (is_last) c0_.get(saved);
        if (marks.is_padding) {
            const Gradients<A> none[columns]{};
            writer_(none);
        } else {
            step_back_from(given, marks.is_start, saved);
        }
        assign(c_, saved);
    }

    __device__ __forceinline__ void finish() const {
        write<A>(static_cast<A*>(args_.grad_c0) + place_.at, grad_c_);
        sums_.write_to(args_, place_);
    }

 private:
    static __device__ __forceinline__ void assign(A (&to)[columns], const A (&from)[columns]) {
#pragma unroll
        for (int k = 0; k < columns; ++k) to[k] = from[k];
    }

    static __device__ __forceinline__ void slopes(Activation activation, const A (&c)[columns],
                                                  A (&g)[columns], A (&slope)[columns]) {
#pragma unroll
        for (int k = 0; k < columns; ++k) {
            g[k] = activate(activation, c[k]);
            slope[k] = activation_slope(activation, c[k], g[k]);
        }
    }

    /// A step that may be a start, which no gradient crosses.
    __device__ __forceinline__ void step_back_from(const Step<S, columns>& given, bool is_start,
                                                   const A (&saved)[columns]) {
        A c_before[columns], g[columns], slope[columns];
        assign(c_before, saved);
        if (is_start) c_reset_.get(c_before);
        with_activation(args_.activation, [&](Activation activation) { slopes(activation, c_, g, slope); });
        step_back(given, c_before, g, slope);
        if (!is_start) return;
#pragma unroll
        for (int k = 0; k < columns; ++k) {
            sums_.c_reset[k] += grad_c_[k];
            grad_c_[k] = 0;
        }
    }

    __device__ __forceinline__ void step_back(const Step<S, columns>& given, const A (&c_before)[columns],
                                              const A (&g)[columns], const A (&slope)[columns]) {
        const UnpackedInputs<S, columns> in(given, scale_);
        Gradients<A> grad[columns];
        A grad_h[columns];
        unpack(given.grad_h, grad_h);
#pragma unroll
        for (int k = 0; k < columns; ++k) {
            const auto p = parameters<v_varies>(own_, k, given);
            const auto linear = linearize<true>(in.column(k), p, c_before[k], g[k], slope[k], grad_h[k]);
            grad[k] = gradients(linear, p, grad_c_[k]);
            grad_c_[k] = grad[k].c_before;
            sums_.add(grad[k], k);
        }
        writer_(grad);
    }

    const SruBackward& args_;
    const Place& place_;
    ColumnParameters<A, columns> own_;
    SeldomNeeded<A, columns> c0_, c_reset_;
    A scale_, c_[columns], grad_c_[columns];
    ParameterSums<A, columns, v_varies> sums_;
    GradientWriter<S, columns, v_varies> writer_;
};

template <typename S, int columns, bool in_ring, bool v_varies>
__global__ void __launch_bounds__(cuda::largest_block, min_blocks<S, columns>)
    sru_backward_kernel(const SruBackward args) {
    if (in_ring && !has_async_copies) return;
    const Place place(args, columns);
    if (place.row >= args.batch) return;
    const Walked positions = args.walked(place.row);
    Reader<SruBackward, S, columns, in_ring, v_varies> reader(args, place, positions);
    Backward<S, columns, v_varies> body(args, place, positions);
    reader.each(body);
    body.finish();
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cuda::run(const SruBackward& args, const Launch& launch) {
    if (launch_team(args, launch)) return;
    launch_kernel(args, work_of(args), launch, [&](auto zero, auto columns, auto in_ring) {
        using namespace SRU_KERNELS_VARIANT::sru;
        using S = decltype(zero);
        if constexpr (!in_ring()) {
            if (args.v_per_position) return sru_backward_kernel<S, columns(), false, true>;
        }
        return sru_backward_kernel<S, columns(), in_ring(), false>;
    });
}

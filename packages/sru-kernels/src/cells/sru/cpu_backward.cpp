#include "cells/sru/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {
namespace {

template <typename S, typename A = AccumulationType<S>>
struct BackwardRow {
    InputRow<S> in;
    const A *c_before, *c;
    const S* grad_h;
    A* grad_c;  // of the state after the step on entry, of the state before it on return
    S *grad_u_c, *grad_u_f, *grad_u_r, *grad_highway;
    A *grad_v_f, *grad_v_r, *grad_b_f, *grad_b_r;  // added to

    template <Activation activation, Highway highway>
    SRU_KERNELS_HOST_DEVICE void column(Index i) const {
        const Gradients<A> grad = backward<activation, highway != Highway::none>(
            load_inputs<highway>(in, i), load_parameters(in, i), c_before[i], c[i], load(grad_h[i]),
            grad_c[i]);
        grad_u_c[i] = store<S>(grad.u_c);
        grad_u_f[i] = store<S>(grad.u_f);
        grad_u_r[i] = store<S>(grad.u_r);
        if constexpr (highway == Highway::projected) grad_highway[i] = store<S>(grad.highway);
        if constexpr (highway == Highway::input) grad_highway[i] = store<S>(grad.highway * in.scale_x);
        grad_v_f[i] += grad.v_f;
        grad_v_r[i] += grad.v_r;
        grad_b_f[i] += grad.u_f;
        grad_b_r[i] += grad.u_r;
        grad_c[i] = grad.c_before;
    }
};

/// Walks a tile backwards through time. Running sums live in the rows of the final results.
template <typename S>
class BackwardTile {
    using A = AccumulationType<S>;

 public:
    BackwardTile(const SruBackward& args, Index begin, Index size)
        : args_(args),
          begin_(begin),
          size_(size),
          plane_(args.batch * args.columns()),
          ones_(args.mask_c == nullptr, size, A(1)),
          zeros_(args.c0 == nullptr, size, A(0)),
          storage_zeros_(args.grad_h == nullptr, size, S{}) {}

    void run() {
        copy_row(grad_c0() + begin_, row_at<A>(args_.grad_c_last, begin_), size_);
        for (Index gate = 0; gate < 2; ++gate) {
            fill_row(grad_bias() + gate * plane_ + begin_, size_, A(0));
            if (!args_.v_per_position) fill_row(grad_v() + gate * plane_ + begin_, size_, A(0));
        }
        const auto columns = select_columns<BackwardRow<S>>(args_);
        for (Index step = args_.length - 1; step >= 0; --step) {
            for_each_segment(args_, begin_, size_,
                             [&](const Segment& segment) { retreat(columns, step, segment); });
        }
    }

 private:
    A* grad_c0() const { return static_cast<A*>(args_.grad_c0); }
    A* grad_v() const { return static_cast<A*>(args_.grad_v); }
    A* grad_bias() const { return static_cast<A*>(args_.grad_bias); }

    void retreat(Columns<BackwardRow<S>> columns, Index step, const Segment& segment) {
        const Place place(args_, step, segment);
        const Index width = args_.columns();
        S* grad_u = static_cast<S*>(args_.grad_u) + place.position * args_.num_gates * width + segment.first;
        S* grad_x = args_.grad_x == nullptr ? nullptr : static_cast<S*>(args_.grad_x) + place.state;
        A* grad_v_f = grad_v() + segment.at;
        A* grad_v_r = grad_v_f + plane_;
        if (args_.v_per_position) {
            grad_v_f = grad_v() + place.position * 2 * width + segment.first;
            grad_v_r = grad_v_f + width;
            fill_row(grad_v_f, segment.size, A(0));
            fill_row(grad_v_r, segment.size, A(0));
        }
        if (is_padding(args_, place)) {
            for (Index gate = 0; gate < args_.num_gates; ++gate)
                fill_row(grad_u + gate * width, segment.size, S{});
            if (grad_x != nullptr) fill_row(grad_x, segment.size, S{});
            return;
        }
        S* grad_highway = args_.num_gates == 4 ? grad_u + 3 * width : grad_x;
        if (grad_highway == nullptr) grad_highway = unwanted_;

        const A* saved = static_cast<const A*>(args_.c);
        const A* c_before = place.is_first ? row_at<A>(args_.c0, segment.at) : saved + place.state_before;
        const S* grad_h = row_at<S>(args_.grad_h, place.state);
        A* grad_b_f = grad_bias() + segment.at;
        columns(
            {InputRow<S>(args_, segment, place, ones_.data()), c_before == nullptr ? zeros_.data() : c_before,
             saved + place.state, grad_h == nullptr ? storage_zeros_.data() : grad_h, grad_c0() + segment.at,
             grad_u, grad_u + width, grad_u + 2 * width, grad_highway, grad_v_f, grad_v_r, grad_b_f,
             grad_b_f + plane_},
            segment.size);
    }

    const SruBackward& args_;
    const Index begin_;
    const Index size_;
    const Index plane_;
    const ConstantRow<A> ones_;
    const ConstantRow<A> zeros_;
    const ConstantRow<S> storage_zeros_;
    alignas(64) S unwanted_[tile_size];  // takes the gradient of x if the caller does not want it
};

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

namespace sru_kernels {

template <>
void cpu::Builds<SruBackward>::SRU_KERNELS_VARIANT(const SruBackward& args, int num_threads) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::sru;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        for_each_tile(args, 64 / sizeof(S), num_threads,
                      [&](Index begin, Index size) { BackwardTile<S>(args, begin, size).run(); });
    });
}

}  // namespace sru_kernels

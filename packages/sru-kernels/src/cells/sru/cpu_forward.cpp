#include "cells/sru/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {
namespace {

template <typename S, typename A = AccumulationType<S>>
struct ForwardRow {
    InputRow<S> in;
    const A* c_before;
    S* h;
    A* c;  // may be c_before

    template <Activation activation, Highway highway>
    SRU_KERNELS_HOST_DEVICE void column(Index i) const {
        const Outputs<A> out = forward<activation, highway != Highway::none>(
            load_inputs<highway>(in, i), load_parameters(in, i), c_before[i]);
        h[i] = store<S>(out.h);
        c[i] = out.c;
    }
};

/// Walks a tile through time. The state lives in the row of c of the previous step, or in c_last if c is not
/// kept.
template <typename S>
class ForwardTile {
    using A = AccumulationType<S>;

 public:
    ForwardTile(const SruForward& args, Index begin, Index size)
        : args_(args), begin_(begin), size_(size), ones_(args.mask_c == nullptr, size, A(1)) {}

    void run() const {
        copy_row(c_last() + begin_, row_at<A>(args_.c0, begin_), size_);
        const auto columns = select_columns<ForwardRow<S>>(args_);
        for (Index step = 0; step < args_.length; ++step) {
            for_each_segment(args_, begin_, size_,
                             [&](const Segment& segment) { advance(columns, step, segment); });
        }
        if (args_.c == nullptr || args_.length == 0) return;
        for_each_segment(args_, begin_, size_, [&](const Segment& segment) {
            const Place last(args_, args_.length - 1, segment);
            copy_row(c_last() + segment.at, row_at<A>(args_.c, last.state), segment.size);
        });
    }

 private:
    A* c_last() const { return static_cast<A*>(args_.c_last); }

    void advance(Columns<ForwardRow<S>> columns, Index step, const Segment& segment) const {
        const Place place(args_, step, segment);
        auto* saved = static_cast<A*>(args_.c);
        A* state = c_last() + segment.at;
        const A* c_before = saved == nullptr || place.is_first ? state : saved + place.state_before;
        A* c = saved == nullptr ? state : saved + place.state;
        S* h = static_cast<S*>(args_.h) + place.state;
        if (is_padding(args_, place)) {
            if (c != c_before) copy_row(c, c_before, segment.size);
            return fill_row(h, segment.size, S{});
        }
        columns({InputRow<S>(args_, segment, place, ones_.data()), c_before, h, c}, segment.size);
    }

    const SruForward& args_;
    const Index begin_;
    const Index size_;
    const ConstantRow<A> ones_;
};

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

namespace sru_kernels {

template <>
void cpu::Builds<SruForward>::SRU_KERNELS_VARIANT(const SruForward& args, int num_threads) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::sru;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        for_each_tile(args, 64 / sizeof(S), num_threads,
                      [&](Index begin, Index size) { ForwardTile<S>(args, begin, size).run(); });
    });
}

}  // namespace sru_kernels

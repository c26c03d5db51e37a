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
        const Outputs<A> out = forward<activation, highway != Highway::none>(in.template inputs<highway>(i),
                                                                             in.parameters(i), c_before[i]);
        h[i] = store<S>(out.h);
        c[i] = out.c;
    }
};

/// Walks a tile through time. The state is kept in the previous step's row of c, or in c_last if c is not
/// stored.
template <typename S, typename A = AccumulationType<S>>
void walk_tile(const SruForward& args, Index begin, Index size) {
    const OptionalRows<A> masks(args.mask_c, size, A(1)), resets = rows_of_resets<A>(args, size);
    A *const c_last = static_cast<A*>(args.c_last), *const saved = static_cast<A*>(args.c);
    copy_row(c_last + begin, row_at<A>(args.c0, begin), size);
    const auto columns = select_columns<ForwardRow<S>>(args);
    const Index steps = steps_of(args, begin);
    for (Index step = 0; step < steps; ++step) {
        for_each_segment(args, begin, size, step, [&](const Segment& segment) {
            A* state = c_last + segment.at;
            const A* c_before = saved == nullptr || step == 0 ? state : saved + segment.state_before;
            A* c = saved == nullptr ? state : saved + segment.state;
            S* h = static_cast<S*>(args.h) + segment.state;
            const Mark mark = mark_of(args, segment);
            if (mark == Mark::padding) {
                if (c != c_before) copy_row(c, c_before, segment.size);
                return fill_row(h, segment.size, S{});
            }
            if (mark == Mark::start) c_before = resets.at(segment.first);
            columns({InputRow<S>(args, segment, masks), c_before, h, c}, segment.size);
        });
    }
    if (saved == nullptr || steps == 0) return;
    for_each_segment(args, begin, size, steps - 1,
                     [&](const Segment& last) { copy_row(c_last + last.at, saved + last.state, last.size); });
}

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cpu::Builds<sru_kernels::SruForward>::SRU_KERNELS_VARIANT(const SruForward& args,
                                                                            int num_threads) {
    using namespace SRU_KERNELS_VARIANT::sru;
    for_each_tile(args, num_threads,
                  [&](auto zero, Index begin, Index size) { walk_tile<decltype(zero)>(args, begin, size); });
}

#pragma once

#include "cells/sru/cpu_loops.hpp"
#include "cells/sru/step.hpp"
#include "runtime/cpu/tiles.hpp"
#include "sru_kernels/storage.hpp"

// How the B·N·D independent columns are walked: time step by time step, in memory order.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Column steps per thread below which starting other threads does not pay.
constexpr Index work_per_thread = 16384;

/// Part of a tile at one time step: columns of one batch row and direction, and where they are in each array.
struct Segment {
    Index first;  // of the N·D columns
    Index size;
    Index at;            // offset in a (B, N·D) array
    Index position;      // row of a (T·B, ...) array
    Index state;         // offset in a (T, B, N·D) array
    Index state_before;  // of the previous step in this direction; out of range at
                         // its first
};

/// Calls `visit(segment)` for the parts of a tile that share a row and a direction.
template <typename Visit>
void for_each_segment(const SruInputs& in, Index begin, Index size, Index step, const Visit& visit) {
    const Index columns = in.columns(), plane = in.batch * columns;
    Index row = begin / columns, first = begin % columns;
    for (Index at = begin; at < begin + size;) {
        const bool reversed = first >= in.hidden_size;
        const Index width = smaller(begin + size - at, (reversed ? columns : in.hidden_size) - first);
        const Index time = reversed ? in.length - 1 - step : step, state = time * plane + at;
        visit(Segment{first, width, at, time * in.batch + row, state,
                      reversed ? state + plane : state - plane});
        at += width;
        first += width;
        if (first < columns) continue;
        first = 0;
        ++row;
    }
}

/// Calls `visit(zero of the storage type, begin, size)` for every tile of the flattened (batch, columns)
/// space.
template <typename Visit>
void for_each_tile(const SruInputs& in, int num_threads, const Visit& visit) {
    const Index total = in.batch * in.columns();
    const bool worthwhile = total * (in.length > 1 ? in.length : 1) >= 2 * work_per_thread;
    dispatch_storage(in.dtype, [&](auto zero) {
        SRU_KERNELS_VARIANT::for_each_tile(total, tile_size, 64 / sizeof(zero), worthwhile, num_threads,
                                           [&](Index begin, Index size) { visit(zero, begin, size); });
    });
}

inline bool is_padding(const SruInputs& in, const Segment& segment) {
    return in.marks != nullptr && (in.marks[segment.position] & 1) != 0;
}

/// What the forward and the backward step of a segment both read.
template <typename S, typename A = AccumulationType<S>>
struct InputRow {
    const S *u_c, *u_f, *u_r, *highway;
    const A *v_f, *v_r, *b_f, *b_r, *mask;
    A scale_x;

    InputRow(const SruInputs& in, const Segment& segment, const OptionalRows<A>& masks)
        : u_c(row_at<S>(in.u, segment.position * in.num_gates * in.columns() + segment.first)),
          u_f(u_c + in.columns()),
          u_r(u_f + in.columns()),
          highway(in.num_gates == 4 ? u_r + in.columns() : row_at<S>(in.x, segment.state)),
          v_f(row_at<A>(in.v, (in.v_per_position ? segment.position * 2 * in.columns() : 0) + segment.first)),
          v_r(v_f + in.columns()),
          b_f(row_at<A>(in.bias, segment.first)),
          b_r(b_f + in.columns()),
          mask(masks.at(segment.at)),
          scale_x(static_cast<A>(in.scale_x)) {}

    template <Highway way>
    SRU_KERNELS_HOST_DEVICE A highway_at(Index i) const {
        if constexpr (way == Highway::none) return A(0);
        return way == Highway::input ? load(highway[i]) * scale_x : load(highway[i]);
    }

    template <Highway way>
    SRU_KERNELS_HOST_DEVICE Inputs<A> inputs(Index i) const {
        return {load(u_c[i]), load(u_f[i]), load(u_r[i]), highway_at<way>(i)};
    }

    SRU_KERNELS_HOST_DEVICE Parameters<A> parameters(Index i) const {
        return {v_f[i], v_r[i], b_f[i], b_r[i], mask[i]};
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

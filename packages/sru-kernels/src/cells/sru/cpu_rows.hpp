#pragma once

#include "cells/sru/cpu_loops.hpp"
#include "cells/sru/step.hpp"
#include "runtime/cpu/tiles.hpp"
#include "sru_kernels/storage.hpp"

// How the B·N·D independent columns are walked: time step by time step, in memory order.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Column steps per thread below which starting other threads does not pay.
constexpr Index work_per_thread = 16384;

/// Columns `first` to `first + size` of batch row `row`, all of one direction.
struct Segment {
    Index row;
    Index first;
    Index size;
    bool reversed;
    Index at;  // the offset of its first column in the flattened (batch, columns) space
};

/// Calls `visit(segment)` for the parts of a tile that share a row and a direction.
template <typename Visit>
void for_each_segment(const SruInputs& in, Index begin, Index size, const Visit& visit) {
    const Index columns = in.columns();
    Index row = begin / columns;
    Index first = begin % columns;
    for (Index at = begin; at < begin + size;) {
        const bool reversed = first >= in.hidden_size;
        const Index width = smaller(begin + size - at, (reversed ? columns : in.hidden_size) - first);
        visit(Segment{row, first, width, reversed, at});
        at += width;
        first += width;
        if (first == columns) {
            first = 0;
            ++row;
        }
    }
}

/// Calls `visit(begin, size)` for every tile of the flattened (batch, columns) space.
template <typename Visit>
void for_each_tile(const SruInputs& in, Index line, int num_threads, const Visit& visit) {
    const Index total = in.batch * in.columns();
    const bool worthwhile = total * (in.length > 1 ? in.length : 1) >= 2 * work_per_thread;
    SRU_KERNELS_VARIANT::for_each_tile(total, tile_size, line, worthwhile, num_threads, visit);
}

/// A segment at one time step: where its rows start in each array.
struct Place {
    Index time;      // of this step
    Index before;    // of the previous step in this direction; out of range at its first
    Index position;  // row of a (T·B, ...) array
    Index state;     // first column in a (T, B, N·D) array
    Index state_before;
    bool is_first;

    Place(const SruInputs& in, Index step, const Segment& segment)
        : time(segment.reversed ? in.length - 1 - step : step),
          before(segment.reversed ? time + 1 : time - 1),
          position(time * in.batch + segment.row),
          state(time * in.batch * in.columns() + segment.at),
          state_before(before * in.batch * in.columns() + segment.at),
          is_first(step == 0) {}
};

inline bool is_padding(const SruInputs& in, const Place& place) {
    return in.mask_pad != nullptr && in.mask_pad[place.position] != 0;
}

/// What the forward and the backward step of a segment both read.
template <typename S, typename A = AccumulationType<S>>
struct InputRow {
    const S *u_c, *u_f, *u_r, *highway;
    const A *v_f, *v_r, *b_f, *b_r, *mask;
    A scale_x;

    InputRow(const SruInputs& in, const Segment& segment, const Place& place, const A* ones) {
        const Index columns = in.columns();
        u_c = row_at<S>(in.u, place.position * in.num_gates * columns + segment.first);
        u_f = u_c + columns;
        u_r = u_f + columns;
        highway = in.num_gates == 4 ? u_r + columns : row_at<S>(in.x, place.state);
        v_f = row_at<A>(in.v, (in.v_per_position ? place.position * 2 * columns : 0) + segment.first);
        v_r = v_f + columns;
        b_f = row_at<A>(in.bias, segment.first);
        b_r = b_f + columns;
        mask = in.mask_c == nullptr ? ones : row_at<A>(in.mask_c, segment.at);
        scale_x = static_cast<A>(in.scale_x);
    }
};

template <Highway way, typename S, typename A>
SRU_KERNELS_HOST_DEVICE A load_highway(const InputRow<S, A>& row, Index i) {
    if constexpr (way == Highway::none) {
        return A(0);
    } else if constexpr (way == Highway::input) {
        return load(row.highway[i]) * row.scale_x;
    } else {
        return load(row.highway[i]);
    }
}

template <Highway way, typename S, typename A>
SRU_KERNELS_HOST_DEVICE Inputs<A> load_inputs(const InputRow<S, A>& row, Index i) {
    return {load(row.u_c[i]), load(row.u_f[i]), load(row.u_r[i]), load_highway<way>(row, i)};
}

template <typename S, typename A>
SRU_KERNELS_HOST_DEVICE Parameters<A> load_parameters(const InputRow<S, A>& row, Index i) {
    return {row.v_f[i], row.v_r[i], row.b_f[i], row.b_r[i], row.mask[i]};
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

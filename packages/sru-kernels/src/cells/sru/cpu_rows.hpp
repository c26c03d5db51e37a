#pragma once

#include <cstdint>

#include "cells/marks.hpp"
#include "cells/sru/cpu_loops.hpp"
#include "cells/sru/step.hpp"
#include "runtime/cpu/schedule.hpp"
#include "runtime/cpu/tiles.hpp"
#include "sru_kernels/storage.hpp"

// The B·N·D independent columns are processed time step by time step, in memory order.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Column steps per thread below which starting other threads is not worthwhile.
constexpr Index work_per_thread = 16384;

/// Part of a tile at one time step: columns of one batch row and direction, and their offsets in each array.
struct Segment {
    Index first;  // of the N·D columns
    Index size;
    Index at;            // offset in a (B, N·D) array
    Index position;      // row of a (T·B, ...) array
    Index state;         // offset in a (T, B, N·D) array
    Index state_before;  // of the previous step in this direction; out of range at
                         // its first
    bool reversed;       // in the second direction
};

/// The number of steps of every column of the tile that begins at `begin`.
inline Index steps_of(const SruInputs& in, Index begin) { return in.walked(begin / in.columns()).count; }

/// Calls `visit(segment)` for the parts of a tile that share a row and a direction.
template <typename Visit>
void for_each_segment(const SruInputs& in, Index begin, Index size, Index step, const Visit& visit) {
    const Index columns = in.columns();
    Walked row = in.walked(begin / columns);
    Index first = begin % columns;
    for (Index at = begin; at < begin + size;) {
        const bool reversed = first >= in.hidden_size;
        const Index width = smaller(begin + size - at, (reversed ? columns : in.hidden_size) - first);
        const Index position = row.first + (reversed ? row.count - 1 - step : step) * row.stride;
        const Index before = reversed ? position + row.stride : position - row.stride;
        visit(Segment{first, width, at, position, position * columns + first, before * columns + first,
                      reversed});
        at += width;
        first += width;
        if (first < columns) continue;
        first = 0;
        ++row.first;
    }
}

/// Calls `visit(zero of the storage type, begin, size)` for every tile of the flattened (batch, columns)
/// space. With cu_seqlens the columns of a tile belong to one row.
template <typename Args, typename Visit>
void for_each_tile(const Args& in, int num_threads, const Visit& visit) {
    const bool is_ragged = in.cu_seqlens != nullptr;
    const cpu::Sequences sequences{in.cu_seqlens, in.batch, in.length, in.columns()};
    if (is_ragged) cpu::check_offsets(Args::kernel.name, sequences);
    const Index total = in.batch * in.columns();
    const Index work = is_ragged ? in.length * in.columns() : total * (in.length > 1 ? in.length : 1);
    const bool worthwhile = work >= 2 * work_per_thread;
    dispatch_storage(in.dtype, [&](auto zero) {
        constexpr Index line = 64 / sizeof(zero);
        const auto visit_unit = [&](const cpu::Unit& unit) {
            visit(zero, unit.row * in.columns() + unit.begin, unit.size);
        };
        if (is_ragged) {
            return cpu::for_each_unit(
                sequences, line, tile_size, worthwhile, num_threads,
                [](const void* visitor, const cpu::Unit& unit) {
                    (*static_cast<decltype(&visit_unit)>(visitor))(unit);
                },
                &visit_unit);
        }
        SRU_KERNELS_VARIANT::for_each_tile(total, tile_size, line, worthwhile, num_threads,
                                           [&](Index begin, Index size) { visit(zero, begin, size); });
    });
}

inline Mark mark_of(const SruInputs& in, const Segment& segment) {
    return SRU_KERNELS_VARIANT::mark_of(in.marks, segment.position, segment.reversed);
}

/// The state before a step at which a direction restarts; empty without marks.
template <typename A>
OptionalRows<A> rows_of_resets(const SruInputs& in, Index size) {
    return OptionalRows<A>(in.c_reset, in.marks == nullptr ? 0 : size, A(0));
}

/// The inputs of both the forward and the backward step of a segment.
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

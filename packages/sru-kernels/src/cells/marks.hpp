#pragma once

#include <cstdint>

#include "cells/fields.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// What `marks` says of a position.
enum class Mark { none, padding, start };

/// Without marks there are neither padding nor starts.
inline Mark mark_of(Mask marks, Index position, bool reversed) {
    if (marks == nullptr) return Mark::none;
    const std::uint8_t mark = marks[position];
    if ((mark & 1) != 0) return Mark::padding;
    return (mark & (reversed ? 4 : 2)) != 0 ? Mark::start : Mark::none;
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

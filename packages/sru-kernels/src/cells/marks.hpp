#pragma once

#include <cstdint>

#include "cells/fields.hpp"
#include "sru_kernels/host_device.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// The meaning of `marks` at a position.
enum class Mark { none, padding, start };

SRU_KERNELS_HOST_DEVICE Mark mark_of(std::uint8_t mark, bool reversed) {
    if ((mark & 1) != 0) return Mark::padding;
    return (mark & (reversed ? 4 : 2)) != 0 ? Mark::start : Mark::none;
}

/// Without marks there is no padding and no start.
SRU_KERNELS_HOST_DEVICE Mark mark_of(Mask marks, Index position, bool reversed) {
    return marks == nullptr ? Mark::none : mark_of(marks[position], reversed);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT

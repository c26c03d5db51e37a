#pragma once

#include "cells/sru/fields.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Where the highway comes from: nowhere, `scale_x` · x, or the fourth gate of u.
enum class Highway { none, input, projected };

template <typename Arguments>
Highway highway_of(const Arguments& in) {
    if (in.num_gates == 4) return Highway::projected;
    return in.x == nullptr ? Highway::none : Highway::input;
}

/// Returns `Loop<activation, highway>::run` for values that are known at run time only.
template <template <Activation, Highway> typename Loop, Activation activation>
auto select_highway(Highway highway) {
    if (highway == Highway::none) return &Loop<activation, Highway::none>::run;
    if (highway == Highway::input) return &Loop<activation, Highway::input>::run;
    return &Loop<activation, Highway::projected>::run;
}

template <template <Activation, Highway> typename Loop, typename Arguments>
auto select_loop(const Arguments& in) {
    const Highway highway = highway_of(in);
    if (in.activation == Activation::tanh) return select_highway<Loop, Activation::tanh>(highway);
    if (in.activation == Activation::relu) return select_highway<Loop, Activation::relu>(highway);
    return select_highway<Loop, Activation::identity>(highway);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

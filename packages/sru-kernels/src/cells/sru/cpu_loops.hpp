#pragma once

#include "cells/sru/fields.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Where the highway comes from: nowhere, `scale_x` · x, or the fourth gate of u.
enum class Highway { none, input, projected };

/// Runs a step of the columns of a row: `row.column<activation, highway>(i)` for each.
template <typename Row>
using Columns = void (*)(const Row& row, Index size);

template <typename Row, Activation activation, Highway highway>
void run_columns(const Row& given, Index size) {
    const Row row = given;  // a copy, so that the compiler knows that no store changes it
#pragma omp simd
    for (Index i = 0; i < size; ++i) row.template column<activation, highway>(i);
}

template <typename Row, Activation activation, typename Arguments>
Columns<Row> select_columns(const Arguments& in) {
    if (in.num_gates == 4) return run_columns<Row, activation, Highway::projected>;
    if (in.x != nullptr) return run_columns<Row, activation, Highway::input>;
    return run_columns<Row, activation, Highway::none>;
}

/// Returns the loop for values that are known only at run time.
template <typename Row, typename Arguments>
Columns<Row> select_columns(const Arguments& in) {
    if (in.activation == Activation::tanh) return select_columns<Row, Activation::tanh>(in);
    if (in.activation == Activation::relu) return select_columns<Row, Activation::relu>(in);
    return select_columns<Row, Activation::identity>(in);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

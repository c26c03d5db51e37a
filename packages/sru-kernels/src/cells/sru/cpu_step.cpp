#include <cstdint>

#include "cells/sru/cpu_loops.hpp"
#include "cells/sru/step.hpp"
#include "runtime/cpu/kernel.hpp"
#include "runtime/cpu/tiles.hpp"
#include "runtime/cpu/vectors.hpp"
#include "sru_kernels/storage.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {
namespace {

/// Rows of the weight that are read in parallel.
constexpr Index row_group = 4;

/// Sequences whose u is held at the same time. For the next group, the weight of a tile is read again, from
/// cache.
constexpr Index batch_group = 8;

/// Multiplications per thread below which starting other threads is not worthwhile.
constexpr Index products_per_thread = 65536;

template <Index count, typename A>
SRU_KERNELS_HOST_DEVICE A sum_in_pairs(const A (&terms)[count]) {
    if constexpr (count == 1) {
        return terms[0];
    } else {
        A sums[count / 2];
#pragma omp simd
        for (Index i = 0; i < count / 2; ++i) sums[i] = terms[i] + terms[i + count / 2];
        return sum_in_pairs(sums);
    }
}

/// out[row] = Σ_k weight[row, k] · input[k] for some rows. Lanes and their sums are explicit: the compiler
/// would add the lanes of a row one by one, which takes as long as 1024 products.
template <Index rows, typename W, typename S, typename A>
void multiply(const W* weight, const S* input, Index size, A* out) {
    // As many as fit in a vector of the accumulation type. For bytes a whole vector, which GCC unpacks well;
    // fewer took three times as long.
    constexpr Index lanes = vector_size / Index{sizeof(W) == 1 ? 1 : sizeof(A)};
    A sums[rows][lanes] = {};
    Index k = 0;
    for (; k + lanes <= size; k += lanes) {
        for (Index row = 0; row < rows; ++row) {
            // Prefetches the next rows: an eighth faster when the weight comes from memory.
            __builtin_prefetch(weight + (rows + row) * size + k);
#pragma omp simd
            for (Index lane = 0; lane < lanes; ++lane) {
                sums[row][lane] = multiply_add(A(load(weight[row * size + k + lane])), load(input[k + lane]),
                                               sums[row][lane]);
            }
        }
    }
    for (Index row = 0; row < rows; ++row) {
        A sum = sum_in_pairs(sums[row]);
        for (Index rest = k; rest < size; ++rest) {
            sum = multiply_add(A(load(weight[row * size + rest])), load(input[rest]), sum);
        }
        out[row] = sum;
    }
}

/// Some columns of one sequence.
template <typename S, typename A = AccumulationType<S>>
struct StepRow {
    const A *u_c, *u_f, *u_r, *u_x;
    const A *v_f, *v_r, *b_f, *b_r, *c_before;
    const S* x;
    A scale_x;
    S* h;
    A* c;  // may be c_before

    template <Activation activation, Highway highway>
    SRU_KERNELS_HOST_DEVICE void column(Index i) const {
        Inputs<A> in{u_c[i], u_f[i], u_r[i], A(0)};
        if constexpr (highway == Highway::input) in.highway = load(x[i]) * scale_x;
        if constexpr (highway == Highway::projected) in.highway = u_x[i];
        const Parameters<A> parameters{v_f[i], v_r[i], b_f[i], b_r[i], A(1)};
        const Outputs<A> out = forward<activation, highway != Highway::none>(in, parameters, c_before[i]);
        h[i] = store<S>(out.h);
        c[i] = out.c;
    }
};

/// Columns that are computed together: a cache line.
template <typename S>
constexpr Index line = 64 / Index{sizeof(S)};

/// u of some sequences, for the columns of a tile.
template <typename S>
using Gates = AccumulationType<S>[batch_group][4][line<S>];

/// Computes one gate of `rows` columns, from `column` of the tile on, for sequences `first` to `end`.
template <Index rows, typename W, typename S>
void project(const SruStep& args, Index begin, Index gate, Index column, Index first, Index end,
             Gates<S>& u) {
    const Index size = args.input_size, first_row = gate * args.columns + begin + column;
    const W* weight = row_at<W>(args.weight, first_row * size);
    const auto* scale = row_at<AccumulationType<S>>(args.weight_scale, first_row);
    for (Index sequence = first; sequence < end; ++sequence) {
        auto* to = u[sequence - first][gate] + column;
        multiply<rows>(weight, row_at<S>(args.input, sequence * size), size, to);
        if (scale == nullptr) continue;
        for (Index row = 0; row < rows; ++row) to[row] *= scale[row];
    }
}

/// Computes some columns, at most a cache line, of the whole batch. The weight has type W.
template <typename S, typename W, typename A = AccumulationType<S>>
void run_tile(const SruStep& args, Index begin, Index size) {
    alignas(64) Gates<S> u;
    const OptionalRows<A> c0(args.c0, size, A(0));
    const A *v = row_at<A>(args.v, begin), *bias = row_at<A>(args.bias, begin);
    const auto columns = select_columns<StepRow<S>>(args);
    for (Index first = 0; first < args.batch; first += batch_group) {
        const Index end = smaller(args.batch, first + batch_group);
        for (Index gate = 0; gate < args.num_gates; ++gate) {
            Index column = 0;
            for (; column + row_group <= size; column += row_group)
                project<row_group, W, S>(args, begin, gate, column, first, end, u);
            for (; column < size; ++column) project<1, W, S>(args, begin, gate, column, first, end, u);
        }
        for (Index sequence = first; sequence < end; ++sequence) {
            const Index at = sequence * args.columns + begin;
            const auto& gates = u[sequence - first];
            columns({gates[0], gates[1], gates[2], gates[3], v, v + args.columns, bias, bias + args.columns,
                     c0.at(at), row_at<S>(args.x, at), static_cast<A>(args.scale_x),
                     static_cast<S*>(args.h) + at, static_cast<A*>(args.c_last) + at},
                    size);
        }
    }
}

template <typename S, typename W>
void run_tiles(const SruStep& args, int num_threads) {
    const Index products = args.batch * args.num_gates * args.columns * args.input_size;
    for_each_tile(args.columns, line<S>, line<S>, products >= 2 * products_per_thread, num_threads,
                  [&](Index begin, Index size) { run_tile<S, W>(args, begin, size); });
}

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

namespace sru_kernels {

template <>
void cpu::Builds<SruStep>::SRU_KERNELS_VARIANT(const SruStep& args, int num_threads) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::sru;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        if (args.weight_scale != nullptr) return run_tiles<S, std::int8_t>(args, num_threads);
        run_tiles<S, S>(args, num_threads);
    });
}

}  // namespace sru_kernels

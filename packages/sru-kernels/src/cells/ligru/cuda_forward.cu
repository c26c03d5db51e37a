#include "cells/ligru/cuda_launch.cuh"
#include "cells/ligru/cuda_tiles.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {

/// The units of a tile, which has a column of each gate for every unit.
constexpr int forward_units = tile_columns / 2;

/// U_h and U_z as columns: the rows of the weight.
template <typename S>
struct ForwardMatrix {
    static constexpr bool has_columns_side_by_side = false;

    const S* weight;
    int size;
    bool is_wide;

    __device__ __forceinline__ S at(int tile, int column, int k) const {
        const int unit = tile * forward_units + column % forward_units;
        return unit < size && k < size ? weight[row(tile, column) + k] : S{};
    }

    /// `count` numbers of a column, zeros beyond its end. Loads are unconditional, because there are many.
    template <int count>
    __device__ __forceinline__ Numbers<S, count> piece(int tile, int column, int k) const {
        const S* from = weight + row(tile, column);
        Numbers<S, count> numbers;
        if (is_wide) {
            numbers = *reinterpret_cast<const Numbers<S, count>*>(from + (k < size ? k : 0));
        } else {
#pragma unroll
            for (int i = 0; i < count; ++i) numbers.at[i] = from[k + i < size ? k + i : 0];
        }
#pragma unroll
        for (int i = 0; i < count; ++i) {
            if (k + i >= size) numbers.at[i] = S{};
        }
        return numbers;
    }

 private:
    /// The offset of a column; beyond the last unit, that of some other column, whose results are not read.
    __device__ __forceinline__ Index row(int tile, int column) const {
        const int unit = tile * forward_units + column % forward_units;
        return ((column < forward_units ? 0 : Index{size}) + (unit < size ? unit : 0)) * size;
    }
};

/// The data that a lane reads ahead for a step. Nothing is computed from it until it is needed.
template <typename S>
struct ForwardInputs {
    Index place;  // in a (T, B, N) array; negative if there is no such step
    bool is_last;
    std::uint8_t marks, next_marks;
    S u;
    AccumulationType<S> mask;
};

/// A lane's numbers: a gate of a unit of a row and, for the first gate, the state of the unit.
template <typename S, bool resident>
class Forward {
    using A = AccumulationType<S>;
    using Moments = Numbers<A, 2>;  // of a part of a row: its mean, and the sum of squared distances from it

 public:
    __device__ __forceinline__ Forward(const LigruForward& args, const Division& division, const S* columns)
        : args_(args),
          division_(division),
          columns_(columns),
          size_(static_cast<int>(args.hidden_size)),
          tasks_(division) {}

    __device__ __forceinline__ static ForwardMatrix<S> matrix(const LigruForward& args,
                                                              const Division& division) {
        return {static_cast<const S*>(args.weight), static_cast<int>(args.hidden_size), division.is_wide};
    }

    __device__ __forceinline__ void run(const Stages& stages) {
        const int halves = args_.has_norm ? 1 : 0;  // log2 of the stages per step
        const Index done = stages.first == 0 ? 0 : (stages.first - 1) >> halves;
        if (tasks_.has(tasks_.first())) next_ = read(tasks_.first(), done);
        run_stages(args_, stages, [&](Index stage) {
            const Index step = (stage - 1) >> halves;
            const bool multiplies = !args_.has_norm || (stage & 1) != 0;
            for (Task task = tasks_.first(); tasks_.has(task); task = tasks_.after(task)) {
                if (stage == 0) {
                    begin(task);
                    continue;
                }
                const A before = state(task, step);
                A p(0);
                // Finished quads are skipped; the lanes of the others need all of their states.
                if (multiplies && __any_sync(whole_warp, step < row(task).walked.count)) {
                    p = product(task, step);
                }
                if (args_.has_norm && multiplies) {
                    keep(task, p);
                    continue;
                }
                if (args_.has_norm) p = normalized(task, step);
                finish(task, step, before, p);
            }
        });
    }

 private:
    __device__ __forceinline__ int gate() const { return lane_.column / forward_units; }
    __device__ __forceinline__ int unit(const Task& task) const {
        return task.tile * forward_units + lane_.column % forward_units;
    }
    __device__ __forceinline__ Row row(const Task& task) const {
        return {args_, division_, task.first_row + lane_.row};
    }

    /// Scratch memory: alternating states before and after a step, the products and the moments of parts.
    __device__ __forceinline__ A* states(Index step) const {
        return static_cast<A*>(args_.scratch) + (step & 1) * division_.rows * division_.width;
    }
    __device__ __forceinline__ A& kept_product(Index row, int unit) const {
        return states(0)[((2 + gate()) * division_.rows + row) * division_.width + unit];
    }
    __device__ __forceinline__ Moments& moments(Index row, int tile) const {
        return reinterpret_cast<Moments*>(states(0) + (4 * division_.rows + row) * division_.width)[tile];
    }

    __device__ __forceinline__ A state(const Task& task, Index step) const {
        const int own = unit(task);
        return own < size_ ? states(step)[row(task).index * division_.width + own] : A(0);
    }

    __device__ __forceinline__ ForwardInputs<S> read(const Task& task, Index step) const {
        ForwardInputs<S> given{};
        const Row row = this->row(task);
        const int own = unit(task);
        given.place = -1;
        if (step >= row.walked.count || own >= size_) return given;
        given.place = row.place(args_, step);
        given.is_last = step + 1 == row.walked.count;
        const Index position = row.position(step);
        if (args_.marks != nullptr) {
            given.marks = args_.marks[position];
            if (!given.is_last) given.next_marks = args_.marks[row.position(step + 1)];
        }
        given.u = static_cast<const S*>(args_.u)[(2 * position + gate()) * size_ + own];
        given.mask = number_of(args_.mask_h, row.index * size_ + own, A(1));
        return given;
    }

    /// Sets the state before the first step.
    __device__ __forceinline__ void begin(const Task& task) const {
        const Row row = this->row(task);
        const int own = unit(task);
        if (gate() != 0 || !row.exists || own >= division_.width) return;
        A* to = states(0) + row.index * division_.width + own;
        if (own >= size_) {  // U is 0 there, but 0 times an arbitrary value may be NaN
            to[0] = to[division_.rows * division_.width] = A(0);
            return;
        }
        A state = number_of(args_.h0, row.index * size_ + own, A(0));
        if (row.walked.count == 0) {
            static_cast<A*>(args_.h_last)[row.index * size_ + own] = state;
        } else if (mark_of(args_.marks, row.position(0), row.reversed) == Mark::start) {
            state = reset(row, own);
        }
        *to = state;
    }

    __device__ __forceinline__ A reset(const Row& row, int own) const {
        return number_of(args_.h_reset, (row.reversed ? size_ : 0) + own, A(0));
    }

    __device__ __forceinline__ A product(const Task& task, Index step) const {
        constexpr int count = piece<A>;
        return multiply<S>(
            states(step), division_.width, task.first_row, division_.rows, lane_, [&](int column, int k) {
                if constexpr (resident) {
                    const int place = (task.tile_in_block * tile_columns + column) * division_.width + k;
                    return *reinterpret_cast<const Numbers<S, count>*>(columns_ + place);
                } else {
                    return matrix(args_, division_).template piece<count>(task.tile, column, k);
                }
            });
    }

    /// How many units a tile has.
    __device__ __forceinline__ int size_of(int tile) const {
        const int left = size_ - tile * forward_units;
        return left < forward_units ? left : forward_units;
    }

    /// Stores a product until the moments of its whole row are known.
    __device__ __forceinline__ void keep(const Task& task, A product) const {
        const Row row = this->row(task);
        const int own = unit(task);
        const bool exists = own < size_;
        const A mean = sum_of_row(exists ? product : A(0)) / A(2 * size_of(task.tile));
        const A distance = exists ? product - mean : A(0);
        const A square = sum_of_row(distance * distance);
        if (!row.exists) return;
        if (exists) kept_product(row.index, own) = product;
        if (lane_.column == 0) moments(row.index, task.tile) = {mean, square};
    }

    /// The normalized product. All lanes of all warps add up the moments of a row in the same order.
    __device__ __forceinline__ A normalized(const Task& task, Index step) const {
        const Row row = this->row(task);
        A mean(0), square(0);
        for (int tile = lane_.column; tile < division_.tiles; tile += tile_columns) {
            mean += A(size_of(tile)) / A(size_) * moments(row.index, tile).at[0];
        }
        mean = sum_of_row(mean);
        for (int tile = lane_.column; tile < division_.tiles; tile += tile_columns) {
            const Moments part = moments(row.index, tile);
            const A distance = part.at[0] - mean;
            square += part.at[1] + A(2 * size_of(tile)) * distance * distance;
        }
        square = sum_of_row(square);
        const A rstd = A(1) / sqrt(square / A(2 * size_) + static_cast<A>(args_.norm_eps));
        const int own = unit(task);
        if (own >= size_) return A(0);
        if (own == 0 && gate() == 0 && args_.rstd != nullptr && step < row.walked.count) {
            static_cast<A*>(args_.rstd)[row.place(args_, step)] = rstd;
        }
        return (kept_product(row.index, own) - mean) * rstd;
    }

    /// Computes a step of a unit, given the state before it and the product, normalized if there is a norm.
    __device__ __forceinline__ void finish(const Task& task, Index step, A before, A product) {
        const ForwardInputs<S> given = next_;
        const Task after = tasks_.after(task);
        const bool follows = tasks_.has(after);
        next_ = read(follows ? after : tasks_.first(), follows ? step : step + 1);
        const int own = unit(task);
        const bool exists = given.place >= 0;
        A p = product;
        if (args_.has_norm && exists) {
            const int parameter = gate() * size_ + own;
            p = scale(p, number_of(args_.norm_weight, parameter, A(1)),
                      number_of(args_.norm_bias, parameter, A(0)));
        }
        const A sum = load(given.u) + p;
        const A other = __shfl_xor_sync(whole_warp, sum, forward_units);
        if (!exists) return;
        if (args_.products != nullptr) {
            static_cast<A*>(args_.products)[(2 * given.place + gate()) * size_ + own] = product;
        }
        if (gate() != 0) return;
        const Row row = this->row(task);
        const bool is_padding = mark_of(given.marks, row.reversed) == Mark::padding;
        A state = with_activation(args_.activation, [&](auto activation) {
            return forward<activation.value>(Sums<A>{sum, other}, given.mask, before);
        });
        if (is_padding) state = before;
        const Index at = given.place * size_ + own;
        static_cast<S*>(args_.h)[at] = store<S>(is_padding ? A(0) : state);
        if (args_.states != nullptr) static_cast<A*>(args_.states)[at] = state;
        if (given.is_last) {
            static_cast<A*>(args_.h_last)[row.index * size_ + own] = state;
        } else {
            const bool starts = mark_of(given.next_marks, row.reversed) == Mark::start;
            states(step + 1)[row.index * division_.width + own] = starts ? reset(row, own) : state;
        }
    }

    const LigruForward& args_;
    const Division& division_;
    const S* columns_;  // in shared memory
    const int size_;
    const Lane lane_;
    const Tasks tasks_;
    ForwardInputs<S> next_{};
};

template <typename S, bool resident>
__global__ void __launch_bounds__(32 * most_warps, 1)
    ligru_forward_kernel(const LigruForward args, const Division division, const Stages stages) {
    SRU_KERNELS_SHARED_MEMORY(memory);
    S* columns = reinterpret_cast<S*>(memory);
    using Body = Forward<S, resident>;
    if constexpr (resident) keep_columns(columns, division, division.width, Body::matrix(args, division));
    Body(args, division, columns).run(stages);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

template <>
void sru_kernels::cuda::run(const LigruForward& args, const Launch& launch) {
    using namespace SRU_KERNELS_VARIANT::ligru;
    launch_stages(args, launch, {forward_units, 1},
                  [](auto zero, auto resident) { return ligru_forward_kernel<decltype(zero), resident()>; });
}

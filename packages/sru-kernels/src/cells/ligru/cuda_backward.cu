#include "cells/ligru/cuda_launch.cuh"
#include "cells/ligru/cuda_tiles.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {

/// U_h stacked on U_z: a column contains the weights by which a unit of the state is multiplied.
template <typename S>
struct BackwardMatrix {
    static constexpr bool has_columns_side_by_side = true;

    const S* weight;
    int size, width;

    __device__ __forceinline__ S at(int tile, int column, int k) const {
        const int unit = tile * tile_columns + column, row = k < width ? k : k - width;
        const S number = weight[place(unit < size ? unit : 0, k)];
        return unit < size && row < size ? number : S{};
    }

    template <int count>
    __device__ __forceinline__ Numbers<S, count> piece(int tile, int column, int k) const {
        Numbers<S, count> numbers;
#pragma unroll
        for (int i = 0; i < count; ++i) numbers.at[i] = at(tile, column, k + i);
        return numbers;
    }

 private:
    __device__ __forceinline__ Index place(int unit, int k) const {
        const int row = k < width ? k : k - width;
        return ((k < width ? 0 : Index{size}) + (row < size ? row : 0)) * size + unit;
    }
};

/// The data that a lane reads ahead for a turn. Nothing is computed from it until it is needed.
template <typename S>
struct BackwardInputs {
    using A = AccumulationType<S>;

    Index place;  // in a (T, B, N) array; negative if there is no such step
    std::uint8_t marks, marks_after;
    S u_h, u_z, grad_h;
    A p_h, p_z, before, mask;
};

/// A lane's numbers: a unit of a row. Turn i propagates a row's gradient through the product of the previous
/// step, if there is one, and through g and σ of its i-th step from the end.
template <typename S, bool resident>
class Backward {
    using A = AccumulationType<S>;
    using Pair = Numbers<A, 2>;  // sums over a part of a row: of gradients, and of gradients times products

 public:
    __device__ __forceinline__ Backward(const LigruBackward& args, const Division& division, const S* columns)
        : args_(args),
          division_(division),
          columns_(columns),
          size_(static_cast<int>(args.hidden_size)),
          tasks_(division) {}

    __device__ __forceinline__ static BackwardMatrix<S> matrix(const LigruBackward& args,
                                                               const Division& division) {
        return {static_cast<const S*>(args.weight), static_cast<int>(args.hidden_size), division.width};
    }

    __device__ __forceinline__ void run(const Stages& stages) {
        const int halves = args_.has_norm ? 1 : 0;  // log2 of the stages per step
        if (tasks_.has(tasks_.first())) next_ = read(tasks_.first(), stages.first >> halves);
        run_stages(args_, stages, [&](Index stage) {
            const Index turn = stage >> halves;
            const bool passes_norm = args_.has_norm && (stage & 1) != 0;
            for (Task task = tasks_.first(); tasks_.has(task); task = tasks_.after(task)) {
                passes_norm ? pass_norm(task, turn) : take(task, turn);
            }
        });
    }

 private:
    __device__ __forceinline__ int unit(const Task& task) const {
        return task.tile * tile_columns + lane_.column;
    }
    __device__ __forceinline__ Row row(const Task& task) const {
        return {args_, division_, task.first_row + lane_.row};
    }

    /// Scratch memory: alternating gradients of the products, (B, N, 2, width), and the sums of parts.
    __device__ __forceinline__ A* gradients(Index turn) const {
        return static_cast<A*>(args_.scratch) + (turn & 1) * 2 * division_.rows * division_.width;
    }
    __device__ __forceinline__ A* gradient(Index turn, Index row, int unit) const {
        return gradients(turn) + 2 * row * division_.width + unit;
    }
    __device__ __forceinline__ Pair& sums(Index row, int tile) const {
        return reinterpret_cast<Pair*>(gradients(0) + (4 * division_.rows + row) * division_.width)[tile];
    }

    __device__ __forceinline__ BackwardInputs<S> read(const Task& task, Index turn) const {
        BackwardInputs<S> given{};
        const Row row = this->row(task);
        const int own = unit(task);
        const Index step = row.walked.count - 1 - turn;
        given.place = -1;
        if (step < -1 || own >= size_) return given;
        if (args_.marks != nullptr && turn > 0) given.marks_after = args_.marks[row.position(step + 1)];
        if (step < 0) return given;
        const Index position = row.position(step), of_row = row.index * size_ + own;
        given.place = row.place(args_, step);
        const Index at = given.place * size_ + own, gates = at + given.place * size_;
        if (args_.marks != nullptr) given.marks = args_.marks[position];
        const S* u = static_cast<const S*>(args_.u) + 2 * position * size_ + own;
        given.u_h = u[0];
        given.u_z = u[size_];
        if (args_.grad_h != nullptr) given.grad_h = static_cast<const S*>(args_.grad_h)[at];
        given.p_h = static_cast<const A*>(args_.products)[gates];
        given.p_z = static_cast<const A*>(args_.products)[gates + size_];
        given.before = static_cast<const A*>(args_.before)[at];
        given.mask = number_of(args_.mask_h, of_row, A(1));
        return given;
    }

    __device__ __forceinline__ A product(const Task& task, Index turn) const {
        constexpr int count = piece<A>;
        const int depth = 2 * division_.width;
        return multiply<S>(
            gradients(turn), depth, task.first_row, division_.rows, lane_, [&](int column, int k) {
                if constexpr (resident) {
                    const int place = (task.tile_in_block * tile_columns + column) * depth + k;
                    return *reinterpret_cast<const Numbers<S, count>*>(columns_ + place);
                } else {
                    return matrix(args_, division_).template piece<count>(task.tile, column, k);
                }
            });
    }

    __device__ __forceinline__ void take(const Task& task, Index turn) {
        A through(0);
        const Row row = this->row(task);
        if (__any_sync(whole_warp, turn > 0 && turn <= row.walked.count)) through = product(task, turn - 1);
        const BackwardInputs<S> given = next_;
        const Task after = tasks_.after(task);
        const bool follows = tasks_.has(after);
        next_ = read(follows ? after : tasks_.first(), follows ? turn : turn + 1);
        A sum(0), aligned(0);
        const int own = unit(task);
        if (row.exists && own < size_) {
            A state = turn == 0 ? begin(row, own) : state_of(row, own);
            if (turn > 0 && turn <= row.walked.count) leave_step(row, own, given.marks_after, through, state);
            if (given.place >= 0) differentiate(row, own, turn, given, state, sum, aligned);
            state_of(row, own) = state;
        } else if (row.exists && own < division_.width && turn == 0) {
            // U is 0 there, but 0 times an arbitrary value may be NaN.
            for (A* to : {gradient(0, row.index, own), gradient(1, row.index, own)}) {
                to[0] = to[division_.width] = A(0);
            }
        }
        if (!args_.has_norm) return;
        const Pair part{sum_of_row(sum), sum_of_row(aligned)};
        if (row.exists && lane_.column == 0) sums(row.index, task.tile) = part;
    }

    /// The gradient of the state of a unit, stored where the final result goes.
    __device__ __forceinline__ A& state_of(const Row& row, int own) const {
        return static_cast<A*>(args_.grad_h0)[row.index * size_ + own];
    }

    /// The gradient of the state after the last step.
    __device__ __forceinline__ A begin(const Row& row, int own) const {
        const Index at = row.index * size_ + own;
        if (args_.grad_h_reset != nullptr) static_cast<A*>(args_.grad_h_reset)[at] = A(0);
        return number_of(args_.grad_h_last, at, A(0));
    }

    /// Adds the gradient through the product of a step to the gradient of the state before it.
    __device__ __forceinline__ void leave_step(const Row& row, int own, std::uint8_t marks, A through,
                                               A& state) const {
        const Mark mark = mark_of(marks, row.reversed);
        if (mark == Mark::padding) return;
        state += through;
        if (mark != Mark::start) return;
        if (args_.grad_h_reset != nullptr) {
            static_cast<A*>(args_.grad_h_reset)[row.index * size_ + own] += state;
        }
        state = A(0);
    }

    /// Propagates the gradient of the state of a unit through g and σ of a step.
    __device__ __forceinline__ void differentiate(const Row& row, int own, Index turn,
                                                  const BackwardInputs<S>& given, A& state, A& sum,
                                                  A& aligned) const {
        A* to = gradient(turn, row.index, own);
        A* grad_sums = static_cast<A*>(args_.grad_sums) + 2 * given.place * size_ + own;
        if (mark_of(given.marks, row.reversed) == Mark::padding) {
            grad_sums[0] = grad_sums[size_] = to[0] = to[division_.width] = A(0);
            return;
        }
        A scale_h(1), scale_z(1), p_h = given.p_h, p_z = given.p_z;
        if (args_.has_norm) {
            scale_h = number_of(args_.norm_weight, own, A(1));
            scale_z = number_of(args_.norm_weight, size_ + own, A(1));
            p_h = scale(p_h, scale_h, number_of(args_.norm_bias, own, A(0)));
            p_z = scale(p_z, scale_z, number_of(args_.norm_bias, size_ + own, A(0)));
        }
        const Sums<A> s{load(given.u_h) + p_h, load(given.u_z) + p_z};
        const A grad = state + load(given.grad_h);
        const Gradients<A> found = with_activation(args_.activation, [&](auto activation) {
            return backward<activation.value>(s, given.mask, given.before, grad);
        });
        state = found.before;
        grad_sums[0] = found.h;
        grad_sums[size_] = found.z;
        const A left_h = found.h * scale_h, left_z = found.z * scale_z;
        to[0] = left_h;
        to[division_.width] = left_z;
        sum = left_h + left_z;
        aligned = left_h * given.p_h + left_z * given.p_z;
    }

    /// Propagates the gradients of a unit through the norm. All lanes of all warps add up the sums of a row
    /// in the same order.
    __device__ __forceinline__ void pass_norm(const Task& task, Index turn) const {
        const Row row = this->row(task);
        const int own = unit(task);
        const Index step = row.walked.count - 1 - turn;
        const bool exists = step >= 0 && own < size_;
        A normal[2]{}, rstd(0);
        const Index place = exists ? row.place(args_, step) : 0, gates = 2 * place * size_ + own;
        const bool is_padding =
            exists && mark_of(args_.marks, row.position(step), row.reversed) == Mark::padding;
        if (exists) {
            normal[0] = static_cast<const A*>(args_.products)[gates];
            normal[1] = static_cast<const A*>(args_.products)[gates + size_];
            rstd = static_cast<const A*>(args_.rstd)[place];
        }
        Pair mean{};
        for (int tile = lane_.column; tile < division_.tiles; tile += tile_columns) {
            const Pair part = sums(row.index, tile);
            mean.at[0] += part.at[0];
            mean.at[1] += part.at[1];
        }
        const A mean_grad = sum_of_row(mean.at[0]) / A(2 * size_);
        const A mean_aligned = sum_of_row(mean.at[1]) / A(2 * size_);
        if (!exists) return;
        A* to = static_cast<A*>(args_.grad_products) + gates;
        A* kept = gradient(turn, row.index, own);
#pragma unroll
        for (int gate = 0; gate < 2; ++gate) {
            const A grad = is_padding ? A(0)
                                      : through_norm(kept[gate * division_.width], normal[gate], rstd,
                                                     mean_grad, mean_aligned);
            kept[gate * division_.width] = to[gate * size_] = grad;
        }
    }

    const LigruBackward& args_;
    const Division& division_;
    const S* columns_;  // in shared memory
    const int size_;
    const Lane lane_;
    const Tasks tasks_;
    BackwardInputs<S> next_{};
};

template <typename S, bool resident>
__global__ void __launch_bounds__(32 * most_warps, 1)
    ligru_backward_kernel(const LigruBackward args, const Division division, const Stages stages) {
    SRU_KERNELS_SHARED_MEMORY(memory);
    S* columns = reinterpret_cast<S*>(memory);
    using Body = Backward<S, resident>;
    if constexpr (resident) {
        keep_columns(columns, division, 2 * division.width, Body::matrix(args, division));
    }
    Body(args, division, columns).run(stages);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

template <>
void sru_kernels::cuda::run(const LigruBackward& args, const Launch& launch) {
    using namespace SRU_KERNELS_VARIANT::ligru;
    launch_stages(args, launch, {tile_columns, 2},
                  [](auto zero, auto resident) { return ligru_backward_kernel<decltype(zero), resident()>; });
}

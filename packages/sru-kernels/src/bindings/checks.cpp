#include "checks.hpp"

#include <stdexcept>
#include <string>

namespace sru_kernels::bindings {
namespace {

/// Throws `FUNCTION: what` unless `holds`.
class Checker {
 public:
    explicit Checker(const char* function) : function_(function) {}

    void require(bool holds, const std::string& what) const {
        if (!holds) throw std::invalid_argument(std::string(function_) + ": " + what);
    }

    void at_least(const char* name, Index value, Index minimum) const {
        require(value >= minimum, std::string(name) + " must be at least " + std::to_string(minimum) +
                                      ", got " + std::to_string(value));
    }

    void present(const char* name, const void* pointer) const {
        require(pointer != nullptr, std::string(name) + " is required, got a null pointer");
    }

 private:
    const char* function_;
};

/// The gates, and that the highway does not come twice.
template <typename Arguments>
void check_gates(const Checker& checker, const Arguments& in) {
    checker.require(in.num_gates == 3 || in.num_gates == 4,
                    "num_gates must be 3 or 4, got " + std::to_string(in.num_gates));
    checker.require(in.num_gates == 3 || in.x == nullptr,
                    "x must be absent (0) with num_gates = 4, whose fourth gate is the highway");
}

void check_inputs(const Checker& checker, const SruInputs& in) {
    check_gates(checker, in);
    checker.require(in.num_directions == 1 || in.num_directions == 2,
                    "num_directions must be 1 or 2, got " + std::to_string(in.num_directions));
    checker.at_least("length", in.length, 0);
    checker.at_least("batch", in.batch, 0);
    checker.at_least("hidden_size", in.hidden_size, 1);
}

void check_steps(const Checker& checker, const SruInputs& in) {
    checker.present("u", in.u);
    checker.present("v", in.v);
    checker.present("bias", in.bias);
}

void check_sizes(const Checker& checker, const GatedLinearInputs& in) {
    checker.at_least("length", in.length, 0);
    checker.at_least("batch", in.batch, 0);
    checker.at_least("heads", in.heads, 0);
    checker.at_least("key_size", in.key_size, 1);
    checker.at_least("value_size", in.value_size, 1);
    checker.at_least("segment_length", in.segment_length, 1);
}

void check_steps(const Checker& checker, const GatedLinearInputs& in) {
    checker.present("q", in.q);
    checker.present("k", in.k);
    checker.present("v", in.v);
    checker.present("log_g", in.log_g);
}

}  // namespace

void check_at_least(const char* function, const char* name, Index value, Index minimum) {
    Checker(function).at_least(name, value, minimum);
}

void check(const SruForward& args) {
    const Checker checker("sru_forward");
    check_inputs(checker, args);
    if (args.batch == 0) return;
    checker.present("c_last", args.c_last);
    if (args.length == 0) return;
    check_steps(checker, args);
    checker.present("h", args.h);
}

void check(const SruBackward& args) {
    const Checker checker("sru_backward");
    check_inputs(checker, args);
    checker.require(args.grad_x == nullptr || args.x != nullptr,
                    "grad_x needs x; with num_gates = 4 the gradient of the highway is in grad_u");
    if (args.batch == 0) return;
    checker.present("grad_bias", args.grad_bias);
    checker.present("grad_c0", args.grad_c0);
    if (!args.v_per_position || args.length > 0) checker.present("grad_v", args.grad_v);
    if (args.length == 0) return;
    check_steps(checker, args);
    checker.present("c", args.c);
    checker.present("grad_u", args.grad_u);
}

void check(const SruStep& args) {
    const Checker checker("sru_step");
    check_gates(checker, args);
    checker.at_least("batch", args.batch, 0);
    checker.at_least("input_size", args.input_size, 1);
    checker.at_least("columns", args.columns, 1);
    if (args.batch == 0) return;
    checker.present("weight", args.weight);
    checker.present("input", args.input);
    checker.present("v", args.v);
    checker.present("bias", args.bias);
    checker.present("h", args.h);
    checker.present("c_last", args.c_last);
}

void check(const GatedLinearForward& args) {
    const Checker checker("gated_linear_forward");
    check_sizes(checker, args);
    if (args.states() == 0) return;
    checker.present("s", args.s);
    if (args.length == 0) return;
    check_steps(checker, args);
    checker.present("o", args.o);
}

void check(const GatedLinearBackward& args) {
    const Checker checker("gated_linear_backward");
    check_sizes(checker, args);
    if (args.states() == 0) return;
    checker.present("grad_s0", args.grad_s0);
    if (args.length == 0) return;
    check_steps(checker, args);
    checker.present("starts", args.starts);
    checker.present("grad_q", args.grad_q);
    checker.present("grad_k", args.grad_k);
    checker.present("grad_v", args.grad_v);
    checker.present("grad_log_g", args.grad_log_g);
}

}  // namespace sru_kernels::bindings

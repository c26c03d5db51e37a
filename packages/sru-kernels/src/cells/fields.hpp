#pragma once

#include <cstdint>

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/types.hpp"

// A kernel's arguments are named once, in a table in its cell's `fields.hpp`:
//
//     #define SRU_FORWARD_FIELDS(FIELD) FIELD(Out, h, required_if(has_steps()), "(T, B, N·D) S.") ...
//
// with a type, a name, a rule and a description for each. The struct that the kernel takes, its parsing and
// checks in `src/bindings` and the named tuple in Python are all generated from the table. A rule may use
// earlier fields. The description of an array begins with its axes and its type: S, A, bytes or offsets
// (int64).
namespace sru_kernels {

using Size = Index;
using Number = double;
using Flag = bool;
using In = const void*;  // arrays; nullptr for an absent optional array
using Out = void*;
using Mask = const std::uint8_t*;
using Offsets = const std::int64_t*;

/// The positions of a batch row: first + t · stride for t below count.
struct Walked {
    Index first, stride, count;
};

SRU_KERNELS_HOST_DEVICE Index within(Index low, Index value, Index high) {
    return value < low ? low : value < high ? value : high;
}

/// The positions of a sequence, out of `length` in all: from its offset to the next. Invalid offsets are
/// clamped, so that no other memory is accessed.
SRU_KERNELS_HOST_DEVICE Walked sequence(Offsets offsets, Index row, Index length) {
    const Index first = within(0, offsets[row], length);
    return {first, 1, within(first, offsets[row + 1], length) - first};
}

/// The rule of a field with nothing to check but its type.
struct Any {};
constexpr Any any;

/// The rule of a size: its smallest and its largest value, and how many axes of one array have that size.
struct Range {
    static constexpr Index unbounded = INT64_MAX;
    Index low, high;
    int axes;
};

constexpr Range at_least(Index low, int axes = 1) { return {low, Range::unbounded, axes}; }
constexpr Range one_of(Index low, Index high) { return {low, high, 1}; }

/// The rule of an enum: one bit for each member that the kernel supports.
struct AnyOf {
    unsigned bits;
};

template <typename... Enum>
constexpr AnyOf among(Enum... members) {
    const unsigned bits = ((1U << static_cast<unsigned>(members)) | ...);
    return {bits};
}

/// The rule of an array: whether it is required, or why it must be absent.
struct Presence {
    bool required;
    const char* refusal;
    bool has_default;  // in Python: 0. All fields after it must have one too
};

constexpr Presence optional{false, nullptr, false};
constexpr Presence optional_by_default{false, nullptr, true};
constexpr Presence required_if(bool condition) { return {condition, nullptr, false}; }
constexpr Presence absent_if(bool condition, const char* why) {
    return {false, condition ? why : nullptr, false};
}

/// The names of a kernel and of its named tuple in Python, and the docstring.
struct Kernel {
    const char* name;
    const char* tuple;
    const char* description;
};

}  // namespace sru_kernels

#define SRU_KERNELS_MEMBER(type, name, rule, description) type name;
#define SRU_KERNELS_COUNT(type, name, rule, description) +1
#define SRU_KERNELS_VISIT(type, name, rule, description) visit(#name, this->name, rule, description);

/// Turns a table into members. `visit_fields` calls `visit(name, member, rule, description)` for each of
/// them.
#define SRU_KERNELS_FIELDS(TABLE)     \
    TABLE(SRU_KERNELS_MEMBER)         \
    template <typename Visit>         \
    void visit_fields(Visit& visit) { \
        TABLE(SRU_KERNELS_VISIT)      \
    }                                 \
    static constexpr int num_fields = TABLE(SRU_KERNELS_COUNT);

/// The same for a struct whose first fields are those of a base.
#define SRU_KERNELS_MORE_FIELDS(Base, TABLE) \
    TABLE(SRU_KERNELS_MEMBER)                \
    template <typename Visit>                \
    void visit_fields(Visit& visit) {        \
        Base::visit_fields(visit);           \
        TABLE(SRU_KERNELS_VISIT)             \
    }                                        \
    static constexpr int num_fields = Base::num_fields TABLE(SRU_KERNELS_COUNT);

#pragma once

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cells/fields.hpp"

// Reads the struct of a kernel from its named tuple, by position: matching twenty keywords takes longer than
// the arithmetic of a decoding step.
namespace sru_kernels::bindings {

namespace py = pybind11;

/// The name of an enum in Python.
template <typename Enum>
constexpr const char* enum_name = nullptr;
template <>
inline constexpr const char* enum_name<DType> = "DType";
template <>
inline constexpr const char* enum_name<Activation> = "Activation";

template <typename Enum>
using Members = std::vector<std::pair<py::handle, Enum>>;

/// The members of an enum in Python. Finding one by identity is fast; reading its value runs Python code.
template <typename Enum>
const Members<Enum>& members_of() {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Members<Enum>> storage;
    return storage
        .call_once_and_store_result([] {
            Members<Enum> members;
            for (const py::handle member : py::module_::import("sru_kernels._native").attr(enum_name<Enum>)) {
                members.emplace_back(member.inc_ref(),
                                     static_cast<Enum>(member.attr("value").template cast<int>()));
            }
            return members;
        })
        .get_stored();
}

inline std::string describe(Range range) {
    const std::string low = std::to_string(range.low);
    return range.high == Range::unbounded ? "at least " + low : low + " or " + std::to_string(range.high);
}

/// The limit on the product of all sizes. No array comes close, and the numbers that a kernel computes from
/// its sizes, at most several thousand times the product, do not overflow.
constexpr Index too_many = Index{1} << 50;

/// Fills fields from a tuple, first to last, and checks what can be checked without reading memory.
class Reader {
 public:
    Reader(const char* function, const py::tuple& tuple) : function_(function), tuple_(tuple.ptr()) {}

    template <typename Enum>
    void operator()(const char* name, Enum& field, Any, const char*) {
        const py::handle value = next();
        for (const auto& [member, result] : members_of<Enum>()) {
            field = result;
            if (value.is(member)) return;
        }
        refuse(name, std::string("a member of ") + enum_name<Enum>, value);
    }

    template <typename Enum>
    void operator()(const char* name, Enum& field, AnyOf allowed, const char* description) {
        (*this)(name, field, any, description);
        const auto is_allowed = [&](Enum value) {
            return (allowed.bits >> static_cast<unsigned>(value) & 1U) != 0;
        };
        if (is_allowed(field)) return;
        std::string names;
        for (const auto& [member, value] : members_of<Enum>()) {
            if (is_allowed(value)) names += (names.empty() ? "" : ", ") + name_of(member);
        }
        fail(name, "must be one of " + names + ", got " + name_of(PyTuple_GET_ITEM(tuple_, next_ - 1)));
    }

    void operator()(const char* name, Size& field, Range range, const char*) {
        const py::handle value = next();
        field = PyLong_AsLongLong(value.ptr());
        if (PyBool_Check(value.ptr()) || (field == -1 && PyErr_Occurred()))
            refuse(name, "an int of 64 bits", value);
        check(name, field, range);
        if (field == 0) return;
        for (int axis = 0; axis < range.axes; ++axis) {
            if (!__builtin_mul_overflow(product_, field, &product_) && product_ < too_many) continue;
            fail(name, "must keep the product of all sizes below 2^50, got " + std::to_string(field));
        }
    }

    /// An address as an integer, such as `data_ptr()` or `ctypes.data`; 0 for an absent array.
    template <typename Array>
    void operator()(const char* name, Array& field, Presence presence, const char*) {
        const py::handle value = next();
        const unsigned long long result = PyLong_AsUnsignedLongLong(value.ptr());
        if (PyBool_Check(value.ptr()) || (result == ~0ULL && PyErr_Occurred())) {
            refuse(name, "an address as an int, or 0", value);
        }
        field = reinterpret_cast<Array>(static_cast<std::uintptr_t>(result));
        if (field == nullptr && presence.required) fail(name, "is required, got a null pointer");
        if (field == nullptr || presence.refusal == nullptr) return;
        fail(name, std::string("must be absent (0) ") + presence.refusal);
    }

    void operator()(const char* name, Number& field, Any, const char*) {
        const py::handle value = next();
        field = PyFloat_AsDouble(value.ptr());
        if (field == -1.0 && PyErr_Occurred()) refuse(name, "a float", value);
    }

    void operator()(const char* name, Flag& field, Any, const char*) {
        const py::handle value = next();
        if (!PyBool_Check(value.ptr())) refuse(name, "a bool", value);
        field = value.ptr() == Py_True;
    }

    void check(const char* name, Index value, Range range) const {
        if (value >= range.low && value <= range.high) return;
        fail(name, "must be " + describe(range) + ", got " + std::to_string(value));
    }

 private:
    py::handle next() { return PyTuple_GET_ITEM(tuple_, next_++); }

    static std::string name_of(py::handle member) { return py::str(member.attr("name")); }

    [[noreturn]] void fail(const char* name, const std::string& what) const {
        throw std::invalid_argument(std::string(function_) + ": " + name + " " + what);
    }

    [[noreturn]] void refuse(const char* name, const std::string& type, py::handle value) const {
        PyErr_Clear();
        throw py::type_error(std::string(function_) + ": " + name + " must be " + type + ", got " +
                             std::string(py::repr(value)));
    }

    const char* function_;
    PyObject* tuple_;
    py::ssize_t next_ = 0;
    Index product_ = 1;  // of the nonzero sizes so far
};

/// Reads a kernel's arguments from its named tuple, and checks that each option is at least `least`. In
/// Python a wrong type or number of fields is a TypeError, a wrong value a ValueError.
template <typename Args>
Args read_arguments(const py::tuple& tuple, std::initializer_list<std::pair<const char*, int>> options,
                    int least) {
    const char* function = Args::kernel.name;
    if (tuple.size() != Args::num_fields) {
        throw py::type_error(std::string(function) + ": args must be the " +
                             std::to_string(Args::num_fields) + " fields of " + Args::kernel.tuple +
                             ", got " + std::to_string(tuple.size()));
    }
    Args args{};
    Reader reader(function, tuple);
    args.visit_fields(reader);
    for (const auto& [name, value] : options) reader.check(name, value, at_least(least));
    return args;
}

}  // namespace sru_kernels::bindings

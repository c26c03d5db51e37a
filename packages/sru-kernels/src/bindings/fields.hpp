#pragma once

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sru_kernels/types.hpp"

namespace sru_kernels::bindings {

namespace py = pybind11;

template <typename Enum>
using Members = std::vector<std::pair<py::handle, Enum>>;

/// The members of an enum in Python. To find one by identity is quick; to ask it for its value runs Python
/// code.
template <typename Enum>
const Members<Enum>& members_of(const char* type) {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Members<Enum>> storage;
    return storage
        .call_once_and_store_result([&] {
            Members<Enum> members;
            for (const py::handle member : py::module_::import("sru_kernels._native").attr(type)) {
                const int value = member.attr("value").cast<int>();
                members.emplace_back(member.inc_ref(), static_cast<Enum>(value));
            }
            return members;
        })
        .get_stored();
}

/// Hands out the fields of a tuple, first to last.
class Fields {
 public:
    Fields(const char* function, const char* type, const py::tuple& tuple, py::ssize_t size)
        : function_(function), tuple_(tuple.ptr()) {
        if (PyTuple_GET_SIZE(tuple_) == size) return;
        throw py::type_error(std::string(function_) + ": args must be " + type + " of " +
                             std::to_string(size) + " fields, got " +
                             std::to_string(PyTuple_GET_SIZE(tuple_)));
    }

    template <typename Enum>
    Enum member(const char* name, const char* type, const Members<Enum>& members) {
        const py::handle value = next();
        for (const auto& [member, result] : members) {
            if (value.is(member)) return result;
        }
        refuse(name, type, value);
    }

    Index size(const char* name) {
        const py::handle value = next();
        const long long result = PyLong_AsLongLong(value.ptr());
        if (result == -1 && PyErr_Occurred()) refuse(name, "an int of 64 bits", value);
        return result;
    }

    /// An address as an integer, 0 for an absent array: what `data_ptr()` and `ctypes.data` give.
    void* array(const char* name) {
        const py::handle value = next();
        const unsigned long long result = PyLong_AsUnsignedLongLong(value.ptr());
        if (result == ~0ULL && PyErr_Occurred()) refuse(name, "an address as an int, or 0", value);
        return reinterpret_cast<void*>(static_cast<std::uintptr_t>(result));
    }

    double number(const char* name) {
        const py::handle value = next();
        const double result = PyFloat_AsDouble(value.ptr());
        if (result == -1.0 && PyErr_Occurred()) refuse(name, "a float", value);
        return result;
    }

    bool flag(const char* name) {
        const py::handle value = next();
        if (!PyBool_Check(value.ptr())) refuse(name, "a bool", value);
        return value.ptr() == Py_True;
    }

 private:
    py::handle next() { return PyTuple_GET_ITEM(tuple_, next_++); }

    [[noreturn]] void refuse(const char* name, const char* type, py::handle value) const {
        PyErr_Clear();
        throw py::type_error(std::string(function_) + ": " + name + " must be " + type + ", got " +
                             std::string(py::repr(value)));
    }

    const char* function_;
    PyObject* tuple_;
    py::ssize_t next_ = 0;
};

}  // namespace sru_kernels::bindings

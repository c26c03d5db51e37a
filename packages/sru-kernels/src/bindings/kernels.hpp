#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "arguments.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::bindings {

/// Describes the fields of a kernel to Python: (name, type, description, whether it has a default) for each.
class Describer {
 public:
    py::list fields;

    template <typename Field, typename Rule>
    void operator()(const char* name, Field, Rule rule, const char* description) {
        add(name, Field{}, rule, description);
    }

 private:
    template <typename Enum>
    void add(const char* name, Enum, Any, const char* description) {
        append(name, enum_name<Enum>, description);
    }
    void add(const char* name, Size, Range range, const std::string& description) {
        append(name, "int", description + ", " + describe(range) + ".");
    }
    void add(const char* name, In, Presence presence, const std::string& description) {
        append(name, "int", "In, " + description, presence.has_default);
    }
    void add(const char* name, Out, Presence, const std::string& description) {
        append(name, "int", "Out, " + description);
    }
    void add(const char* name, Number, Any, const char* description) { append(name, "float", description); }
    void add(const char* name, Flag, Any, const char* description) { append(name, "bool", description); }

    void append(const char* name, const char* type, const std::string& description,
                bool has_default = false) {
        fields.append(py::make_tuple(name, type, description, has_default));
    }
};

/// Adds a function to the submodule `cpu` that runs a kernel, and an entry to `fields`.
template <typename Args>
void add_cpu_kernel(py::module_& module) {
    const auto function = [](const py::tuple& fields, int num_threads) {
        const auto args = arguments_from<Args>(fields);
        Checker(Args::kernel.name)("num_threads", num_threads, at_least(1));
        const py::gil_scoped_release release;
        cpu::run(args, num_threads);
    };
    const std::string description = std::string(Args::kernel.description) + R"(

Args:
    args: Sizes and addresses in host memory.
    num_threads: The most threads to use. The result does not depend on it.

Raises:
    TypeError: An argument has the wrong type.
    ValueError: A size is out of range, a required array is absent, or one is given that must be absent.
    MemoryError: There is too little memory to work in.
)";
    module.attr("cpu").cast<py::module_>().def(Args::kernel.name, function, py::arg("args"), py::kw_only(),
                                               py::arg("num_threads"), description.c_str());
    Describer describer;
    Args{}.visit_fields(describer);
    module.attr("fields")[Args::kernel.tuple] = py::make_tuple(Args::kernel.name, describer.fields);
}

/// Adds all that is no kernel: versions, enums, the submodule `cpu`. Comes before any kernel.
void register_runtime(py::module_& module);

/// Adds the kernels of a cell.
template <typename... Args>
void add_cpu_kernels(py::module_& module) {
    (add_cpu_kernel<Args>(module), ...);
}

}  // namespace sru_kernels::bindings

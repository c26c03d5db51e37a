#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>

#include "arguments.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::bindings {

/// Describes fields to Python: (name, type, description, whether it has a default) for each.
struct Describer {
    py::list fields;

    template <typename Field, typename Rule>
    void operator()(const char* name, Field, Rule rule, std::string description) {
        const char* type = "int";
        bool has_default = false;
        if constexpr (std::is_enum_v<Field>) type = enum_name<Field>;
        if constexpr (std::is_same_v<Field, Number>) type = "float";
        if constexpr (std::is_same_v<Field, Flag>) type = "bool";
        if constexpr (std::is_same_v<Rule, Range>) description += ", " + describe(rule) + ".";
        if constexpr (std::is_same_v<Rule, Presence>) {
            description.insert(0, std::is_same_v<Field, Out> ? "Out, " : "In, ");
            has_default = rule.has_default;
        }
        fields.append(py::make_tuple(name, type, description, has_default));
    }
};

/// Adds a function to the submodule `cpu` that runs a kernel, and an entry to `fields`.
template <typename Args>
void add_cpu_kernel(py::module_& module) {
    const auto function = [](const py::tuple& fields, int num_threads) {
        const auto args = read_arguments<Args>(fields, {{"num_threads", num_threads}}, 1);
        const py::gil_scoped_release release;
        cpu::run(args, num_threads);
    };
    const std::string description = std::string(Args::kernel.description) + R"(

Args:
    args: Sizes and addresses in host memory.
    num_threads: The most threads to use. The result does not depend on it.

Raises:
    TypeError: An argument has the wrong type.
    ValueError: A size is out of range, a required array is absent, one is given that must be absent, or
        offsets do not rise from 0 to the number of positions.
    MemoryError: Working memory cannot be allocated.
)";
    module.attr("cpu").cast<py::module_>().def(Args::kernel.name, function, py::arg("args"), py::kw_only(),
                                               py::arg("num_threads"), description.c_str());
    Describer describer;
    Args{}.visit_fields(describer);
    module.attr("fields")[Args::kernel.tuple] = py::make_tuple(Args::kernel.name, describer.fields);
}

/// Adds everything but the kernels: version, enums, the submodule `cpu`. Must be called first.
void register_runtime(py::module_& module);

/// Adds the kernels of a cell.
template <typename... Args>
void add_cpu_kernels(py::module_& module) {
    (add_cpu_kernel<Args>(module), ...);
}

}  // namespace sru_kernels::bindings

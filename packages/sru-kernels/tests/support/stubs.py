"""The stubs of `sru_kernels`, made from the tables in its extension. Run this file to rewrite them."""

from __future__ import annotations

import importlib
import json
import textwrap
from pathlib import Path
from types import ModuleType

import sru_kernels
from sru_kernels import _native, cpu

WIDTH = 110
SOURCES = Path(__file__).parents[2] / "src/sru_kernels"
CELLS = sorted({getattr(sru_kernels, kind).__module__ for kind in _native.fields})


def docstring(text: str, indent: str = "    ") -> str:
    """A docstring; a single paragraph is wrapped."""
    text = text.strip()
    if "\n" in text:
        text += "\n"
    else:
        text = textwrap.fill(text, WIDTH - 6 - len(indent))
    return textwrap.indent(f'"""{text}"""', indent)


def stub(module: ModuleType, imports: list[str], names: list[str], parts: list[str]) -> str:
    """The text of a module's stub, formatted as ruff does."""
    public = f"__all__ = {json.dumps(names)}"
    if len(public) > WIDTH:
        public = "\n".join(["__all__ = [", *(f'    "{name}",' for name in names), "]"])
    return "\n\n".join([docstring(module.__doc__ or "", ""), "\n".join(imports), public, *parts]) + "\n"


def tuple_stub(kind: type) -> str:
    """The class of a named tuple."""
    lines = [f"class {kind.__name__}(NamedTuple):", docstring(kind.__doc__ or ""), ""]
    for name, annotation in kind.__annotations__.items():
        default = f" = {kind._field_defaults[name]}" if name in kind._field_defaults else ""
        lines += [f"    {name}: {annotation}{default}", docstring(getattr(kind, name).__doc__)]
    return "\n".join(lines)


def cell_stub(name: str) -> str:
    """The named tuples of a cell's module."""
    module = importlib.import_module(name)
    kinds = [value for value in vars(module).values() if hasattr(value, "_fields")]
    used = {annotation for kind in kinds for annotation in kind.__annotations__.values()}
    enums = ", ".join(sorted(used & {"Activation", "DType"}))
    imports = ["from typing import NamedTuple", "", f"from ._native import {enums}"]
    return stub(module, imports, module.__all__, [tuple_stub(kind) for kind in kinds])


def cpu_stub() -> str:
    """The functions of `sru_kernels.cpu`."""
    signatures = {"instruction_set": "() -> str"}
    for kind, (kernel, _) in _native.fields.items():
        signatures[kernel] = f"(args: {kind}, *, num_threads: int) -> None"
    modules = [importlib.import_module(name) for name in CELLS]
    imports = [f"from .{short(module.__name__)} import {', '.join(module.__all__)}" for module in modules]
    documented = {name: docstring(getattr(cpu, name).__doc__) for name in signatures}
    functions = [f"def {name}{signatures[name]}:\n{text}" for name, text in documented.items()]
    return stub(cpu, imports, sorted(signatures), functions)


def short(module: str) -> str:
    return module.rpartition(".")[2]


def stubs() -> dict[str, str]:
    """The generated files and their texts."""
    return {"cpu.pyi": cpu_stub(), **{f"{short(name)}.pyi": cell_stub(name) for name in CELLS}}


if __name__ == "__main__":
    for name, text in stubs().items():
        (SOURCES / name).write_text(text)

"""Write the stubs of `sru_kernels` from the tables of fields in its extension.

Usage: python cmake/stubs.py EXTENSION FOLDER. The build runs this on the `_native` it has just linked.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

WIDTH = 110
SOURCES = Path(__file__).parents[1] / "src"
NATIVE = '''"""The compiled half of sru_kernels."""

import enum
from typing import Any

__version__: str
fields: dict[str, tuple[str, list[tuple[str, str, str, bool]]]]
"""By named tuple: the kernel, and (name, type, description, whether it has a default) for each field."""

def build_info() -> dict[str, Any]:
    """Say what this extension was built with and found here; `sru_kernels.build_info` adds the rest."""
'''


def load(extension: str) -> ModuleType:
    """Import the package from its sources, with an extension that is not beside them."""
    spec = importlib.util.spec_from_file_location("sru_kernels._native", extension)
    assert spec is not None
    assert spec.loader is not None
    native = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(native)
    sys.path.insert(0, str(SOURCES))
    return importlib.import_module("sru_kernels")


def docstring(text: str, indent: str = "    ") -> str:
    """A docstring; a single paragraph is wrapped."""
    text = text.strip()
    if "\n" in text:
        text += "\n"
    else:
        text = textwrap.fill(text, WIDTH - 6 - len(indent))
    return textwrap.indent(f'"""{text}"""', indent)


def stub(module: ModuleType, imports: list[str], names: list[str], parts: list[str]) -> str:
    """The text of a module's stub."""
    public = f"__all__ = {json.dumps(sorted(names))}"
    return "\n\n".join([docstring(module.__doc__ or "", ""), "\n".join(imports), public, *parts]) + "\n"


def enum_stub(kind: Any) -> str:
    """The class of an enum."""
    members = [f"    {member.name} = {member.value}" for member in kind]
    return "\n".join([f"class {kind.__name__}(enum.Enum):", docstring(kind.__doc__), "", *members])


def tuple_stub(kind: Any) -> str:
    """The class of a named tuple."""
    lines = [f"class {kind.__name__}(NamedTuple):", docstring(kind.__doc__), ""]
    for name, annotation in kind.__annotations__.items():
        default = f" = {kind._field_defaults[name]}" if name in kind._field_defaults else ""
        lines += [f"    {name}: {annotation}{default}", docstring(getattr(kind, name).__doc__)]
    return "\n".join(lines)


def cell_stub(module: ModuleType) -> str:
    """The named tuples of a cell's module."""
    imports = ["from typing import NamedTuple", "", "from ._native import Activation, DType"]
    kinds = [value for value in vars(module).values() if hasattr(value, "_fields")]
    return stub(module, imports, module.__all__, [tuple_stub(kind) for kind in kinds])


def cpu_stub(package: Any, cells: list[ModuleType]) -> str:
    """The functions of `sru_kernels.cpu`."""
    signatures = {"instruction_set": "() -> str"}
    for kind, (kernel, _) in package._native.fields.items():
        signatures[kernel] = f"(args: {kind}, *, num_threads: int) -> None"
    imports = [f"from .{short(module)} import {', '.join(module.__all__)}" for module in cells]
    functions = [
        f"def {name}{signature}:\n{docstring(getattr(package.cpu, name).__doc__)}"
        for name, signature in signatures.items()
    ]
    return stub(package.cpu, imports, list(signatures), functions)


def short(module: ModuleType) -> str:
    """The name of a module within the package."""
    return module.__name__.rpartition(".")[2]


def main() -> None:
    """Write the stubs of the extension that the first argument names to the folder in the second."""
    extension, folder = sys.argv[1:]
    package: Any = load(extension)
    names = sorted({getattr(package, kind).__module__ for kind in package._native.fields})
    cells = [sys.modules[name] for name in names]
    enums = [enum_stub(kind) for kind in (package.DType, package.Activation)]
    stubs = {
        "_native": "\n\n".join([NATIVE.rstrip(), *enums]) + "\n",
        "cpu": cpu_stub(package, cells),
        **{short(module): cell_stub(module) for module in cells},
    }
    Path(folder).mkdir(exist_ok=True)
    for name, text in stubs.items():
        Path(folder, f"{name}.pyi").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

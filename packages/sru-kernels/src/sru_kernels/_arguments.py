"""The named tuples that kernels take, built from the field tables compiled into the extension."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from . import _native


def arguments_type(name: str, module: str) -> Any:
    """Create the named tuple `name` for `module`, whose stub declares its types."""
    kernel, fields = _native.fields[name]
    names, types, descriptions, has_default = zip(*fields, strict=True)
    make: Any = namedtuple  # type checkers cannot know its arguments
    kind = make(name, names, defaults=(0,) * sum(has_default), module=module)
    kind.__doc__ = f"The arrays and sizes that `{kernel}` uses. The kernel takes the fields by position."
    kind.__annotations__ = dict(zip(names, types, strict=True))
    for field, description in zip(names, descriptions, strict=True):
        getattr(kind, field).__doc__ = description
    return kind

"""The floating-point operations of our operators, for `torch.utils.flop_counter.FlopCounterMode`.

Each addition, multiplication and activation of the equations counts as one, regardless of the backend. As in
PyTorch's own formulas, gradients take twice as many.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_COUNTER = "torch.utils.flop_counter"
_formulas: dict[Any, Callable[..., int]] = {}


def register(operator: Any, formula: Callable[..., int]) -> None:
    """Let PyTorch count the operations of an operator; `formula` takes its arguments."""

    def count(*args: Any, out_val: Any = None) -> int:
        return formula(*args)

    _formulas[operator] = count
    if _COUNTER in sys.modules:
        _tell(sys.modules[_COUNTER])


def _tell(counter: Any) -> None:
    for operator in _formulas.keys() - counter.flop_registry.keys():
        counter.register_flop_formula(operator, get_raw=True)(_formulas[operator])


class _Finder:
    """Registers the formulas when PyTorch's counter is imported. Importing it here would import Triton."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _COUNTER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                _tell(module)
                sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not cls]

            loader.exec_module = exec_module
        return spec


if _COUNTER not in sys.modules:
    sys.meta_path.insert(0, _Finder)

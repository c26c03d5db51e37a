"""Bounds declared with the options they apply to, and checked in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_LARGEST = 2**31 - 1
"""Larger values are not plausible sizes, and too large for some of the arithmetic that follows."""


def ranged(
    default: T,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    among: Sequence[str] | None = None,
) -> T:
    """Declare a field of a dataclass with a default and bounds, for `check_ranges`.

    Args:
        default: The default; if it is None, None is always allowed.
        at_least: The smallest value.
        above: An exclusive lower bound.
        at_most: The largest value.
        below: An exclusive upper bound.
        among: The only values.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most, "less than": below}
    given = {words: bound for words, bound in bounds.items() if bound is not None}
    return field(default=default, metadata={"bounds": given, "among": among})


def check_ranges(config: Any) -> None:
    """Check every field declared with `ranged`.

    Args:
        config: An instance of a dataclass.

    Raises:
        ValueError: A value is out of range.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        if value is None and item.default is None:
            continue
        if (among := item.metadata.get("among")) is not None and value not in among:
            raise ValueError(f"{item.name} must be one of {', '.join(among)}, got {value!r}")
        _check(item.name, value, item.metadata.get("bounds", {}))


def check_at_least(least: float, **values: float | None) -> None:
    """Check numbers that share a lower bound; None stands for a default and passes.

    Raises:
        ValueError: A number is smaller.
    """
    for name, value in values.items():
        if value is not None:
            _check(name, value, {"at least": least})


def _check(name: str, value: Any, bounds: dict[str, float]) -> None:
    numbers = value if isinstance(value, (tuple, list)) else [value]
    if any(isinstance(number, int) and number > _LARGEST for number in numbers):
        raise ValueError(f"{name} must be at most {_LARGEST:,}, got {value}")
    # NaN fails each of these comparisons.
    holds = {
        "at least": lambda number, bound: number >= bound,
        "above": lambda number, bound: number > bound,
        "at most": lambda number, bound: number <= bound,
        "less than": lambda number, bound: number < bound,
    }
    if not all(holds[words](number, bound) for number in numbers for words, bound in bounds.items()):
        wanted = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items())
        raise ValueError(f"{name} must be {wanted}, got {value}")

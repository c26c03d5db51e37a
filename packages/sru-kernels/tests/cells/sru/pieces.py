"""Parts of a case: its sequences one by one, without marks and offsets, or a subset of its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ...support.cases import ARRAYS
from ...support.engines import Array, Engine
from .cases import Sru, make_sru
from .oracle import FIRST, PAD

AXES = {name: axes for kernel in Sru.kernels for name, (_, axes, _) in ARRAYS[kernel].items()}


def make_ragged(lengths: list[int], hidden_size: int = 17, **options: object) -> Sru:
    """Random inputs of sequences with these lengths."""
    one = make_sru(sum(lengths), 1, hidden_size, **options)
    many = make_sru(1, len(lengths), hidden_size, **options)
    arrays = {
        name: getattr(one, name)[:, 0] if axes[0] == "T" else getattr(many, name)
        for name, axes in AXES.items()
        if axes[0] in "TB" and getattr(one, name, None) is not None
    }
    if one.v_per_position:
        arrays["v"] = one.v[:, 0]
    return replace(one, **arrays, cu_seqlens=np.cumsum([0, *lengths]))


def sequences(case: Sru) -> Iterator[Sru]:
    """Each sequence of a ragged case as a batch of one."""
    for row, (first, end) in enumerate(pairwise(case.cu_seqlens)):
        arrays = {}
        for name, axes in AXES.items():
            value = getattr(case, name, None)
            if value is not None and (axes[0] == "T" or (name == "v" and case.v_per_position)):
                arrays[name] = value[first:end, None]
            elif value is not None and axes[0] == "B":
                arrays[name] = value[row : row + 1]
        yield replace(case, **arrays, cu_seqlens=None)


def one_by_one(case: Sru, engine: Engine | None = None) -> dict[str, Array]:
    """The outputs and every gradient of a ragged case, with each sequence run separately."""
    return joined(case, [sequence.both(engine) for sequence in sequences(case)])


def joined(case: Sru, results: list[dict[str, Array]]) -> dict[str, Array]:
    """Concatenate the results of all sequences into those of a ragged case."""
    whole = {}
    for name in results[0]:
        parts = [result[name] for result in results]
        if AXES[name][0] == "T" or (name == "grad_v" and case.v_per_position):
            whole[name] = np.concatenate([part[:, 0] for part in parts])
        else:
            whole[name] = np.concatenate(parts, AXES[name].index("B"))
    return whole


def pieces_of_row(case: Sru, row: int) -> Sru:
    """One row of a unidirectional case, split at its restarts, as a ragged case."""
    length = len(case.u)
    marks = case.marks[:, row]
    starts = np.flatnonzero((marks & FIRST != 0) & (marks & PAD == 0))
    first = case.c0[row] if len(starts) == 0 or starts[0] > 0 else case.c_reset
    bounds = np.unique([0, *starts, length])
    count = len(bounds) - 1
    arrays = {
        name: getattr(case, name)[:, row]
        for name, axes in AXES.items()
        if axes[0] == "T" and getattr(case, name, None) is not None
    }
    if case.v_per_position:
        arrays["v"] = case.v[:, row]
    grad_c_last = np.zeros((count, case.u.shape[-1]))
    grad_c_last[-1] = case.grad_c_last[row]
    arrays |= {
        "c0": np.stack([first, *[case.c_reset] * (count - 1)]),
        "mask_c": np.broadcast_to(case.mask_c[row], grad_c_last.shape),
        "grad_c_last": grad_c_last,
        "marks": marks & PAD,
    }
    return replace(case, **arrays, cu_seqlens=bounds)


def first_columns(case: Sru, hidden_size: int) -> Sru:
    """The case reduced to the first columns of each direction."""
    arrays = {
        name: columns_of(value, case.num_directions, hidden_size)
        for name, axes in AXES.items()
        if axes[-1] == "N·D" and (value := getattr(case, name, None)) is not None
    }
    return replace(case, **arrays)


def columns_of(array: Array, num_directions: int, hidden_size: int) -> Array:
    """The first columns of each direction of an array (..., N·D)."""
    by_direction = array.reshape(*array.shape[:-1], num_directions, -1)[..., :hidden_size]
    return by_direction.reshape(*array.shape[:-1], -1)

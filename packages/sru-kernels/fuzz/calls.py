"""Random arguments for every CPU kernel: refused in one sentence, or run without accessing other memory."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np
from cases import Case
from hypothesis import strategies as st

import sru_kernels
from sru_kernels import Activation, DType, _native, cpu

TUPLES = {kernel: (getattr(sru_kernels, name), fields) for name, (kernel, fields) in _native.fields.items()}
KERNELS = st.sampled_from(sorted(TUPLES))
HUGE = (2**31, 2**32, 2**33 + 1, 2**62, 2**63 - 1, 2**63, -1, -(2**63), 2**64)
WRONG = (None, "1", 2.5, b"", [], math.nan, 2**70, -1, True, DType.float64)
GUARD = 64
"""The number of guard bytes before and after each array."""


class Array(NamedTuple):
    """An array, as described by its field."""

    is_output: bool
    size: int
    """The size in bytes."""


def refuses(error: BaseException) -> bool:
    """Accept errors that begin with the name of the function, and lack of memory."""
    names_it = re.match(r"(sru|gated_linear|ligru)_\w+(: |\(\): incompatible function arguments)", str(error))
    return isinstance(error, MemoryError) or bool(names_it and isinstance(error, (TypeError, ValueError)))


def _options(case: Case, fields: list[Any], sizes: st.SearchStrategy[int]) -> dict[str, Any]:
    """Draw the fields that are not arrays."""
    kinds = {"DType": st.sampled_from(DType), "Activation": st.sampled_from(Activation)}
    kinds |= {"float": st.floats(), "bool": st.booleans(), "int": sizes}
    few = {"num_directions": st.integers(1, 2), "num_gates": st.integers(3, 4)}
    is_option = {name: not description.startswith(("In,", "Out,")) for name, _, description, _ in fields}
    return {
        name: case.draw(few.get(name, kinds[kind]), name) for name, kind, _, _ in fields if is_option[name]
    }


def _arrays(fields: list[Any], options: dict[str, Any], *, is_ragged: bool = False) -> dict[str, Array]:
    """Derive the arrays of a call, with or without offsets, from the descriptions of its fields."""
    get = options.get
    sizes = {"2": 2, "T": get("length"), "B": get("batch"), "H": get("heads"), "V": get("value_size")}
    sizes |= {"K": get("num_gates", get("key_size")), "E": get("input_size")}
    sizes |= {"N": get("num_directions"), "D": get("hidden_size")}
    sizes |= {"5": 5, "D + 4": get("hidden_size", 0) + 4}  # the scratch memory of the Li-GRU
    sizes["N·D"] = get("columns", get("num_directions", 0) * get("hidden_size", 0))
    sizes["B+1"] = get("batch") + 1
    segment_length = get("segment_length") or 1
    sizes["segments"] = -(-get("length", 0) // segment_length)
    if is_ragged:
        sizes["segments"] = get("length") // segment_length + get("batch")
    wide = 8 if options["dtype"] is DType.float64 else 4
    narrow = wide if options["dtype"] in (DType.float64, DType.float32) else 2
    bytes_of = {"S": narrow, "A": wide, "bytes": 1, "offsets": 8}
    found = {}
    for name, _, description, _ in fields:
        forms = re.findall(r"\(([^()]*)\) (S|A|bytes|offsets)\b", description)
        if description.startswith(("In,", "Out,")):
            axes, kind = forms[-1] if get("v_per_position") and "v_per_position" in description else forms[0]
            letters = axes.split(", ")
            if is_ragged and letters[0] in ("T", "segments"):
                letters = [letter for letter in letters if letter != "B"]
            size = math.prod(sizes[letter] or 0 for letter in letters)
            found[name] = Array(description.startswith("Out,"), size * bytes_of[kind])
    return found


def wrong_arguments(case: Case) -> None:
    """A field of a wrong type, or sizes whose product overflows: no address is read."""
    kernel = case.draw(KERNELS, "kernel")
    kind, fields = TUPLES[kernel]
    options = _options(case, fields, st.one_of(st.integers(0, 5), st.sampled_from(HUGE)))
    arrays = _arrays(fields, options)
    # Without overflow, arrays are absent, so that an accepted call reads nothing.
    overflows = any(array.size >= 2**63 for array in arrays.values())
    values = {**dict.fromkeys(arrays, 64 if overflows else 0), **options}
    if not overflows:
        values[case.draw(st.sampled_from(kind._fields), "field")] = case.draw(st.sampled_from(WRONG), "value")
    threads = case.draw(st.sampled_from([1, 2, 2**31 - 1, 0]), "threads")
    getattr(cpu, kernel)(kind(**values), num_threads=threads)
    assert not overflows, f"{kernel} accepted sizes whose product overflows"


def memory(case: Case) -> None:
    """Small sizes in real memory: only outputs are written, and inputs do not change."""
    kernel = case.draw(KERNELS, "kernel")
    kind, fields = TUPLES[kernel]
    options = _options(case, fields, st.integers(0, 20))
    chance = np.random.default_rng(case.draw(st.integers(0, 2**32 - 1), "seed"))
    is_ragged = "cu_seqlens" in kind._fields and case.draw(st.booleans(), "is_ragged")
    arrays = _arrays(fields, options, is_ragged=is_ragged)
    given = {name for name in arrays if name != "cu_seqlens" and case.draw(st.integers(0, 9), name)}
    given |= {"cu_seqlens"} if is_ragged else set()
    content = {name: chance.integers(0, 256, arrays[name].size + 2 * GUARD, dtype=np.uint8) for name in given}
    if is_ragged and case.draw(st.integers(0, 9), "offsets are right"):
        offsets = np.sort(chance.integers(0, options["length"] + 1, options["batch"] + 1))
        offsets[-1], offsets[0] = options["length"], 0
        content["cu_seqlens"][GUARD:-GUARD] = offsets.view(np.uint8)
    before = {name: array.copy() for name, array in content.items()}
    addresses = {name: content[name].ctypes.data + GUARD if name in given else 0 for name in arrays}
    getattr(cpu, kernel)(kind(**addresses, **options), num_threads=case.draw(st.integers(1, 3), "threads"))
    for name, array in content.items():
        inside = slice(GUARD, len(array) - GUARD) if arrays[name].is_output else slice(0, 0)
        array[inside] = before[name][inside]
        assert (array == before[name]).all(), f"{kernel} wrote outside of {name}"

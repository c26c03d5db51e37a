"""Wrong marks and offsets are refused by one sentence, which states what is valid."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from .rows import ROWS, Row, call, rows

T, B, TOTAL = 4, 3, 12


def refused(row: Row, kind: type[Exception], message: str, *args: Any, **options: Any) -> None:
    module = row.build()
    with pytest.raises(kind, match=f"^{type(module).__name__}: {re.escape(message)}"):
        call(module, *args, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
@rows()
def test_marks_of_another_dtype(row: Row, dtype: torch.dtype):
    message = f"reset must be bool, True where a sequence begins, got {dtype}; convert it with .bool()"
    refused(row, TypeError, message, row.inputs(T, B), reset=torch.zeros(T, B, dtype=dtype))


@pytest.mark.parametrize("shape", [(T, B, 1), (B, T), (T,), (T, B - 1)], ids=str)
@rows()
def test_marks_of_another_shape(row: Row, shape: tuple[int, ...]):
    message = f"reset must have shape (T, B) = {(T, B)}, got {shape}"
    if len(shape) == 3:
        message += "; squeeze the last axis"
    refused(row, ValueError, message, row.inputs(T, B), reset=torch.zeros(shape, dtype=torch.bool))


@rows("batch_first")
def test_marks_in_other_forms(row: Row):
    module, x = row.build(), row.inputs(T, B)
    with pytest.raises(ValueError, match=rf"reset must have shape \(T,\) = \({T},\), got \({T}, 1\)"):
        module(x[:, 0], reset=torch.zeros(T, 1, dtype=torch.bool))
    module.batch_first = True
    with pytest.raises(ValueError, match=rf"reset must have shape \(B, T\) = \({B}, {T}\), got \({T}, {B}\)"):
        module(x.transpose(0, 1), reset=torch.zeros(T, B, dtype=torch.bool))


@pytest.mark.parametrize("wrong", [[[True]], 1, "reset"], ids=["list", "int", "str"])
@rows()
def test_marks_that_are_no_tensor(row: Row, wrong: Any):
    refused(row, TypeError, "reset must be", row.inputs(T, B), reset=wrong)


@rows("step")
def test_marks_of_a_step(row: Row):
    module, x = row.build(), row.inputs(1, B)[0]
    with pytest.raises(ValueError, match=rf"reset must have shape \(B,\) = \({B},\), got \({B}, 1\)"):
        module.step(x, reset=torch.zeros(B, 1, dtype=torch.bool))
    with pytest.raises(TypeError, match="reset must be bool"):
        module.step(x, reset=torch.zeros(B))


OFFSETS = {
    "dtype": (
        torch.tensor([0.0, TOTAL]),
        TypeError,
        "cu_seqlens must be int32 or int64, got torch.float32",
    ),
    "shape": (
        torch.zeros(2, 4, dtype=torch.int64),
        ValueError,
        "cu_seqlens must have shape (S + 1,), got (2, 4)",
    ),
    "empty": (
        torch.zeros(0, dtype=torch.int64),
        ValueError,
        "cu_seqlens must have shape (S + 1,), got (0,)",
    ),
    "begin": (torch.tensor([3, TOTAL]), ValueError, "cu_seqlens must begin at 0, got 3"),
    "end": (
        torch.tensor([0, 4, 10]),
        ValueError,
        f"cu_seqlens must end at the number of positions, {TOTAL}, got 10",
    ),
    "order": (torch.tensor([0, 9, 5, TOTAL]), ValueError, "cu_seqlens must not decrease, got 5 after 9"),
}


@pytest.mark.parametrize("case", OFFSETS.values(), ids=OFFSETS)
@rows()
def test_offsets_that_do_not_fit(row: Row, case: tuple[Tensor, type[Exception], str]):
    wrong, kind, message = case
    refused(row, kind, message, row.inputs(TOTAL, 1).squeeze(1), cu_seqlens=wrong)


@rows()
def test_offsets_on_another_device(row: Row):
    message = "cu_seqlens must be on the device of the input, cpu, got meta; move one of them with .to()"
    wrong = torch.tensor([0, TOTAL], device="meta")
    refused(row, ValueError, message, row.inputs(TOTAL, 1).squeeze(1), cu_seqlens=wrong)


@rows()
def test_marks_on_another_device(row: Row):
    message = "reset must be on the device of the input, cpu, got meta"
    wrong = torch.zeros(T, B, dtype=torch.bool, device="meta")
    refused(row, ValueError, message, row.inputs(T, B), reset=wrong)


@rows()
def test_offsets_beside_other_forms(row: Row):
    x, offsets = row.inputs(TOTAL, 1).squeeze(1), torch.tensor([0, 5, TOTAL])
    mask = torch.zeros(TOTAL, dtype=torch.bool)
    message = "with cu_seqlens pass mask_pad=None; there is no padding"
    refused(row, ValueError, message, x, None, mask, cu_seqlens=offsets)
    message = "with cu_seqlens pass reset=None; add a boundary to cu_seqlens"
    refused(row, ValueError, message, x, reset=mask, cu_seqlens=offsets)


@rows("batch_first")
def test_offsets_for_a_batch(row: Row):
    size = row.input_size
    message = f"with cu_seqlens input must have shape (total, E) or (1, total, E) with E = {size}, "
    for shape in [(T, B, size), (TOTAL, size + 1), (size,)]:
        refused(row, ValueError, f"{message}got {shape}", torch.zeros(shape), cu_seqlens=torch.tensor([0, T]))


@rows("packed")
def test_marks_beside_a_packed_sequence(row: Row):
    packed = pack_sequence([row.inputs(3, 1)[:, 0], row.inputs(2, 1)[:, 0]])
    reset, offsets = torch.zeros(3, 2, dtype=torch.bool), torch.tensor([0, 3, 5])
    message = "with a PackedSequence pass reset=None; pack the pieces as sequences of their own"
    refused(row, ValueError, message, packed, reset=reset)
    message = "a PackedSequence brings its own lengths; pass cu_seqlens=None"
    refused(row, ValueError, message, packed, cu_seqlens=offsets)


@pytest.mark.parametrize("name", ["SRU", "MinGRU", "GatedLinearRNN"])
def test_a_state_for_another_number_of_sequences(name: str):
    row = ROWS[name]
    module, x = row.build(), row.inputs(TOTAL, 1).squeeze(1)
    with pytest.raises(ValueError, match=r"must have shape \(L, S, .* = \(2, 3, .*, got \(2, 1, "):
        call(module, x, row.state(module, 1), cu_seqlens=torch.tensor([0, 2, 7, TOTAL]))


def test_a_memory_beside_offsets():
    row = ROWS["SRUpp"]
    module, x = row.build(), row.inputs(TOTAL, 1).squeeze(1)
    memory = [torch.zeros(2, 1, row.input_size)] * 2
    with pytest.raises(ValueError, match=r"SRUpp: with cu_seqlens pass memory=None; a memory needs a batch"):
        module(x, memory=memory, cu_seqlens=torch.tensor([0, TOTAL]))

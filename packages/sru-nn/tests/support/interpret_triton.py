"""What Triton's interpreter lacks: checks of memory bounds, and the rounding of a GPU's matrix products."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder, TensorHandle, interpreter_builder


class Memory:
    """The memory that a kernel may access: the tensors it was given."""

    def __init__(self) -> None:
        self.firsts = self.lasts = np.zeros(0, np.uint64)

    def hold(self, *given: Any) -> None:
        tensors = [x for x in given if isinstance(x, torch.Tensor) and x.numel()]
        self.firsts = np.array([x.data_ptr() for x in tensors], np.uint64)
        self.lasts = self.firsts + np.array([x.nbytes - 1 for x in tensors], np.uint64)

    def check(self, what: str, pointers: TensorHandle, mask: TensorHandle) -> None:
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        wanted = np.broadcast_to(mask.data.astype(bool), pointers.data.shape)
        touched = pointers.data[wanted].reshape(-1, 1)
        inside = (touched >= self.firsts) & (touched + np.uint64(size - 1) <= self.lasts)
        if not inside.any(1).all():
            raise IndexError(f"a {what} outside of the tensors of the kernel")


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Reject accesses outside the tensors of a kernel; multiply with `input_precision`, also in bfloat16."""
    memory, patched = Memory(), set()
    start, dot, patch_language = GridExecutor.__call__, InterpreterBuilder.create_dot, interpreter._patch_lang
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def watched_start(self: GridExecutor, *args: Any, **kwargs: Any) -> None:
        memory.hold(*args)
        patched.clear()
        start(self, *args, **kwargs)

    def patch_once(function: Any) -> Any:
        # Triton would patch its language again at every call of every function in a kernel, which takes a
        # third of the time.
        if function.__module__ not in patched:
            patched.add(function.__module__)
            return patch_language(function)
        return None

    def watched_load(self: Any, pointers: TensorHandle, mask: TensorHandle, *rest: Any) -> TensorHandle:
        memory.check("load", pointers, mask)
        return load(self, pointers, mask, *rest)

    def watched_store(self: Any, pointers: TensorHandle, value: Any, mask: TensorHandle, *rest: Any) -> Any:
        memory.check("store", pointers, mask)
        return store(self, pointers, value, mask, *rest)

    def rounded_dot(self: Any, a: TensorHandle, b: TensorHandle, d: Any, precision: Any, *rest: Any) -> Any:
        return dot(self, _operand(a, precision.name), _operand(b, precision.name), d, precision, *rest)

    options = interpreter_builder.options
    precisions = (*options.allowed_dot_input_precisions, "bf16x6")
    with pytest.MonkeyPatch.context() as patch:
        allowed = dataclasses.replace(options, allowed_dot_input_precisions=precisions)
        patch.setattr(interpreter_builder, "options", allowed)
        patch.setattr(GridExecutor, "__call__", watched_start)
        patch.setattr(interpreter, "_patch_lang", patch_once)
        patch.setattr(InterpreterBuilder, "create_masked_load", watched_load)
        patch.setattr(InterpreterBuilder, "create_masked_store", watched_store)
        patch.setattr(InterpreterBuilder, "create_dot", rounded_dot)
        yield


def _operand(x: TensorHandle, precision: str) -> TensorHandle:
    """Return a matrix as read by a product of this precision."""
    if x.dtype.scalar == tl.bfloat16:  # whose bits the interpreter would multiply
        return TensorHandle((x.data.astype(np.uint32) << np.uint32(16)).view(np.float32), tl.float32)
    if x.dtype.scalar == tl.float32 and precision == "TF32":
        bits = (x.data.view(np.uint32) + np.uint32(1 << 12)) & np.uint32(~0x1FFF & 0xFFFFFFFF)
        return TensorHandle(bits.view(np.float32), tl.float32)
    return x

"""Specific to Triton: code for GPUs, and the precision of matrix products."""

from __future__ import annotations

import pytest
import torch

from sru_nn import backend
from sru_nn.cells.gated_linear.plain import PieceInputs

from ...conftest import INTERPRETED
from .inputs import make_inputs
from .test_operator import check_rounding

# The storage dtype, the sizes of a head, and how float32 matrices are multiplied.
CASES = {
    "sm_90": (torch.bfloat16, 64, 64, "bf16x6"),
    "sm_100": (torch.float32, 64, 64, "tf32"),
    "gfx942": (torch.bfloat16, 64, 64, "ieee"),
}


@pytest.mark.triton
@pytest.mark.parametrize("target", CASES)
def test_code_for_a_gpu_keeps_everything_in_registers(compile_launches, monkeypatch, target):
    from sru_nn.cells.gated_linear import triton

    dtype, key_size, value_size, precision = CASES[target]
    monkeypatch.setattr(triton, "_precision", lambda like: precision)
    given = make_inputs(40, 2, 2, key_size, value_size, dtype=dtype)
    wide = {name: given[name].float() for name in ("log_g", "s0")}
    marks = torch.zeros(40, 2, dtype=torch.uint8)
    inputs = PieceInputs(**given | wide, s_reset=wide["s0"][0], marks=marks)

    def call():
        o, s, states = triton.forward(inputs, True)
        triton.backward(inputs, states, o, s)

    kernels = compile_launches(call, target)
    assert [kernel.name for kernel in kernels] == [
        "walk_forward",
        "outputs",
        "walk_backward",
        "gradients_of_values",
        "gradients_of_keys",
    ]
    assert [kernel.spilled for kernel in kernels] == [0] * 5


interpreted = pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter")


@interpreted
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16x6", 1e-5), ("tf32", 2e-3)])
def test_logarithms_of_gates_are_never_rounded(precision, tolerance, monkeypatch):
    """The product of 32 gates has float32 precision, whatever the precision of matrix products."""
    from sru_nn.cells.gated_linear import triton

    monkeypatch.setattr(triton, "_precision", lambda like: precision)
    inputs = make_inputs(40, 1, 1, 16, 16, dtype=torch.float32)
    inputs["k"][1:] = 0
    inputs["log_g"].fill_(-0.6452)
    with backend.using("triton"):
        check_rounding(inputs, tolerance)


@interpreted
def test_a_place_without_a_chunk_holds_zero():
    """It is not left uninitialized; deterministic algorithms fill uninitialized memory with NaN."""
    from sru_nn.cells.gated_linear import triton

    given = make_inputs(40, 1)
    inputs = PieceInputs(**given | {"s0": torch.ones(3, 2, 3, 4, dtype=torch.float64)})
    torch.use_deterministic_algorithms(True)
    try:
        _, _, states = triton.forward(inputs._replace(cu_seqlens=torch.tensor([0, 20, 20, 40])), True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert [place.any().item() for place in states] == [True, False, True, False]
    assert states.isfinite().all()

"""What only Triton has: code for GPUs. Its arithmetic is tested as that of the other backends."""

from __future__ import annotations

import pytest
import torch

from sru_nn.cells.gated_linear.plain import PieceInputs

from .inputs import make_inputs

pytestmark = pytest.mark.triton
# The storage dtype, the sizes of a head, and how float32 matrices are multiplied.
CASES = {
    "sm_90": (torch.bfloat16, 64, 64, "bf16x6"),
    "sm_100": (torch.float32, 64, 64, "tf32"),
    "gfx942": (torch.bfloat16, 64, 64, "ieee"),
}


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

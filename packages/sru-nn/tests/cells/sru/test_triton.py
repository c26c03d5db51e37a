"""Specific to Triton: code for GPUs, and its computation of memory addresses."""

from __future__ import annotations

import pytest
import torch

from sru_nn.cells.sru import pieces

from ...conftest import INTERPRETED
from .test_pieces import make_arguments

CASES = {
    "all options": {
        "gates": 4,
        "bidirectional": True,
        "per_position": True,
        "hidden": 48,
        "dtype": torch.bfloat16,
    },
    "end to end, many columns": {
        "lengths": [1] * 40,
        "hidden": 512,
        "activation": "identity",
        "dtype": torch.float32,
    },
    # Triton treats a size of one as a constant.
    "one column": {"hidden": 1, "batch": 1, "dtype": torch.float64},
}


@pytest.mark.triton
@pytest.mark.parametrize("target", ["sm_90", "sm_100", "gfx942"])
@pytest.mark.parametrize("case", CASES)
def test_code_for_a_gpu_keeps_everything_in_registers(compile_launches, monkeypatch, case, target):
    from sru_nn.cells.sru import triton

    seen = []
    monkeypatch.setattr(pieces, "_OPERATORS", lambda chosen, inputs: seen.append(inputs) or (None, None))
    arguments = make_arguments(**CASES[case])
    where = [arguments.pop(name) for name in ("reset", "c_reset", "cu_seqlens")]
    pieces.run("triton", pieces.Inputs(**arguments), *where)
    (inputs,) = seen

    def call():
        h, c_last, c = triton.forward(inputs, True)
        triton.backward(inputs, c, h, c_last)

    kernels = compile_launches(call, target)
    assert [kernel.name for kernel in kernels] == ["_forward_kernel", "_backward_kernel"]
    assert [kernel.spilled for kernel in kernels] == [0, 0]
    assert max(kernel.registers for kernel in kernels) <= 255


@pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter")
def test_more_than_two_to_the_31_elements():
    """A sequence at the end of a large tensor, whose other memory is never touched and need not exist."""
    from sru_nn.cells.sru import triton

    hidden, steps = 64, 3
    total = 2**31 // (4 * hidden) + steps
    given = make_arguments(lengths=[steps], gates=4, hidden=hidden, dtype=torch.float16)
    names = ("u", "v", "bias", "c0", "cu_seqlens")
    near = pieces.PieceInputs(**{name: given[name] for name in names})
    u = torch.empty(total, 1, 4, hidden, dtype=torch.float16)
    u[-steps:] = near.u
    found = []
    for inputs in (near, near._replace(u=u, cu_seqlens=torch.tensor([total - steps, total]))):
        h, c_last, c = triton.forward(inputs, True)
        grad_u, *grads = triton.backward(inputs, c, h, c_last)
        found.append([h[-steps:], c_last, c[-steps:], grad_u[-steps:], *grads])
    torch.testing.assert_close(*found, rtol=0, atol=0)

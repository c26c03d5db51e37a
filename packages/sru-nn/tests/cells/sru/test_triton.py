"""What only Triton has: code for GPUs. Its arithmetic is tested as that of the other backends."""

from __future__ import annotations

import pytest
import torch

from sru_nn.cells.sru import pieces

from .test_pieces import make_arguments

pytestmark = pytest.mark.triton
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
}


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

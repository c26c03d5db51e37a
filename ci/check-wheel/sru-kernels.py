"""A user's program with sru-kernels alone: inspect the build and run a step, without torch."""

from __future__ import annotations

import subprocess
import sys
from array import array
from importlib.util import find_spec

import sru_kernels

info = sru_kernels.build_info()
assert info["version"] == sru_kernels.__version__, info
assert info["instruction_set"] in {"baseline", "avx2", "avx512", "avx512_bf16"}, info
assert find_spec("torch") is None, "sru-kernels brought torch with it"


def address(values: array[float]) -> int:
    """Return the address of the first value."""
    return values.buffer_info()[0]


# One column, one step, all gates half open and no highway: c = u_c / 2 and h = c / 2.
u, zeros = array("f", [1.0, 0.0, 0.0]), array("f", [0.0, 0.0])
h, c_last = array("f", [0.0]), array("f", [0.0])
args = sru_kernels.SruForward(
    dtype=sru_kernels.DType.float32,
    activation=sru_kernels.Activation.identity,
    length=1,
    batch=1,
    hidden_size=1,
    num_directions=1,
    num_gates=3,
    u=address(u),
    v=address(zeros),
    bias=address(zeros),
    c0=0,
    x=0,
    mask_c=0,
    marks=0,
    c_reset=0,
    cu_seqlens=0,
    order=0,
    scale_x=1.0,
    v_per_position=False,
    h=address(h),
    c=0,
    c_last=address(c_last),
)
sru_kernels.cpu.sru_forward(args, num_threads=1)
assert (c_last[0], h[0]) == (0.5, 0.25), (c_last, h)
subprocess.run([sys.executable, "-I", "-m", "sru_kernels"], check=True)

"""Sigmoid with a GPU's inexact powers of 2 and reciprocals, and sine."""

from dataclasses import replace

import numpy as np
import pytest

from ..cells.ligru.cases import make_ligru
from ..support.engines import PTX
from .test_math import EXTENDED, grid, one_step, ulps


@pytest.mark.cuda
@pytest.mark.parametrize("side", ["-1", "1"])
def test_sigmoid_is_accurate_to_8_ulp_with_inexact_instructions(workers, side, monkeypatch):
    engine = workers(PTX[-1])
    monkeypatch.setitem(engine.machine, "CUSHIM_INEXACT", side)
    points = grid(np.float32, 85.0)[::7]
    opened = one_step("float32", points.size, u_f=points, c0=1.0).forward(engine)["c"].ravel()
    errors = ulps(opened, 1 / (1 + np.exp(-points.astype(EXTENDED))), np.float32)
    assert errors[points >= 0].max() <= 3
    assert 3 < errors[points < 0].max() <= 8  # larger than with exact instructions


@pytest.mark.cuda
@pytest.mark.parametrize(("storage", "dtype"), [("float32", np.float32), ("float64", np.float64)])
def test_sine_is_accurate_to_2_ulp(workers, storage, dtype):
    """Computed by a Li-GRU whose gate is closed."""
    turns = np.arange(-64, 64) * np.pi / 4 + 0.01  # away from zeros of the sine, where an ulp of x matters
    points = np.concatenate([np.linspace(-1e4, 1e4, 120), [1e-30, 0, 1e6, -1e6, *turns, 0.1, 0.5, 1, 2]])
    u = np.stack([points, np.full(256, -np.inf)], 1).astype(dtype).reshape(1, 4, 64, 2).swapaxes(2, 3)
    absent = ("mask_h", "marks", "h0", "h_reset")
    case = make_ligru(
        1, 4, 64, num_directions=1, activation="sin", storage=storage, norm=False, absent=absent
    )
    case = replace(case, u=u, weight=np.zeros((2, 64, 64)))
    sines = case.forward(workers(PTX[-1]))["h"].ravel()
    assert ulps(sines, np.sin(u[:, :, 0].astype(EXTENDED).ravel()), dtype).max() <= 2

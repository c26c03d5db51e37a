"""One layer: options that change its weights or its output, initialisation and errors."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from sru_nn import SRUCell

from ...conftest import either

T, B, D = 6, 3, 8
pytestmark = pytest.mark.usefixtures("implementation")


def test_a_single_step_is_a_sequence_of_one(assert_close):
    cell = SRUCell(5, D)
    x, c0 = torch.randn(B, 5), torch.randn(B, D)
    h, c = cell(x, c0)
    assert h.shape == (1, B, D)
    h_sequence, c_sequence = cell(x[None], c0)
    assert_close(h, h_sequence)
    assert_close(c, c_sequence)
    h_padded, c_padded = cell(x, c0, torch.ones(B))
    assert h_padded.eq(0).all()
    assert torch.equal(c_padded, c0)


@pytest.mark.parametrize(
    ("inputs", "skip", "gates"), [(D, True, 3), (D, False, 3), (5, True, 4), (5, False, 3)]
)
def test_the_fourth_gate_projects_a_highway_of_another_width(inputs, skip, gates):
    cell = SRUCell(inputs, D, has_skip_term=skip)
    assert cell.transform.out_features == gates * D
    assert cell(torch.randn(T, B, inputs))[0].shape == (T, B, D)


def test_output_follows_the_highway_when_the_output_gate_is_shut():
    cell = SRUCell(D, D, highway_bias=-50.0, rescale=False)
    x = torch.randn(T, B, D)
    torch.testing.assert_close(cell(x)[0], x)
    no_skip = SRUCell(D, D, highway_bias=-50.0, has_skip_term=False)
    torch.testing.assert_close(no_skip(x)[0], torch.zeros(T, B, D))


@pytest.mark.parametrize(("option", "function"), [("use_tanh", torch.tanh), ("use_relu", torch.relu)])
def test_activation(option, function):
    cell = SRUCell(D, D, highway_bias=50.0, **{option: 1})  # r = 1: the output is g(c)
    x = torch.randn(1, B, D)
    h, c = cell(x)
    torch.testing.assert_close(h[0], function(c))


def test_narrow_projection_only_where_it_saves():
    narrow = SRUCell(D, D, n_proj=2)
    assert (narrow.transform.down.out_features, narrow.transform.up.in_features) == (2, 2)
    assert isinstance(SRUCell(D, D, n_proj=D).transform, nn.Linear)
    assert narrow(torch.randn(T, B, D))[0].shape == (T, B, D)


def test_layer_norm_before_or_after():
    x = 100 * torch.randn(T, B, D)
    after = SRUCell(D, D, layer_norm=True, normalize_after=True)
    h, _ = after(x)
    torch.testing.assert_close(h.mean(-1), torch.zeros(T, B), atol=1e-5, rtol=0)
    before = SRUCell(D, D, layer_norm=True, rescale=False)
    _, c = before(x)
    _, c_scaled = before(10 * x)
    torch.testing.assert_close(c, c_scaled)  # the state sees the normalised input


@either
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_building_a_layer_starts_no_threads() -> None:
    # A child that is forked afterwards would wait for them.
    program = (
        "import os, torch, sru_nn; torch.set_num_threads(2)\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count(); sru_nn.SRUCell(256, 256); assert count() == before\n"
        "torch.zeros(1 << 20).mul_(2); assert count() > before, 'the count sees no threads'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_initialisation_has_the_variances_it_claims():
    cell = SRUCell(400, 500, dropout=0.2, rnn_dropout=0.1, highway_bias=-1.0)
    gates = cell.transform.weight.view(4, 500, 400)
    keep = 0.9
    expected = [0.8 * keep, 0.5 * keep, 0.5 * keep, (1 + 2 * math.exp(-1)) * keep]
    torch.testing.assert_close(gates.var(dim=(1, 2)) * 400, torch.tensor(expected), rtol=0.02, atol=0)
    assert cell.bias[:500].eq(0).all()
    assert cell.bias[500:].eq(-1).all()
    assert cell.weight_c.abs().max() <= math.sqrt(1.5)
    assert abs(cell.weight_c.var().item() - 0.5) < 0.05
    assert SRUCell(D, D, weight_c_init=0.1).weight_c.abs().max() <= 0.1


def test_rescale_is_ignored_without_a_highway():
    assert SRUCell(D, D, has_skip_term=False).scale_x == 1.0
    assert SRUCell(D, D).scale_x == pytest.approx(math.sqrt(3))


class TooMany(nn.Module):
    def forward(self, x):
        return x, x, x


WRONG = {
    "input": (
        lambda: SRUCell(D, D)(torch.randn(T, B, 5)),
        "input must have shape (T, B, E) or (B, E) with E = 8",
    ),
    "c0": (
        lambda: SRUCell(D, D)(torch.randn(T, B, D), torch.randn(D)),
        "c0 must have shape (B, N·D) = (3, 8), got (8,)",
    ),
    "mask": (
        lambda: SRUCell(D, D)(torch.randn(T, B, D), None, torch.zeros(B, T)),
        "mask_pad must have shape (T, B) = (6, 3), got (3, 6)",
    ),
    "sizes": (lambda: SRUCell(D, 0), "hidden_size must be at least 1, got 0"),
    "projection": (
        lambda: SRUCell(D, D, n_proj=-1),
        "n_proj must be at least 0, got -1",
    ),
    "dropout": (lambda: SRUCell(D, D, dropout=1.0), "dropout must be a probability in [0, 1), got 1.0"),
    "activations": (lambda: SRUCell(D, D, use_tanh=True, use_relu=True), "exclude each other; choose one"),
    "custom_m width": (
        lambda: SRUCell(D, D, custom_m=nn.Linear(D, D))(torch.randn(T, B, D)),
        "custom_m must return u of shape (T, B, N·D·3) = (6, 3, 24), got (6, 3, 8)",
    ),
    "custom_m outputs": (
        lambda: SRUCell(D, D, custom_m=TooMany())(torch.randn(T, B, D)),
        "custom_m must return u or (u, v), got 3 values",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    call, message = WRONG[case]
    with pytest.raises(ValueError, match="^SRUCell: .*" + re.escape(message)):
        call()

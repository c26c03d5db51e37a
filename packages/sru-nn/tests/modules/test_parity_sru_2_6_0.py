"""Outputs, states and gradients of ``sru`` 2.6.0, recorded in float64 by ``golden/make_sru_2_6_0.py``."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sru_nn import SRU, SRUCell

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = torch.load(GOLDEN / "sru_2_6_0.pt", weights_only=True)["cases"]
# Not tighter: sru 2.6.0 rounds the highway scale to float32 even in a float64 module.
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
make_custom_m = runpy.run_path(str(GOLDEN / "transforms.py"))["make_custom_m"]


def build(case: dict) -> SRU:
    plain = SRU(**case["arguments"])
    sizes = [(cell.input_size, cell.output_size, cell.num_matrices) for cell in plain.rnn_lst]
    model = SRU(**case["arguments"], custom_m=make_custom_m(case["custom"], sizes))
    model.double().load_state_dict(case["state_dict"])
    return model


def compare(actual, expected):
    torch.testing.assert_close(actual, expected, **TOLERANCE)


@pytest.mark.parametrize("index", range(len(CASES)))
def test_parity(index, monkeypatch):
    case = CASES[index]
    order = slice(None)
    if case["form"] == "packed":  # the cells see the batch sorted by length
        order = pack_padded_sequence(case["x"], case["lengths"], enforce_sorted=False).sorted_indices
    masks = iter(case["dropout_masks"])
    monkeypatch.setattr(SRUCell, "_variational_mask", lambda *_: next(masks)[order])
    model = build(case)
    x = case["x"].requires_grad_()
    c0 = None if case["c0"] is None else case["c0"].requires_grad_()
    packed = case["form"] == "packed"
    given = pack_padded_sequence(x, case["lengths"], enforce_sorted=False) if packed else x

    h, c = model(given, c0, mask_pad=case["mask"])

    if packed:
        assert isinstance(h, PackedSequence)
        h = pad_packed_sequence(h)[0]
    compare(h, case["h"])
    compare(c, case["c"])
    assert next(masks, None) is None, "fewer dropout masks were drawn than by sru 2.6.0"
    torch.autograd.backward([h, c], [case["grad_h"], case["grad_c"]])
    compare(x.grad, case["grad_x"])
    if c0 is not None:
        compare(c0.grad, case["grad_c0"])
    # The gradients go the way of the weights: through load_state_dict, into a twin.
    expected = copy.deepcopy(model)
    expected.load_state_dict(case["gradients"])
    for (name, parameter), gradient in zip(model.named_parameters(), expected.parameters(), strict=True):
        actual = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(actual, gradient.detach(), **TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")


def test_the_cases_cover_every_option():
    for name in CASES[0]["arguments"]:
        values = {case["arguments"][name] for case in CASES}
        assert len(values) > 1, f"{name} is always {values}"
    assert {case["custom"] for case in CASES} == {"none", "u", "uv"}
    assert {case["form"] for case in CASES} == {"plain", "mask", "packed"}
    assert {case["c0"] is None for case in CASES} == {True, False}
    assert {bool(case["dropout_masks"]) for case in CASES} == {True, False}


def test_state_dict_of_another_highway_bias():
    case = next(c for c in CASES if c["arguments"]["rescale"] and c["arguments"]["has_skip_term"])
    arguments = case["arguments"] | {"highway_bias": -7.0}
    with pytest.raises(RuntimeError, match=r"rnn_lst.0.scale_x: .*build the module with the highway_bias"):
        SRU(**arguments).load_state_dict(case["state_dict"])


def test_state_dict_of_another_size():
    case = next(c for c in CASES if c["custom"] == "none" and not c["arguments"]["projection_size"])
    arguments = case["arguments"] | {"hidden_size": 17}
    with pytest.raises(RuntimeError, match=r"rnn_lst.0.weight: expected \(inputs, N·D·K\)"):
        SRU(**arguments).load_state_dict(case["state_dict"])

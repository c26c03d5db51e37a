"""State dicts, outputs and gradients of SpeechBrain and `fast_sligru`, recorded by `golden/make_ligru.py`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sru_nn import LiGRU, SLiGRU
from sru_nn.cells.ligru import layer

B, T, E, D = 2, 4, 3, 2
CASES = torch.load(Path(__file__).parents[2] / "golden" / "ligru.pt", weights_only=True)["cases"]
IDS = [f"{case['kind']}, {case['arguments']}" for case in CASES]
cases = pytest.mark.parametrize("case", CASES, ids=IDS)
WITH_NORM = ("speechbrain SLiGRU", "fast_sligru SLiGRU")


def build(case: dict[str, Any], **options: Any) -> nn.Module:
    """Build our module with their arguments."""
    arguments = dict(case["arguments"])
    norms = {"batchnorm": "batch"}
    word = arguments.pop("normalization", arguments.pop("ff_normalization", "batchnorm"))
    arguments["normalization"] = norms.get(word, "layer")  # any other word means layer norm, as in theirs
    kind = SLiGRU if case["kind"] in WITH_NORM else LiGRU
    return kind(E, D, batch_first=True, **arguments | options).double().train(case["training"])


def side_by_side(rows: Tensor, directions: int) -> Tensor:
    """Return `(..., 2·B, D)`, one direction after the other, as `(..., B, N·D)`."""
    return torch.cat(rows.chunk(directions, -2), -1)


@cases
def test_parity(case, monkeypatch):
    module = build(case)
    module.load_state_dict(case["state_dict"])
    directions, masks = module.num_directions, iter(case["masks"])
    monkeypatch.setattr(layer.F, "dropout", lambda x, p: side_by_side(next(masks), directions).view_as(x))
    x = case["x"].clone().requires_grad_()
    state = None if case["hx"] is None else side_by_side(case["hx"], directions)
    h, _ = module(x, state)
    h.backward(case["upstream"])
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close((h, x.grad), (case["h"], case["grad_x"]), **close)
    # Convert the gradients like the weights, by loading them into a copy with load_state_dict.
    expected = copy.deepcopy(module)
    expected.load_state_dict(case["gradients"])
    for (name, parameter), gradient in zip(module.named_parameters(), expected.parameters(), strict=True):
        named = {"msg": lambda m, n=name: f"{n}: {m}"}
        torch.testing.assert_close(parameter.grad, gradient.detach(), **named, **close)
    expected.load_state_dict(case["state_dict"] | case["statistics"])
    before, ours, theirs = (statistics(part) for part in (loaded(case), module, expected))
    for name, value in ours.items():
        added, wanted = (part[name] - 0.95 * before[name] for part in (ours, theirs))
        if name.endswith("var") and case["training"]:  # they count each frame of two directions twice
            frames = B * T
            wanted = wanted * (frames / (frames - 1)) / (directions * frames / (directions * frames - 1))
        torch.testing.assert_close(added, wanted, msg=lambda m, n=name: f"{n}: {m}", **close)
        assert torch.equal(value, before[name]) == (not case["training"])


def loaded(case: dict[str, Any]) -> nn.Module:
    module = build(case)
    module.load_state_dict(case["state_dict"])
    return module


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.named_buffers() if "running" in name}


def test_inside_a_model_and_wrapped():
    case = CASES[0]
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"rnn": build(case)})})
    model.load_state_dict({f"encoder.rnn.{name}": value for name, value in case["state_dict"].items()})
    wrapped = {f"module.{name}": value for name, value in case["state_dict"].items()}
    alone = build(case)
    alone.load_state_dict(wrapped)
    torch.testing.assert_close(model["encoder"]["rnn"].state_dict(), alone.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(alone.state_dict(), loaded(case).state_dict(), rtol=0, atol=0)


def test_their_initial_state():
    """It is used for both directions, and refused by a module without a learned state."""
    case = CASES[2]
    state_dict = case["state_dict"] | {"rnn.0.h_init": torch.tensor([[1.0, 2.0]])}
    module = build(case, learn_initial_state=True)
    module.load_state_dict(state_dict)
    assert module.layers[0].initial_state.tolist() == [1.0, 2.0, 1.0, 2.0]
    with pytest.raises(RuntimeError, match="learn_initial_state: this module has False, the state dict True"):
        build(case).load_state_dict(state_dict)


# The case, what the module has instead, and the message.
DIFFERENT = [
    (0, {"num_layers": 3}, "num_layers: this module has 3, the state dict 2; build it with num_layers=2"),
    (0, {"hidden_size": 4}, "hidden_size: this module has 4, the state dict 2; build it with hidden_size=2"),
    (0, {"input_size": 4}, "input_size: this module has 4, the state dict 3; build it with input_size=3"),
    (0, {"bidirectional": True}, "bidirectional: this module has True, the state dict False"),
    (
        0,
        {"normalization": "layer"},
        "normalization: this module has layer, the state dict batch; build it with normalization='batch'",
    ),
    (3, {"normalization": "batch"}, "normalization: this module has batch, the state dict layer"),
    (3, {"normalization": "none"}, "normalization: this module has none, the state dict layer"),
    (0, {"bias": False}, "bias: this module has False, the state dict True; build it with bias=True"),
    (5, {"recurrent_elementwise_affine": False}, "recurrent_elementwise_affine: this module has False"),
    (4, {"recurrent_elementwise_affine": True}, "recurrent_elementwise_affine: this module has True"),
]


@pytest.mark.parametrize(("number", "options", "message"), DIFFERENT)
def test_the_first_difference_is_named(number, options, message):
    case, sizes = CASES[number], {"input_size": E, "hidden_size": D}
    arguments = {name: options.get(name, size) for name, size in sizes.items()}
    others = {name: value for name, value in options.items() if name not in sizes}
    template = build(case, **others)
    kind = type(template)
    kept = ("num_layers", "bidirectional", "normalization")
    built = {name: getattr(template, name) for name in kept} | others
    if kind is SLiGRU:
        affine = template.layers[0].recurrent_norm.elementwise_affine
        built["recurrent_elementwise_affine"] = affine
    model = nn.ModuleDict({"rnn": kind(**arguments, **built)})
    state_dict = {f"rnn.{name}": value for name, value in case["state_dict"].items()}
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=f"^rnn: {message}"):
            model.load_state_dict(state_dict, strict=strict)


def test_the_norm_of_another_class():
    with pytest.raises(RuntimeError, match="the norm of the product with the state: this module has None"):
        LiGRU(E, D, 2, bidirectional=True, normalization="layer").load_state_dict(CASES[5]["state_dict"])


def test_zeros_of_a_bias_that_is_not_learned():
    """A state dict without a norm has a bias to drop; one with a norm has zeros in its place."""
    whole, without = (LiGRU(E, D, normalization="none", bias=bias) for bias in (True, False))
    nn.init.zeros_(whole.layers[0].transform.bias)
    without.load_state_dict(whole.state_dict())
    torch.testing.assert_close(without(torch.ones(T, B, E)), whole(torch.ones(T, B, E)))
    nn.init.ones_(whole.layers[0].transform.bias)
    with pytest.raises(RuntimeError, match="bias: this module has False, the state dict True"):
        without.load_state_dict(whole.state_dict())

"""All encoders: padding, pieces and steps change nothing; options of other encoders are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sru_apps.nn import EncoderOptions, RecurrentEncoder, detach_state
from sru_nn import SRU, SRUppState

BOTH_WAYS = ["sru", "lstm", "gru", "sligru"]
NAMES = [*BOTH_WAYS, "srupp", "mingru", "gated-linear"]


def build(name: str, **arguments: Any) -> RecurrentEncoder:
    """An encoder of 5 features and 4 units, in float64, whose attention has an effect."""
    torch.manual_seed(0)
    if name == "srupp":
        # Layer norm over a single feature, the default, would map it to zero.
        arguments["options"] = replace(arguments.get("options") or EncoderOptions(), projection_size=4)
    encoder = RecurrentEncoder(name, 5, 4, **arguments).double()
    for parameter_name, parameter in encoder.named_parameters():
        if parameter_name.endswith("alpha"):
            nn.init.constant_(parameter, 0.7)
    return encoder


def inputs(steps: int, batch: int) -> torch.Tensor:
    return torch.randn(steps, batch, 5, dtype=torch.float64)


def mask_of(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps).unsqueeze(1) >= torch.tensor(lengths)


@pytest.mark.parametrize(
    ("name", "bidirectional"), [*((name, False) for name in NAMES), *((name, True) for name in BOTH_WAYS)]
)
def test_padding_changes_nothing(name: str, bidirectional: bool) -> None:
    encoder = build(name, bidirectional=bidirectional).eval()
    x = inputs(7, 3)
    lengths = [7, 1, 4]
    h, state = encoder(x, mask_of(lengths, 7))
    for b, length in enumerate(lengths):
        alone, alone_state = encoder(x[:length, b : b + 1])
        torch.testing.assert_close(h[:length, b : b + 1], alone)
        assert (h[length:, b] == 0).all()
        for batched, single in zip(_final(state), _final(alone_state), strict=True):
            torch.testing.assert_close(batched[:, b : b + 1], single)


def _final(state: object) -> tuple[torch.Tensor, ...]:
    if isinstance(state, SRUppState):
        return (state.c,)
    return state if isinstance(state, tuple) else (state,)  # type: ignore[return-value]


@pytest.mark.parametrize("name", NAMES)
def test_gradient_ignores_what_stands_in_padding(name: str) -> None:
    encoder = build(name, bidirectional=name in BOTH_WAYS)
    x = inputs(6, 2).requires_grad_()
    h, _ = encoder(x, mask_of([6, 2], 6))
    (h * torch.randn_like(h)).sum().backward()
    assert x.grad is not None
    assert (x.grad[2:, 1] == 0).all()
    assert (x.grad[:2, 1] != 0).any()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 8), max_size=3, unique=True).map(sorted), memory=st.integers(1, 12))
def test_pieces_with_the_state_carried_on(name: str, training: bool, cuts: list[int], memory: int) -> None:
    options = EncoderOptions(memory_length=memory) if name == "srupp" else None
    encoder = build(name, options=options).train(training)
    x = inputs(9, 2)
    whole, _ = encoder(x)
    state, parts = None, []
    for begin, end in zip([0, *cuts], [*cuts, 9], strict=True):
        h, state = encoder(x[begin:end], state=state)
        parts.append(h)
        state = detach_state(state)
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_steps_equal_the_whole(name: str, training: bool) -> None:
    encoder = build(name).train(training)
    x = inputs(6, 3)
    whole, _ = encoder(x)
    _, state = encoder(x[:2])
    for t in range(2, 6):
        h, state = encoder.step(x[t], state)
        torch.testing.assert_close(h, whole[t])
    first, _ = encoder.step(x[0])
    torch.testing.assert_close(first, whole[0])


def test_srupp_in_training_and_in_evaluation_are_the_same_function() -> None:
    encoder = build("srupp", options=EncoderOptions(memory_length=3, layer_norm=True, num_heads=2))
    x = inputs(8, 2)
    _, state = encoder(x[:5])
    trained, state = encoder(x[5:], state=state)
    assert not isinstance(state, SRUppState)
    assert [len(part) for part in state[1]] == [3, 3]
    evaluated, state = encoder.eval()(x)
    assert isinstance(state, SRUppState)
    torch.testing.assert_close(trained, evaluated[5:])


def test_srupp_learns_what_to_remember() -> None:
    encoder = build("srupp", num_layers=1)
    _, state = encoder(inputs(4, 2))
    keys = encoder.rnn.rnn_lst[0].transform.linear2.weight
    x = inputs(1, 2)

    def gradient(state: object) -> torch.Tensor:
        encoder.zero_grad()
        encoder(x, state=detach_state(state))[0].square().sum().backward()
        assert keys.grad is not None
        return keys.grad[: len(keys) // 2].abs().sum()

    # Keys of the position itself alone get no gradient: a softmax over one score is 1.
    assert gradient(None) < 1e-12
    assert gradient(state) > 1e-6


def test_srupp_does_not_mix_masks_with_a_state_from_training() -> None:
    encoder = build("srupp")
    _, state = encoder(inputs(3, 2))
    with pytest.raises(
        ValueError, match="srupp: a state from training without a mask cannot be continued with a mask"
    ):
        encoder(inputs(3, 2), mask_of([3, 1], 3), state)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_between_layers_in_training_only(name: str) -> None:
    encoder = build(name, num_layers=3, dropout=0.5, bidirectional=name in BOTH_WAYS)
    x = inputs(2, 3)
    assert encoder(x)[0].shape == (2, 3, encoder.output_size)
    assert not torch.equal(encoder(x)[0], encoder(x)[0])
    encoder.eval()
    assert torch.equal(encoder(x)[0], encoder(x)[0])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_one_layer_has_no_dropout_to_warn_about(name: str) -> None:
    assert build(name, num_layers=1, dropout=0.5).rnn.dropout == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_activation_checkpointing_changes_no_result(name: str) -> None:
    x, upstream = inputs(6, 2), torch.randn(6, 2, 4, dtype=torch.float64)
    results = []
    for checkpointing in (False, True):
        encoder = build(name, num_layers=3, dropout=0.3, activation_checkpointing=checkpointing)
        _, state = encoder.eval()(x) if name != "srupp" else (None, None)
        leaf = x.clone().requires_grad_()
        torch.manual_seed(1)
        h, _ = encoder.train()(leaf, state=detach_state(state))
        (h * upstream).sum().backward()
        results.append([h, leaf.grad, *(parameter.grad for parameter in encoder.parameters())])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["sru", "srupp", "mingru", "gated-linear"])
def test_activation_checkpointing_computes_each_layer_again(name: str) -> None:
    encoder = build(name, num_layers=3, activation_checkpointing=True)
    layers = encoder.rnn.rnn_lst if name in ("sru", "srupp") else encoder.rnn.layers
    calls = []
    for index, layer in enumerate(layers):
        layer.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    encoder(inputs(4, 2))[0].sum().backward()
    assert calls == [0, 1, 2, 2, 1, 0]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NAMES)
def test_learns_to_remember(name: str) -> None:
    """One of four symbols appears somewhere in a sequence of zeros and must be predicted at its end."""
    torch.manual_seed(0)
    options = EncoderOptions(projection_size=8) if name == "srupp" else None
    encoder, output = RecurrentEncoder(name, 5, 16, options=options), nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*encoder.parameters(), *output.parameters()], lr=2e-2)

    def predict(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        symbols, places = torch.randint(4, (batch,)), torch.randint(6, (batch,))
        x = torch.zeros(8, batch, 5)
        x[places, torch.arange(batch), symbols] = 1.0
        h, _ = encoder(x)
        return output(h[-1]), symbols

    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(*predict(32)).backward()
        optimizer.step()
    encoder.eval()
    scores, wanted = predict(256)
    assert (scores.argmax(1) == wanted).float().mean() > 0.95


def test_the_weights_are_those_of_the_module_alone() -> None:
    torch.manual_seed(3)
    encoder = RecurrentEncoder("sru", 5, 4, dropout=0.1, bidirectional=True)
    torch.manual_seed(3)
    alone = SRU(5, 4, 2, dropout=0.1, bidirectional=True)
    wanted = {f"rnn.{name}": weight for name, weight in alone.state_dict().items()}
    torch.testing.assert_close(encoder.state_dict(), wanted, rtol=0, atol=0)


def test_options_reach_the_encoders() -> None:
    sru = build(
        "sru",
        options=EncoderOptions(
            projection_size=2, activation="tanh", layer_norm=True, highway_bias=-1.0, rnn_dropout=0.2
        ),
    )
    assert sru.rnn[1].projection_size == 2
    assert sru.rnn[0].activation == "tanh"
    assert sru.rnn[0].layer_norm is not None
    assert sru.rnn[0].bias[4:].tolist() == [-1.0] * 4
    assert sru.rnn[0].rnn_dropout == 0.2
    srupp = build("srupp", options=EncoderOptions(projection_size=4, num_heads=2, attention_every_n_layers=2))
    assert [type(cell.transform).__name__ for cell in srupp.rnn.rnn_lst] == [
        "SRUppProjectedLinear",
        "SRUppAttention",
    ]
    assert srupp.rnn.num_heads == 2
    assert srupp.rnn.context == 256
    for name in ("ligru", "sligru"):
        first, last = build(name, options=EncoderOptions(normalization="batch")).rnn.layers
        assert "running_mean" in first.norm.state_dict()
        assert (last.recurrent_norm is None) == (name == "ligru")
        assert "running_mean" not in build(name).rnn.layers[0].norm.state_dict()
    gated = build("gated-linear", options=EncoderOptions(num_heads=2, key_size=3))
    _, state = gated(inputs(2, 1))
    assert state.shape == (2, 1, 2, 3, 2)


@pytest.mark.parametrize("name", ["srupp", "mingru", "gated-linear"])
def test_one_way_only(name: str) -> None:
    with pytest.raises(ValueError, match=f"the encoder '{name}' has only one direction"):
        build(name, bidirectional=True)

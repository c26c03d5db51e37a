from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sru_apps.nn import EncoderOptions, StackedEncoder
from sru_apps.nn.encoders import ENCODERS
from sru_apps.nn.layers import Dropout, SequenceDropout

LENGTHS = [6, 1, 4]


def build(name: str, **arguments: Any) -> StackedEncoder:
    torch.manual_seed(0)
    # Layer norm over a single feature, the default, would map it to zero.
    options = EncoderOptions(projection_size=4) if name == "srupp" else None
    return StackedEncoder(name, 5, 4, **{"num_layers": 2, "options": options, **arguments}).double()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(6).unsqueeze(1) >= torch.tensor(LENGTHS)
    return torch.randn(6, 3, 5, dtype=torch.float64), mask


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_nothing(name: str, bidirectional: bool) -> None:
    encoder = build(name, bidirectional=bidirectional, residual=True).eval()
    x, mask = inputs()
    h = encoder(x, mask)
    assert h.shape == (6, 3, encoder.output_size) == (6, 3, 16 if bidirectional else 8)
    for b, length in enumerate(LENGTHS):
        torch.testing.assert_close(h[:length, b : b + 1], encoder(x[:length, b : b + 1]))
        assert (h[length:, b] == 0).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_both_directions_see_all_of_the_sequence_and_none_of_the_padding(name: str) -> None:
    encoder = build(name, num_layers=1)
    x, mask = inputs()
    x.requires_grad_()
    for place, first, last in ((0, slice(4, 8), 3), (3, slice(0, 4), 0)):
        h = encoder(x, mask)[place, 2, first]
        (gradient,) = torch.autograd.grad(h @ torch.randn_like(h), x)
        assert (gradient[last, 2] != 0).any()
        assert (gradient[4:, 2] == 0).all()
        assert (gradient[:, :2] == 0).all()


def test_layers_are_concatenated_and_added_to_their_inputs() -> None:
    x, mask = inputs()
    both = build("lstm").eval()
    first = both.layers[0](x, mask)[0]
    second = both.layers[1](first, mask)[0]
    torch.testing.assert_close(both(x, mask), torch.cat([first, second], -1))
    torch.testing.assert_close(build("lstm", concat_layers=False).eval()(x, mask), second)
    residual = build("lstm", concat_layers=False, residual=True).eval()
    torch.testing.assert_close(residual(x, mask), second + first)


def test_dropout_of_a_sequence_is_the_same_everywhere() -> None:
    torch.manual_seed(0)
    x = torch.ones(5, 4, 300)
    y = SequenceDropout(0.25)(x)
    assert torch.equal(y, y[:1].expand_as(y))
    assert 0.2 < (y[0] == 0).double().mean() < 0.3
    assert len({tuple(row.tolist()) for row in y[0]}) == 4
    assert SequenceDropout(0.25).eval()(x) is x
    assert SequenceDropout(0.0)(x) is x


def test_dropout_of_sru_is_inside_the_cell() -> None:
    encoder = build("sru", dropout=0.3, output_dropout=0.4)
    assert [(layer.rnn[0].dropout, layer.rnn[0].rnn_dropout) for layer in encoder.layers] == [(0.3, 0.3)] * 2  # type: ignore[index, union-attr]
    assert isinstance(encoder.dropout, nn.Identity)
    assert encoder.output_dropout.p == 0.4
    own = StackedEncoder("sru", 5, 4, dropout=0.3, options=EncoderOptions(rnn_dropout=0.1))
    assert own.layers[0].rnn[0].rnn_dropout == 0.1  # type: ignore[index, union-attr]
    single = build("sru", dropout=0.3, variational=False)
    assert single.layers[0].rnn[0].dropout == 0  # type: ignore[index, union-attr]
    assert type(single.dropout) is Dropout


@pytest.mark.parametrize("name", ENCODERS)
def test_dropout_is_for_training(name: str) -> None:
    encoder = build(name, dropout=0.5)
    x, mask = inputs()
    assert not torch.equal(encoder(x, mask), encoder(x, mask))
    encoder.eval()
    assert torch.equal(encoder(x, mask), encoder(x, mask))


def test_unknown_cells_and_foreign_options_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown recurrent encoder 'rnn'; expected one of sru"):
        build("rnn")
    with pytest.raises(ValueError, match="the encoder 'lstm' has no option key_size"):
        build("lstm", options=EncoderOptions(key_size=2))

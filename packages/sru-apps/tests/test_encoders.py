from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_apps.encoders import RecurrentEncoder, pool

NAMES = ["sru", "lstm", "gru"]


def _mask(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps).unsqueeze(1) >= torch.tensor(lengths)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(name, 5, 4, bidirectional=bidirectional)
    x = torch.randn(7, 3, 5)
    lengths = [7, 1, 4]
    h, state = encoder(x, _mask(lengths, 7))
    for b, length in enumerate(lengths):
        alone, alone_state = encoder(x[:length, b : b + 1])
        torch.testing.assert_close(h[:length, b : b + 1], alone)
        assert (h[length:, b] == 0).all()
        for batched, single in zip(_tensors(state), _tensors(alone_state), strict=True):
            torch.testing.assert_close(batched[:, b : b + 1], single)


def _tensors(state: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_ignores_what_stands_in_padding(name: str) -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(name, 5, 4, bidirectional=True)
    x = torch.randn(6, 2, 5, requires_grad=True)
    mask = _mask([6, 2], 6)
    h, _ = encoder(x, mask)
    (h * torch.randn_like(h)).sum().backward()
    assert x.grad is not None
    assert (x.grad[2:, 1] == 0).all()
    assert (x.grad[:2, 1] != 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_state_carries_on(name: str) -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(name, 5, 4)
    x = torch.randn(6, 2, 5)
    whole, _ = encoder(x)
    first, state = encoder(x[:2])
    rest, _ = encoder(x[2:], state=state)
    torch.testing.assert_close(torch.cat([first, rest]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_between_layers_in_training_only(name: str) -> None:
    encoder = RecurrentEncoder(name, 5, 4, num_layers=3, dropout=0.5, bidirectional=True)
    x = torch.randn(2, 3, 5)
    assert encoder(x)[0].shape == (2, 3, encoder.output_size)
    assert encoder.output_size == 8
    assert not torch.equal(encoder(x)[0], encoder(x)[0])
    encoder.eval()
    assert torch.equal(encoder(x)[0], encoder(x)[0])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_one_layer_has_no_dropout_to_warn_about(name: str) -> None:
    assert RecurrentEncoder(name, 5, 4, num_layers=1, dropout=0.5).rnn.dropout == 0.0


def test_unknown_encoder() -> None:
    with pytest.raises(ValueError, match="unknown recurrent encoder 'rnn'; expected one of sru, lstm, gru"):
        RecurrentEncoder("rnn", 5, 4)


def test_pool_takes_maximum_and_mean_of_real_positions() -> None:
    h = torch.tensor([[[1.0], [-1.0]], [[3.0], [-2.0]], [[-5.0], [0.0]]])
    mask = _mask([3, 2], 3)
    torch.testing.assert_close(pool(h, mask), torch.tensor([[3.0, -1 / 3], [-1.0, -1.5]]))


def test_encoder_is_a_module_of_its_own_weights() -> None:
    encoder = RecurrentEncoder("lstm", 5, 4, num_layers=1)
    reference = nn.LSTM(5, 4)
    assert sum(p.numel() for p in encoder.parameters()) == sum(p.numel() for p in reference.parameters())

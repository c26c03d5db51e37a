"""Small programs in the style of public code for `nn.LSTM` and `nn.GRU`, with the modules of `compat`."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from sru_nn.compat import GRU, LSTM, GRUCell, LSTMCell

T, B, E, D, L = 7, 3, 6, 5, 2
KINDS = pytest.mark.parametrize("kind", [LSTM, GRU])


class Encoder(ABC, nn.RNNBase):
    """A mixin for `nn.LSTM` and `nn.GRU`, as in a forecasting package."""

    @abstractmethod
    def start(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]: ...

    def encode(self, x: Tensor, lengths: Tensor):
        packed = pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
        return self(packed, self.start(x))[1]

    def zeros(self, x: Tensor) -> Tensor:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        return x.new_zeros(rows, x.shape[0 if self.batch_first else 1], self.hidden_size)


class LSTMEncoder(Encoder, LSTM):
    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.zeros(x), self.zeros(x)


class GRUEncoder(Encoder, GRU):
    def start(self, x: Tensor) -> Tensor:
        return self.zeros(x)


@pytest.mark.parametrize(("mixed", "kind"), [(LSTMEncoder, LSTM), (GRUEncoder, GRU)])
def test_a_subclass_with_a_mixin(mixed, kind):
    options = {"num_layers": L, "bidirectional": True, "batch_first": True}
    rnn, plain = mixed(E, D, **options), kind(E, D, **options)
    plain.load_state_dict(rnn.state_dict())  # fails if the mixin's class also has PyTorch's weights
    x, lengths = torch.randn(B, T, E), torch.tensor([4, 7, 2])
    mask = torch.arange(T) >= lengths[:, None]
    torch.testing.assert_close(rnn.encode(x, lengths), plain(x, mask_pad=mask)[1])


def initialise(module: nn.Module) -> None:
    """Initialise the matrices of each gate and the forget gate biases, as a toolkit does for RNN classes."""
    if isinstance(module, nn.RNNBase):
        module.flatten_parameters()
        for w_ih, w_hh, b_ih, b_hh in module.all_weights:
            nn.init.orthogonal_(w_ih)
            for start in range(0, w_hh.size(0), module.hidden_size):
                nn.init.orthogonal_(w_hh.data[start : start + module.hidden_size])
            for bias in (b_ih, b_hh):
                bias.data.zero_()
                if isinstance(module, nn.LSTM):
                    bias.data[len(bias) // 4 : len(bias) // 2].fill_(1.0)


@KINDS
def test_an_initialiser_that_checks_the_class(kind):
    model = nn.ModuleList([kind(E, D, L, bidirectional=True)])
    model.apply(initialise)
    for cell in model[0].rnn_lst:
        weight = cell.transform.weight
        torch.testing.assert_close(weight.T @ weight, torch.eye(weight.shape[1]))
        torch.testing.assert_close(cell.weight_c.view(4, D).norm(dim=1), torch.ones(4))
        assert cell.bias.sum() == (D if kind is LSTM else 0)
    assert model[0](torch.randn(T, B, E))[0].isfinite().all()


@KINDS
def test_argument_checks_of_the_base_class(kind):
    rnn, x, hx = kind(E, D, L), torch.randn(T, B, E), torch.zeros(L, B, D)
    rnn.check_forward_args(x, (hx, hx) if kind is LSTM else hx, None)
    assert rnn.get_expected_hidden_size(x, None) == hx.shape
    with pytest.raises(ValueError, match=r"RNN input dtype|input must have the type"):
        rnn.check_input(x.double(), None)


class Translator(nn.Module):
    """Handles states according to the class of its modules, and keeps the decoder's state in a tuple."""

    def __init__(self, kind: type[nn.RNNBase], dropout: float) -> None:
        super().__init__()
        self.encoder, self.decoder = kind(E, D, L, dropout=dropout), kind(E, D, L, dropout=dropout)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        _, final = self.encoder(source)
        state = final if isinstance(final, tuple) else (final,)
        outputs = []
        for symbol in target.split(1):
            output, state = self.decoder(symbol, state)
            state = state if isinstance(self.decoder, nn.LSTM) else (state,)
            outputs.append(output)
        return torch.cat(outputs)

    def update_dropout(self, dropout: float) -> None:
        self.encoder.dropout = self.decoder.dropout = dropout


@KINDS
def test_a_decoder_whose_dropout_changes(kind):
    model, x = Translator(kind, dropout=0.5), torch.randn(T, B, E)
    assert not torch.equal(model(x, x), model(x, x))
    model.update_dropout(0.0)
    expected, _ = model.decoder(x, model.encoder(x)[1])
    torch.testing.assert_close(model(x, x), expected)
    assert "dropout" not in repr(model.decoder)
    model.update_dropout(0.25)
    assert "dropout=0.25" in repr(model.decoder)
    assert not torch.equal(model(x, x), model(x, x))
    with pytest.raises(ValueError, match=r"dropout must be a probability in \[0, 1\), got 1.5"):
        model.update_dropout(1.5)


@pytest.mark.parametrize("form", ["batch", "single", "packed"])
def test_a_gru_state_in_a_tuple(form):
    rnn, x = GRU(E, D, L), torch.randn(T, B, E)
    h0 = torch.randn(L, B, D)
    if form == "single":
        x, h0 = x[:, 0], h0[:, 0]
    elif form == "packed":
        x = pack_padded_sequence(x, torch.tensor([7, 3, 2]))
    torch.testing.assert_close(rnn(x, (h0,)), rnn(x, h0))
    if form != "packed":
        torch.testing.assert_close(rnn.step(x[0], [h0]), rnn.step(x[0], h0))


def test_a_gru_cell_state_in_a_tuple():
    cell, x, h = GRUCell(E, D), torch.randn(B, E), torch.randn(B, D)
    torch.testing.assert_close(cell(x, (h,)), cell(x, h))


class SineWaves(nn.Module):
    """Two stacked cells that continue the input by feeding back their own predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = LSTMCell(1, D), LSTMCell(D, D)
        self.linear = nn.Linear(D, 1)

    def forward(self, input: Tensor, future: int = 0) -> Tensor:
        outputs = []
        h1, c1, h2, c2 = input.new_zeros(4, input.shape[0], D)
        for step in [*input.split(1, dim=1), *[None] * future]:
            h1, c1 = self.first(outputs[-1] if step is None else step, (h1, c1))
            h2, c2 = self.second(h1, (h2, c2))
            outputs.append(self.linear(h2))
        return torch.cat(outputs, dim=1)


def test_the_sine_waves():
    model, x = SineWaves().double(), torch.randn(B, T, 1, dtype=torch.float64)
    result = model(x.squeeze(-1), future=3)
    assert result.shape == (B, T + 3)
    rnns = [LSTM(cell.input_size, D, batch_first=True).double() for cell in (model.first, model.second)]
    for rnn, cell in zip(rnns, (model.first, model.second), strict=True):
        rnn.rnn_lst[0].load_state_dict(cell.layer.state_dict())
    expected = model.linear(rnns[1](rnns[0](x)[0])[0]).squeeze(-1)
    torch.testing.assert_close(result[:, :T], expected)


def test_an_agent_that_reads_the_state_of_a_gru_cell():
    """Every weight gets a gradient over several steps with resets at the ends of episodes."""
    cell, policy = GRUCell(E, D), nn.Linear(D, 2)
    h, scores = torch.zeros(B, D), []
    for _ in range(3):
        h = cell(torch.randn(B, E), h * torch.tensor([[1.0], [0.0], [1.0]]))
        scores.append(policy(h))
    torch.stack(scores).square().sum().backward()
    assert all(parameter.grad.ne(0).any() for parameter in cell.parameters())

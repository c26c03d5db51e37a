"""`LiGRU` and `SLiGRU`: options and invalid arguments."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

from sru_nn import LiGRU, SLiGRU, reference
from sru_nn.quantization import quantize_weights_

T, B, E, D, L = 6, 3, 5, 4, 2


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("kind", [LiGRU, SLiGRU])
def test_the_equations(kind, normalization):
    rnn = kind(E, D, L, normalization=normalization, bidirectional=True).double().eval()
    for tensor in (*rnn.parameters(), *rnn.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.1, 0.9)
    x = h = torch.randn(T, B, E, dtype=torch.float64)
    states = []
    for layer in rnn.layers:
        u = F.linear(h, layer.transform.weight, layer.transform.bias)
        norm = layer.norm
        if normalization == "layer":
            u = F.layer_norm(u, (2 * D,), norm.weight, norm.bias)
        elif normalization == "batch":
            u = (u - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        eps = 1e-5 if kind is SLiGRU else None
        options = {"bidirectional": True, "norm_eps": eps}
        h, last = reference.ligru_recurrence(u.unflatten(-1, (2, D)), layer.recurrent.weight, **options)
        states.append(last)
    torch.testing.assert_close(rnn(x), (h, torch.stack(states)))


def frames(rnn: nn.Module, x: Tensor, form: str) -> Tensor:
    """Return the outputs of the real frames of a ragged batch, sequence after sequence."""
    lengths = [T, 1, 4]
    if form == "mask_pad":
        mask = torch.arange(T)[:, None] >= torch.tensor(lengths)
        h, _ = rnn(x.masked_fill(mask.unsqueeze(-1), torch.nan), mask_pad=mask)
        return h.transpose(0, 1)[~mask.t()]
    rows = torch.cat([x[:length, b] for b, length in enumerate(lengths)])
    if form == "cu_seqlens":
        return rnn(rows, cu_seqlens=torch.tensor([0, *lengths]).cumsum(0))[0]
    packed, _ = rnn(pack_sequence(rows.split(lengths), enforce_sorted=False))
    return torch.cat(nn.utils.rnn.unpack_sequence(packed))


@pytest.mark.parametrize("form", ["mask_pad", "cu_seqlens", "packed"])
def test_batch_norm_counts_real_frames_only(form):
    """Outputs, gradients and running statistics equal those of PyTorch's batch norm over these frames."""
    rnn, lengths = LiGRU(E, D, bidirectional=True).double(), [T, 1, 4]
    (layer,) = rnn.layers
    nn.init.normal_(layer.norm.weight)
    usual = nn.BatchNorm1d(2 * D, momentum=0.05).double()
    usual.load_state_dict(layer.norm.state_dict())
    x = torch.randn(T, B, E, dtype=torch.float64)
    h = frames(rnn, x, form)
    upstream = torch.randn_like(h)
    of = [layer.transform.weight, layer.norm.weight, layer.norm.bias, layer.recurrent.weight]
    actual = torch.autograd.grad(h, of, upstream)

    rows = torch.cat([x[:length, b] for b, length in enumerate(lengths)])
    u = usual(F.linear(rows, layer.transform.weight)).view(-1, 1, 2, D)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0)
    expected, _ = reference.ligru_recurrence(
        u, layer.recurrent.weight, bidirectional=True, cu_seqlens=cu_seqlens
    )
    of[1:3] = [usual.weight, usual.bias]
    torch.testing.assert_close(h, expected.squeeze(1))
    torch.testing.assert_close(actual, torch.autograd.grad(expected.squeeze(1), of, upstream))
    torch.testing.assert_close(layer.norm.state_dict(), usual.state_dict())


def test_batch_norm_of_one_real_frame():
    rnn, mask = LiGRU(E, D), torch.tensor([[True], [False]])
    message = (
        "^LiGRU: batch norm in training needs two real frames or more, got 1; pass more at once, "
        r"call \.eval\(\), or choose normalization='layer'$"
    )
    for x, options in [
        (torch.randn(1, 1, E), {}),
        (torch.randn(2, 1, E), {"mask_pad": mask}),
        (torch.randn(1, E), {"cu_seqlens": torch.tensor([0, 1])}),
    ]:
        with pytest.raises(ValueError, match=message):
            rnn(x, **options)
    before = rnn.layers[0].norm.num_batches_tracked.item()
    assert before == 0
    rnn.layers[0].norm.eval()
    assert rnn(torch.randn(2, 1, E), mask_pad=mask)[0].isfinite().all()
    assert LiGRU(E, D, normalization="layer").step(torch.randn(1, E))[0].isfinite().all()


def test_each_sequence_and_direction_has_its_own_dropout_mask():
    """Dropped candidates are zero in all steps, so that a state of zero stays zero."""
    rnn = SLiGRU(E, 64, dropout=0.5, bidirectional=True, nonlinearity="tanh", normalization="layer")
    h, _ = rnn(torch.randn(T, B, E))
    dropped = (h == 0).all(0)
    assert torch.equal(dropped, (h == 0).any(0))
    assert 0.3 < dropped.float().mean() < 0.7
    halves = dropped.view(B * 2, 64)
    assert len({tuple(row.tolist()) for row in halves}) == 2 * B
    assert (rnn.eval()(torch.randn(T, B, E))[0] != 0).all()


def test_the_matrix_of_the_state_is_orthogonal():
    orthogonal, usual = LiGRU(E, D).layers[0], LiGRU(E, D, re_init=False).layers[0]
    identity = torch.eye(D)
    torch.testing.assert_close(orthogonal.recurrent.weight.t() @ orthogonal.recurrent.weight, identity)
    assert not torch.allclose(usual.recurrent.weight.t() @ usual.recurrent.weight, identity, atol=0.1)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_no_bias_stays_none(normalization):
    """Neither training nor initialisation changes the zeros in its place."""
    rnn = LiGRU(E, D, L, normalization=normalization, bias=False)
    for parameter in rnn.parameters():
        nn.init.normal_(parameter)
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    rnn(torch.randn(T, B, E))[0].square().sum().backward()
    optimizer.step()
    rnn.reset_parameters()
    assert not [name for name, _ in rnn.named_parameters() if name.endswith("bias")]
    biases = [value for name, value in rnn.state_dict().items() if name.endswith("norm.bias")]
    assert len(biases) == (0 if normalization == "none" else L)
    assert all((bias == 0).all() for bias in biases)


@torch.no_grad()
@pytest.mark.parametrize("kind", [LiGRU, SLiGRU])
def test_quantized_weights_decode(kind):
    rnn, x = kind(32, 32, L, normalization="layer").eval(), torch.randn(T, B, 32)
    expected, _ = rnn(x)
    quantize_weights_(rnn)
    h, last = rnn(x)
    torch.testing.assert_close(h, expected, rtol=0, atol=0.05)
    assert not torch.equal(h, expected)
    floating = kind(32, 32, L, normalization="layer").eval()
    floating.load_state_dict(rnn.state_dict(), strict=False)
    for layer, quantized in zip(floating.layers, rnn.layers, strict=True):
        for name in ("transform", "recurrent"):
            getattr(layer, name).weight.data = getattr(quantized, name).dequantized()
    torch.testing.assert_close((h, last), floating(x))  # a sequence multiplies in floating point
    outputs, state = [], None
    for x_t in x:
        h_t, state = rnn.step(x_t, state)
        outputs.append(h_t)
    torch.testing.assert_close((torch.stack(outputs), state), (h, last), rtol=0, atol=0.05)


def test_weights_in_4_bits():
    rnn, x = SLiGRU(32, 32, normalization="layer").eval(), torch.randn(T, B, 32)
    expected, _ = rnn(x)
    quantize_weights_(rnn, bits=4)
    torch.testing.assert_close(rnn(x)[0], expected, rtol=0, atol=0.5)


def test_the_options_are_shown():
    rnn = SLiGRU(E, D, bidirectional=True, dropout=0.2, bias=False)
    assert rnn.extra_repr() == "5, 4, num_layers=1, bidirectional=True, normalization='batch'"
    assert rnn.layers[0].extra_repr() == "5, 4, dropout=0.2, bidirectional=True, bias=False"


WRONG = {
    r"normalization must be one of \('none', 'batch', 'layer'\), got 'batchnorm'": {
        "normalization": "batchnorm"
    },
    "nonlinearity must be one of .*, got 'selu'": {"nonlinearity": "selu"},
    r"dropout must be a probability in \[0, 1\), got 1": {"dropout": 1.0},
    "bias must be a bool, got 'no'": {"bias": "no"},
    "re_init must be a bool, got 2.0": {"re_init": 2.0},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options(message):
    with pytest.raises((ValueError, TypeError), match=f"^LiGRU: {message}"):
        LiGRU(E, D, **WRONG[message])

"""The modules on a CUDA device against float64 on the CPU; `nox -s tests-gpu` runs these."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_nn import SRU

pytestmark = pytest.mark.gpu


def run(rnn: SRU, x: torch.Tensor, lengths: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    x = x.detach().requires_grad_()
    h, c = rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
    h, _ = pad_packed_sequence(h)
    h.backward(upstream)
    return [h, c, x.grad, *(parameter.grad for parameter in rnn.parameters())]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_and_gradients(bidirectional, dtype, assert_close):
    exact = SRU(33, 17, 2, bidirectional=bidirectional, layer_norm=True).double()
    rnn = copy.deepcopy(exact).to("cuda", dtype)
    x, lengths = torch.randn(21, 5, 33).double(), torch.tensor([3, 21, 7, 1, 20])
    upstream = torch.randn(21, 5, rnn.output_size).double()
    expected = run(exact, x, lengths, upstream)
    actual = run(rnn, x.to("cuda", dtype), lengths, upstream.to("cuda", dtype))
    for ours, theirs in zip(actual, expected, strict=True):
        scale = max(1.0, theirs.abs().max().item())
        assert_close(ours.cpu() / scale, theirs / scale)


def test_input_on_another_device():
    with pytest.raises(ValueError, match="input must be on the device of the parameters, cuda:0, got cpu"):
        SRU(4, 4).cuda()(torch.randn(3, 2, 4))


def test_another_stream():
    rnn = SRU(64, 64, 2).cuda()
    x = torch.randn(50, 8, 64, device="cuda")
    expected, _ = rnn(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        actual, _ = rnn(x)
    torch.cuda.synchronize()
    torch.testing.assert_close(actual, expected)

"""Dropout that is cheap on a CPU, and pooling over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_VALUES = 2**16


class Dropout(nn.Dropout):
    """`nn.Dropout` with cheaper random numbers on the CPU.

    PyTorch draws a Bernoulli variable for each element, in about 15 ns, which is a large part of a training
    step of a small model. Here 64 random bits decide four elements; p is rounded to a multiple of 2⁻¹⁶, and
    the scale follows from the rounded value. Other devices use PyTorch's implementation.

    Args:
        p: Probability of an element to be zeroed, at least 0 and less than 1.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero elements of `input`, of any shape and dtype, in training; otherwise return it unchanged."""
        if not self.training:
            return input
        dropped = round(self.p * _VALUES)
        if input.device.type != "cpu" or dropped in (0, _VALUES):
            return super().forward(input)
        count = input.numel()
        words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        values = words.view(torch.int16)[:count].view(input.shape)
        return input * (values >= dropped - _VALUES // 2) * (_VALUES / (_VALUES - dropped))


class SequenceDropout(Dropout):
    """Variational dropout: zero the same features at all positions of a sequence, (T, B, E).

    Args:
        p: Probability of a feature to be zeroed, at least 0 and less than 1.

    Source: Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks"
    (2016), section 4.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero features of each sequence of `input`, (T, B, E), in training; else return it unchanged."""
        if not self.training or self.p == 0:
            return input
        return input * super().forward(input.new_ones(1, *input.shape[1:]))


def make_dropout(p: float, *, variational: bool) -> Dropout:
    """Build dropout of single elements, or of the same features at all positions."""
    return SequenceDropout(p) if variational else Dropout(p)


def pool(h: Tensor, mask: Tensor | None = None) -> Tensor:
    """Summarise each sequence by the maximum and the mean over its real positions.

    Args:
        h: (T, B, O) outputs, zero at padding.
        mask: (T, B) bool, True at padding; at least one position of each sequence is real. None without
            padding.

    Returns:
        (B, 2·O), the maxima and then the means.
    """
    candidates, lengths = h.detach(), torch.tensor(h.shape[0])
    if mask is not None:
        candidates = candidates.masked_fill(mask.unsqueeze(-1), -torch.inf)
        lengths = (~mask).sum(0).unsqueeze(-1)
    # Gathered, so that the gradient is written only to these places, without masking everything.
    largest = h.gather(0, candidates.max(0, keepdim=True).indices).squeeze(0)
    mean = h.sum(0) / lengths
    return torch.cat([largest, mean], -1)


def last(h: Tensor, mask: Tensor | None = None, *, bidirectional: bool = False) -> Tensor:
    """Take the output at the last real position of each sequence; for a backward direction, at the first.

    Args:
        h: (T, B, N·D) outputs; of two directions, the forward one comes first.
        mask: (T, B) bool, True at padding, which must follow the real positions; None without padding.
        bidirectional: Whether the second half of the features was read backwards.

    Returns:
        (B, N·D).
    """
    if mask is None:
        forward = h[-1]
    else:
        ends = ((~mask).sum(0) - 1).view(1, -1, 1).expand(1, -1, h.shape[-1])
        forward = h.gather(0, ends).squeeze(0)
    if not bidirectional:
        return forward
    half = h.shape[-1] // 2
    return torch.cat([forward[:, :half], h[0, :, half:]], -1)


class AttentionPooling(nn.Module):
    """The mean of the outputs, weighted by a learned query: s = Σ_t a_t h_t with a = softmax_t(q · h_t).

    Args:
        size: O, the features of an output.

    Source: Lin et al., "A Structured Self-attentive Sentence Embedding" (2017), with one linear hop.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Summarise each sequence.

        Args:
            h: (T, B, O).
            mask: (T, B) bool, True at padding; None without padding.

        Returns:
            (B, O).
        """
        scores = self.query(h).squeeze(-1)
        if mask is not None:
            scores = scores.masked_fill(mask, -torch.inf)
        weights: Tensor = scores.softmax(0)
        return (weights.unsqueeze(-1) * h).sum(0)

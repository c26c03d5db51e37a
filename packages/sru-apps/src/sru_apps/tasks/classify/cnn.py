"""The convolutional encoder, for sentences only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_apps.nn.encoders import ENCODERS

if TYPE_CHECKING:
    EncoderName = str
else:
    EncoderName = Literal[(*ENCODERS, "cnn")]


class CNNEncoder(nn.Module):
    """Filters of several widths over the words, each summarised by its maximum over time.

        s = concat over widths w of max over t of relu(W_w · [x_t; ...; x_{t+w-1}] + b_w)

    The sentence is surrounded with zeros, so that a filter also sees a sentence shorter than itself, and
    windows outside it are excluded from the maximum: the result does not depend on how much padding follows.

    Args:
        input_size: E.
        num_maps: Filters of each width.
        widths: Words under each filter.

    Source: Kim, "Convolutional Neural Networks for Sentence Classification" (2014), section 2.
    """

    def __init__(self, input_size: int, *, num_maps: int = 100, widths: Sequence[int] = (3, 4, 5)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(input_size, num_maps, width) for width in widths)
        self.output_size = num_maps * len(widths)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode a batch of sentences.

        Args:
            x: (T, B, E) word vectors.
            mask: (T, B) bool, True at padding, which must follow the words; None without padding.

        Returns:
            (B, output_size), not negative.
        """
        if mask is None:
            mask = x.new_zeros(x.shape[:2], dtype=torch.bool)
        x = x.masked_fill(mask.unsqueeze(-1), 0.0).permute(1, 2, 0)
        lengths = (~mask).sum(0)
        pooled = []
        for convolution, width in zip(self.convolutions, self.widths, strict=True):
            maps = torch.relu(convolution(F.pad(x, (width - 1, width - 1))))
            # Of the windows on a sentence with zeros around it, the first length + width - 1 touch a word.
            outside = torch.arange(maps.shape[-1], device=x.device) >= (lengths + width - 1).unsqueeze(-1)
            pooled.append(maps.masked_fill(outside.unsqueeze(1), 0.0).amax(-1))
        return torch.cat(pooled, -1)

"""Pairs of sentences as padded batches of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_data.loaders import IGNORE, pad_sequences
from sru_data.pair_files import Example


class Batch(NamedTuple):
    """A batch of pairs, time-major: S ids in the longest source, T - 1 in the longest target."""

    source: Tensor
    """(S, B) int64."""
    source_mask: Tensor | None
    """(S, B) bool, True at padding; None if there is no padding, which is faster."""
    target: Tensor
    """(T, B) int64, the decoder's input: the begin marker, then the sentence."""
    targets: Tensor
    """(T, B) int64, the decoder's labels: the sentence, then the end marker; IGNORE at padding."""
    tokens: int
    """The number of labels, without padding."""
    index: Tensor  # type: ignore[assignment]  # hides the method of tuples
    """(B,) int64, the indices of the pairs."""


def make_batch(examples: Sequence[Example], tokenizer: TokenizerPair) -> Batch:
    """Pad pairs into a batch.

    Args:
        examples: B pairs of sentences, as ids without markers.
        tokenizer: Defines the markers.
    """
    source = pad_sequences([example.source for example in examples], batch_first=False)
    begin, end = torch.tensor([tokenizer.bos_id]), torch.tensor([tokenizer.eos_id])
    target = pad_sequences([torch.cat([begin, example.target]) for example in examples], batch_first=False)
    targets = pad_sequences(
        [torch.cat([example.target, end]) for example in examples], pad_id=IGNORE, batch_first=False
    )
    return Batch(
        source.ids,
        source.mask if bool(source.mask.any()) else None,
        target.ids,
        targets.ids,
        int(targets.lengths.sum()),
        torch.tensor([example.index for example in examples]),
    )

"""Batches of sequences of similar length, in a reproducible order that can be resumed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from sru_data.loaders.place import Resumable


class PaddedBatch(NamedTuple):
    """Sequences of different lengths in one tensor."""

    ids: Tensor
    """(B, T) or, time-major, (T, B) int64."""
    mask: Tensor
    """bool, laid out like `ids`; True marks padding."""
    lengths: Tensor
    """(B,) int64."""


def pad_sequences(
    sequences: Sequence[Sequence[int] | Tensor], *, pad_id: int = 0, batch_first: bool = True
) -> PaddedBatch:
    """Pad sequences at their end to the length of the longest.

    Args:
        sequences: B sequences of ids; at least one. One-dimensional int64 tensors are fastest.
        pad_id: The id of padding.
        batch_first: Whether `ids` and `mask` are (B, T) rather than (T, B).

    Returns:
        The ids, the mask and the lengths.

    Raises:
        ValueError: There is no sequence.
    """
    if not sequences:
        raise ValueError("pad_sequences: sequences must contain at least one sequence, got none")
    rows = [torch.as_tensor(sequence, dtype=torch.int64) for sequence in sequences]
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    if longest == int(lengths.min()):
        # Four times as fast, and most batches of similar lengths need no padding.
        ids = torch.stack(rows, 0 if batch_first else 1)
    else:
        ids = pad_sequence(rows, batch_first=batch_first, padding_value=pad_id)
    time = torch.arange(longest)
    mask = time >= lengths[:, None] if batch_first else time[:, None] >= lengths
    return PaddedBatch(ids, mask, lengths)


class PaddedFeatures(NamedTuple):
    """Utterances of different lengths in one tensor."""

    features: Tensor
    """(T, B, F) float32, time-major; padding is 0."""
    mask: Tensor
    """(T, B) bool; True marks padding."""
    lengths: Tensor
    """(B,) int64."""


def pad_features(utterances: Sequence[Tensor]) -> PaddedFeatures:
    """Pad the features of utterances at their end to the length of the longest.

    Args:
        utterances: B tensors, (T, F) float32 each; at least one.

    Raises:
        ValueError: There is no utterance.
    """
    if not utterances:
        raise ValueError("pad_features: utterances must contain at least one utterance, got none")
    lengths = torch.tensor([len(features) for features in utterances])
    mask = torch.arange(int(lengths.max()))[:, None] >= lengths
    return PaddedFeatures(pad_sequence(list(utterances)), mask, lengths)


class LengthBatchSampler(Resumable[list[int]], Sampler[list[int]]):
    """Batches of indices whose sequences have similar lengths, for `DataLoader(batch_sampler=...)`.

    In each epoch the sequences are sorted by length, with equal lengths ordered by `ties` or else randomly,
    and cut into batches, which are then shuffled. Each index occurs once per epoch. The order depends only on
    `seed` and the epoch, which is set with `set_epoch` and does not advance by itself. Without `shuffle` the
    batches run from long to short sequences in every epoch, with equal lengths ordered by index: if the first
    batch fits in memory, all do, and each fits into the memory of the previous one. In the first
    `shortest_first` epochs the batches run from short to long, since recurrent networks for speech
    recognition learn short utterances first.

    A batch holds either `batch_size` sequences (the last may hold fewer) or as many as keep

        sequences × longest length <= max_tokens

    padding included.

    Args:
        lengths: The length of each sequence, by index; a tensor is not copied.
        batch_size: Sequences per batch; give exactly one of `batch_size` and `max_tokens`.
        max_tokens: The budget of tokens per batch; no sequence may be longer.
        shuffle: Whether the order is random.
        seed: Seed of the order.
        shortest_first: The number of epochs that run from short to long before the batches are shuffled.
        ties: A sort key for sequences of equal length, one number per sequence. For pairs of S and T tokens
            with the length max(S, T), S - T groups similar pairs, which leaves little padding on either side.

    Raises:
        ValueError: Both or neither of `batch_size` and `max_tokens`, one that is not positive, a negative
            length or `shortest_first`, a sequence longer than `max_tokens`, or `ties` of a different length.

    Source for `shortest_first`: Amodei et al., "Deep Speech 2: end-to-end speech recognition in English and
    Mandarin", 2016, section 3.3.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Tensor,
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        shortest_first: int = 0,
        ties: Sequence[int] | Tensor | None = None,
    ) -> None:
        if (batch_size is None) == (max_tokens is None):
            raise ValueError(
                "LengthBatchSampler: exactly one of batch_size and max_tokens must be given, "
                f"got batch_size={batch_size} and max_tokens={max_tokens}"
            )
        self._check_positive(batch_size=batch_size, max_tokens=max_tokens)
        if shortest_first < 0:
            raise ValueError(f"LengthBatchSampler: shortest_first must not be negative, got {shortest_first}")
        given = lengths if isinstance(lengths, Tensor) else list(lengths)
        self._lengths = torch.as_tensor(given, dtype=torch.int64)
        self._keys = [self._lengths]
        if ties is not None:
            if len(ties) != len(self._lengths):
                raise ValueError(
                    f"LengthBatchSampler: ties must contain a number for each of {len(self._lengths)} "
                    f"sequences, got {len(ties)}"
                )
            self._keys.insert(0, torch.as_tensor(ties))
        self._shuffle = shuffle
        self._seed = seed
        self._shortest_first = shortest_first
        # The sorted lengths, and therefore the batch boundaries, are the same in every epoch.
        ascending, order = self._lengths.sort(stable=True)
        if len(order) and ascending[0] < 0:
            raise ValueError(
                "LengthBatchSampler: lengths must not be negative, "
                f"got {int(ascending[0])} at index {int(order[0])}"
            )
        if len(order) and max_tokens is not None and ascending[-1] > max_tokens:
            raise ValueError(
                f"LengthBatchSampler: sequence {int(order[-1])} has {int(ascending[-1])} tokens, more "
                f"than max_tokens={max_tokens}; truncate or drop it, or raise max_tokens"
            )
        self._batch_sizes: list[int] = []
        for length in ascending.tolist():
            size = self._batch_sizes[-1] if self._batch_sizes else 0
            # In ascending order the newest sequence is the longest, so it alone sets the padded width.
            full = size == batch_size if max_tokens is None else (size + 1) * length > max_tokens
            if full or not size:
                self._batch_sizes.append(0)
            self._batch_sizes[-1] += 1

    def __len__(self) -> int:
        """Return the number of batches in an epoch, the same in every epoch."""
        return len(self._batch_sizes)

    def _items(self, start: int) -> Iterator[list[int]]:
        # A seed made from text keeps (seed, epoch) = (0, 1) and (1, 0) apart, which a sum would not.
        mixed = random.Random(f"{self._seed}:{self.epoch}").getrandbits(63)
        generator = torch.Generator().manual_seed(mixed)
        order = self._order(len(self._lengths), generator)
        for key in self._keys:
            order = order[key[order].sort(stable=True).indices]
        batches = torch.split(order, self._batch_sizes)
        places = self._order(len(self), generator)
        if self.epoch < self._shortest_first:
            places = torch.arange(len(self))
        elif not self._shuffle:
            places = places.flip(0)
        return (batches[place].tolist() for place in places[start:])

    def _order(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(count, generator=generator) if self._shuffle else torch.arange(count)

    def _sizes(self) -> dict[str, Any]:
        return {"seed": self._seed, "num_batches": len(self)}

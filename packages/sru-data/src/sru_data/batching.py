"""Batches of sequences of similar length, in an order that can be reproduced and resumed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler


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
        sequences: B sequences of ids; at least one. One-dimensional int64 tensors are taken as they are,
            which is faster.
        pad_id: The id that fills the padding.
        batch_first: Lay `ids` and `mask` out as (B, T) if true, else as (T, B).

    Returns:
        The ids, the mask and the lengths.

    Raises:
        ValueError: There is no sequence.
    """
    if not sequences:
        raise ValueError("pad_sequences: sequences must hold at least one sequence, got none")
    rows = [torch.as_tensor(sequence, dtype=torch.int64) for sequence in sequences]
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    if longest == int(lengths.min()):
        # Four times as fast, and what most batches of similar lengths are.
        ids = torch.stack(rows, 0 if batch_first else 1)
    else:
        ids = pad_sequence(rows, batch_first=batch_first, padding_value=pad_id)
    time = torch.arange(longest)
    mask = time >= lengths[:, None] if batch_first else time[:, None] >= lengths
    return PaddedBatch(ids, mask, lengths)


class LengthBatchSampler(Sampler[list[int]]):
    """Batches of indices whose sequences have similar lengths, for `DataLoader(batch_sampler=...)`.

    In each epoch the sequences are sorted by length, equal lengths in random order, and cut into batches,
    which then come in random order. Each index comes once per epoch. The order is a pure function of `seed`
    and the epoch, which `set_epoch` sets; it does not advance by itself. Without `shuffle` the batches run
    from short to long sequences in every epoch, equal lengths by index.

    A batch holds either `batch_size` sequences (the last may hold fewer) or as many as keep

        sequences × longest length <= max_tokens

    padding included.

    Args:
        lengths: The length of each sequence, by index.
        batch_size: Sequences per batch; give exactly one of `batch_size` and `max_tokens`.
        max_tokens: The budget of tokens per batch; no sequence may be longer.
        shuffle: Whether the order is random.
        seed: Seed of the order.

    Raises:
        ValueError: Both or neither of `batch_size` and `max_tokens`, one that is not positive, a negative
            length, or a sequence longer than `max_tokens`.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        if (batch_size is None) == (max_tokens is None):
            raise ValueError(
                "LengthBatchSampler: exactly one of batch_size and max_tokens must be given, "
                f"got batch_size={batch_size} and max_tokens={max_tokens}"
            )
        for option, value in (("batch_size", batch_size), ("max_tokens", max_tokens)):
            if value is not None and value < 1:
                raise ValueError(f"LengthBatchSampler: {option} must be at least 1, got {value}")
        self._lengths = torch.tensor(list(lengths), dtype=torch.int64)
        self._check_lengths(max_tokens)
        self._shuffle = shuffle
        self._seed = seed
        self._epoch = 0
        self._position = 0
        self._resume_at = 0
        # The sorted lengths are the same in every epoch, and so are the places where batches are cut.
        self._sizes = _batch_sizes(self._lengths.sort().values.tolist(), batch_size, max_tokens)

    def _check_lengths(self, max_tokens: int | None) -> None:
        if self._lengths.numel() == 0:
            return
        if int(self._lengths.min()) < 0:
            index = int(self._lengths.argmin())
            raise ValueError(
                f"LengthBatchSampler: lengths must not be negative, "
                f"got {int(self._lengths[index])} at index {index}"
            )
        longest = int(self._lengths.argmax())
        if max_tokens is not None and int(self._lengths[longest]) > max_tokens:
            raise ValueError(
                f"LengthBatchSampler: sequence {longest} has {int(self._lengths[longest])} tokens, more than "
                f"max_tokens={max_tokens}; truncate or drop it, or raise max_tokens"
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch, the same in every epoch."""
        return len(self._sizes)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the epoch's batches, from the beginning or, right after `load_state_dict`, from its place."""
        start, self._resume_at = self._resume_at, 0
        batches = self._batches()
        for position in range(start, len(batches)):
            self._position = position + 1
            yield batches[position]

    def _batches(self) -> list[list[int]]:
        if not self._shuffle:
            order = self._lengths.sort(stable=True).indices
            return [batch.tolist() for batch in torch.split(order, self._sizes)]
        # A seed made from text keeps (seed, epoch) = (0, 1) and (1, 0) apart, which a sum would not.
        mixed = random.Random(f"{self._seed}:{self._epoch}").getrandbits(63)
        generator = torch.Generator().manual_seed(mixed)
        shuffled = torch.randperm(len(self._lengths), generator=generator)
        order = shuffled[self._lengths[shuffled].sort(stable=True).indices]
        batches = torch.split(order, self._sizes)
        return [batches[i].tolist() for i in torch.randperm(len(self._sizes), generator=generator).tolist()]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; naming the present epoch keeps a restored place.

        Args:
            epoch: The epoch, counted from 0.
        """
        if epoch != self._epoch:
            self._epoch = epoch
            self._position = self._resume_at = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch as plain numbers: the batch after the last one yielded.

        A `DataLoader` with worker processes draws batches ahead of the training loop; there, replace
        "position" with the number of batches trained on.
        """
        return {
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
            "num_batches": len(self),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the place that `state_dict` returned: the next iteration yields the rest of that epoch.

        Args:
            state: What `state_dict` returned.

        Raises:
            ValueError: The state comes from a sampler with another seed or another number of batches.
        """
        for key, own in (("seed", self._seed), ("num_batches", len(self))):
            if state[key] != own:
                raise ValueError(
                    f"LengthBatchSampler: the state must have {key} = {own}, got {state[key]}; "
                    "resume with the data, batch size and seed of the interrupted run"
                )
        self._epoch = state["epoch"]
        self._position = self._resume_at = state["position"]


def _batch_sizes(sorted_lengths: list[int], batch_size: int | None, max_tokens: int | None) -> list[int]:
    sizes: list[int] = []
    for length in sorted_lengths:
        if batch_size is not None:
            full = not sizes or sizes[-1] == batch_size
        else:
            # In ascending order the newest sequence is the longest, so it alone sets the padded width.
            full = not sizes or (sizes[-1] + 1) * length > (max_tokens or 0)
        if full:
            sizes.append(0)
        sizes[-1] += 1
    return sizes

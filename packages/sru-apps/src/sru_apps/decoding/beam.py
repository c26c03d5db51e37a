"""Beam search over a decoder that costs one step per symbol, many sentences at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sru_apps.decoding.hypotheses import Constraints, History, Hypothesis, StepModel, collect
from sru_apps.nn import State, select_streams
from sru_apps.ranges import check_ranges, ranged

_BLOCK = 64
"""The number of scores per block; the maximum of a block is checked first."""


@dataclass(frozen=True, kw_only=True)
class Beam:
    """How wide to search, and how to rank hypotheses of different lengths.

        score = log p(y) / penalty(|y|)        with |y| symbols, the end included

        average: |y|^α        gnmt: ((5 + |y|) / 6)^α        none: 1

    Raises:
        ValueError: A value is out of its range, or `n_best` is more than `size`.

    Source: Wu et al., "Google's Neural Machine Translation System", 2016, equation 14, for `gnmt`.
    """

    size: int = ranged(5, at_least=1)
    """K, the open hypotheses of a sentence; 1 takes the most probable symbol each time."""
    n_best: int = ranged(1, at_least=1)
    """The maximum number of hypotheses to return."""
    length_penalty: str = ranged("average", among=("average", "gnmt", "none"))
    """The divisor of log-probabilities."""
    alpha: float = ranged(1.0, at_least=0, at_most=10)
    """α, the weight of the length; 0 means no penalty."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.n_best > self.size:
            raise ValueError(f"n_best must be at most the size of the beam, {self.size}, got {self.n_best}")

    def penalty(self, length: Tensor) -> Tensor:
        """Return the divisor of the log-probability of a hypothesis.

        Args:
            length: Numbers of symbols, including the ends, in a floating-point dtype.
        """
        if self.length_penalty == "none":
            return torch.ones_like(length)
        return (length if self.length_penalty == "average" else (5 + length) / 6) ** self.alpha


def check_exponent(length_penalty: str, alpha: float | None) -> None:
    """Raise if an exponent is given without a length penalty, where it has no effect.

    Args:
        length_penalty: As in `Beam`.
        alpha: α; None if not given.

    Raises:
        ValueError: An exponent is given with the penalty `none`.
    """
    if length_penalty == "none" and alpha is not None:
        raise ValueError(
            f"alpha is the exponent of the length penalties average and gnmt, got {alpha:g} with none; leave "
            "it out or choose one of them"
        )


@torch.inference_mode()
def beam_search(
    network: StepModel,
    memory: Any,
    state: State,
    constraints: Constraints,
    beam: Beam | None = None,
    *,
    keep_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Find the best hypotheses of B sentences.

    At each step, the 2·K most probable continuations of a sentence's K open hypotheses are taken. Ends among
    the first K of them are finished hypotheses, which are ranked by their scores; the first K that are not
    ends stay open. A sentence leaves the batch when K hypotheses have finished, when its limit is reached, or
    when no open hypothesis can still be among its `n_best`: log-probabilities only fall and penalties only
    grow, so none can score more than the best open log-probability divided by the penalty of the longest
    hypothesis. A hypothesis that does not end is cut at the limit and marked as `cut`.

    Results do not depend on the other sentences of the batch.

    Args:
        network: The decoder, in evaluation mode.
        memory: The encoder's output for the sentences, with B streams.
        state: The decoder's first state, of B streams.
        constraints: Which hypotheses are allowed.
        beam: How to search.
        keep_attention: Whether to return the attention of the hypotheses.

    Returns:
        The hypotheses of each sentence, at least one, best first: `n_best`, or fewer if there are no more. If
        no score is finite, a single empty hypothesis whose score is NaN.

    Raises:
        ValueError: The model is in training mode.
    """
    if network.training:
        raise ValueError("beam_search: the model must be in evaluation mode; call eval() first")
    if not len(constraints):
        return []
    beam = beam or Beam()
    size, eos_id = beam.size, constraints.eos_id
    sentences = torch.arange(len(constraints), device=next(network.parameters()).device)
    ids = torch.full_like(sentences, constraints.bos_id)
    history = History(len(sentences), size)
    totals = ended = None
    for step in range(constraints.steps):
        logits, attention, state = network.step(ids, state, memory)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        scores = logits.log_softmax(-1, dtype=dtype).view(len(sentences), -1, logits.shape[1])
        if totals is None or ended is None:
            totals = scores.new_zeros(len(sentences), 1)
            ended = _Ended(constraints, beam, totals)
        weights = None
        if keep_attention and attention is not None:
            weights = attention.reshape(*scores.shape[:2], -1)
        cut = constraints.apply(scores, step, sentences)
        best, parents, symbols = _best(scores.add_(totals.unsqueeze(-1)), 2 * size)
        is_end = symbols == eos_id
        done = ended.add(sentences, step, best[:, :size], parents[:, :size], is_end[:, :size], cut)
        # A stable sort: continuations that are not ends come first, in order.
        order = is_end.to(torch.uint8).argsort(dim=1, stable=True)[:, :size]
        totals = best.masked_fill(is_end, -torch.inf).gather(1, order)
        parents, symbols = parents.gather(1, order), symbols.gather(1, order)
        history.add(sentences, parents, symbols, weights)
        done |= ended.is_settled(sentences, totals[:, 0])
        going = (~done).nonzero().squeeze(1)
        if not len(going):
            break
        rows = scores.shape[1] * going.unsqueeze(1) + parents[going]
        ids = symbols[going].flatten()
        if len(going) < len(sentences):
            sentences, totals, memory = sentences[going], totals[going], select_streams(memory, going)
        state = _reordered(state, rows.flatten(), scores.shape[:2].numel())
    assert ended is not None
    return ended.collect(history)


def _best(totals: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations of each sentence, with their hypotheses and symbols, each (A, count)."""
    flat = totals.flatten(1)
    blocks = flat.shape[1] // _BLOCK
    if blocks > count:
        # The best are in the blocks with the largest maxima; searching only those takes half the time.
        whole = flat[:, : blocks * _BLOCK].view(len(flat), blocks, _BLOCK)
        chosen = whole.amax(-1).topk(count).indices
        offsets = torch.arange(_BLOCK, device=flat.device)
        rest = torch.arange(blocks * _BLOCK, flat.shape[1], device=flat.device).expand(len(flat), -1)
        places = torch.cat([(chosen.unsqueeze(-1) * _BLOCK + offsets).flatten(1), rest], 1)
        best, among = flat.gather(1, places).topk(count)
        place = places.gather(1, among)
    else:
        best, place = flat.topk(min(count, flat.shape[1]))
        missing = (0, count - best.shape[1])
        best, place = F.pad(best, missing, value=-torch.inf), F.pad(place, missing)
    return best, place // totals.shape[2], place % totals.shape[2]


def _reordered(state: State, rows: Tensor, before: int) -> State:
    """Select the streams of a state, unless all stay where they are."""
    if len(rows) == before and torch.equal(rows, torch.arange(before, device=rows.device)):
        return state
    return select_streams(state, rows)  # type: ignore[no-any-return]


class _Ended:
    """The best finished hypotheses of each sentence."""

    def __init__(self, constraints: Constraints, beam: Beam, like: Tensor) -> None:
        shape = (len(constraints), beam.n_best)
        self._beam = beam
        self._limits = constraints.max_lengths.to(like.device)
        self._largest = beam.penalty((self._limits + 1).to(like.dtype))
        self._count = torch.zeros_like(self._limits)
        self._scores, self._log_probs = like.new_full(shape, -torch.inf), like.new_zeros(shape)
        self._ends, self._slots = self._limits.new_zeros(shape), self._limits.new_zeros(shape)
        self._cut = self._limits.new_zeros(shape, dtype=torch.bool)

    def add(
        self, sentences: Tensor, step: int, log_probs: Tensor, slots: Tensor, is_end: Tensor, cut: Tensor
    ) -> Tensor:
        """Add the hypotheses that end at a step, and return which sentences are finished."""
        is_end = is_end & (log_probs > -torch.inf)
        if is_end.any():
            length = log_probs.new_tensor(step + 1)
            scores = (log_probs / self._beam.penalty(length)).masked_fill(~is_end, -torch.inf)
            new = (scores, log_probs, torch.full_like(slots, step), slots, cut.gather(1, slots))
            old = (self._scores, self._log_probs, self._ends, self._slots, self._cut)
            joined = [torch.cat([past[sentences], now], 1) for past, now in zip(old, new, strict=True)]
            order = joined[0].argsort(dim=1, descending=True, stable=True)[:, : self._beam.n_best]
            for past, both in zip(old, joined, strict=True):
                past[sentences] = both.gather(1, order)
            self._count[sentences] += is_end.sum(1)
        return (self._count[sentences] >= self._beam.size) | (self._limits[sentences] == step)

    def is_settled(self, sentences: Tensor, best: Tensor) -> Tensor:
        """Return for which sentences no open hypothesis can be among the best, given the best open one."""
        return self._scores[sentences, -1] >= best / self._largest[sentences]

    def collect(self, history: History) -> list[list[Hypothesis]]:
        """Return the hypotheses."""
        return collect(
            history,
            ends=self._ends,
            slots=self._slots,
            scores=self._scores,
            log_probs=self._log_probs,
            cut=self._cut,
        )

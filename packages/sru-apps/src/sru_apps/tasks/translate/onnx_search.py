"""Beam search with a model that `sru translate export` wrote. Needs only numpy and onnxruntime.

Copy this file into a project without `sru_apps`; it has no other imports.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FORMAT = 1
"""The version of the format of `translation.json`."""


class Hypothesis(NamedTuple):
    """A translation."""

    ids: list[int]
    """Its symbols, without the end marker."""
    score: float
    """The log-probability divided by the length penalty; translations are ranked by it."""


class OnnxTranslator:
    """An exported model and its search.

        translator = OnnxTranslator("exported")
        (best,), *others = translator.translate([[5, 3, 8], [4, 4]])

    Args:
        folder: The folder that `sru translate export` wrote.
        providers: The execution providers of onnxruntime.

    Attributes:
        config: The content of `translation.json`.

    Raises:
        ValueError: The folder has another format.
    """

    def __init__(self, folder: str | Path, *, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        folder = Path(folder)
        self.config: dict[str, Any] = json.loads((folder / "translation.json").read_text(encoding="utf-8"))
        if self.config["format"] != FORMAT:
            raise ValueError(
                f"{folder} has format {self.config['format']}, but this script reads format {FORMAT}; use "
                "the onnx_search.py of the sru_apps version that wrote it"
            )
        # Imported here, since the export works without it.
        import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]

        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=list(providers))
            for name in ("encoder", "decoder")
        )

    def translate(
        self,
        sentences: Sequence[Sequence[int]],
        *,
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: str | None = None,
        alpha: float | None = None,
        min_length: int = 0,
        max_length: int | None = None,
    ) -> list[list[Hypothesis]]:
        """Translate a batch of sentences; the translations do not depend on the rest of the batch.

        Each step takes the 2K most probable continuations of a sentence's K open hypotheses. Ends among the
        first K are finished translations; the first K that are not ends stay open. A sentence is done when K
        hypotheses have finished, when no open hypothesis can still be among its `n_best`, or at the maximum
        length, where every hypothesis ends.

            score = log p / penalty    average: |y|^α    gnmt: ((5 + |y|) / 6)^α    none: 1

        with |y| symbols, including the end.

        Args:
            sentences: The ids of each sentence, at least one per sentence.
            beam: K; default: the model's.
            n_best: The maximum number of translations per sentence.
            length_penalty: average, gnmt or none; default: the model's.
            alpha: α; default: the model's.
            min_length: The minimum number of symbols of a translation.
            max_length: The maximum number; default: the limit set by `longest` in `translation.json`.

        Returns:
            For each sentence its translations, the best first.

        Raises:
            ValueError: A sentence is empty or too long for the model, an id is not in the source vocabulary,
                `n_best` exceeds `beam`, `alpha` is given with no penalty, or a number is out of its range.
        """
        self._check(sentences)
        config = self.config
        beam = config["beam"] if beam is None else beam
        kind = config["length_penalty"] if length_penalty is None else length_penalty
        given, alpha = alpha, config["alpha"] if alpha is None else alpha
        if not 1 <= n_best <= beam:
            raise ValueError(f"n_best must be from 1 to the beam, {beam}, got {n_best}")
        if kind not in ("average", "gnmt", "none"):
            raise ValueError(f"length_penalty must be average, gnmt or none, got {kind!r}")
        if kind == "none" and given is not None:
            raise ValueError(
                f"alpha is the exponent of the length penalties average and gnmt, got {given:g} with none; "
                "leave it out or choose one of them"
            )
        searches, longest = [], config["longest"]
        for sentence in sentences:
            usual = longest["per_source_symbol"] * len(sentence) + longest["more"]
            most = usual if max_length is None else max_length
            if config["most_target_symbols"] is not None:
                most = min(most, config["most_target_symbols"])
            if not 0 <= min_length <= most:
                raise ValueError(f"min_length must be from 0 to {most}, the maximum length, got {min_length}")
            searches.append(_Search(beam, n_best, kind, alpha, min_length, most, config))
        self._run(sentences, searches)
        return [search.ended for search in searches]

    def _check(self, sentences: Sequence[Sequence[int]]) -> None:
        most, symbols = self.config["most_source_symbols"], self.config["source_vocab_size"]
        for number, sentence in enumerate(sentences):
            if not len(sentence) or (most is not None and len(sentence) > most):
                limit = "at least 1 symbol" if most is None else f"1 to {most} symbols"
                raise ValueError(f"sentence {number} must have {limit}, got {len(sentence)}")
            if not all(0 <= symbol < symbols for symbol in sentence):
                raise ValueError(f"sentence {number} has an id outside the range 0 to {symbols - 1}")

    def _run(self, sentences: Sequence[Sequence[int]], searches: list[_Search]) -> None:
        """Search until every sentence is done."""
        if not searches:
            return
        memory, state = self._encode(sentences)
        going, known = list(range(len(searches))), memory
        ids, streams = [self.config["bos_id"]] * len(searches), going
        while going:
            log_probs, state = self._step(ids, known, state)
            rows, ids, after, first = [], [], [], 0
            for number in going:
                search = searches[number]
                width = len(search.open)
                parents, symbols = search.advance(log_probs[first : first + width])
                rows += [first + parent for parent in parents]
                ids += symbols
                after += [number] * len(symbols)
                first += width
            going = sorted(set(after))
            if not going:
                return
            state = _take(state, self.config["state"], rows)
            if after != streams:
                streams, known = after, _take(memory, self.config["memory"], after)

    def _encode(self, sentences: Sequence[Sequence[int]]) -> tuple[list[Any], list[Any]]:
        """Encode sentences; return their memory and the decoder's initial state."""
        lengths = np.array([len(sentence) for sentence in sentences])
        mask = np.arange(lengths.max())[:, None] >= lengths
        source = np.full(mask.shape, self.config["pad_id"], np.int64)
        source.T[~mask.T] = np.concatenate([np.asarray(sentence, np.int64) for sentence in sentences])
        wanted = [given.name for given in self._encoder.get_outputs()]
        given = dict(zip(wanted, self._encoder.run(wanted, {"source": source, "mask": mask}), strict=True))
        sizes = {"batch": len(sentences), "past": 0}
        # State tensors that the encoder does not output start empty.
        state = [
            given.get(
                part["name"], np.zeros([sizes.get(size, size) for size in part["shape"]], part["dtype"])
            )
            for part in self.config["state"]
        ]
        return [given[part["name"]] for part in self.config["memory"]], state

    def _step(self, ids: list[int], memory: list[Any], state: list[Any]) -> tuple[Any, list[Any]]:
        """Read one symbol of each stream; return the log-probabilities of the next symbol, and the state."""
        feed = {"ids": np.array(ids, np.int64)}
        for parts, values in ((self.config["memory"], memory), (self.config["state"], state)):
            feed |= {part["name"]: value for part, value in zip(parts, values, strict=True)}
        names = ["log_probs", *(part["next"] for part in self.config["state"])]
        log_probs, *state = self._decoder.run(names, feed)
        return log_probs, state


class _Search:
    """The search for the translations of one sentence."""

    def __init__(
        self, beam: int, n_best: int, kind: str, alpha: float, least: int, most: int, config: dict[str, Any]
    ) -> None:
        self._beam, self._n_best, self._kind, self._alpha = beam, n_best, kind, alpha
        self._least, self._most = least, most
        self._eos_id, self._forbidden = config["eos_id"], config["forbidden"]
        self._count = 0
        self.open: list[tuple[list[int], np.float32]] = [([], np.float32(0))]
        """The symbols and the log-probability of each open hypothesis, the best first."""
        self.ended: list[Hypothesis] = []

    def _penalty(self, length: int) -> float:
        if self._kind == "none":
            return 1.0
        return float((length if self._kind == "average" else (5 + length) / 6) ** self._alpha)

    def advance(self, log_probs: Any) -> tuple[list[int], list[int]]:
        """Continue the open hypotheses.

        Args:
            log_probs: (K, V), of the symbols after each hypothesis.

        Returns:
            The indices of the continued hypotheses and their next symbols; both empty at the end.
        """
        length, eos_id = len(self.open[0][0]), self._eos_id
        log_probs = log_probs.copy()
        log_probs[:, self._forbidden] = -np.inf
        if length < self._least:
            log_probs[:, eos_id] = -np.inf
        if length == self._most:
            log_probs[:, np.arange(log_probs.shape[1]) != eos_id] = -np.inf
        totals = log_probs + np.array([total for _, total in self.open])[:, None]
        best = [place for place in _largest(totals, 2 * self._beam) if totals.flat[place] > -np.inf]
        following = []
        for rank, place in enumerate(best):
            parent, symbol = divmod(place, totals.shape[1])
            if symbol != eos_id:
                following.append((parent, symbol, totals.flat[place]))
            elif rank < self._beam:
                score = float(totals.flat[place]) / self._penalty(length + 1)
                self.ended.append(Hypothesis(self.open[parent][0], score))
                self._count += 1
        # A stable sort: among equal scores the shorter translation stays first.
        self.ended = sorted(self.ended, key=lambda one: -one.score)[: self._n_best]
        following = following[: self._beam]
        if self._count >= self._beam or not following or self._is_settled(following[0][2]):
            return [], []
        self.open = [([*self.open[parent][0], symbol], total) for parent, symbol, total in following]
        return [parent for parent, *_ in following], [symbol for _, symbol, _ in following]

    def _is_settled(self, total: float) -> bool:
        """Whether no open hypothesis can still be among the best, given the best open log-probability."""
        if len(self.ended) < self._n_best:
            return False
        return self.ended[-1].score >= total / self._penalty(self._most + 1)


def _largest(values: Any, count: int) -> list[int]:
    """Return the flat indices of the largest values, in descending order of the values."""
    flat = values.ravel()
    places = np.argpartition(-flat, min(count, len(flat) - 1))[:count]
    return places[np.lexsort((places, -flat[places]))].tolist()  # type: ignore[no-any-return]


def _take(values: list[Any], parts: list[dict[str, Any]], streams: list[int]) -> list[Any]:
    """Select streams, possibly with repetitions."""
    return [
        np.take(value, streams, axis=part["shape"].index("batch"))
        for value, part in zip(values, parts, strict=True)
    ]

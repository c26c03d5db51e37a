"""The likelihood of given translations: `sru translate score`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from jsonargparse import Namespace

from sru_apps.inference.loading import load_trained
from sru_apps.inference.trained import Trained
from sru_apps.nn.cross_entropy import exp
from sru_apps.task import Task
from sru_apps.tasks.translate.batches import make_batch
from sru_apps.train.errors import UserError, building
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import on_one_line, use_utf8
from sru_data.datasets.translation import Pair, PairFiles
from sru_data.loaders import IGNORE
from sru_data.loaders.buckets import LengthBatchSampler
from sru_data.pair_files import Example

# Symbols per batch, including padding, and sentences sorted by length together; both bound memory use.
_AT_ONCE = 2048
_WINDOW = 1024
LONGEST = 1024
"""The maximum number of symbols of a sentence, and of a translation to score."""
T = TypeVar("T")


class PairScore(NamedTuple):
    """The likelihood of a given translation."""

    tokens: list[str]
    """Its symbols and the end marker."""
    log_probs: list[float]
    """The log-probability of each, in nats."""
    log_prob: float
    """The log-probability of the translation, their sum."""
    perplexity: float
    """exp(−log_prob / tokens)."""
    unknown: int
    """The number of unknown symbols."""


def score_pairs(model: Trained, pairs: Iterable[tuple[str, str]]) -> Iterator[PairScore]:
    """Score a stream of translations, in batches.

    Args:
        model: A `Translator`.
        pairs: Sentences, each with its translation.

    Yields:
        One score per pair, in order.

    Raises:
        ValueError: A side has more than `LONGEST` symbols.
    """
    return chain.from_iterable(_score(model, window) for window in windows(pairs))


@torch.inference_mode()
def _score(model: Trained, window: Sequence[tuple[str, str]]) -> list[PairScore]:
    tokenizer, device = model.tokenizer, model.device
    ids = [(tokenizer.encode(source), tokenizer.encode_target(target)) for source, target in window]
    for (text, _), sides in zip(window, ids, strict=True):
        if (count := max(map(len, sides))) > LONGEST:
            raise ValueError(f"each side must have at most {LONGEST:,} symbols, got {count:,}: {text[:40]!r}")
    found: list[Any] = [None] * len(ids)
    spellings = tokenizer.tokens
    for batch in batches([1 + max(map(len, sides)) for sides in ids]):
        tensors = ([torch.tensor(side, dtype=torch.int64) for side in ids[row]] for row in batch)
        made = make_batch([Example(row, *pair) for row, pair in zip(batch, tensors, strict=True)], tokenizer)
        mask = None if made.source_mask is None else made.source_mask.to(device)
        targets = made.targets.to(device)
        nll, _ = model.network.loss(made.source.to(device), made.target.to(device), targets, mask)
        costs = targets.new_zeros(targets.shape, dtype=torch.float64)
        costs[targets != IGNORE] = nll.double()
        for row, values in zip(batch, costs.t().tolist(), strict=True):
            symbols = [*ids[row][1], tokenizer.eos_id]
            log_probs = [-value for value in values[: len(symbols)]]
            nats = math.fsum(log_probs)
            found[row] = PairScore(
                [spellings[index] for index in symbols],
                log_probs,
                nats,
                exp(-nats / len(symbols)),
                symbols.count(tokenizer.unk_id),
            )
    return found


def windows(items: Iterable[T]) -> Iterator[list[T]]:
    """Split a stream into windows; sentences are sorted by length within a window.

    Args:
        items: Sentences, or pairs.
    """
    items = iter(items)
    while window := list(islice(items, _WINDOW)):
        yield window


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group sentences of similar lengths into batches that fit into memory.

    Args:
        lengths: The number of symbols of each sentence.

    Yields:
        The indices of the sentences of a batch.
    """
    return iter(
        LengthBatchSampler(
            [min(length, LONGEST + 1) for length in lengths], max_tokens=_AT_ONCE, shuffle=False
        )
    )


def score(task: Task, args: Sequence[str]) -> int:
    """Print the log-probability of given translations."""
    options = parse_options(
        "sru translate score",
        "Print the log-probability, in nats, and the perplexity of given translations, of each and of all "
        "together. The end-of-sentence token is scored too, and words outside the vocabulary are scored as "
        "the unknown token.",
        [
            (
                "files",
                list,
                [],
                "Sentences and their translations, one per line; or one CSV, TSV, JSON lines or Parquet file "
                "with both.",
            ),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--source-column", str, "source", "The column with the sentences, if there is one file."),
            ("--target-column", str, "target", "The column with the translations, if there is one file."),
            ("--tokens", bool, False, "Also print the log-probability of each token."),
            ("--json", bool, False, "Print one JSON object per pair, with its tokens."),
        ],
        args,
    )
    use_utf8()
    pairs = _pairs(options)
    # Before the model is loaded, so that a wrong path is reported at once.
    first = next(pairs, None)
    if first is None:
        raise UserError(f"no pairs in {options.files[0]}")
    model = load_trained(task, Path(options.model))
    if not options.json:
        print("pair\ttokens\tlog-probability\tperplexity\tunknown")
    total, count, unknown = 0.0, 0, 0
    sides = ((pair.source, pair.targets[0]) for pair in chain([first], pairs))
    with building():
        for number, found in enumerate(score_pairs(model, sides), 1):
            total, count, unknown = total + found.log_prob, count + len(found.tokens), unknown + found.unknown
            if options.json:
                print(dump_json({"pair": number, **found._asdict()}))
                continue
            _print_row(number, len(found.tokens), found.log_prob, found.unknown)
            if options.tokens:
                for token, log_prob in zip(found.tokens, found.log_probs, strict=True):
                    print(f"{number}\t{on_one_line(token)}\t{log_prob:.4f}")
    if options.json:
        figures = {"log_prob": total, "perplexity": exp(-total / count), "unknown": unknown}
        print(dump_json({"total": True, "tokens": count, **figures}))
    else:
        _print_row("total", count, total, unknown)
    return 0


def _pairs(options: Namespace) -> Iterator[Pair]:
    if len(options.files) not in (1, 2):
        raise UserError(
            "give a file of sentences and a file of translations, or one file with a column for each, got "
            f"{len(options.files)} files",
            status=2,
        )
    with building():
        if len(options.files) == 2:
            return PairFiles.parallel(*options.files).pairs()
        columns = (options.source_column, options.target_column)
        return PairFiles.table(options.files, source=columns[0], targets=columns[1:]).pairs()


def _print_row(name: object, tokens: int, log_prob: float, unknown: int) -> None:
    print(f"{name}\t{tokens}\t{log_prob:.4f}\t{exp(-log_prob / tokens):.4f}\t{unknown}")

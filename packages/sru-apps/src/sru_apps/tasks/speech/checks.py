"""Checks of utterances before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sru_apps.tasks.speech.model import SPECIAL, needed_outputs
from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.errors import shortened
from sru_data.feature_files import FeatureFile
from sru_data.tokenizers import UNK_ID, WordTokenizer
from sru_data.tokenizers.alphabets import symbols_outside

_NAMED = 5
_SYMBOLS = 10


def named(utterances: Sequence[Utterance]) -> str:
    """List the ids of the first utterances."""
    names = ", ".join(shortened(utterance.id, 60) for utterance in utterances[:_NAMED])
    more = len(utterances) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names


def number_labels(utterances: Sequence[Utterance], *, place: str) -> WordTokenizer:
    """Assign ids to the labels of clips.

    Args:
        utterances: The clips.
        place: The name of the data.

    Raises:
        DataError: A label holds white space, or is empty.
    """
    labels = sorted({str(utterance.label) for utterance in utterances})
    for label in labels:
        if label.split() != [label]:
            raise DataError(f"{place}: expected labels without white space, got {shortened(label, 60)!r}")
    return WordTokenizer.from_words(labels, lowercase=False)


def check_labels(utterances: Sequence[Utterance], tokenizer: Any, *, place: str) -> None:
    """Refuse labels without training clips.

    Args:
        utterances: The clips.
        tokenizer: The labels.
        place: The name of the data.

    Raises:
        DataError: A clip has a label without training clips.
    """
    known = set(tokenizer.tokens[SPECIAL:])
    outside = {utterance: {str(utterance.label)} for utterance in utterances if utterance.label not in known}
    _refuse(outside, place, "labels that occur in training", "correct them, or remove those clips")


def check_symbols(
    utterances: Sequence[Utterance], symbols: Sequence[Sequence[int]], tokenizer: Any, *, place: str
) -> None:
    """Refuse transcripts with symbols outside the alphabet.

    Args:
        utterances: The utterances.
        symbols: Their transcripts as ids.
        tokenizer: The alphabet.
        place: The name of the data.

    Raises:
        DataError: A transcript has such a symbol.
    """
    outside = {
        utterance: set(symbols_outside(tokenizer, utterance.text or ""))
        for utterance, numbers in zip(utterances, symbols, strict=True)
        if UNK_ID in numbers
    }
    _refuse(outside, place, "symbols of the alphabet", "correct them, or give --data.on_unknown keep")


def _refuse(outside: dict[Utterance, set[str]], place: str, expected: str, remedy: str) -> None:
    if not outside:
        return
    symbols = sorted(set().union(*outside.values()))
    shown = ", ".join(map(repr, symbols[:_SYMBOLS])) + (", ..." if len(symbols) > _SYMBOLS else "")
    raise DataError(f"{place}: expected {expected}, got {shown} in {named(list(outside))}; {remedy}")


def too_short(frames: Tensor, targets: Sequence[Tensor], *, subsampling: int, fastest: float = 1.0) -> Tensor:
    """Find the utterances that have fewer outputs than their transcripts need.

    Args:
        frames: (N,) int64, the number of frames of each.
        targets: The symbols of each.
        subsampling: The number of frames per output.
        fastest: The highest speed of an utterance.

    Returns:
        (N,) bool.
    """
    symbols = torch.tensor([len(target) for target in targets])
    needed = needed_outputs(pad_sequence(list(targets), batch_first=True), symbols)
    outputs = ((frames / fastest).floor() / subsampling).ceil()
    return needed > outputs


def choose(
    file: FeatureFile,
    targets: Sequence[Tensor] | None,
    options: Mapping[str, Any],
    *,
    fastest: float,
    place: str,
) -> tuple[Tensor, dict[str, list[Utterance]]]:
    """Choose the utterances to train on.

    Args:
        file: The training utterances.
        targets: The symbols of each; None for labels.
        options: The options `--data.*`.
        fastest: The highest speed of an utterance.
        place: The name of the data.

    Returns:
        Their indices, (N,) int64, and the other utterances by the reason for leaving them out.

    Raises:
        DataError: None is left, or one is too short for its transcript and the options refuse that.
    """
    factor, most = options["subsampling"], options["max_frames"]
    reasons: dict[str, Tensor] = {}
    if targets is not None:
        short = too_short(file.lengths, targets, subsampling=factor, fastest=fastest)
        reasons[f"too short for their transcripts when subsampled by {factor}"] = short
        if options["on_short"] == "refuse" and bool(short.any()):
            found = _where(file, short)
            raise DataError(
                f"{place}: expected longer utterances, got {len(found):,} too short for their "
                f"transcripts when subsampled by {factor}: {named(found)}; lower --data.subsampling, or give "
                "--data.on_short skip"
            )
    if most is not None:
        reasons[f"longer than {most:,} frames"] = file.lengths > most
    kept = torch.ones(len(file), dtype=torch.bool)
    for mask in reasons.values():
        kept &= ~mask
    if not kept.any():
        raise DataError(f"{place}: expected utterances to train on, got none: all are {' or '.join(reasons)}")
    left_out = {reason: _where(file, mask) for reason, mask in reasons.items() if mask.any()}
    return kept.nonzero().flatten(), left_out


def _where(file: FeatureFile, mask: Tensor) -> list[Utterance]:
    return [file.utterances[number] for number in mask.nonzero().flatten().tolist()]

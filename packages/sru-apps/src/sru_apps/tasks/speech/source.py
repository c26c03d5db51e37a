"""Where utterances come from: a published set, or your own files."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sru_apps.tasks.speech.checks import named
from sru_apps.train.errors import UserError
from sru_apps.train.own_files import check_files
from sru_data import DataError
from sru_data.datasets import speech
from sru_data.datasets.speech import PartName, Utterance
from sru_data.datasets.speech.listing import split_speakers
from sru_data.features import FeatureConfig

DatasetName = Literal["an4", "fsdd", "timit", "librispeech", "common-voice", "speech-commands"]
_PARTS: tuple[PartName, ...] = ("train", "validation", "test")
_HELD_OUT = 10
"""One utterance in this many of your own files is held out for a part without files."""


def check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no utterances, or two sets.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: No utterances are named or two sets are, or an option is for other data.
    """
    name, train = options["name"], options["train_file"]
    check_files(options)
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file are given; leave one of them out")
    if name is None and train is None:
        raise UserError(
            "no utterances chosen; give --recipe, --data.name, or your own files with --data.train_file",
            status=2,
        )
    if train is None and (options["validation_file"] or options["test_file"]) is not None:
        raise UserError("validation_file and test_file need a train_file; give --data.train_file too")
    if options["held_out"] is not None and name != "fsdd":
        raise UserError("--data.held_out is for fsdd, whose test is one speaker; leave it out")
    if options["validation_speaker"] is not None and name != "fsdd":
        raise UserError("--data.validation_speaker is for fsdd; leave it out, or give --data.validation_file")
    if options["train_sets"] is not None and name != "librispeech":
        raise UserError("--data.train_sets is for librispeech, which has several; leave it out")
    if options["features"] != "mfcc" and options["num_cepstra"] != FeatureConfig.num_cepstra:
        raise UserError("--data.num_cepstra is for mfcc; leave it out, or give --data.features mfcc")
    if not 0 <= options["vtlp"] <= 0.5:
        raise UserError(f"vtlp must be 0 to 0.5, got {options['vtlp']}")
    if options["vtlp"] and options["features"] != "fbank":
        raise UserError("--data.vtlp warps mel bins; leave it out, or give --data.features fbank")


def feature_config(options: Mapping[str, Any]) -> FeatureConfig:
    """Return how features are computed.

    Args:
        options: The options `--data.*`.

    Raises:
        ValueError: A number is out of range.
    """
    same = ("num_bins", "num_cepstra", "deltas", "sample_rate", "on_stereo", "on_rate", "on_clipping")
    return FeatureConfig(
        kind=options["features"],
        per_utterance=options["normalization"] == "utterance",
        per_speaker=options["normalization"] == "speaker",
        **{name: options[name] for name in same},
    )


def find_utterances(options: Mapping[str, Any]) -> dict[PartName, list[Utterance]]:
    """Find the utterances of each part.

    Args:
        options: The options `--data.*`.

    Raises:
        DataError: A file is missing or malformed, or an utterance lacks what the task needs.
    """
    name = options["name"]
    if name is None:
        parts = _own_parts(options)
    else:
        chosen: dict[str, Any] = {}
        if name == "an4":
            chosen = {"seed": options["seed"]}
        elif name == "fsdd":
            chosen = {"held_out": options["held_out"], "validation": options["validation_speaker"]}
        elif name == "librispeech" and options["train_sets"] is not None:
            chosen = {"train": options["train_sets"]}
        parts = dict(speech.load(name, data_dir=options["data_dir"], **chosen))
    field = "label" if options["task"] == "classify" else "text"
    for utterances in parts.values():
        if lacking := [utterance for utterance in utterances if getattr(utterance, field) is None]:
            what = "label" if field == "label" else "transcript"
            raise DataError(f"expected a {what} for every utterance, got none for {named(lacking)}")
        anonymous = [utterance for utterance in utterances if utterance.speaker is None]
        if anonymous and options["normalization"] == "speaker":
            raise DataError(
                f"expected a speaker for every utterance, got none for {named(anonymous)}; add them to the "
                "manifest or to utt2spk, or choose another --data.normalization"
            )
    return parts


def _own_parts(options: Mapping[str, Any]) -> dict[PartName, list[Utterance]]:
    """Read the user's own files, and hold out the parts that are not given."""
    from_files = options["features"] == "file"
    given = {part: options[f"{part}_file"] for part in _PARTS}
    parts = {
        part: read_files(files, features=from_files) for part, files in given.items() if files is not None
    }
    if parts.keys() == {"train"}:
        parts["train"], parts["test"] = hold_out(parts["train"], seed=options["seed"])
    if "validation" not in parts:
        parts["train"], parts["validation"] = hold_out(parts["train"], seed=options["seed"])
    return parts


def read_files(files: Sequence[str] | str, *, features: bool) -> list[Utterance]:
    """Read manifests, or Kaldi data directories.

    Args:
        files: A path, a pattern, or several.
        features: Whether to read the features of a Kaldi directory instead of its audio.

    Raises:
        DataError: A file is missing or malformed.
    """
    paths = [files] if isinstance(files, str) else list(files)
    manifests = [path for path in paths if not Path(path).is_dir()]
    found = speech.read_manifest(manifests) if manifests else []
    for path in paths:
        if path not in manifests:
            found += speech.read_kaldi(path, features=features)
    return found


def hold_out(utterances: Sequence[Utterance], *, seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """Split off a tenth of the utterances, by speaker if there are enough speakers.

    Args:
        utterances: The utterances.
        seed: Seed of the choice.

    Returns:
        The remaining utterances, and the tenth.

    Raises:
        DataError: There is only one utterance.
    """
    speakers = {utterance.speaker for utterance in utterances}
    if None not in speakers and len(speakers) >= _HELD_OUT:
        return split_speakers(utterances, seed=seed)
    if len(utterances) < 2:
        raise DataError("expected at least two utterances, one of them for validation, got one; give more")
    order = list(range(len(utterances)))
    random.Random(f"held out:{seed}").shuffle(order)
    chosen = set(order[: max(1, len(order) // _HELD_OUT)])
    sides: tuple[list[Utterance], list[Utterance]] = ([], [])
    for place, utterance in enumerate(utterances):
        sides[place in chosen].append(utterance)
    return sides

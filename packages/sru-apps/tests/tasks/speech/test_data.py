"""Utterances from your own files and from published sets, and the handling of invalid ones."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.tasks.speech.batches import Examples
from sru_apps.tasks.speech.data import SpeechData
from sru_apps.tasks.speech.source import hold_out
from sru_apps.train.errors import UserError
from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.features import FeatureConfig, extract, warp_frequencies
from sru_data.loaders import LengthBatchSampler


def data(folder: Path, **options: Any) -> SpeechData:
    files = {"features": "file", "num_bins": 13, "prepared_dir": str(folder / "prepared")}
    found = SpeechData(**{**files, **options})
    found.prepare_data()
    found.setup("fit")
    return found


@pytest.fixture
def manifest(mfc: Callable[..., Path], tmp_path: Path) -> Callable[[str, list[str]], str]:
    """Write utterances and a manifest."""

    def write(name: str, texts: list[str]) -> str:
        files = [mfc(text, seed=number, name=f"{name}-{number}") for number, text in enumerate(texts)]
        rows = [{"audio": str(file), "text": text} for file, text in zip(files, texts, strict=True)]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_own_utterances_are_split(tmp_path: Path, manifest: Callable[[str, list[str]], str]) -> None:
    file = manifest("mine", ["A B", "BA"] * 10)
    found = data(tmp_path, train_file=file)
    assert found.group == "mine"
    assert {name: len(part) for name, part in found.parts.items()} == {
        "train": 17,
        "validation": 1,
        "test": 2,
    }
    again = data(tmp_path / "again", train_file=file)
    ids = [[utterance.id for utterance in part.utterances] for part in found.prepared.parts.values()]
    assert ids == [[utterance.id for utterance in part.utterances] for part in again.prepared.parts.values()]
    assert len({name for part in ids for name in part}) == 20


def test_given_parts_are_not_split(tmp_path: Path, manifest: Callable[[str, list[str]], str]) -> None:
    files = {
        f"{part}_file": manifest(part, ["A B"] * count) for part, count in (("train", 3), ("validation", 2))
    }
    found = data(tmp_path, **files)
    assert {name: len(part) for name, part in found.parts.items()} == {"train": 3, "validation": 2}
    with pytest.raises(UserError, match="train has no test utterances; give some with --test-file"):
        found.test_dataloader()


def test_speakers_are_held_out_if_there_are_enough() -> None:
    utterances = [Utterance(str(n), f"{n}.wav", speaker=f"s{n % 10}") for n in range(40)]
    others, chosen = hold_out(utterances, seed=1)
    assert not {u.speaker for u in others} & {u.speaker for u in chosen}
    assert len(others) + len(chosen) == 40
    few = [utterance._replace(speaker=f"s{n % 3}") for n, utterance in enumerate(utterances)]
    others, chosen = hold_out(few, seed=1)
    assert len(chosen) == 4
    with pytest.raises(
        DataError, match="expected at least two utterances, one of them for validation, got one"
    ):
        hold_out(utterances[:1], seed=0)


def test_symbols_outside_the_alphabet(tmp_path: Path, write_an4: Callable[..., Path]) -> None:
    write_an4(tmp_path, {"train": ["A B", "BA", "AB"] * 2, "test": ["AC", "B", "D A"]})
    options = {"name": "an4", "data_dir": str(tmp_path)}
    with pytest.raises(
        DataError, match="an4, test: expected symbols of the alphabet, got 'C', 'D' in test0, test2"
    ):
        data(tmp_path, **options)
    found = data(tmp_path, **options, on_unknown="keep")
    assert found.parts["test"][0].targets.tolist().count(found.tokenizer.unk_id) == 1


def test_short_utterances_are_left_out_only_of_training(an4: Path, tmp_path: Path) -> None:
    found = data(tmp_path, name="an4", data_dir=str(an4), subsampling=2)
    texts = Counter(
        found.transcript(part, found.parts[part][place].index)
        for part in ("train", "validation")
        for place in range(len(found.parts[part]))
    )
    assert texts["ABBAABBA"] == 1
    line = "2 training utterances left out, too short for their transcripts when subsampled by 2: train2"
    assert line in found.opening()


def test_unreadable_utterances_are_refused_or_left_out(
    tmp_path: Path, manifest: Callable[[str, list[str]], str]
) -> None:
    file = manifest("mine", ["A B", "BA"] * 10)
    (tmp_path / "mine-3.mfc").write_bytes(b"")
    with pytest.raises(DataError, match=r"mine-3.mfc: expected a big-endian count"):
        data(tmp_path, train_file=file)
    found = data(tmp_path, train_file=file, on_unreadable="skip")
    assert sum(len(part) for part in found.parts.values()) == 19
    assert "1 utterances for" in found.opening()
    assert "cannot be used, such as" in found.opening()


def test_all_missing_files_are_listed(tmp_path: Path, manifest: Callable[[str, list[str]], str]) -> None:
    file = manifest("mine", ["A B", "BA"] * 3)
    for number in (1, 4):
        (tmp_path / f"mine-{number}.mfc").unlink()
    with pytest.raises(DataError, match=r"got 2 missing: .*mine-1.mfc.*mine-4.mfc"):
        data(tmp_path, train_file=file)


def test_batches_are_padded_and_sorted_in_the_first_epoch(an4: Path, tmp_path: Path) -> None:
    found = data(tmp_path, name="an4", data_dir=str(an4), batch_size=4, shortest_first=1)
    batches = list(found.train_dataloader())
    lengths = [batch.features.shape[0] for batch in batches]
    assert lengths == sorted(lengths)
    for batch in batches:
        assert batch.features.shape[1] == len(batch.index) == len(batch.targets)
        for column, index in enumerate(batch.index.tolist()):
            count = int(batch.target_lengths[column])
            spelled = found.tokenizer.decode(batch.targets[column, :count].tolist())
            assert spelled == found.transcript("train", index)
            assert not batch.targets[column, count:].any()
            frames = found.prepared.parts["train"].features(index)
            torch.testing.assert_close(batch.features[: len(frames), column], frames)
            assert batch.mask is None or bool(batch.mask[len(frames) :, column].all())


def test_the_speed_depends_only_on_epoch_utterance_and_seed() -> None:
    class Part(list[int]):
        lengths = torch.full((40,), 9)

        def features(self, number: int, *, speed: float) -> torch.Tensor:
            return torch.tensor([[float(number), speed]])

    def epoch(number: int, order: range, **options: Any) -> dict[float, float]:
        sampler = LengthBatchSampler([9] * 40, batch_size=4)
        sampler.set_epoch(number)
        part: Any = Part(range(40))
        examples = Examples(
            part, FeatureConfig(), [torch.tensor([2])] * 40, speeds=(0.9, 1.0, 1.1), **options
        )
        drawn = examples.drawn(sampler)
        return dict(drawn[place].features[0].tolist() for place in order)

    first = epoch(1, range(40))
    assert {round(speed, 1) for speed in first.values()} == {0.9, 1.0, 1.1}
    assert first == epoch(1, range(39, -1, -1))
    assert first != epoch(2, range(40))
    assert first != epoch(1, range(40), seed=1)


def test_each_epoch_warps_each_utterance_by_another_factor() -> None:
    config = FeatureConfig(num_bins=40, sample_rate=8000)
    # The value of each filter is its centre frequency relative to the fifth filter's.
    mels = torch.arange(1, 41) * (1127 * math.log1p(4000 / 700) / 41)
    frame = torch.expm1(mels / 1127) / torch.expm1(mels[4] / 1127)

    class Part(list[int]):
        lengths = torch.full((40,), 9)

        def features(self, number: int, *, speed: float) -> torch.Tensor:
            return frame.repeat(9, 1)

    part: Any = Part(range(40))
    sampler = LengthBatchSampler([9] * 40, batch_size=4)
    examples = Examples(part, config, [torch.tensor([2])] * 40, vtlp=0.1)
    drawn = examples.drawn(sampler)

    def factors(epoch: int, order: range) -> dict[int, float]:
        sampler.set_epoch(epoch)
        return {place: float(drawn[place].features[0, 4]) for place in order}

    first = factors(1, range(40))
    assert 0.88 < min(first.values()) < 0.93 < 1.07 < max(first.values()) < 1.12
    assert first == factors(1, range(39, -1, -1))
    assert first != factors(2, range(40))
    torch.testing.assert_close(examples[3].features, frame.repeat(9, 1), rtol=0, atol=0)


def test_per_utterance_normalisation_equals_that_of_the_trained_model(an4: Path, tmp_path: Path) -> None:
    options = {"name": "an4", "data_dir": str(an4), "prepared_dir": str(tmp_path / "prepared")}
    found = data(tmp_path, **options, normalization="utterance")
    for part in ("train", "test"):
        example = found.parts[part][1]
        wanted = extract(found.features, found.utterance(part, example.index))
        torch.testing.assert_close(example.features, wanted, rtol=0, atol=0)
        torch.testing.assert_close(wanted.mean(0), torch.zeros(13), rtol=0, atol=1e-5)
    # The same prepared features serve other normalisations.
    other = data(tmp_path, **options)
    assert other.prepared.folder == found.prepared.folder
    assert other.parts["test"][1].features.mean(0).abs().max() > 0.1


def test_the_utterances_of_a_speaker_are_normalised_together(an4: Path, tmp_path: Path) -> None:
    options = {"name": "an4", "data_dir": str(an4), "prepared_dir": str(tmp_path / "prepared")}
    found = data(tmp_path, **options, normalization="speaker", subsampling=2)
    part, raw = found.parts["train"], found.prepared.parts["train"]
    speakers = [utterance.speaker for utterance in raw.utterances]
    assert len(part) < len(raw)
    assert len(set(speakers)) == 2
    for example in part:
        # Utterances that are left out of training count too.
        own = [raw[n] for n, speaker in enumerate(speakers) if speaker == speakers[example.index]]
        deviation, mean = torch.std_mean(torch.cat(own).double(), 0, correction=0)
        wanted = ((raw[example.index] - mean) / deviation).float()
        torch.testing.assert_close(example.features, wanted)
    # The same prepared features serve other normalisations.
    assert data(tmp_path, **options).prepared.folder == found.prepared.folder


def test_a_speaker_is_normalised_before_the_frequencies_are_warped() -> None:
    config = FeatureConfig(num_bins=20, sample_rate=8000, per_speaker=True)
    utterances = [Utterance(str(number), "", speaker="ab"[number % 2]) for number in range(6)]
    frames = {(n, s): torch.randn(9, 20) * s + n % 2 for n in range(6) for s in (0.9, 1.1)}

    class Part(list[int]):
        lengths = torch.full((6,), 9)

        def features(self, number: int, *, speed: float) -> torch.Tensor:
            return frames[number, speed]

    part: Any = Part(range(6))
    part.utterances = utterances
    sampler = LengthBatchSampler([9] * 6, batch_size=2)
    examples = Examples(part, config, [torch.tensor([2])] * 6, speeds=(0.9, 1.1), vtlp=0.1).drawn(sampler)
    for number in range(6):
        speed, factor = examples._drawn(number)
        own = torch.cat([frames[n, speed] for n in range(number % 2, 6, 2)]).double()
        deviation, mean = torch.std_mean(own, 0, correction=0)
        normal = ((frames[number, speed] - mean) / deviation).float()
        wanted = warp_frequencies(normal, factor, config=config)
        torch.testing.assert_close(examples[number].features, wanted)


def test_normalising_speakers_needs_the_speaker_of_every_utterance(
    tmp_path: Path, manifest: Callable[[str, list[str]], str]
) -> None:
    file = manifest("mine", ["A B", "BA"] * 10)
    with pytest.raises(
        DataError, match=r"expected a speaker for every utterance, got none for .*utt2spk, or"
    ):
        data(tmp_path, train_file=file, normalization="speaker")

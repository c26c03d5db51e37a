from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.feature_files import open_prepared, prepare, prepared_folder
from sru_data.features import FeatureConfig, extract, read_samples

CONFIG = FeatureConfig("file", num_bins=2, deltas=1)
FILES = [f"{part}.{kind}" for part in ("train", "test") for kind in ("rows", "frames", "utterances")]


@pytest.fixture
def utterances(tmp_path: Path) -> dict[str, list[Utterance]]:
    """Three utterances of 1, 2 and 3 frames."""
    found = []
    for count in (1, 2, 3):
        path = tmp_path / f"{count}.mfc"
        path.write_bytes(struct.pack(f">i{2 * count}f", 2 * count, *range(2 * count)))
        found.append(Utterance(f"u{count}", str(path), "GO \u2028 é", speaker="s", end=1.5))
    return {"train": found[:2], "test": found[2:]}


@pytest.fixture
def folder(utterances, tmp_path: Path) -> Path:
    return prepare(utterances, tmp_path / "p", name="x", config=CONFIG).folder


def test_features_are_those_of_the_utterances(folder: Path, utterances) -> None:
    prepared = open_prepared(folder)
    assert (prepared.name, prepared.config, list(prepared.parts)) == ("x", CONFIG, ["train", "test"])
    train = prepared.parts["train"]
    assert train.utterances == utterances["train"]
    assert train.lengths.tolist() == [1, 2]
    assert train.speeds == (1.0,)
    for file in (train, pickle.loads(pickle.dumps(train))):
        assert len(file) == 2
        for index, utterance in enumerate(utterances["train"]):
            assert torch.equal(file[index], extract(CONFIG, utterance))
    with pytest.raises(IndexError):
        train[2]
    with pytest.raises(ValueError, match=r"speed must be one of 1\.0, got 0\.9; prepare the features with"):
        train.features(0, speed=0.9)


def test_speeds_are_for_training(write_wav, noise, tmp_path: Path) -> None:
    utterance = write_wav(noise)
    config = FeatureConfig(num_bins=23)
    given = {"train": [utterance, utterance._replace(id="again")], "validation": [utterance]}
    prepared = prepare(given, tmp_path / "p", name="x", config=config, speeds=(0.5, 1))
    train, validation = prepared.parts["train"], prepared.parts["validation"]
    for speed in (0.5, 1.0):
        assert torch.equal(train.features(1, speed=speed), extract(config, utterance, speed=speed))
    assert len(train.features(0, speed=0.5)) > 2 * len(train.features(0))
    assert train.lengths.tolist() == [len(train[0])] * 2
    assert validation.speeds == (1.0,)
    assert len(read_samples(config, utterance, speed=0.5)) == 8000


def test_another_process_writes_the_same(utterances, tmp_path: Path) -> None:
    Path(utterances["train"][0].path).write_bytes(b"\0")
    given = {"train": utterances["train"]}
    folders = [
        prepare(given, tmp_path / f"p{count}", name="x", config=CONFIG, skip_bad=True, processes=count).folder
        for count in (1, 2)
    ]
    for name in (*FILES[:3], "features.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_progress_is_told(utterances, tmp_path: Path) -> None:
    told = []
    prepare(utterances, tmp_path / "p", name="x", config=CONFIG, progress=told.append)
    assert [tuple(progress) for progress in told] == [
        ("train", 0, 2),
        ("train", 1, 2),
        ("train", 2, 2),
        ("test", 0, 1),
        ("test", 1, 1),
    ]


def test_a_second_call_opens_the_files_and_other_wishes_are_refused(folder: Path, utterances) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    prepare(utterances, folder, name="x", config=CONFIG)
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    other = FeatureConfig("file", num_bins=2, deltas=2)
    with pytest.raises(DataError, match=r"p: expected .* got one prepared with deltas = 1 \(now 2\); delete"):
        prepare(utterances, folder, name="x", config=other)
    with pytest.raises(DataError, match=r"got one prepared with name = x \(now y\)"):
        prepare(utterances, folder, name="y", config=CONFIG)
    os.utime(utterances["test"][0].path, ns=(0, 0))
    with pytest.raises(DataError, match=r"got one prepared with other recordings or speeds for test; delete"):
        prepare(utterances, folder, name="x", config=CONFIG)


def test_the_usual_folder_depends_on_recordings_and_options(cache: Path, utterances) -> None:
    found = {
        prepared_folder(given, name="x", config=config)
        for given in (utterances, {"train": utterances["train"]})
        for config in (CONFIG, FeatureConfig("file", num_bins=2))
    }
    assert len(found) == 4
    assert prepare(utterances, name="x", config=CONFIG).folder in found
    assert {folder.parent for folder in found} == {cache / "prepared"}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    remedy = "delete the folder and prepare the features again"
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"{name}: expected .* bytes, got .* truncated, {remedy}"):
        open_prepared(folder)
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(DataError, match=rf"{name}: expected the checksum \w+, got \w+; .* {remedy}"):
        open_prepared(folder)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name}: expected a file of prepared features, got No such file"):
        open_prepared(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 2},
            r"in format 1, got something else \(format 2 of another version\); delete the folder",
        ),
        ({"parts": {}}, r"got something else \(features for no part\); delete"),
        ({"config": {"kind": "plp"}}, r"got something else \('plp' in place of"),
    ],
)
def test_another_version_is_refused(folder: Path, utterances, change, message: str) -> None:
    path = folder / "features.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for use in (lambda: open_prepared(folder), lambda: prepare(utterances, folder, name="x", config=CONFIG)):
        with pytest.raises(DataError, match=rf"features\.json: .*{message}"):
            use()


def test_a_changed_record_is_refused(folder: Path) -> None:
    path = folder / "features.json"
    whole = path.read_text()
    path.write_text(whole.replace('"num_bins": 2', '"num_bins": 3'))
    with pytest.raises(
        DataError, match=r"train\.frames: expected 3 frames of 6 features, got 48 bytes; dele"
    ):
        open_prepared(folder)
    path.write_text(whole.replace("1.0", "0.9"))
    with pytest.raises(DataError, match=r"got something else \(speeds \[0\.9\] without 1\.0\); delete"):
        open_prepared(folder)


def test_utterances_that_cannot_be_read_are_refused_or_left_out(utterances, tmp_path: Path) -> None:
    bad = utterances["train"][0].path
    Path(bad).write_bytes(b"\0")
    folder = tmp_path / "p"
    with pytest.raises(DataError, match=r"1\.mfc: expected a big-endian count"):
        prepare(utterances, folder, name="x", config=CONFIG)
    assert not list(folder.glob("train*"))
    train = prepare(utterances, folder, name="x", config=CONFIG, skip_bad=True).parts["train"]
    assert [utterance.id for utterance in train.utterances] == ["u2"]
    assert list(train.left_out) == ["u1"]
    assert train.left_out["u1"].startswith(f"{bad}: expected a big-endian count")
    del utterances["train"][1]
    with pytest.raises(DataError, match=r"train: expected readable utterances, got 1, none of them"):
        prepare(utterances, tmp_path / "q", name="x", config=CONFIG, skip_bad=True)


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({}, {}, r"utterances must be for train, validation or test, got nothing"),
        ({"dev": []}, {}, r"utterances must be for train, validation or test, got dev"),
        ({"train": []}, {"processes": 0}, r"processes must be at least 1, got 0"),
        ({"train": []}, {"speeds": (0.9, 1.1)}, r"speeds must be distinct, .* and include 1\.0, got \(0\.9"),
        ({"train": []}, {"speeds": (0.9, 1.0)}, r"speeds are for audio, got several for feature files"),
    ],
)
def test_wrong_options_are_errors(parts, options, message: str) -> None:
    with pytest.raises(ValueError, match=f"prepare: {message}"):
        prepare(parts, name="x", config=CONFIG, **options)


def test_another_kind_of_folder_is_left_alone(utterances, tmp_path: Path) -> None:
    (tmp_path / "questions.json").touch()
    with pytest.raises(DataError, match=r"expected a folder for prepared features, got one with prepared qu"):
        prepare(utterances, tmp_path, name="x", config=CONFIG)

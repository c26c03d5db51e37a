"""Random and damaged audio, features, manifests and prepared features."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from cases import NUMBERS, TEXTS, Case, dump_json, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets.speech import Utterance, load, read_kaldi, read_manifest
from sru_data.feature_files import open_prepared
from sru_data.feature_files import prepare as prepare_features
from sru_data.features import FeatureConfig, OnlineFeatures, extract, stream_audio

AUDIO = ("x.wav", "x.flac", "x.ogg", "x.au", "float.wav", "stereo.wav", "slow.wav")
STORED = FeatureConfig("file", num_bins=2, deltas=1)
KALDI = {
    "wav.scp": b"r1 {0}/x.wav\nr2 {0}/y.wav\n",
    "feats.scp": b"u1 {0}/f.ark:3\nu2 {0}/f.ark:30\n",
    "segments": b"u1 r1 0 1.5\nu2 r2 0.5 -1\n",
    "text": b"u1 OH NO\nu2 \xc3\xa9\n",
    "utt2spk": b"u1 s\nu2 t\n",
}
PUBLISHED = {
    "an4": {
        "an4/etc/an4_train.fileids": b"a/s1/x1\na/s2/x2\n",
        "an4/etc/an4_train.transcription": b"<s> GO </s> (x1)\n(x2)\n",
        "an4/etc/an4_test.fileids": b"a/s3/x3\n",
        "an4/etc/an4_test.transcription": b"NO (x3)\n",
        **{f"an4/feat/a/s{n}/x{n}.mfc": b"" for n in (1, 2, 3)},
    },
    "librispeech": {
        f"LibriSpeech/{part}/1/2/{file}": content
        for part in ("train-clean-100", "dev-clean", "test-clean")
        for file, content in (("1-2.trans.txt", b"1-2-0000 OH NO\n"), ("1-2-0000.flac", b""))
    },
    "common-voice": {
        **{
            f"common-voice/{part}.tsv": b'client_id\tpath\tsentence\nme\ta.mp3\t"Oh," no\n'
            for part in ("train", "dev", "test")
        },
        "common-voice/clips/a.mp3": b"",
    },
    "timit": {
        f"TIMIT/{part}/DR1/{speaker}/SX1.{kind}": content
        for part, speaker in (("TRAIN", "FCJF0"), ("TEST", "MDAB0"), ("TEST", "FAKS0"))
        for kind, content in (("PHN", b"0 9 h#\n9 12 ix\n12 20 q\n20 30 pau\n"), ("WAV", b""))
    },
}
ROWS: list[dict[str, Any]] = [
    {"audio_filepath": "x.wav", "text": "a", "offset": 0, "duration": 1.5, "label": "up", "id": "1"},
    {"audio_filepath": "y.wav", "text": "", "offset": 2.5, "duration": 1, "label": "down", "id": "2"},
]


def refuses(error: BaseException) -> bool:
    """Every reader raises only DataError, which names the file."""
    return isinstance(error, DataError) and "/case" in str(error)


def prepare(folder: Path) -> None:
    """Write audio in several formats, feature files of both kinds, and prepared features."""
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, 3000)
    for name in AUDIO[:4]:
        soundfile.write(folder / name, noise, 16_000)
    soundfile.write(folder / "float.wav", noise, 16_000, subtype="FLOAT")
    soundfile.write(folder / "stereo.wav", np.stack([noise, -noise], axis=1), 16_000)
    soundfile.write(folder / "slow.wav", noise, 11_025)
    values = struct.pack(">8f", *range(8))
    (folder / "x.mfc").write_bytes(struct.pack(">i", 8) + values)
    matrix = struct.pack("<bibi", 4, 2, 4, 2)
    head = struct.pack("<ffii", 0.0, 1.0, 2, 2)
    for name, content in {
        "FM": matrix + values[:16],
        "DM": matrix + values,
        "CM": head + values[:20],
        "CM2": head + values[:8],
        "CM3": head + values[:4],
    }.items():
        (folder / f"{name}.ark").write_bytes(f"\0B{name} ".encode() + content)
    utterances = [Utterance(str(n), str(folder / "x.mfc"), "a b") for n in range(3)]
    given = {"train": utterances, "test": utterances[:1]}
    prepare_features(given, folder / "features", name="x", config=STORED)


def _damaged(case: Case, name: str) -> Path:
    path = case.copy(name)
    if case.draw(st.booleans(), "damaged"):
        path.write_bytes(mutated_bytes(path.read_bytes(), case.random()))
    return path


def audio(case: Case) -> None:
    """A mutated audio file, or a segment of it: accepted audio gives finite features and can be streamed."""
    path = str(_damaged(case, case.draw(st.sampled_from(AUDIO), "name")))
    config = FeatureConfig(
        case.draw(st.sampled_from(["fbank", "mfcc"])),
        num_bins=23,
        deltas=case.draw(st.integers(0, 2)),
        per_utterance=case.draw(st.booleans()),
        on_stereo=case.draw(st.sampled_from(["mix", "refuse"])),
        on_rate=case.draw(st.sampled_from(["resample", "refuse"])),
        on_clipping=case.draw(st.sampled_from(["accept", "refuse"])),
    )
    times = st.sampled_from([0.0, 0.0, 0.05, 0.1, 1e9])
    utterance = Utterance("x", path, start=case.draw(times), end=case.draw(st.one_of(st.none(), times)))
    speed = case.draw(st.sampled_from([0.9, 1.0, 1.0, 1.1]))
    features = extract(config, utterance, speed=speed)
    assert features.shape[1] == config.size, "wrong feature size"
    assert torch.isfinite(features).all(), "a feature is not finite"
    rate, blocks = stream_audio(path, block_seconds=0.01)
    assert sum(map(len, blocks)) >= len(features), f"the stream has too few samples at {rate} Hz"


def cut_streams(case: Case) -> None:
    """Samples in random pieces, at any rate, give the same frames as the whole."""
    config = FeatureConfig(num_bins=23, deltas=case.draw(st.integers(0, 2)))
    rate = case.draw(st.sampled_from([None, 8000, 11_025, 22_050, 44_100, 16_001]), "rate")
    count = case.draw(st.integers(0, 9000), "count")
    samples = torch.rand(count, generator=torch.Generator().manual_seed(count)) - 0.5
    whole, cut = OnlineFeatures(config, sample_rate=rate), OnlineFeatures(config, sample_rate=rate)
    expected = torch.cat([whole.accept(samples), whole.finish()])
    pieces, rest = [], samples
    for size in case.draw(st.lists(st.integers(0, 4000), max_size=8), "cuts"):
        pieces.append(cut.accept(rest[:size]))
        rest = rest[size:]
    found = torch.cat([*pieces, cut.accept(rest), cut.finish()])
    assert found.shape == expected.shape, "wrong number of frames"
    assert torch.equal(found, expected), "frames differ"


def stored_features(case: Case) -> None:
    """A mutated feature file: accepted features are finite."""
    names = ["x.mfc", "FM.ark", "DM.ark", "CM.ark", "CM2.ark", "CM3.ark"]
    path = _damaged(case, case.draw(st.sampled_from(names), "name"))
    place = case.draw(st.sampled_from([0, 0, 0, 1, 10**6]), "position")
    position = None if path.suffix == ".mfc" else place
    features = extract(STORED, Utterance("x", str(path), position=position))
    assert features.shape[1] == 4, "wrong feature size"
    assert torch.isfinite(features).all(), "a feature is not finite"


def _listed(read: Callable[[], list[Utterance]]) -> list[Utterance]:
    """Return the utterances, or an empty list if the reader reports missing files."""
    try:
        return read()
    except DataError as error:
        if "expected all files that it names" not in str(error):
            raise
        return []


def published(case: Case) -> None:
    """A published layout with one mutated file: accepted utterances have existing files."""
    name = case.draw(st.sampled_from(sorted(PUBLISHED)), "name")
    files = PUBLISHED[name]
    changed = case.draw(st.sampled_from([path for path, content in files.items() if content]), "changed")
    for path, content in files.items():
        case.write(path, mutated_bytes(content, case.random()) if path == changed else content)
    found = _listed(lambda: list(chain.from_iterable(load(name, data_dir=case.folder).values())))
    assert all(Path(utterance.path).is_file() for utterance in found), "a missing file"


def manifests(case: Case) -> None:
    """A manifest with hostile values: accepted utterances have existing files and ordered times."""
    for name in ("x.wav", "y.wav"):
        case.write(name, b"")
    chance = case.random()
    rows = mutated_tree(ROWS, chance, hostile_value) if case.draw(st.booleans()) else ROWS
    content = b"\n".join(map(dump_json, rows)) if isinstance(rows, list) else dump_json(rows)
    if case.draw(st.booleans(), "bytes"):
        content = mutated_bytes(content, chance)
    for utterance in _listed(lambda: read_manifest(case.write("list.jsonl", content))):
        assert Path(utterance.path).is_file(), "a missing file"
        assert 0 <= utterance.start < (utterance.end or float("inf")), "times out of order"


def kaldi_directories(case: Case) -> None:
    """A Kaldi data directory with one file mutated or missing."""
    for name in ("x.wav", "y.wav", "f.ark"):
        case.write(name, b"")
    changed = case.draw(st.sampled_from(sorted(KALDI)), "changed")
    for name, content in KALDI.items():
        written = content.replace(b"{0}", str(case.folder).encode())
        if name == changed:
            kind = case.draw(st.sampled_from(["mutated", "missing", "a line more"]), "kind")
            extra = case.draw(st.sampled_from([*TEXTS, *map(str, NUMBERS), "u1", "u2 r1 0 0", "r3 ls |"]))
            if kind == "missing":
                continue
            more = written + extra.encode("utf-8", "surrogatepass") + b"\n"
            written = mutated_bytes(written, case.random()) if kind == "mutated" else more
        case.write(name, written)
    features = case.draw(st.booleans(), "features")
    for utterance in _listed(lambda: read_kaldi(case.folder, features=features)):
        assert Path(utterance.path).is_file(), "a missing file"
        assert (utterance.position is not None) == features, "features and audio mixed up"


def damaged_features(case: Case) -> None:
    """A damaged file of prepared features: accepted only if the features are unchanged."""
    folder = case.copy("features")
    expected = open_prepared(case.samples / "features")
    case.damage(folder)
    found = open_prepared(folder)
    for name, part in found.parts.items():
        other = expected.parts[name]
        assert part.utterances == other.utterances, "utterances differ"
        assert part.lengths.tolist() == other.lengths.tolist(), "lengths differ"
        assert all(torch.equal(one, two) for one, two in zip(part, other, strict=True)), "features differ"

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.datasets.speech import Utterance, read_kaldi, read_manifest

KALDI = {
    "wav.scp": "r1 {0}/a.wav\nr2 {0}/b.wav\n",
    "segments": "u1 r1 0 1.5\nu2 r1 1.5 2\nu3 r2 0.25 -1\n",
    "text": "u1 OH NO\nu2\nu3 YES\nu4 NOT THERE\n",
    "utt2spk": "u1 s\nu2 s\nu3 t\n",
    "feats.scp": "u1 {0}/f.ark:17\nu2 {0}/f.ark:2044\nu3 {0}/g.mat\n",
    **dict.fromkeys(("a.wav", "b.wav", "f.ark", "g.mat"), ""),
}


def write(folder: Path, files: dict[str, str | None]) -> Path:
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(content.format(folder))
    return folder


def test_audio_of_kaldi(tmp_path: Path) -> None:
    folder = write(tmp_path, KALDI)
    a, b, places = str(folder / "a.wav"), str(folder / "b.wav"), f"{folder}/segments"
    assert read_kaldi(folder) == [
        Utterance("u1", a, "OH NO", speaker="s", end=1.5, place=f"{places}:1"),
        Utterance("u2", a, "", speaker="s", start=1.5, end=2.0, place=f"{places}:2"),
        Utterance("u3", b, "YES", speaker="t", start=0.25, place=f"{places}:3"),
    ]
    for name in ("segments", "text", "utt2spk"):
        (folder / name).unlink()
    assert read_kaldi(str(folder)) == [
        Utterance("r1", a, place=f"{folder}/wav.scp:1"),
        Utterance("r2", b, place=f"{folder}/wav.scp:2"),
    ]


def test_features_of_kaldi(tmp_path: Path) -> None:
    found = read_kaldi(write(tmp_path, KALDI), features=True)
    assert [(u.id, Path(u.path).name, u.position, u.text, u.speaker) for u in found] == [
        ("u1", "f.ark", 17, "OH NO", "s"),
        ("u2", "f.ark", 2044, "", "s"),
        ("u3", "g.mat", 0, "YES", "t"),
    ]


@pytest.mark.parametrize(
    ("changes", "features", "message"),
    [
        (
            {"wav.scp": "r1 sph2pipe -f wav x.sph |\n"},
            False,
            r"wav\.scp:1: expected a file, got a command: 'sph2pipe -f wav x\.sph \|'; run it and name",
        ),
        ({"feats.scp": "\nu1 | cat\n"}, True, r"feats\.scp:2: expected a file, got a command: .*; write the"),
        ({"feats.scp": "u1 f.ark:1[0:5]\n"}, True, r"feats\.scp:1: expected 'ARCHIVE:POSITION', got a range"),
        ({"wav.scp": "r1\n"}, False, r"wav\.scp:1: expected an id and a file, got only an id"),
        (
            {"wav.scp": "r1 x\nr2 y\nr1 z\n"},
            False,
            r"wav\.scp:3: expected unique ids, got 'r1' on line 1 too; remove one",
        ),
        (
            {"segments": "u1 r1 0\n"},
            False,
            r"segments:1: expected 'UTTERANCE RECORDING START END', got 'u1 r1",
        ),
        ({"segments": "u1 r1 2 1\n"}, False, r"segments:1: expected 'UTTERANCE RECORDING START END'"),
        ({"segments": "u1 r1 0 nan\n"}, False, r"segments:1: expected 'UTTERANCE RECORDING START END'"),
        ({"segments": "u1 r9 0 1\n"}, False, r"segments:1: expected a recording of wav\.scp, got 'r9'"),
        ({"text": "u1 a\nu3 b\n"}, False, r"text: expected a line for 'u2' \(\S+segments:2\), got none"),
        ({"wav.scp": None}, False, r"wav\.scp: expected a list of utterances, got: No such file"),
        ({"wav.scp": "\n", "segments": None}, False, r"wav\.scp: expected utterances, got none"),
        ({"a.wav": None}, False, r"wav\.scp: expected all files .* got 1 missing.*a\.wav \(\S+segments:1\)"),
    ],
)
def test_errors_in_a_kaldi_directory(tmp_path: Path, changes, features, message: str) -> None:
    folder = write(tmp_path, {**KALDI, **changes})
    with pytest.raises(DataError, match=message):
        read_kaldi(folder, features=features)


def test_a_table_of_recordings(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.wav": "", "b.wav": ""})
    path = folder / "list.csv"
    path.write_text("audio,text,label,speaker,start,end,id,note\na.wav, hi ,up,me,,,,x\na.wav,,,,1.5,2,z,\n")
    assert read_manifest(path) == [
        Utterance("a.wav", str(folder / "a.wav"), "hi", "up", "me", place=f"{path}:2"),
        Utterance("z", str(folder / "a.wav"), "", start=1.5, end=2.0, place=f"{path}:3"),
    ]


def test_a_list_as_nemo_writes_it(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.wav": "", "b.wav": ""})
    path = folder / "list.jsonl"
    rows = [
        {"audio_filepath": "a.wav", "duration": 1.5, "text": "hi", "offset": 0},
        {"audio_filepath": str(folder / "b.wav"), "duration": 0.5, "text": "ho", "offset": 2.25},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_manifest([path]) == [
        Utterance("a.wav", str(folder / "a.wav"), "hi", end=1.5, place=f"{path}:1"),
        Utterance(
            f"{folder}/b.wav@2.25",
            str(folder / "b.wav"),
            "ho",
            start=2.25,
            end=2.75,
            place=f"{path}:2",
        ),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "audio,text\nx.wav,a\na.wav,b\ny.wav,c\n",
            r"list\.csv: expected all files that it names, got 2 missing: \S+x\.wav \(\S+csv:2\), "
            r"\S+y\.wav \(\S+csv:4\); restore them or remove their lines",
        ),
        ("path,text\na.wav,b\n", r"list\.csv:1: expected a column 'audio', got a CSV file with"),
        (
            "audio,audio_filepath\na.wav,a.wav\n",
            r"expected either 'audio' or 'audio_filepath', got both; rem",
        ),
        ("audio,end,duration\na.wav,1,1\n", r"list\.csv:1: expected either 'end' or 'duration', got both"),
        ("audio,text\n,b\n", r"list\.csv:2: expected an audio file, got an empty field; remove the row"),
        ("audio,start\na.wav,soon\n", r"list\.csv:2: expected a number of seconds in 'start', got 'soon'"),
        ("audio,start\na.wav,-1\n", r"list\.csv:2: expected a number of seconds in 'start', got '-1'"),
        ("audio,end\na.wav,inf\n", r"list\.csv:2: expected a number of seconds in 'end', got 'inf'"),
        ("audio,start,end\na.wav,2,2\n", r"list\.csv:2: expected .* ends after it begins, got 2 to 2"),
        (
            "audio,text\na.wav,b\na.wav,c\n",
            r"list\.csv:3: expected unique .* got 'a\.wav' also at \S+:2; rename one",
        ),
    ],
)
def test_errors_in_a_list(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, {"a.wav": ""})
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(path)

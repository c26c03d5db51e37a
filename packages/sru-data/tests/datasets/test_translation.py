from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.datasets.translation import HOME_URL, NAMES, Pair, PairFiles, load, names_of_tests


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two parallel files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.en").write_text("one\n\ntwo words\n")
    (tmp_path / "a.de").write_text("eins\nleer\r\nzwei Wörter\n")
    return tmp_path


def test_parallel_files_are_read_line_by_line(folder: Path) -> None:
    assert list(PairFiles.parallel("a.en", "a.de").pairs()) == [
        Pair("one", ("eins",), "a.en:1"),
        Pair("", ("leer",), "a.en:2"),
        Pair("two words", ("zwei Wörter",), "a.en:3"),
    ]


def test_several_files_several_translations_compression_and_line_separators(folder: Path) -> None:
    Path("b.en.gz").write_bytes(gzip.compress("{three}\u2028\x85\n".encode()))
    Path("b.de").write_text("drei")
    files = PairFiles.parallel(["a.en", "b.en.gz"], "?.de", ["a.de", "b.de"])
    assert [str(path) for path in files.paths] == ["a.en", "b.en.gz", *["a.de", "b.de"] * 2]
    *_, last = files.pairs()
    assert last == Pair("{three}\u2028\x85", ("drei", "drei"), "b.en.gz:1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tsv", 'de\ten\tid\teN\nein "\tone "\t1\tA\n\nb c\t\t2\tB\n'),
        (
            "x.jsonl",
            '{"de": "ein \\"", "en": "one \\"", "eN": "A"}\n{"de": "b\\nc", "eN": "B", "en": null}\n',
        ),
    ],
)
def test_tables_have_a_column_per_language(folder: Path, name: str, content: str) -> None:
    Path(name).write_text(content)
    first, second = PairFiles.table(name, source="de", targets=("en", "eN")).pairs()
    assert first == Pair('ein "', ('one "', "A"), f"{name}:{2 if name == 'x.tsv' else 1}")
    assert second[:2] == ("b c", ("", "B"))


@pytest.mark.parametrize(
    ("english", "german"), [("one\ntwo\n", "eins\nzwei\ndrei\n"), ("one\ntwo", "eins\nzwei\n\n")]
)
def test_files_of_different_numbers_of_lines(folder: Path, english: str, german: str) -> None:
    Path("x.en").write_text(english)
    Path("x.de").write_text(german)
    message = (
        r"x\.de: expected 2 lines, one for each line of x\.en, got 3; line n of one must translate line n"
    )
    for sides in (("x.en", "x.de"), ("x.en", "x.en", "x.de")):
        with pytest.raises(DataError, match=message):
            list(PairFiles.parallel(*sides).pairs())
    message = r"x\.en: expected 3 lines, one for each line of x\.de, got 2;"
    with pytest.raises(DataError, match=message):
        list(PairFiles.parallel("x.de", "x.en").pairs())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\n\xe4\n", r"x\.de:2: expected text in utf-8, got the byte 0xe4 at byte 0 \(.*\); convert"),
        (b"one\ntwo\0\n", r"x\.de:2: expected text, got a NUL byte; convert the file"),
        ("one\ntwo\n".encode("utf-16"), r"x\.de: expected text in UTF-8, got UTF-16; convert it"),
        (
            b"one\n" + b"word " * 250_000,
            r"x\.de:2: expected at most 1,048,576 bytes in 'text', got 1,250,000",
        ),
        (None, r"x\.de: expected a file, got No such file or directory"),
    ],
)
def test_damaged_files(folder: Path, content: bytes | None, message: str) -> None:
    Path("x.en").write_text("one\ntwo\n")
    if content is not None:
        Path("x.de").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(PairFiles.parallel("x.en", "x.de").pairs())


def test_another_encoding(folder: Path) -> None:
    Path("x.de").write_bytes(b"\xe4\n" * 3)
    assert next(PairFiles.parallel("a.en", "x.de", encoding="cp1252").pairs()).targets == ("ä",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PairFiles.parallel("a.en"),
            r"PairFiles\.parallel: source and targets must each name a file",
        ),
        (
            lambda: PairFiles.parallel("a.en", []),
            r"PairFiles\.parallel: source and targets must each name a file",
        ),
        (lambda: PairFiles.table([]), r"PairFiles\.table: paths and targets must name .*, got \[\] and"),
        (lambda: PairFiles.table("a.tsv", targets="en"), r"PairFiles\.table: .* got 'a\.tsv' and 'en'"),
        (
            lambda: load("multi30k"),
            r"translation\.load: name must be one of multi30k-en-de, .*, got 'multi30k'",
        ),
        (lambda: load(NAMES[0], test="x"), r"test must be one of test_2016_flickr, .*, got 'x'"),
    ],
)
def test_options_without_a_meaning(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "test", "names"),
    [
        (
            "multi30k-en-de",
            "test_2017_flickr",
            ["train.lc.norm.tok", "val.lc.norm.tok", "test_2017_flickr.lc.norm.tok"],
        ),
        ("iwslt14-de-en", None, ["train", "valid", "test"]),
        ("wmt14-en-de", None, ["train", "valid", "test"]),
    ],
)
def test_a_published_set_in_the_data_folder(tmp_path: Path, name: str, test: str | None, names) -> None:
    key, source, target = name.split("-")
    folder = tmp_path / "mt" / key
    folder.mkdir(parents=True)
    for prefix in names:
        (folder / f"{prefix}.{source}").write_text(f"{prefix}\n")
        (folder / f"{prefix}.{target}.gz").write_bytes(gzip.compress(b"x\n"))
    assert names_of_tests(name)[0 if test is None else 1] == names[2].partition(".")[0]
    found = load(name, data_dir=tmp_path, test=test)
    assert list(found) == ["train", "validation", "test"]
    assert [[pair[:2] for pair in files.pairs()] for files in found.values()] == [
        [(prefix, ("x",))] for prefix in names
    ]


def test_a_set_that_is_not_there(cache: Path, tmp_path: Path) -> None:
    message = (
        r"mt/wmt14/train\.en in the data folder, got no such file; make the texts as in https://\S*wmt14"
    )
    with pytest.raises(DataError, match=message):
        load("wmt14-en-de", data_dir=tmp_path)
    message = r"mt/iwslt14/train\.de in the data folder, got no data folder; make .* data_dir or in SRU_DATA"
    with pytest.raises(DataError, match=message):
        load("iwslt14-de-en")
    with pytest.raises(DataError, match=rf"train\.lc\.norm\.tok\.en: .* save {HOME_URL}/train\.lc"):
        load("multi30k-en-de", data_dir=tmp_path)


def test_downloads_are_known_by_their_checksums(real_data: Path, cache: Path, monkeypatch) -> None:
    files: dict[str, str] = {}

    def fetch(relative: str, *, url: str, sha256: str | None, **_: object) -> Path:
        assert hashlib.sha256((real_data / relative).read_bytes()).hexdigest() == sha256
        files[relative] = url
        return real_data / relative

    monkeypatch.setattr("sru_data.datasets.sources.download", fetch)
    for test in ("test_2016_flickr", "test_2017_flickr"):
        load("multi30k-en-de", test=test)
    assert files["mt/multi30k/val.lc.norm.tok.de"] == f"{HOME_URL}/val.lc.norm.tok.de"
    assert len(files) == 8


def test_multi30k(real_data: Path) -> None:
    found = load("multi30k-de-en", data_dir=real_data, test="test_2017_flickr")
    pairs = {part: list(files.pairs()) for part, files in found.items()}
    assert {part: len(read) for part, read in pairs.items()} == {
        "train": 29_000,
        "validation": 1014,
        "test": 1000,
    }
    assert pairs["train"][0][:2] == (
        "zwei junge weiße männer sind im freien in der nähe vieler büsche .",
        ("two young , white males are outside near many bushes .",),
    )

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.datasets import classification
from sru_data.datasets.classification import Example
from sru_data.datasets.sources import Source, SourceFile

NAMES = ("negative", "positive")
PHRASES = "83b313227842ec8ae9a98550db744fb06ff8168b"
LINES = [f"{i % 3 == 0:d} sentence number {i}" for i in range(97)]


@pytest.fixture
def tiny_sets(monkeypatch: pytest.MonkeyPatch, web_server) -> dict[str, bytes]:
    """Small stand-ins for the three kinds of set, and the content of their files."""
    content = {
        "all": "\n".join(LINES).encode() + b"\n",
        "train": b"0 a\n1 b\n" * 20,
        "dev": b"0 c\n1 d\n",
        "test": b"1 e\n0 f\n1 g\n",
    }
    files = {
        name: SourceFile(f"classification/{name}", f"{web_server.url}/{name}", lines=text.count(b"\n"))
        for name, text in content.items()
    }
    content["phrases"] = b"0 a\n1 b\n1 very b\n"
    # What `git hash-object` prints.
    files["phrases"] = SourceFile("classification/phrases", f"{web_server.url}/phrases", git_blob=PHRASES)
    web_server.files |= {f"/{name}": text for name, text in content.items()}
    sources = {
        "mr": Source(files["all"]),
        "trec": Source(files["train"], test=files["test"]),
        "sst2": Source(files["train"], files["dev"], files["test"], files["phrases"]),
    }
    monkeypatch.setattr(classification, "SOURCES", classification.SOURCES | sources)
    monkeypatch.setitem(classification.LABEL_NAMES, "trec", NAMES)
    return content


@pytest.fixture
def data_dir(tiny_sets: dict[str, bytes], tmp_path: Path) -> Path:
    (tmp_path / "classification").mkdir()
    for name, text in tiny_sets.items():
        (tmp_path / "classification" / name).write_bytes(text)
    return tmp_path


def examples(*pairs: tuple[str, int]) -> list[Example]:
    return [Example(*pair) for pair in pairs]


@pytest.mark.parametrize("num_lines", [50, 0])
def test_a_truncated_file_is_an_error_that_names_both_counts(data_dir, num_lines) -> None:
    path = data_dir / "classification/all"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:num_lines]))
    with pytest.raises(DataError, match=rf"all: expected 97 lines, got {num_lines}; the file is incomplete"):
        classification.load("mr", data_dir=data_dir)


@pytest.mark.parametrize("cut", [1, 2, 9])
def test_a_file_cut_within_its_last_line_is_an_error(data_dir, cut) -> None:
    write_to = data_dir / "classification/all"
    write_to.write_bytes(write_to.read_bytes()[:-cut])
    with pytest.raises(
        DataError, match=r"all: expected 97 lines, got 96; .* download it again .*the line feed at its end"
    ):
        classification.load("mr", data_dir=data_dir)


def test_ten_folds_share_the_examples_out(data_dir) -> None:
    folds = [classification.load("mr", data_dir=data_dir, fold=fold) for fold in range(10)]
    everything = Counter(examples(*[(line[2:], int(line[0])) for line in LINES]))
    assert sum((Counter(fold.test) for fold in folds), Counter()) == everything
    for fold in folds:
        assert Counter(fold.train) + Counter(fold.validation) + Counter(fold.test) == everything


def test_folds_and_validation_are_stratified_and_of_equal_size(data_dir) -> None:
    folds = [classification.load("mr", data_dir=data_dir, fold=fold) for fold in range(10)]
    assert {len(fold.test) for fold in folds} == {9, 10}
    assert {sum(example.label for example in fold.test) for fold in folds} <= {3, 4}
    assert {len(fold.validation) for fold in folds} <= {8, 9}
    assert {sum(example.label for example in fold.validation) for fold in folds} <= {2, 3}


def test_the_parts_keep_the_order_of_the_file(data_dir) -> None:
    splits = classification.load("mr", data_dir=data_dir, fold=4)
    for part in (splits.train, splits.validation, splits.test):
        numbers = [int(example.text.split()[-1]) for example in part]
        assert numbers == sorted(numbers)


def test_the_division_is_a_function_of_seed_and_fold(data_dir) -> None:
    first = classification.load("mr", data_dir=data_dir, fold=3, seed=5)
    assert classification.load("mr", data_dir=data_dir, fold=3, seed=5) == first
    assert classification.load("mr", data_dir=data_dir, fold=3, seed=6).test != first.test
    # Hard-coded, so that a published result keeps its meaning in later versions and on other machines.
    numbers = [int(example.text.split()[-1]) for example in first.test]
    assert numbers == [4, 8, 16, 18, 33, 37, 44, 73, 79, 81]


def test_a_set_with_its_own_test_set_gets_a_tenth_for_validation(data_dir) -> None:
    splits = classification.load("trec", data_dir=data_dir)
    assert (len(splits.train), len(splits.validation)) == (36, 4)
    assert Counter(example.label for example in splits.validation) == {0: 2, 1: 2}
    assert splits.test == examples(("e", 1), ("f", 0), ("g", 1))


def test_a_set_with_all_three_parts_is_used_as_it_comes(data_dir) -> None:
    splits = classification.load("sst2", data_dir=data_dir)
    assert splits.train == examples(("a", 0), ("b", 1)) * 20
    assert splits.validation == examples(("c", 0), ("d", 1))
    assert splits.test == examples(("e", 1), ("f", 0), ("g", 1))
    assert (splits.name, splits.label_names, splits.num_classes) == ("sst2", NAMES, 2)


def test_the_files_are_downloaded_when_there_is_no_data_folder(tiny_sets, cache, web_server) -> None:
    assert len(classification.load("sst2").test) == 3
    assert web_server.requests == ["/train", "/test", "/dev"]
    assert (cache / "classification/test").read_bytes() == tiny_sets["test"]


def test_phrases_are_trained_on_and_sentences_tested_on(data_dir) -> None:
    splits, sentences = (classification.load("sst2", data_dir=data_dir, phrases=p) for p in (True, False))
    assert splits.train == examples(("a", 0), ("b", 1), ("very b", 1))
    assert (splits.validation, splits.test) == (sentences.validation, sentences.test)


def test_downloaded_phrases_are_those_of_the_repository(tiny_sets, cache, web_server) -> None:
    web_server.files["/phrases"] = b"0 a\n1 b\n1 very\n"
    with pytest.raises(
        DataError, match=rf"cannot download phrases \(expected the git blob {PHRASES}, got [0-9a-f]+\)"
    ):
        classification.load("sst2", phrases=True)
    assert not (cache / "classification/phrases").exists()
    web_server.files["/phrases"] = tiny_sets["phrases"]
    assert len(classification.load("sst2", phrases=True).train) == 3


def test_phrases_that_are_not_in_the_data_folder(data_dir) -> None:
    (data_dir / "classification/phrases").unlink()
    with pytest.raises(
        DataError, match=r"phrases: expected this file, got no such file; save http\S*/phrases as"
    ):
        classification.load("sst2", data_dir=data_dir, phrases=True)
    with pytest.raises(ValueError, match=r"phrases are for sst1 and sst2, got phrases for mr"):
        classification.load("mr", data_dir=data_dir, phrases=True)


def test_an_unknown_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(
        ValueError, match=r"name must be one of mr, cr, subj, mpqa, trec, sst1, sst2, got 'imdb'"
    ):
        classification.load("imdb")


@pytest.mark.parametrize(
    ("name", "fold", "message"),
    [
        ("mr", 10, r"fold must be 0 to 9 for mr, got 10"),
        ("mr", -1, r"fold must be 0 to 9 for mr, got -1"),
        ("trec", 1, r"trec has its own test set and no folds, got fold 1"),
        ("sst1", 1, r"sst1 has its own test set and no folds, got fold 1"),
    ],
)
def test_a_fold_that_the_set_does_not_have_is_an_error(name, fold, message) -> None:
    with pytest.raises(ValueError, match=message):
        classification.load(name, fold=fold)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("mr", [5331, 5331]),
        ("cr", [1368, 2407]),
        ("trec", [1162 + 138, 1250 + 94, 86 + 9, 1223 + 65, 835 + 81, 896 + 113]),
        ("sst1", [1092 + 139 + 279, 2218 + 289 + 633, 1624 + 229 + 389, 2322 + 279 + 510, 1288 + 165 + 399]),
        ("sst2", [3310 + 428 + 912, 3610 + 444 + 909]),
    ],
)
def test_real_sets_have_the_published_classes(real_data, name, counts) -> None:
    splits = classification.load(name, data_dir=real_data)
    labels = Counter(
        example.label for part in (splits.train, splits.validation, splits.test) for example in part
    )
    assert [labels[label] for label in range(splits.num_classes)] == counts
    assert sum(labels.values()) == sum(counts)


def test_real_cr_keeps_its_four_empty_sentences(real_data) -> None:
    splits = classification.load("cr", data_dir=real_data)
    everything = splits.train + splits.validation + splits.test
    assert len(everything) == 3775
    assert sum(not example.text for example in everything) == 4


FILES = [
    file
    for source in classification.SOURCES.values()
    for file in (source.train, source.validation, source.test, source.phrases)
]


@pytest.mark.parametrize("file", [file for file in FILES if file and file.sha256], ids=lambda file: file.path)
def test_real_files_have_the_known_checksums(real_data, file) -> None:
    if not (real_data / file.path).exists():
        pytest.skip(f"the data folder lacks {file.path}")
    content = (real_data / file.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == file.sha256


def test_the_real_mr_reads_the_same_once_converted_to_utf8(real_data, tmp_path) -> None:
    name = "classification/rt-polarity.all"
    (tmp_path / "classification").mkdir()
    (tmp_path / name).write_bytes((real_data / name).read_bytes().decode("cp1252").encode())
    assert classification.load("mr", data_dir=tmp_path) == classification.load("mr", data_dir=real_data)

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.datasets.classification import Example, Splits, load_files


def write(path: Path, rows, header=("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def mail(count: int, labels=("work", "spam", "home")) -> list[tuple[str, str]]:
    return [(f"text {number}", labels[number % len(labels)]) for number in range(count)]


def labels_of(part: list[Example]) -> Counter[object]:
    return Counter(example.label for example in part)


def test_validation_and_test_are_split_off_stratified(tmp_path) -> None:
    splits = load_files(write(tmp_path / "mail.csv", mail(300)))
    assert (splits.name, splits.label_names, splits.multi_label) == ("mail", ("home", "spam", "work"), False)
    assert labels_of(splits.test) == {0: 10, 1: 10, 2: 10}
    assert labels_of(splits.validation) == {0: 9, 1: 9, 2: 9}
    assert labels_of(splits.train) == {0: 81, 1: 81, 2: 81}
    everything = [*splits.train, *splits.validation, *splits.test]
    assert sorted(everything) == sorted(
        Example(text, splits.label_names.index(label)) for text, label in mail(300)
    )
    assert splits.notes == ()


def test_the_division_is_a_function_of_rows_seed_and_fold(tmp_path) -> None:
    path = write(tmp_path / "mail.csv", mail(90))
    assert load_files(path) == load_files(path, fold=0) == load_files(str(path), seed=0)
    assert load_files(path, seed=1).test != load_files(path).test
    # Hard-coded, so that a result keeps its meaning in later versions and on other machines.
    assert [int(example.text[5:]) for example in load_files(path).test] == NUMBERS


NUMBERS = [11, 15, 23, 31, 42, 54, 73, 85, 86]


def test_ten_folds_share_the_examples_out(tmp_path) -> None:
    path = write(tmp_path / "mail.csv", mail(95))
    folds = [load_files(path, fold=fold) for fold in range(10)]
    assert sorted(example.text for fold in folds for example in fold.test) == sorted(
        text for text, _ in mail(95)
    )
    assert {count for fold in folds for count in labels_of(fold.test).values()} <= {3, 4}


def test_classes_are_sorted_for_any_order_of_the_rows(tmp_path) -> None:
    rows = mail(60, labels=("10", "9", " 2", "-1"))
    names = load_files(write(tmp_path / "a.csv", rows)).label_names
    random.Random(0).shuffle(rows)
    assert load_files(write(tmp_path / "b.csv", rows)).label_names == names == ("-1", "2", "9", "10")
    assert load_files(write(tmp_path / "c.csv", mail(60, labels=("10", "9", "x")))).label_names == (
        "10",
        "9",
        "x",
    )


def test_given_files_are_used_as_they_come(tmp_path) -> None:
    train = write(tmp_path / "train.csv", [("a", "x"), ("b", "y"), ("", "x")])
    validation = write(tmp_path / "dev.csv", [("b", "x")])
    splits = load_files([train], validation, str(tmp_path / "dev*.csv"))
    assert splits.train == [Example("a", 0), Example("b", 1), Example("", 0)]
    assert splits.validation == splits.test == [Example("b", 0)]
    assert splits.notes == (
        "1 of 1 validation texts are training texts too",
        "1 of 1 test texts are training texts too",
        "the validation data have no example of 'y'",
        "the test data have no example of 'y'",
    )
    splits = load_files(write(tmp_path / "more.csv", mail(30)), test_file=write(tmp_path / "t.csv", mail(3)))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (27, 3, 3)


def test_a_class_of_two_keeps_one_for_training(tmp_path) -> None:
    path = write(tmp_path / "mail.csv", [*mail(20), ("rare", "z"), ("rarer", "z")])
    for seed in range(20):
        for fold in range(10):
            assert 3 in labels_of(load_files(path, seed=seed, fold=fold).train)


def test_pairs_have_a_second_text(tmp_path) -> None:
    rows = [(f"a {n}", f"b {n}", n % 2) for n in range(20)]
    splits = load_files(
        write(tmp_path / "x.csv", rows, ("one", "two", "same")),
        text_column="one",
        pair_column="two",
        label_column="same",
    )
    assert {example.pair[2:] == example.text[2:] for example in splits.train} == {True}
    assert splits.train[0]._fields == ("text", "label", "pair")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_text_may_have_several_labels_or_none(tmp_path, kind) -> None:
    labels = [["b", "a"], ["a"], [], ["c", "b", "b"]] * 30
    if kind == "csv":
        path = write(tmp_path / "x.csv", [(n, " | ".join(each)) for n, each in enumerate(labels)])
    else:
        path = tmp_path / "x.jsonl"
        path.write_text(
            "\n".join(json.dumps({"text": str(n), "label": each}) for n, each in enumerate(labels))
        )
    splits = load_files(path, label_separator="|")
    assert (splits.multi_label, splits.label_names) == (True, ("a", "b", "c"))
    assert labels_of(splits.test) == {(0, 1): 3, (0,): 3, (): 3, (1, 2): 3}


def test_rare_sets_of_labels_are_balanced_by_their_rarest_label(tmp_path) -> None:
    rows = [(n, ",".join({"a", f"b{n % 5}", f"c{n % 7}"})) for n in range(140)]
    for seed in range(5):
        splits = load_files(write(tmp_path / "x.csv", rows), label_separator=",", seed=seed)
        counts = Counter(label for example in splits.test for label in example.label)
        assert sorted(counts)[0] == 0
        assert {counts[label] for label in range(6, 13)} == {2}


def load_rows(folder: Path, rows, **options) -> Splits:
    return load_files(write(folder / "x.csv", rows), **options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"x\.csv: expected rows with texts and labels, got none; add some"),
        (
            [("a", "x"), ("b", "")],
            r"x\.csv:3: expected a label in 'label', got an empty field; add one or remove",
        ),
        (
            [("a", "x"), ("b", "y\nz")],
            r"x\.csv:3: expected a label without line ends, tabs and .* in 'label', got 'y\\nz'",
        ),
        ([("a", "x"), ("b", "x ")], r"x\.csv: expected at least two labels in 'label', got only 'x'"),
        (
            [*mail(9), ("a", "hom")],
            r"x\.csv:11: expected every label in 'label' at least twice, got 'hom' once; add examples, ",
        ),
        ([("a", "x"), ("b", "y")], r"x\.csv:2: .* got 'x' \(and 1 other\) once; add examples"),
        (
            [("a" * 65_537, "x")],
            r"x\.csv:2: expected a text of at most 65,536 bytes in 'text', got one of 65,537",
        ),
        (
            [("é" * 32_769, "x")],
            r"x\.csv:2: expected a text of at most 65,536 bytes in 'text', got one of 65,538",
        ),
    ],
)
def test_rows_that_cannot_be_learnt_are_an_error(tmp_path, rows, message) -> None:
    with pytest.raises(DataError, match=message):
        load_rows(tmp_path, rows)


def test_a_label_of_the_test_data_that_is_never_learnt_is_an_error(tmp_path) -> None:
    train = write(tmp_path / "train.csv", mail(30))
    test = write(tmp_path / "test.csv", [("a", "spam"), ("b", "span")])
    with pytest.raises(
        DataError,
        match=r"test\.csv:3: expected a label of the training data \('home', 'spam', "
        r"'work'\) in 'label', got 'span'; did you mean 'spam'\?",
    ):
        load_files(train, test_file=test)
    write(tmp_path / "test.csv", [("b", "zebra")])
    with pytest.raises(
        DataError, match=r"test\.csv:2: .* got 'zebra'; add it to the training data or remove"
    ):
        load_files(train, train, test)


def test_a_division_that_leaves_nothing_to_learn_is_an_error(tmp_path) -> None:
    rare = [("with a", "a,zz"), ("a", "a"), ("with z", "z,zz"), ("z", "z")]
    rows = [*rare, *[(f"text {n}", "mn"[n % 2]) for n in range(18)]]
    assert load_rows(tmp_path, rows, label_separator=",", seed=0).num_classes == 5
    with pytest.raises(DataError, match=r"x\.csv:2: expected enough examples of 'zz' to split, got too few"):
        load_rows(tmp_path, rows, label_separator=",", seed=3)


def test_a_missing_column_names_its_argument(tmp_path) -> None:
    path = write(tmp_path / "x.csv", mail(4), ("body", "kind"))
    with pytest.raises(DataError, match=r"a column 'text', .*; choose one of these with text_column$"):
        load_files(path)
    with pytest.raises(DataError, match=r"a column 'label', .*; choose one of these with label_column$"):
        load_files(path, text_column="body")
    with pytest.raises(DataError, match=r"a column 'other', .*; choose one of these with pair_column$"):
        load_files(path, text_column="body", label_column="kind", pair_column="other")


def test_folds_need_rows(tmp_path) -> None:
    assert len(load_rows(tmp_path, mail(4, "xy")).train) == 2
    with pytest.raises(DataError, match=r"x\.csv: expected enough rows to split, got 4; add rows, or give"):
        load_rows(tmp_path, mail(4, "xy"), fold=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pair_column": "text"}, r"load_files: the columns must differ, got 'text', 'label', 'text'"),
        ({"fold": 10}, r"load_files: fold must be 0 to 9, got 10"),
        ({"fold": 0, "test_file": "y.csv"}, r"load_files: give either fold, which takes the test data from"),
        ({"label_separator": ""}, r"load_files: label_separator must not be empty"),
    ],
)
def test_options_that_contradict_are_errors(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        load_files("x.csv", **options)

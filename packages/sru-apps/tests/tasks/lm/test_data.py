"""`LanguageModelData` without a trainer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.tasks.lm.data import LanguageModelData
from sru_apps.train.errors import UserError
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.datasets.language_modelling import from_files
from sru_data.loaders import IGNORE, StreamLoader, WindowLoader
from sru_data.token_files import prepare
from sru_data.tokenizers import ByteTokenizer, SubwordTokenizer


def make(texts: Path, **options: Any) -> LanguageModelData:
    files = {"train": "train", "validation": "valid", "test": "test"}
    named = {f"{split}_file": str(texts / f"{name}.txt") for split, name in files.items()}
    return ready(**{**named, "unit": "words", "prepared_dir": str(texts / "prepared"), **options})


def ready(**options: Any) -> LanguageModelData:
    data = LanguageModelData(**options)
    data.prepare_data()
    data.setup("fit")
    return data


def test_streams_and_windows(tiny_texts: Path) -> None:
    data = make(tiny_texts, batch_size=4, length=9, evaluation_batch_size=3)
    train, validation = data.train_dataloader(), data.val_dataloader()
    assert isinstance(train, StreamLoader)
    assert isinstance(validation, StreamLoader)
    assert (train.batch_size, train.length, train.whole) == (4, 9, False)
    assert (validation.batch_size, validation.length, validation.whole) == (3, 256, True)
    windows = make(tiny_texts, window=10).test_dataloader()
    assert isinstance(windows, WindowLoader)
    assert (windows.window, windows.stride) == (10, 5)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"evaluation_length": 10**6}, {"window": 2}, {"window": 10**6}, {"window": 10**6, "stride": 10**5}],
)
def test_sizes_beyond_the_text_need_no_memory(tiny_texts: Path, sizes: dict[str, int]) -> None:
    data = make(tiny_texts, evaluation_batch_size=10**5, **sizes)
    batches = list(data.val_dataloader())
    tokens = data.counts("validation").tokens
    assert sum(int((batch.targets != IGNORE).sum()) for batch in batches) == tokens - 1
    assert all(batch.inputs.numel() <= 2 * tokens for batch in batches)


@pytest.mark.parametrize(
    ("unit", "separator", "last"),
    [("words", "<eos>", "<eos>"), ("characters", "\n", "\n"), ("bytes", "\n", "Ċ")],
)
def test_the_document_separator(
    tiny_texts: Path, tmp_path: Path, unit: Any, separator: str, last: str
) -> None:
    """A token of the vocabulary or its text; in streams and windows, in training and evaluation."""
    folder = str(tmp_path / "prepared")
    data = make(
        tiny_texts, unit=unit, prepared_dir=folder, document_separator=separator, batch_size=2, length=9
    )
    assert data.separator is not None
    assert data.tokenizer.tokens[data.separator] == last
    inputs, _, reset = next(iter(data.train_dataloader()))
    assert (reset[1:] == (inputs[:-1] == data.separator)).all()
    assert reset[0].tolist() == [
        True,
        data.prepared.train.tokens[data.train_dataloader().steps - 1] == data.separator,
    ]
    window = make(tiny_texts, unit=unit, prepared_dir=folder, document_separator=separator, window=5)
    for loader in (data.val_dataloader(), window.test_dataloader()):
        assert sum(int(batch.reset.sum()) for batch in loader) > 10
    assert next(iter(make(tiny_texts, unit=unit, prepared_dir=folder).train_dataloader())).reset is None


@pytest.mark.parametrize(
    ("separator", "found"), [("fox dog", "2 tokens"), ("<doc>", "not in it"), ("", "not in it")]
)
def test_a_separator_that_is_not_a_token(tiny_texts: Path, separator: str, found: str) -> None:
    message = f"^document_separator must be one token of the vocabulary, got '{separator}', which is {found};"
    with pytest.raises(UserError, match=message):
        make(tiny_texts, document_separator=separator)


def test_ids_decode_to_the_text(tiny_texts: Path) -> None:
    data = make(tiny_texts)
    ids = data.prepared.test.tokens.to(torch.int64).tolist()
    assert data.tokenizer.decode(ids).strip() == (tiny_texts / "test.txt").read_text().strip()
    assert data.counts("test").tokens == len(ids)
    assert len(data.tokenizer) == 20


def test_a_given_tokenizer(tiny_texts: Path, tmp_path: Path) -> None:
    lines = (tiny_texts / "train.txt").read_text().splitlines()
    path = tmp_path / "subwords.model"
    SubwordTokenizer.train(lines, vocab_size=300, lossless=True).save(path)
    data = make(tiny_texts, unit=None, tokenizer=str(path), prepared_dir=str(tmp_path / "prepared"))
    assert (data.unit, len(data.tokenizer)) == ("subwords", 300)
    content = dump_tokenizer(data.tokenizer)
    assert parse_tokenizer(content).tokens == data.tokenizer.tokens
    again = ready(prepared_dir=str(tmp_path / "prepared"))
    assert (again.unit, again.dataset) == ("subwords", "train")
    again.load_state_dict(data.state_dict())
    assert ready(prepared_dir=str(tmp_path / "prepared"), tokenizer=str(path)).unit == "subwords"
    SubwordTokenizer.train(lines, vocab_size=290, lossless=True).save(path)
    with pytest.raises(
        UserError, match=r"was prepared with another tokenizer than that of .*subwords\.model; leave"
    ):
        ready(prepared_dir=str(tmp_path / "prepared"), tokenizer=str(path))


@pytest.mark.parametrize(
    ("option", "prepared", "given"),
    [
        ("unit", "with --data.unit words", "characters"),
        ("vocab_size", "without --data.vocab_size", 5),
        ("min_count", "with --data.min_count 1", 2),
        ("lowercase", "with --data.lowercase False", True),
    ],
)
def test_a_prepared_folder_fixes_its_options(
    tiny_texts: Path, option: str, prepared: str, given: Any
) -> None:
    make(tiny_texts)
    folder = tiny_texts / "prepared"
    with pytest.raises(UserError, match=f"was prepared {prepared}, got {given}; leave the option out, or"):
        ready(prepared_dir=str(folder), **{option: given})
    assert ready(prepared_dir=str(folder), unit="words").unit == "words"


def test_another_vocabulary_is_refused(tiny_texts: Path) -> None:
    data = make(tiny_texts)
    state = {**data.state_dict(), "digest": "of another one"}
    with pytest.raises(
        DataError, match=r"\(20 words\) does not match the checkpoint's \(20 words\); use the"
    ):
        data.load_state_dict(state)


def test_a_folder_without_a_unit(tiny_texts: Path, tmp_path: Path) -> None:
    corpus = from_files(str(tiny_texts / "train.txt"))
    prepare(corpus, tmp_path / "prepared", tokenizer=ByteTokenizer())
    with pytest.raises(UserError, match=r"does not say what its tokens are; give --data.unit"):
        ready(prepared_dir=str(tmp_path / "prepared"))


def test_several_files_compressed_and_json_lines(tiny_texts: Path, tmp_path: Path) -> None:
    lines = (tiny_texts / "train.txt").read_text().splitlines(keepends=True)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("".join(lines[:40]).encode()))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("".join(lines[40:]).encode()))
    records = "".join(json.dumps({"body": line.rstrip("\n")}) + "\n" for line in lines[40:])
    (tmp_path / "b.jsonl").write_text(records)
    expected = make(tiny_texts).prepared.train.tokens
    named = [str(tmp_path / "a.txt.gz"), str(tmp_path / "b.jsonl")]
    for number, options in enumerate(
        [{"train_file": str(tmp_path / "*.txt.gz")}, {"train_file": named, "text_field": "body"}]
    ):
        data = make(tiny_texts, **options, prepared_dir=str(tmp_path / str(number)))
        assert torch.equal(data.prepared.train.tokens, expected)
    with pytest.raises(DataError, match=r"b.jsonl:1: .* 'text', got only the fields body; choose one"):
        make(tiny_texts, train_file=named, prepared_dir=str(tmp_path / "none"))


def test_another_encoding(tiny_texts: Path, tmp_path: Path) -> None:
    text = (tiny_texts / "train.txt").read_text().replace("fox", "fóx")
    for encoding in ("utf-8", "cp1252"):
        (tmp_path / encoding).write_text(text, encoding=encoding)
    ours, theirs = (
        make(
            tiny_texts,
            train_file=str(tmp_path / encoding),
            encoding=encoding,
            prepared_dir=str(tmp_path / f"{encoding} prepared"),
        )
        for encoding in ("cp1252", "utf-8")
    )
    assert torch.equal(ours.prepared.train.tokens, theirs.prepared.train.tokens)
    with pytest.raises(ValueError, match="encoding must be one that Python supports and that extends ASCII"):
        make(tiny_texts, encoding="utf-7", prepared_dir=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("files", "group"),
    [
        ("books/moby.dick.txt", "moby"),
        (["b.jsonl", "a.txt"], "b"),
        ("books/*.txt", "books"),
        ("*.txt", "files"),
    ],
)
def test_the_run_folder_is_named_after_the_files(files: Any, group: str) -> None:
    assert LanguageModelData(train_file=files).group == group


def test_a_pattern_without_a_match(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\*\.txt: expected files whose names match this pattern, got none"):
        ready(train_file=str(tmp_path / "*.txt"), prepared_dir=str(tmp_path / "prepared"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_file": []}, "--data.train_file must name a file, got an empty list"),
        ({"train_file": "x", "test_file": []}, "--data.test_file must name a file, got an empty list"),
        (
            {"name": "ptb", "text_field": "body"},
            "text_field is for your own files; give --data.train_file",
        ),
        ({"name": "ptb", "encoding": "cp1252"}, "encoding is for your own files; give --data.train_file"),
    ],
)
def test_invalid_file_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LanguageModelData(**options)


def test_a_test_file_needs_a_train_file() -> None:
    with pytest.raises(UserError, match="validation_file and test_file need a train_file"):
        LanguageModelData(name="ptb", test_file="x")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, r"^\S*x\.txt: expected some text, got an empty one; give a text with content$"),
        (
            b"caf\xe9 noir\n" * 99,
            {},
            r"^\S*x\.txt: expected text in utf-8, got the byte 0xe9 at byte 3 .*; convert",
        ),
        (b"\n" * 99, {}, r"^cannot build a vocabulary from \S*x\.txt: .* occurs at least 1 times, got none$"),
        (
            b"a word\n" * 99,
            {"batch_size": 300},
            r"the train split of x: .* at least 301 tokens for 300 streams, got 270; give a longer",
        ),
    ],
)
def test_texts_that_cannot_be_prepared(
    tmp_path: Path, content: bytes, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    folder = str(tmp_path / "prepared")
    with pytest.raises((DataError, UserError), match=message):
        ready(
            train_file=str(tmp_path / "x.txt"), unit="words", prepared_dir=folder, **options
        ).train_dataloader()


def test_nothing_is_read_before_prepare_data(tmp_path: Path) -> None:
    data = LanguageModelData(train_file=str(tmp_path / "none.txt"), unit="words")
    assert data.tokenizer is None
    with pytest.raises(DataError, match=r"none\.txt"):
        data.prepare_data()

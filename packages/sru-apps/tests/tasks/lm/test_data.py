"""What a `LanguageModelData` gives without a trainer around it."""

from __future__ import annotations

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
    return ready(**named, **{"unit": "words", "prepared_dir": str(texts / "prepared"), **options})


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
def test_sizes_beyond_the_text_take_no_memory(tiny_texts: Path, sizes: dict[str, int]) -> None:
    data = make(tiny_texts, evaluation_batch_size=10**5, **sizes)
    batches = list(data.val_dataloader())
    tokens = data.counts("validation").tokens
    assert sum(int((batch.targets != IGNORE).sum()) for batch in batches) == tokens - 1
    assert all(batch.inputs.numel() <= 2 * tokens for batch in batches)


def test_the_text_is_read_back(tiny_texts: Path) -> None:
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


def test_another_vocabulary_is_refused(tiny_texts: Path) -> None:
    data = make(tiny_texts)
    state = {**data.state_dict(), "digest": "of another one"}
    with pytest.raises(
        DataError, match=r"\(20 words\) does not match the checkpoint's \(20 words\); use the"
    ):
        data.load_state_dict(state)


def test_a_folder_that_does_not_say_its_unit(tiny_texts: Path, tmp_path: Path) -> None:
    corpus = from_files(str(tiny_texts / "train.txt"))
    prepare(corpus, tmp_path / "prepared", tokenizer=ByteTokenizer())
    with pytest.raises(UserError, match=r"does not say what its tokens are; give --data.unit"):
        ready(prepared_dir=str(tmp_path / "prepared"))


def test_a_file_that_goes_with_nothing() -> None:
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
        (b"\n" * 99, {}, r"^no vocabulary can be made of \S*x\.txt: .* occurs at least 1 times, got none$"),
        (
            b"a word\n" * 99,
            {"batch_size": 300},
            r"the train split of x: .* at least 301 tokens for 300 streams, got 270; give a longer",
        ),
    ],
)
def test_a_text_of_which_nothing_can_be_made(
    tmp_path: Path, content: bytes, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    folder = str(tmp_path / "prepared")
    with pytest.raises((DataError, UserError), match=message):
        ready(
            train_file=str(tmp_path / "x.txt"), unit="words", prepared_dir=folder, **options
        ).train_dataloader()


def test_nothing_is_read_before_it_is_set_up(tmp_path: Path) -> None:
    data = LanguageModelData(train_file=str(tmp_path / "none.txt"), unit="words")
    assert data.tokenizer is None
    with pytest.raises(DataError, match=r"none\.txt"):
        data.prepare_data()

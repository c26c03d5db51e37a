from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_apps.tasks.chat.data import ChatData
from sru_apps.tasks.chat.tokenizer import DialogueTokenizer, Lesson
from sru_apps.train.errors import UserError
from sru_data import DataError
from sru_data.datasets.dialogues import Turn
from sru_data.loaders import IGNORE
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer

SENTENCES = [
    f"{how} {who} said {what}" for how in ("so", "then") for who in "abcdef" for what in ("yes", "no")
]


def write(path: Path, *pairs: tuple[str, str]) -> str:
    path.write_text("".join(json.dumps({"user": user, "bot": bot}) + "\n" for user, bot in pairs))
    return str(path)


def make(path: str | list[str], **options: Any) -> ChatData:
    data = ChatData(path, **options)
    data.setup("fit")
    return data


@pytest.fixture
def talk(tmp_path: Path) -> str:
    return write(tmp_path / "talk.jsonl", *((f"what {text}?", text) for text in SENTENCES))


def test_every_twentieth_dialogue_is_held_out(talk: str) -> None:
    train, validation = make(talk).dialogues
    assert [dialogue[0].bot for dialogue in validation] == [SENTENCES[19]]
    assert [dialogue[0].bot for dialogue in train] == [*SENTENCES[:19], *SENTENCES[20:]]


def test_the_last_of_few_dialogues_is_held_out(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.jsonl", ("a", "b"), ("c", "d"))
    assert make(path).dialogues == ([(Turn("a", "b"),)], [(Turn("c", "d"),)])


def test_several_files_in_several_formats(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ("a", "b"))
    (tmp_path / "b.json").write_text(json.dumps([{"instruction": "c", "output": "d"}]))
    expected = [(Turn("a", "b"),)], [(Turn("c", "d"),)]
    for files in ([str(tmp_path / "a.jsonl"), str(tmp_path / "b.json")], str(tmp_path / "?.json*")):
        assert make(files).dialogues == expected
    assert ChatData(["talks/a.jsonl", "b.json"]).group == "a"
    for options in ({"train_file": []}, {"train_file": "a", "validation_file": []}):
        with pytest.raises(UserError, match="must name a file, got an empty list"):
            ChatData(**options)


def test_one_dialogue_cannot_be_split(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.jsonl", ("a", "b"))
    with pytest.raises(DataError, match=r"expected at least two dialogues, one of them for validation, got"):
        make(path)
    other = write(tmp_path / "other.jsonl", ("c", "d"))
    assert make(path, validation_file=other).dialogues == ([(Turn("a", "b"),)], [(Turn("c", "d"),)])


def test_only_the_bots_text_is_learnt() -> None:
    tokenizer = DialogueTokenizer(CharTokenizer.train(["ab"]))
    a, b = tokenizer.encode("ab")
    user, bot, end = tokenizer.user_id, tokenizer.bot_id, tokenizer.end_id
    item = tokenizer.encode_dialogue((Turn("a", "bb"), Turn(None, "a")))
    assert item.inputs.tolist() == [user, a, bot, b, b, end, bot, a]
    assert item.targets.tolist() == [IGNORE, IGNORE, b, b, end, IGNORE, a, end]


def test_a_long_dialogue_is_truncated(tmp_path: Path) -> None:
    data = make(write(tmp_path / "talk.jsonl", *[("a", "bb")] * 2), max_length=4)
    (item,) = data.parts["train"]
    a, b = data.tokenizer.encode("ab")
    user, bot = data.tokenizer.user_id, data.tokenizer.bot_id
    assert item.inputs.tolist() == [user, a, bot, b]
    assert item.targets.tolist() == [IGNORE, IGNORE, b, b]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_padding_is_never_learnt(lengths: list[int]) -> None:
    items = [Lesson(torch.arange(1, n + 1), torch.arange(2, n + 2)) for n in lengths]
    batch = ChatData.collate(items)
    assert batch.inputs.shape == batch.targets.shape == (max(lengths), len(lengths))
    for column, item in enumerate(items):
        size = len(item.inputs)
        assert torch.equal(batch.inputs[:size, column], item.inputs)
        assert torch.equal(batch.targets[:size, column], item.targets)
        assert (batch.inputs[size:, column] == 0).all()
        assert (batch.targets[size:, column] == IGNORE).all()


def test_batches_contain_every_dialogue_once(talk: str) -> None:
    data = make(talk, batch_size=5)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    said = [
        data.tokenizer.decode(column[column != IGNORE].tolist())
        for batch in batches
        for column in batch.targets.t()
    ]
    assert sorted(said) == sorted(dialogue[0].bot for dialogue in data.dialogues[0])


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        ("bytes", ByteTokenizer),
        ("characters", CharTokenizer),
        ("words", WordTokenizer),
        ("subwords", SubwordTokenizer),
    ],
)
def test_units(talk: str, unit, kind: type[Tokenizer]) -> None:
    data = make(talk, unit=unit, vocab_size=275 if unit == "subwords" else None)
    assert isinstance(data.tokenizer.text, kind)
    assert len(data.tokenizer) == len(data.tokenizer.text) + 3
    (batch,) = data.val_dataloader()
    answer = batch.targets[batch.targets != IGNORE].tolist()
    assert answer[-1] == data.tokenizer.end_id
    assert data.tokenizer.decode(answer).strip() == SENTENCES[19]


def test_a_given_tokenizer(talk: str, tmp_path: Path) -> None:
    CharTokenizer.train(["so then"]).save(tmp_path / "tokenizer.json")
    data = make(talk, tokenizer=str(tmp_path / "tokenizer.json"))
    assert sorted(data.tokenizer.text.tokens[2:]) == sorted({*"so then"})


@pytest.mark.parametrize("unit", ["bytes", "subwords"])
def test_a_checkpoint_contains_its_tokenizer(talk: str, unit) -> None:
    data = make(talk, unit=unit, vocab_size=275)
    elsewhere = ChatData("gone.jsonl", unit=unit)
    elsewhere.load_state_dict(data.state_dict())
    assert elsewhere.tokenizer.tokens == data.tokenizer.tokens
    data.load_state_dict(data.state_dict())


def test_another_vocabulary_is_refused(talk: str, tmp_path: Path) -> None:
    state = make(talk, unit="characters").state_dict()
    data = make(write(tmp_path / "other.jsonl", ("x", "y"), ("x", "z")), unit="characters")
    assert len(data.tokenizer) == 7
    with pytest.raises(DataError, match=r"the tokens of other differ from those this checkpoint was"):
        data.load_state_dict(state)


def test_no_answer_within_max_length(talk: str) -> None:
    with pytest.raises(DataError, match=r"expected an answer within the first 3 tokens of some dialogue"):
        make(talk, max_length=3)


@pytest.mark.parametrize("option", ["batch_size", "max_length"])
def test_sizes(talk: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be at least 1, got 0"):
        ChatData(talk, **{option: 0})

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_apps.tasks.chat.tokenizer import MARKERS, DialogueTokenizer
from sru_data.datasets.dialogues import Turn
from sru_data.loaders import IGNORE
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, load_tokenizer

LETTERS = st.text("abc", min_size=1, max_size=5)
DIALOGUES = st.lists(st.builds(Turn, st.none() | LETTERS, LETTERS), min_size=1, max_size=4).map(tuple)
TOKENIZER = DialogueTokenizer(CharTokenizer.train(["abc"]))


def test_the_tokenizer_protocol() -> None:
    assert isinstance(TOKENIZER, Tokenizer)
    assert TOKENIZER.tokens == ["[PAD]", "[UNK]", "a", "b", "c", *MARKERS]
    assert len(TOKENIZER) == len(TOKENIZER.tokens) == 8
    assert (TOKENIZER.pad_id, TOKENIZER.unk_id) == (0, 1)
    assert [TOKENIZER.tokens[i] for i in (TOKENIZER.user_id, TOKENIZER.bot_id, TOKENIZER.end_id)] == [
        *MARKERS
    ]


@given(DIALOGUES)
def test_learnt_tokens_decode_to_the_bots_text(dialogue) -> None:
    targets = TOKENIZER.encode_dialogue(dialogue).targets
    learnt = targets[targets != IGNORE].tolist()
    said, ends = [], [place for place, index in enumerate(learnt) if index == TOKENIZER.end_id]
    for begin, end in zip([0, *(place + 1 for place in ends)], ends, strict=False):
        said.append(TOKENIZER.decode(learnt[begin:end]))
    assert said == [turn.bot for turn in dialogue]
    assert targets[-1] == TOKENIZER.end_id


@given(DIALOGUES)
def test_the_other_tokens_are_the_questions(dialogue) -> None:
    inputs, targets, _ = TOKENIZER.encode_dialogue(dialogue)
    learnt = torch.cat([torch.tensor([IGNORE]), targets[:-1]])
    read = inputs[learnt == IGNORE].tolist()
    assert read == [index for turn in dialogue for index in TOKENIZER.encode_question(turn.user)]


def test_a_question() -> None:
    assert TOKENIZER.encode_question("ab") == [TOKENIZER.user_id, 2, 3, TOKENIZER.bot_id]
    assert TOKENIZER.encode_question(None) == TOKENIZER.encode_question("") == [TOKENIZER.bot_id]


def test_text_cannot_spell_a_marker() -> None:
    tokenizer = DialogueTokenizer(ByteTokenizer())
    ids = tokenizer.encode("<user> [PAD] <end>")
    assert max(ids) < tokenizer.user_id
    assert tokenizer.decode([tokenizer.user_id, *ids, tokenizer.end_id]) == "<user> [PAD] <end>"


def test_the_text_tokenizer_is_saved(tmp_path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    assert DialogueTokenizer(load_tokenizer(tmp_path / "tokenizer.json")).tokens == TOKENIZER.tokens

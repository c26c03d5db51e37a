"""The file with both tokenizers of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.tokenizers import SentenceTokenizer, SubwordTokenizer, TextForm, WordTokenizer

WORDS = SentenceTokenizer(WordTokenizer.from_words(["a", "small", "house"]))
OTHERS = SentenceTokenizer(WordTokenizer.from_words(["ein", "kleines", "haus", "am", "see"]))


def subwords() -> SentenceTokenizer:
    return SentenceTokenizer(SubwordTokenizer.train(["ein kleines haus", "ein see"], vocab_size=24))


@pytest.mark.parametrize("source", [lambda: WORDS, subwords])
def test_save_and_read(source: object) -> None:
    pair = TokenizerPair(source(), OTHERS)  # type: ignore[operator]
    again = parse_tokenizer(dump_tokenizer(pair), TokenizerPair.read)
    assert (again.source.form, again.target.form) == (TextForm(), TextForm())
    assert not again.joint
    assert again.source.tokens == pair.source.tokens
    assert again.tokens == OTHERS.tokens
    assert again.unit == "words"
    assert (len(again), again.bos_id, again.eos_id) == (len(OTHERS), len(OTHERS) - 2, len(OTHERS) - 1)
    assert again.encode("ein kleines haus") == pair.source.encode("ein kleines haus")
    ids = [again.bos_id, *OTHERS.encode("ein haus"), again.eos_id, again.pad_id]
    assert again.decode(ids) == "ein haus"


def test_a_shared_vocabulary_stays_one_object() -> None:
    forms = TextForm(moses="en"), TextForm(moses="de", lowercase=True)
    pair = TokenizerPair(*(SentenceTokenizer(WORDS.text, form) for form in forms))
    again = parse_tokenizer(dump_tokenizer(pair), TokenizerPair.read)
    assert again.joint
    assert (again.source.form, again.target.form) == forms
    assert TokenizerPair(WORDS, subwords()).unit == "subwords"
    assert again.source.tokens == WORDS.tokens


@pytest.mark.parametrize(
    "content",
    ["", "[1]", '{"source": 3, "target": null}', '{"source": "{}", "target": null}', '{"target": "x"}'],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(DataError, match="expected a"):
        TokenizerPair.read(path)

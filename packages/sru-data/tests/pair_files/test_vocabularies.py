from __future__ import annotations

import pytest

from sru_data.datasets.translation import PairFiles
from sru_data.pair_files import VocabularyConfig, vocabularies

SPECIAL = ["[PAD]", "<unk>"]
MARKERS = ["<s>", "</s>"]


def test_words_of_two_languages_and_of_both(sources) -> None:
    source, target = VocabularyConfig("words").learn(sources["train"])
    assert source.tokens == [*SPECIAL, "rain", "and", "falls", "snow", "the", *MARKERS]
    assert target.tokens == [*SPECIAL, "Regen", "der", "Schnee", "fällt", "und", *MARKERS]
    source, target = VocabularyConfig("words", min_count=2, lowercase=True, joint=True).learn(
        sources["train"]
    )
    assert source is target
    assert source.tokens == [*SPECIAL, "rain", "regen", "der", *MARKERS]
    source, _ = VocabularyConfig("words", size=4).learn(sources["train"])
    assert source.tokens == [*SPECIAL, "rain", "and", *MARKERS]


def test_no_word_is_decoded_as_a_line_end(write) -> None:
    source, _ = VocabularyConfig("words").learn(write("x", "a <eos> b [PAD] <unk>\n", "x\n"))
    assert source.tokens == [*SPECIAL, "a", "b", *MARKERS]
    assert source.decode(source.encode("a <eos> b [PAD]")) == "a <unk> b <unk>"


def test_characters_and_subwords(sources) -> None:
    source, _ = VocabularyConfig("characters").learn(sources["train"])
    assert source.decode(source.encode("the rain")) == "the rain"
    for joint in (False, True):
        config = VocabularyConfig("subwords", size=24, model_type="bpe", joint=joint)
        source, target = config.learn(sources["train"])
        assert (source is target) == joint
        assert target.decode(target.encode("der Regen")) == "der Regen"
        assert set("".join(source.text.tokens)) >= set("therain" + joint * "Schn")


def test_pairs_that_are_not_trained_on_do_not_count(write) -> None:
    source, target = VocabularyConfig("words").learn(write("x", "a\n \nb\n", "x\ny\n\n"))
    assert (source.tokens, target.tokens) == ([*SPECIAL, "a", *MARKERS], [*SPECIAL, "x", *MARKERS])


@pytest.mark.parametrize("joint", [False, True])
def test_subwords_are_learned_from_pairs_spread_over_the_files(write, monkeypatch, joint: bool) -> None:
    seen = []

    class Learner:
        @classmethod
        def train(cls, texts, **options):
            seen.append(list(texts))
            return VocabularyConfig("characters")._tokenizer(iter([("a",)]))

    monkeypatch.setattr(vocabularies, "SubwordTokenizer", Learner)
    # Every fourth pair is left: of 10 characters for the two languages together, or of 5 for each.
    monkeypatch.setattr(vocabularies, "_SAMPLE_CHARACTERS", 10 if joint else 5)
    files = write("x", *("".join(f"{side}{number}\n" for number in range(8)) for side in "st"))
    VocabularyConfig(size=9, joint=joint).learn(files)
    sides = [["s0", "s4"], ["t0", "t4"]]
    assert seen == ([["s0", "t0", "s4", "t4"]] if joint else sides)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "bytes"}, r"unit must be 'words', 'characters' or 'subwords', got 'bytes'"),
        ({}, r"subwords need a size, got None; 8000 is usual for 100,000 pairs"),
        ({"unit": "words", "model_type": "bpe"}, r"model_type is an option of subwords, not of words"),
        ({"size": 9, "min_count": 2}, r"min_count is an option of words and characters, not of subwords"),
        (
            {"unit": "characters", "lowercase": True},
            r"lowercase is an option of words, not of characters",
        ),
    ],
)
def test_options_without_a_meaning(options, message: str) -> None:
    with pytest.raises(ValueError, match=rf"VocabularyConfig: {message}"):
        VocabularyConfig(**options)


def test_texts_without_such_a_vocabulary(write) -> None:
    files: PairFiles = write("x", "a b\n", "c d\n")
    with pytest.raises(ValueError, match=r"must contain a token that occurs at least 2 times, got none"):
        VocabularyConfig("words", min_count=2).learn(files)
    with pytest.raises(ValueError, match=r"cannot learn vocab_size=3 pieces from this text"):
        VocabularyConfig(size=3).learn(files)

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
    assert source.text is target.text
    assert source.tokens == [*SPECIAL, "rain", "regen", "der", *MARKERS]
    source, _ = VocabularyConfig("words", size=4).learn(sources["train"])
    assert source.tokens == [*SPECIAL, "rain", "and", *MARKERS]


def test_sentences_are_lower_cased_and_tokenized_before_tokens_are_learned(write) -> None:
    pytest.importorskip("sacremoses", reason="it implements Moses' tokenization")
    files = write("x", "The dog's Ball, 'e.g.' red!\n", "Der Ball des Hundes (z.B. rot).\n")
    how = {"pretokenizer": "moses", "source_language": "en", "target_language": "de", "lowercase": True}
    source, target = VocabularyConfig("words", **how).learn(files)
    words = "the dog &apos;s ball , &apos; e.g. &apos; red !"
    assert set(source.tokens[2:-2]) == set(words.split())
    assert set(target.tokens[2:-2]) == set(["der", "ball", "des", "hundes", "(", "z.b.", "rot", ")", "."])
    for unit, size in (("words", None), ("characters", None), ("subwords", 60)):
        pair = VocabularyConfig(unit, size=size, joint=True, **how).learn(files)
        assert pair.joint
        assert pair.source.encode("The DOG's ball") == pair.source.encode("the dog &apos;s ball")
        assert pair.target.decode(pair.target.encode("(z.B. rot).")) == "( z.b. rot ) ."
        assert pair.forms == {"source": pair.source.form, "target": pair.target.form}
        assert (pair.source.form.moses, pair.target.form.moses) == ("en", "de")


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
        assert (source.text is target.text) == joint
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
    # Every fourth pair is used, for 10 characters of both languages together or 5 of each.
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
        ({"unit": "words", "pretokenizer": "penn"}, r"pretokenizer must be 'moses' or 'none', got 'penn'"),
        (
            {"unit": "words", "pretokenizer": "moses", "source_language": "en"},
            r"the pretokenizer moses needs source_language and target_language, .*, got 'en' and None",
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

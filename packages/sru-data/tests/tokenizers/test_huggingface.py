from __future__ import annotations

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors, trainers

from sru_data.tokenizers import HuggingFaceTokenizer, load_tokenizer
from sru_data.tokenizers.huggingface import most_frequent


def bert_like() -> tokenizers.Tokenizer:
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[UNK]": 2, "un": 3, "##able": 4, "able": 5}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    return backend


def byte_level() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(["low lower lowest"] * 5, trainer)
    return backend


def test_padding_is_moved_to_0_and_unknown_to_1() -> None:
    tokenizer = HuggingFaceTokenizer(bert_like())
    assert tokenizer.tokens == ["[PAD]", "[UNK]", "[CLS]", "un", "##able", "able"]
    assert tokenizer.encode("unable able zzz") == [3, 4, 5, 1]
    assert tokenizer.decode([0, 5, 0]) == "able"


@pytest.mark.parametrize("names", [("<pad>", "<unk>"), ("[PAD]", "[UNK]"), ("<|fill|>", "<|what|>")])
def test_padding_and_unknown_are_found_under_other_names(names) -> None:
    pad, unk = names
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, unk: 1, "b": 2, pad: 3}, unk_token=unk))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.enable_padding(pad_id=3, pad_token=pad)
    tokenizer = HuggingFaceTokenizer(backend)
    assert tokenizer.tokens == [pad, unk, "a", "b"]
    assert tokenizer.encode("b a c") == [3, 2, 1]


def test_a_tokenizer_without_padding_and_unknown_gets_them() -> None:
    backend = byte_level()
    tokenizer = HuggingFaceTokenizer(backend)
    assert len(tokenizer) == backend.get_vocab_size() + 2
    assert tokenizer.tokens[:2] == ["[PAD]", "[UNK]"]
    assert tokenizer.encode("lower") == [index + 2 for index in backend.encode("lower").ids]
    assert tokenizer.decode([0, 1, *tokenizer.encode("lowest ☃"), 0]) == "lowest ☃"
    assert tokenizer.encode("") == [1]


def test_its_own_padding_and_truncation_are_not_applied_but_saved(tmp_path) -> None:
    backend = bert_like()
    backend.enable_padding(length=10)
    backend.enable_truncation(2)
    tokenizer = HuggingFaceTokenizer(backend)
    assert tokenizer.encode("able able able") == [5, 5, 5]
    tokenizer.save(tmp_path / "tokenizer.json")
    saved = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert saved.padding["length"] == 10
    assert saved.truncation["max_length"] == 2


@pytest.mark.parametrize("make", [bert_like, byte_level])
def test_any_tokenizer_file_is_loaded(tmp_path, make) -> None:
    backend = make()
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded, made = load_tokenizer(tmp_path / "tokenizer.json"), HuggingFaceTokenizer(backend)
    assert loaded.tokens == made.tokens
    assert loaded.encode("unable lower") == made.encode("unable lower")


COUNTS = {"c": 5, "a": 2, "b": 2, "<eos>": 1, "d": 1, "?": 9}
SPECIAL = ("-", "?")


def test_the_most_frequent_come_first_and_equal_ones_by_alphabet() -> None:
    assert list(most_frequent(COUNTS, special=SPECIAL)) == ["-", "?", "c", "a", "b", "<eos>", "d"]
    assert list(most_frequent(COUNTS, special=SPECIAL).values()) == list(range(7))


def test_some_are_kept_however_rare() -> None:
    def kept(**limits: int) -> list[str]:
        return list(most_frequent(COUNTS, special=SPECIAL, always=("<eos>",), **limits))

    assert kept(min_count=2) == ["-", "?", "c", "a", "b", "<eos>"]
    assert kept(max_size=5) == ["-", "?", "c", "a", "<eos>"]
    assert kept(max_size=7) == kept() == ["-", "?", "c", "a", "b", "<eos>", "d"]
    assert list(most_frequent({"c": 1}, special=SPECIAL, always=("<eos>",))) == ["-", "?", "c", "<eos>"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, r"min_count must be at least 1, got 0"),
        ({"max_size": 2}, r"max_size must be at least 3 \(padding, unknown, a token\), got 2"),
        (
            {"max_size": 3, "always": ("<eos>",)},
            r"max_size must be at least 4 \(padding, unknown, <eos>, a token\), got 3",
        ),
        ({"min_count": 6}, r"texts must contain a token that occurs at least 6 times, got none"),
    ],
)
def test_limits_that_leave_nothing_are_errors(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        most_frequent(COUNTS, special=SPECIAL, **options)

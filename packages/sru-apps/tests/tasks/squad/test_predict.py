"""A trained reader in Python."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

import sru_apps
from sru_apps.tasks.squad import predict, texts
from sru_apps.tasks.squad.batches import ReaderInput
from sru_apps.tasks.squad.layers import Scores
from sru_apps.tasks.squad.model import ReaderConfig, build_reader
from sru_apps.tasks.squad.predict import NO_ANSWER, NO_SCORE, NOTHING_KNOWN, Answer, QuestionAnswerer
from sru_apps.train.errors import UserError
from sru_apps.train.export import export_model
from sru_data.annotation import Annotated
from sru_data.tokenizers import ByteTokenizer, WordTokenizer

TOKENIZER = WordTokenizer.from_words(
    ["the", "cat", "sat", "on", "a", "mat", ".", "where", "who", "needle", "?"]
)
ENTRIES: dict[str, Any] = {"annotator": {"features": "none"}, "tags": [], "entities": []}
SIZES = {
    "vocab_size": len(TOKENIZER),
    "embedding_size": 4,
    "num_features": 3,
    "hidden_size": 3,
    "num_layers": 1,
}


def untrained(**options: Any) -> QuestionAnswerer:
    torch.manual_seed(0)
    return QuestionAnswerer(build_reader(ReaderConfig(**{**SIZES, **options})), TOKENIZER, ENTRIES)


class Pointer(nn.Module):
    """A network that finds the needle and records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ReaderConfig(**SIZES)
        self.weight = nn.Parameter(torch.zeros(()))
        self.inputs: list[ReaderInput] = []

    def forward(self, inputs: ReaderInput) -> Scores:
        self.inputs.append(inputs)
        is_needle = (inputs.document == TOKENIZER.ids_of(["needle"])[0]).t().float()
        scores: Tensor = 20 * is_needle
        if inputs.document_mask is not None:
            scores = scores.masked_fill(inputs.document_mask.t(), -torch.inf)
        return Scores(scores, scores, None)


POINTER = QuestionAnswerer(Pointer(), TOKENIZER, ENTRIES)
ANY = st.text(st.characters(exclude_categories=()), max_size=30)


@given(ANY, ANY)
@example("\u201cCurly\u2019s\u201d\u2014dash\u2026 ", "")
@example("lines\nfeeds\r\nand\ttabs \u00a0no\u00a0break\u202f", "\x00\x1b")
@example(
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea e\u0301 ",
    "\u05e9\u05dc\u05d5\u05dd \u202eabc",
)
@example("\ud83d", "\ude00\ufeff")
def test_offsets_refer_to_the_given_passage(before: str, after: str) -> None:
    passage = f"{before} needle {after}"
    (found,) = POINTER.answer(passage, "Where?")
    assert found.text == passage[found.start : found.end] == "needle"
    assert found.start == passage.index(" needle ") + 1
    assert found.note is None
    for answer in POINTER.answer(passage, "Where?", k=20):
        assert answer.text
        assert answer.text == passage[answer.start : answer.end] == answer.text.strip()


@pytest.mark.usefixtures("one_thread")
def test_batching_keeps_order_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = untrained()
    passages = ["the cat sat on a mat .", "", "who", "cat " * 400, "A zebra sat.", "  \n"]
    pairs = [(passage, question) for passage in passages for question in ("who?", "where on the mat", " ")]
    alone = [model.answer(*pair)[0] for pair in pairs]
    for module in (predict, texts):
        together = model.predict(iter(pairs))
        assert [found[:1] + found[2:] for found in together] == [found[:1] + found[2:] for found in alone]
        for one, other in zip(together, alone, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-6)
        monkeypatch.setattr(module, "_AT_ONCE", 600)


def test_pairs_are_read_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_AT_ONCE", 1000)
    asked = []

    def pairs() -> Any:
        for number in range(50):
            asked.append(number)
            yield "the cat " * 50, "who?"

    answers = untrained().stream(pairs())
    next(answers)
    assert 1 < len(asked) < 10
    assert len(list(answers)) == 49


def test_the_best_answers() -> None:
    model = untrained()
    found = model.answer("the cat sat", "who?", k=100)
    chances = [answer.probability for answer in found]
    assert len({answer[2:4] for answer in found}) == len(found) == 6
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=1e-5)
    assert found[:2] == model.answer("the cat sat", "who?", k=2)
    assert {answer.text for answer in model.answer("the cat sat", "?", k=9, max_length=1)} == {
        *("the", "cat", "sat")
    }
    assert len(untrained(max_answer=1).answer("the cat sat", "who?", k=9)) == 3


def test_no_answer() -> None:
    model = untrained(no_answer=True)
    refused, *spans = model.answer("the cat sat", "who?", k=100, threshold=-100)
    assert refused[:1] + refused[2:] == (None, None, None, NO_ANSWER)
    assert len(spans) == 6
    assert refused.probability + sum(span.probability for span in spans) == pytest.approx(1, abs=1e-5)
    assert model.answer("the cat sat", "who?", threshold=-100) == [refused]
    assert model.answer("the cat sat", "who?", k=100, threshold=100) == spans
    is_refused = refused.probability > spans[0].probability
    assert (model.answer("the cat sat", "who?") == [refused]) == is_refused
    entries = {**ENTRIES, "threshold": -100.0}
    assert QuestionAnswerer(model.network, TOKENIZER, entries).answer("the cat sat", "who?") == [refused]
    with pytest.raises(ValueError, match=r"this model always answers, so there is no threshold; got 0\.5"):
        untrained().answer("the cat sat", "who?", threshold=0.5)


def test_notes() -> None:
    long = "needle " + "cat " * 5000
    pairs = [
        ("the cat", "Zebra gnu?"),
        ("", "who?"),
        ("the cat", "\u200b"),
        (long, "who?"),
        ("needle", "who " * 600),
        ("needle " + " " * 70_000, "gnu"),
    ]
    notes = [found.note for found in POINTER.predict(pairs)]
    unread = len(long) - len("needle ") - 4 * 4095 + 1
    assert notes == [
        NOTHING_KNOWN,
        "the passage has no words",
        "the question has no words",
        f"the last {unread:,} characters of the passage were not read",
        "the last 353 characters of the question were not read",
        f"{NOTHING_KNOWN}; the last 70,001 characters of the passage were not read",
    ]
    assert POINTER.predict(pairs)[1] == Answer(None, None, None, None, "the passage has no words")


def test_scores_that_overflow() -> None:
    model = untrained()
    with torch.no_grad():
        for weight in model.network.outputs.parameters():
            weight.fill_(3e38)
    assert model.answer("the cat sat", "who?", k=3) == [Answer(None, None, None, None, NO_SCORE)]


def test_words_tags_and_entities_have_the_ids_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tagger:
        def annotate(self, given: Any) -> Any:
            for text in given:
                words = text.split()
                starts = [text.index(word) for word in words]
                ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
                yield Annotated(
                    words, starts, ends, [word[0] for word in words], words, ["", "X"][: len(words)]
                )

    network = Pointer()
    names = {"tags": ["", "needle", "cat"], "entities": ["", "", "X"]}
    monkeypatch.setattr(predict, "annotator_of", lambda description: Tagger())
    model = QuestionAnswerer(network, TOKENIZER, {**ENTRIES, **names})
    assert model.predict([("needle Cat", "nap")])[0].text == "needle"
    (inputs,) = network.inputs
    assert inputs.document.t().tolist() == [TOKENIZER.ids_of(["needle", "cat"])]
    assert inputs.tags is not None
    assert inputs.tags.t().tolist() == [[1, 0]]
    assert inputs.entities is not None
    assert inputs.entities.t().tolist() == [[1, 2]]
    # Exact match, lower-case match, lemma match, term frequency.
    assert inputs.features.tolist() == [[[0, 0, 1, 0.5]], [[0, 0, 0, 0.5]]]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["ab"], r"predict: pairs\[0\] must be two texts, passage and question, got 'ab'"),
        ([("a", "b"), ("a", None)], r"predict: pairs\[1\] must be two texts, .* got \('a', None\)"),
        ([("a", "b", "c")], r"predict: pairs\[0\] must be two texts"),
    ],
)
def test_invalid_pairs(pairs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        POINTER.predict(pairs)


@pytest.mark.parametrize("option", ["k", "max_length"])
def test_option_ranges(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be at least 1, got 0"):
        POINTER.answer("a", "b", **{option: 0})
    with pytest.raises(ValueError, match="k must be at most 1,000, got 1,001"):
        POINTER.answer("a", "b", k=1001)
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        POINTER.answer("a", "b", threshold=math.nan)


def export(folder: Path, **changes: Any) -> Path:
    model = untrained()
    entries = {"task": "squad", **ENTRIES, "model": asdict(model.config), **changes}
    export_model(folder, model.network, entries, changes.get("tokenizer", TOKENIZER))
    return folder


def test_an_exported_model_gives_the_same_answers(tmp_path: Path) -> None:
    model = sru_apps.load(export(tmp_path))
    assert model.answer("the cat sat", "who?") == untrained().answer("the cat sat", "who?")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"annotator": {"features": "magic"}}, "expected the description of an annotator, got .*magic"),
        ({"annotator": {"features": 3}}, "annotator must be described by texts, got {'features': 3}"),
        ({"annotator": None}, "is damaged or is not an exported model: AttributeError"),
        ({"tags": ["NN"]}, r"tags must be 0 texts, got \['NN'\]"),
        ({"entities": None}, "is damaged or is not an exported model"),
        ({"threshold": "high"}, "is damaged or is not an exported model: ValueError: could not convert"),
    ],
)
def test_invalid_entries(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        sru_apps.load(export(tmp_path, **entries))


def test_a_tokenizer_of_another_kind() -> None:
    with pytest.raises(UserError, match="expected a vocabulary of words, got a ByteTokenizer"):
        QuestionAnswerer(untrained().network, ByteTokenizer(), ENTRIES)

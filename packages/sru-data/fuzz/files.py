"""Random question files in SQuAD format, and damaged prepared questions."""

from __future__ import annotations

import gzip
from typing import Any

import torch
from cases import TEXTS, Case, dump_json, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.annotation import make_annotator
from sru_data.datasets.squad import Answer, read_squad
from sru_data.question_files import PreparedQuestions, find_span, open_prepared
from sru_data.question_files import prepare as prepare_questions

PIECES = st.sampled_from(
    ["rain", "Rain", "can't", "U.S.", "$1,000.50", "naïve", " ", "\n", "\u200b", "—", "雨", ""]
)
CONTEXT = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=30), st.sampled_from(TEXTS))
WELL_FORMED = [
    ("The rain falls.", [("What falls?", [("rain", 4), ("The rain", 0)]), ("And snow?", None)]),
    (
        "It can't rain in the U.S. today",
        [("Where?", [("U.S.", 21), ("the U.S.", 17)]), ("When?", [("today", 26)])],
    ),
]


def refuses(error: BaseException) -> bool:
    """Readers raise only DataError, which names the file."""
    return isinstance(error, DataError) and "/case" in str(error)


def prepare(folder: Any) -> None:
    """Prepare two paragraphs."""
    path = folder / "squad.json"
    path.write_bytes(dump_json(_document(WELL_FORMED)))
    prepare_questions({"train": path, "validation": path, "test": path}, folder / "questions", name="rain")


def _document(paragraphs: list[Any]) -> dict[str, Any]:
    """Convert paragraphs, (context, questions), to SQuAD format, one article per paragraph."""
    articles = []
    for number, (context, asked) in enumerate(paragraphs):
        questions = [
            {
                "id": f"{number} {place}",
                "question": text,
                "answers": [{"text": answer, "answer_start": start} for answer, start in answers or ()],
                "is_impossible": answers is None,
            }
            for place, (text, answers) in enumerate(asked)
        ]
        articles.append({"title": f"{number}", "paragraphs": [{"context": context, "qas": questions}]})
    return {"version": "1.1", "data": articles}


def _check(prepared: PreparedQuestions) -> None:
    """Examples match their texts, and every training question has an answer or is impossible."""
    for name, part in prepared.parts.items():
        assert len(part) == prepared.report[name].kept, "the report has other counts"
        for index, example in enumerate(part):
            text = part.text(index)
            words = [prepared.words[number] for number in example.context.words.tolist()]
            assert words, "an empty context"
            assert len(example.question.words), "an empty question"
            assert words == [text.context[a:b] for a, b in zip(text.starts, text.ends, strict=True)], (
                "words differ from the text"
            )
            if example.start >= 0:
                answer = text.context[text.starts[example.start] : text.ends[example.end]]
                assert answer in [given.strip() for given in text.answers], f"{answer!r} is not an answer"
            else:
                assert name != "train" or text.is_impossible, "a training question without an answer"


def questions(case: Case) -> None:
    """Random contexts, questions and offsets; accepted files are prepared to the same words."""
    answers = st.one_of(st.none(), st.lists(st.tuples(PIECES, st.integers(-2, 20)), max_size=2))
    asked = st.lists(st.tuples(CONTEXT, answers), max_size=3)
    paragraphs = case.draw(st.lists(st.tuples(CONTEXT, asked), max_size=3), "paragraphs")
    document = _document(paragraphs + WELL_FORMED)
    kind = case.draw(st.sampled_from(["intact", "intact", "tree", "bytes"]), "kind")
    if kind == "tree":
        document = mutated_tree(document, case.random(), hostile_value)
    content = dump_json(document)
    if kind == "bytes":
        content = mutated_bytes(content, case.random())
    packed = case.draw(st.booleans(), "gzip")
    path = case.write(f"x.json{'.gz' if packed else ''}", gzip.compress(content) if packed else content)
    found = list(read_squad(path))
    if kind == "intact":
        contexts = [context for context, _ in paragraphs + WELL_FORMED]
        assert [paragraph.context for paragraph in found] == contexts, "contexts differ"
        assert [p.questions for p in found] == [p.questions for p in read_squad(path)], (
            "a second read differs"
        )
    limit = case.draw(st.sampled_from([1, 5, 1000]), "limit")
    files = {"train": path, "validation": path}
    _check(prepare_questions(files, case.folder / "q", name="x", max_context_tokens=limit))
    # A second call opens the prepared folder.
    prepare_questions(files, case.folder / "q", name="x", max_context_tokens=limit)


def spans(case: Case) -> None:
    """Any answer in any context: a span that is found has the answer's text."""
    context, text = case.draw(CONTEXT, "context"), case.draw(CONTEXT, "answer")
    start = case.draw(st.one_of(st.integers(-3, 30), st.sampled_from([2**63, -(2**63), 10**30])), "start")
    (tokens,) = make_annotator("none").annotate([context])
    span = find_span(context, Answer(text, start), tokens)
    if not isinstance(span, str):
        assert context[tokens.starts[span.start] : tokens.ends[span.end]] == text.strip(), "wrong text"


def damaged_questions(case: Case) -> None:
    """A damaged file of prepared questions: accepted only if the examples are unchanged."""
    folder = case.copy("questions")
    expected = open_prepared(case.samples / "questions")
    case.damage(folder)
    found = open_prepared(folder)
    assert found.words == expected.words, "words differ"
    for name, part in found.parts.items():
        other = expected.parts[name]
        for index in range(len(part)):
            assert torch.equal(part[index].context.words, other[index].context.words), "contexts differ"
            assert part.text(index) == other.text(index), "texts differ"
    _check(found)

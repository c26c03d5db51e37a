"""SQuAD 1.1 and 2.0: questions about paragraphs of Wikipedia, whose answers are spans of the paragraph.

A file is one JSON object. Fields other than these are ignored, and a test set may lack `answers`:

    {"data": [{"title": "Rain", "paragraphs": [{"context": "Rain falls.", "qas": [
        {"id": "1", "question": "What falls?", "answers": [{"text": "Rain", "answer_start": 0}]},
        {"id": "2", "question": "What rises?", "answers": [], "is_impossible": true}]}]}]}

`answer_start` counts characters (code points) from the beginning of the context. `is_impossible`, used in
SQuAD 2.0, marks a question without an answer in its paragraph. Your own files may use the same format.

    squad1    87,599 questions for training, 10,570 for validation
    squad2    130,319 and 11,873, a third and a half of which have no answer

Source: Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", 2016; Rajpurkar et
al., "Know what you don't know: unanswerable questions for SQuAD", 2018. CC BY-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sru_data.datasets.sources import Source, SourceFile
from sru_data.errors import DataError, shortened
from sru_data.paths import matching_files
from sru_data.reading import HALF_OF_A_PAIR, MAX_PASSAGE_CHARACTERS, decode, parse_json
from sru_data.records import read_records

HOME_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
_MAX_SHOWN = 60
_KINDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_Value = TypeVar("_Value", str, int, bool, list[Any])


def _file(name: str, sha256: str) -> SourceFile:
    path = f"squad/{name}"
    return SourceFile(path, f"{HOME_URL}/{name}", sha256, places=(path, f"{path}.gz", f"{path}.xz"))


SOURCES = {
    "squad1": Source(
        _file("train-v1.1.json", "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
        _file("dev-v1.1.json", "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
    ),
    "squad2": Source(
        _file("train-v2.0.json", "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002"),
        _file("dev-v2.0.json", "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8"),
    ),
}


class Answer(NamedTuple):
    """A span of the context."""

    text: str
    """The answer."""
    start: int
    """Its character offset in the context, as given in the file."""


class Question(NamedTuple):
    """A question about a context."""

    id: str
    """Its id, unique across all files."""
    text: str
    """The question."""
    answers: tuple[Answer, ...]
    """The reference answers; empty if there is no answer, or the file lists none."""
    is_impossible: bool = False
    """Whether it cannot be answered from the context."""


class Paragraph(NamedTuple):
    """A context and the questions about it."""

    title: str
    """The title of its article."""
    context: str
    """The text."""
    questions: tuple[Question, ...]
    """The questions, possibly none."""
    place: str
    """Its location, for messages: `train-v1.1.json.gz: article 3 ('Rain'), paragraph 2`."""


def read_squad(paths: str | Path | Sequence[str | Path]) -> Iterator[Paragraph]:
    """Read files in SQuAD's format, article by article.

    Args:
        paths: A file, plain or compressed, a pattern as in `glob`, or several.

    Raises:
        DataError: A file is missing, truncated, in another format, or has no question; or two questions have
            the same id. An article is limited to 32 MiB, and a text to 131,072 characters.
    """
    places: dict[str, str] = {}
    for path in matching_files(paths):
        before = len(places)
        for number, (line, content) in enumerate(read_records(path, field="data"), start=1):
            yield from _paragraphs(_parse(content, path, line), f"{path}: article {number}", places)
        if len(places) == before:
            raise DataError.at(path, None, "expected articles with questions in 'data', got none")


def _parse(content: bytes, path: Path, line: int) -> Any:
    text = decode(content, "utf-8", path=path, line=line)
    try:
        return parse_json(text)
    except ValueError as error:
        message = f"expected an article in JSON, got something else ({error}); download the file again"
        raise DataError.at(path, line, message) from error


def _paragraphs(article: Any, place: str, places: dict[str, str]) -> Iterator[Paragraph]:
    title = _field(article, "title", str, place, "")
    if title:
        place = f"{place} ({shortened(title, _MAX_SHOWN)!r})"
    for number, paragraph in enumerate(_field(article, "paragraphs", list, place), start=1):
        here = f"{place}, paragraph {number}"
        context = _field(paragraph, "context", str, here)
        questions = tuple(_question(question, here) for question in _field(paragraph, "qas", list, here))
        for question in questions:
            if question.id in places:
                raise DataError.at(
                    question_place(here, question.id),
                    None,
                    f"expected unique question ids, got this one also in {places[question.id]}",
                )
            places[question.id] = here
        yield Paragraph(title, context, questions, here)


def _question(record: Any, place: str) -> Question:
    # Some tools write integer ids.
    is_numbered = isinstance(record, dict) and type(record.get("id")) is int
    name = str(record["id"]) if is_numbered else _field(record, "id", str, place)
    place = question_place(place, name)
    answers = tuple(
        Answer(_field(answer, "text", str, place), _field(answer, "answer_start", int, place))
        for answer in _field(record, "answers", list, place, [])
    )
    is_impossible = _field(record, "is_impossible", bool, place, False)
    if is_impossible and answers:
        raise DataError.at(
            place,
            None,
            f"expected no answers, since 'is_impossible' is true, got {len(answers)}; correct one of them",
        )
    return Question(name, _field(record, "question", str, place), answers, is_impossible)


def question_place(place: str, name: str) -> str:
    """Describe the place of a question, for messages.

    Args:
        place: The place of its paragraph.
        name: Its id.
    """
    return f"{place}, question {shortened(name, _MAX_SHOWN)!r}"


def _field(record: Any, name: str, kind: type[_Value], place: str, default: _Value | None = None) -> _Value:
    """Return a field of an object after checking its type."""
    if not isinstance(record, dict):
        raise DataError.at(place, None, f"expected an object with {name!r}, got {_KINDS[type(record)]}")
    if name not in record:
        if default is not None:
            return default
        found = shortened(", ".join(map(repr, record)) or "none", _MAX_SHOWN)
        raise DataError.at(place, None, f"expected a field {name!r}, got the fields {found}")
    value = record[name]
    if type(value) is not kind:
        raise DataError.at(place, None, f"expected {name!r} to be {_KINDS[kind]}, got {_KINDS[type(value)]}")
    if isinstance(value, str):
        _check_text(value, name, place)
    return value


def _check_text(text: str, name: str, place: str) -> None:
    if len(text) > MAX_PASSAGE_CHARACTERS:
        raise DataError.at(
            place,
            None,
            f"expected {name!r} to have at most {MAX_PASSAGE_CHARACTERS:,} characters, got {len(text):,}; "
            "cut it into paragraphs",
        )
    if not text.isascii() and (half := HALF_OF_A_PAIR.search(text)):
        raise DataError.at(
            place,
            None,
            f"expected {name!r} to be text, got half of a surrogate pair at character {half.start()}",
        )

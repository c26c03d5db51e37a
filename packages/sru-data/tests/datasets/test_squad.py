from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets import squad
from sru_data.datasets.squad import SOURCES, Answer, Paragraph, Question, read_squad
from sru_data.texts import files

CONTEXT = "Rain falls from clouds."
RAIN = {"id": "a", "question": "What falls?", "answers": [{"text": "Rain", "answer_start": 0}]}
SNOW = {"id": "b", "question": "And snow?", "answers": [], "is_impossible": True, "plausible_answers": [1]}


def document(*questions: Any, context: Any = CONTEXT, title: str = "Rain") -> dict[str, Any]:
    return {
        "version": "1.1",
        "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}],
    }


def write(path: Path, content: Any) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_paragraphs_with_their_questions_and_places(tmp_path: Path) -> None:
    content = document(RAIN, SNOW)
    content["data"].append(
        {"paragraphs": [{"context": "x", "qas": []}, {"context": "y", "qas": [{**RAIN, "id": 7}]}]}
    )
    path = write(tmp_path / "x.json", content)
    answers = (Answer("Rain", 0),)
    assert list(read_squad(path)) == [
        Paragraph(
            "Rain",
            CONTEXT,
            (Question("a", "What falls?", answers), Question("b", "And snow?", (), is_impossible=True)),
            f"{path}: article 1 ('Rain'), paragraph 1",
        ),
        Paragraph("", "x", (), f"{path}: article 2, paragraph 1"),
        Paragraph("", "y", (Question("7", "What falls?", answers),), f"{path}: article 2, paragraph 2"),
    ]


@settings(max_examples=30)
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=3),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([None, 2]),
    st.integers(1, 50),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(["a", 'd"data', "data ", "[]"]), st.lists(st.just({"x": [{}]}), max_size=2)
    ),
)
def test_the_contexts_are_those_of_a_parser_of_the_whole(
    tmp_path_factory, contexts, indent, chunk, last, others
) -> None:
    articles = [
        {
            "paragraphs": [
                {"context": text, "qas": [{**RAIN, "id": f"{i} {j}"}]} for j, text in enumerate(texts)
            ]
        }
        for i, texts in enumerate(contexts)
    ]
    whole = {**others, "data": articles} if last else {"data": articles, **others}
    path = write(tmp_path_factory.mktemp("squad") / "x.json", json.dumps(whole, indent=indent).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        found = [paragraph.context for paragraph in read_squad(path)]
    assert found == [text for texts in contexts for text in texts]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files_with_a_mark_and_several(tmp_path: Path, ending, pack) -> None:
    write(tmp_path / f"1.json{ending}", pack(b"\xef\xbb\xbf" + json.dumps(document(RAIN)).encode()))
    write(tmp_path / f"2.json{ending}", pack(json.dumps(document(SNOW)).encode()))
    found = [question.id for paragraph in read_squad(f"{tmp_path}/*") for question in paragraph.questions]
    assert found == ["a", "b"]


WHOLE = json.dumps(document(RAIN)).encode()
ANSWER = {"text": "Rain", "answer_start": 0}


def changed(**fields: Any) -> dict[str, Any]:
    return document({**RAIN, **fields})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            document(RAIN, RAIN),
            r"x\.json: article 1 \('Rain'\), paragraph 1, question 'a': expected unique question "
            r"ids, got this one also in .*x\.json: article 1 \('Rain'\), paragraph 1",
        ),
        (changed(question=None), r"question 'a': expected 'question' to be a text, got null"),
        (changed(id=None), r"paragraph 1: expected 'id' to be a text, got null"),
        (changed(answers={}), r"question 'a': expected 'answers' to be an array, got an object"),
        (changed(answers=["Rain"]), r"question 'a': expected an object with 'text', got a text"),
        (changed(answers=[{"text": "Rain"}]), r"expected a field 'answer_start', got the fields 'text'"),
        (changed(answers=[{**ANSWER, "answer_start": 0.0}]), r"to be a whole number, got a number"),
        (changed(answers=[{**ANSWER, "answer_start": True}]), r"to be a whole number, got true or false"),
        (
            changed(is_impossible=True),
            r"'a': expected no answers, since 'is_impossible' is true, got 1; correct",
        ),
        (changed(is_impossible=1), r"'is_impossible' to be true or false, got a whole number"),
        (document(RAIN, context=["x"]), r"paragraph 1: expected 'context' to be a text, got an array"),
        (document(RAIN, context="x\ud800"), r"'context' to be text, got half of a surrogate pair at .* 1$"),
        (document(RAIN, context="x" * 131_073), r"at most 131,072 characters, got 131,073; cut it into"),
        ({"data": [{"paragraphs": 1}]}, r"article 1: expected 'paragraphs' to be an array, got a whole"),
        ({"data": ["x"]}, r"article 1: expected an object with 'title', got a text"),
        ({"data": []}, r"x\.json: expected articles with questions in 'data', got none"),
        (
            {"data": {"a": []}},
            r"x\.json: expected a JSON object with an array 'data', got an object without it",
        ),
        ({"version": 1}, r"x\.json: expected a JSON object with an array 'data', got an object without it"),
        ([RAIN], r"x\.json: expected a JSON object with an array 'data', got a JSON array"),
        (b"", r"x\.json: expected a JSON object with an array 'data', got something else"),
        (
            WHOLE[:-3],
            r"x\.json:1: expected a JSON object that ends in '}', got the end of the file; it is trunc",
        ),
        (WHOLE + b"{}", r"ends in '}', got more after it"),
        (b'{"data": [{"paragraphs": [}]}', r"x\.json:1: expected"),
        (
            b'{"data": [\n{"paragraphs": [nul]}]}',
            r"x\.json:2: expected an article in JSON, got .*Expecting value",
        ),
        (b'{"data": [\n{"title": "\xff"}]}', r"x\.json:2: expected text in utf-8, got the byte 0xff"),
        (b'{"data": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}", r"x\.json:1: expected an article.*recursion"),
        (b'{"data": [{"title": NaN, "paragraphs": []}]}', r"expected 'title' to be a text, got a number"),
    ],
)
def test_malformed_input_is_refused_with_its_place(tmp_path: Path, content, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        list(read_squad(write(tmp_path / "x.json", content)))
    assert len(str(error.value)) < 900


def test_long_names_are_shortened(tmp_path: Path) -> None:
    content = document({**RAIN, "id": "i" * 100_000, "question": 0}, title="t" * 100_000)
    with pytest.raises(DataError, match=r"article 1 \('t+ \.\.\. t+'\), .* question 'i+ \.\.\. i+'") as error:
        list(read_squad(write(tmp_path / "x.json", content)))
    assert len(str(error.value)) < 500


def test_a_missing_file_and_one_cut_short(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: expected a text file, got no such file"):
        list(read_squad(tmp_path / "none.json"))
    path = write(tmp_path / "x.json.gz", gzip.compress(json.dumps(document(RAIN)).encode())[:-20])
    with pytest.raises(DataError, match=r"x\.json\.gz: expected a complete file, got: .*truncated, download"):
        list(read_squad(path))


def test_the_official_files_and_their_places(tmp_path: Path) -> None:
    for name, version in (("squad1", "1.1"), ("squad2", "2.0")):
        source = SOURCES[name]
        assert source.validation is not None
        assert source.train.url == f"{squad.HOME_URL}/train-v{version}.json"
        assert source.validation.url == f"{squad.HOME_URL}/dev-v{version}.json"
        path = tmp_path / "squad" / f"dev-v{version}.json.gz"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert source.validation.find(tmp_path) == ([path], None)
        with pytest.raises(DataError, match=rf"squad/train-v{version}.json: expected this file or one of"):
            source.train.find(tmp_path)


def test_the_real_sets(real_data: Path) -> None:
    (path,), _ = SOURCES["squad1"].validation.find(real_data)
    paragraphs = list(read_squad(path))
    questions = [question for paragraph in paragraphs for question in paragraph.questions]
    assert (len(paragraphs), len(questions)) == (2067, 10570)
    assert min(len(question.answers) for question in questions) >= 1
    assert all(
        paragraph.context.startswith(answer.text, answer.start)
        for paragraph in paragraphs
        for question in paragraph.questions
        for answer in question.answers
    )

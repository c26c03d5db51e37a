"""`sru squad score`."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sru_apps.cli import main

QUESTIONS: dict[str, list[tuple[str, str, list[str]]]] = {
    "The oil crisis began in 1973.": [
        ("a", "When did it begin?", ["1973", "in 1973"]),
        ("b", "What began?", ["The oil crisis"]),
    ],
    "Rain falls.": [("c", "What falls?", ["Rain"]), ("d", "Who falls?", [])],
}
PREDICTIONS = {"a": "1973", "b": "crisis", "c": "falls", "d": "Rain"}


def squad(*, answerable: bool = False) -> dict[str, Any]:
    """Return a document in SQuAD format, without the unanswerable question if `answerable`."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": name,
                    "question": question,
                    "answers": [{"text": text, "answer_start": context.index(text)} for text in answers],
                    "is_impossible": not answers,
                }
                for name, question, answers in questions
                if answers or not answerable
            ],
        }
        for context, questions in QUESTIONS.items()
    ]
    return {"data": [{"title": "x", "paragraphs": paragraphs}]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dev1.json").write_text(json.dumps(squad(answerable=True)))
    Path("dev2.json").write_text(json.dumps(squad()))
    Path("p1.json").write_text(json.dumps({name: PREDICTIONS[name] for name in "abc"}))
    Path("p2.json").write_text(json.dumps(PREDICTIONS))
    Path("odds.json").write_text(json.dumps({"a": -2, "b": 0.5, "c": 1e3, "d": 1.0}))
    return tmp_path


def score(*args: str) -> int:
    return main(["squad", "score", *args])


def test_figures_by_the_rules_of_squad_1(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("p1.json", "--file=dev1.json", "--out=new/out") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "p1.json: exact match 33.33 %, F1 55.56 % of 3 questions, by the rules of SQuAD 1.1"
    assert lines[0].split() == ["questions", "exact", "match", "F1"]
    assert lines[1].split() == ["what", "2", "0.0", "33.3"]
    assert sorted(path.name for path in Path("new/out").iterdir()) == [
        "groups.csv",
        "groups.json",
        "groups.png",
        "questions.csv",
    ]
    rows = list(csv.DictReader(Path("new/out/questions.csv").read_text().splitlines()))
    assert [row["exact_match"] for row in rows] == ["1", "0", "0"]
    assert json.loads(Path("new/out/groups.json").read_text())["dataset"] == "dev1.json"


def test_figures_by_the_rules_of_squad_2(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("p2.json", "--file=dev2.json", "--null-odds-file=odds.json", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["questions"], found["exact_match"]) == ("2.0", 4, 0.25)
    assert [row["questions"] for row in found["groups"]["answerable"]] == [3, 1]
    assert found["best_f1"] == {"score": pytest.approx((1 + 2 / 3 + 1) / 4), "threshold": 0.5}
    assert found["best_exact_match"] == {"score": 0.5, "threshold": -2.0}
    assert score("p2.json", "--file=dev2.json", "--null-odds-file=odds.json", "--threshold=0.5") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert "exact match 50.00 %, F1 66.67 % of 4 questions, by the rules of SQuAD 2.0" in first
    assert lines[2].split() == ["no", "answer", "1", "100.0", "100.0"]
    assert (
        score("p2.json", "--file=dev2.json", "--null-odds-file=odds.json", "--threshold=0.5", "--json") == 0
    )
    assert not [name for name in json.loads(capsys.readouterr().out) if name.startswith("best_")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"a": "x", "b": "y"}',
            "all 3 questions of dev1.json, got none with the id 'c'; give each an answer",
        ),
        ('{"a": "x"}', "got none with the id 'b' and 1 more"),
        ('{"a": "", "b": "", "c": "", "z": ""}', "expected ids of questions of dev1.json, got 'z'; check"),
        ('{"a": "", "b": "", "a": ""}', "p.json: expected each id once, got 'a' twice"),
        ('{"a": null}', "expected the answer to each question, got null for 'a'"),
        (r'{"a": "\ud83d"}', "expected the answer to each question, got .* for 'a'"),
        ('[{"id": "a"}]', "expected a JSON object with the answer to each question by its id, got"),
        ("[" * 100_000, "expected a JSON object .* got something else: maximum recursion depth"),
        ('{"a": "x"', "p.json: expected a JSON object .* got something else: Expecting"),
    ],
)
def test_invalid_predictions(
    files: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    Path("p.json").write_text(content)
    assert score("p.json", "--file=dev1.json") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


@pytest.mark.parametrize("content", ["NaN", "true", '"1"', "1" + "0" * 400])
def test_invalid_no_answer_scores(files: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    Path("odds.json").write_text(f'{{"a": {content}}}')
    assert score("p2.json", "--file=dev2.json", "--null-odds-file=odds.json") == 1
    message = f"expected the no-answer score of each question, got {content[:60]} for 'a'"
    assert message in capsys.readouterr().err


def test_a_threshold_without_scores(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("p2.json", "--file=dev2.json", "--threshold=1") == 2
    assert "--threshold needs the scores of --null-odds-file" in capsys.readouterr().err


def test_questions_without_any_answer(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = squad()
    content["data"][0]["paragraphs"] = [{"context": "x", "qas": [{"id": "a", "question": "?"}]}]
    Path("test.json").write_text(json.dumps(content))
    Path("p.json").write_text('{"a": ""}')
    assert score("p.json", "--file=test.json") == 1
    assert "test.json: expected questions with answers to compare with, got none" in capsys.readouterr().err


def test_scoring_imports_nothing_slow(files: Path) -> None:
    program = (
        "import sys\nfrom sru_apps.cli import main\nmain(['squad', 'score', 'p1.json', '--file=dev1.json'])\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

"""The report on a reader, with figures by question, answer and passage."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.squad.figures import AnswerFigures, write
from sru_apps.tasks.squad.groups import Groups, Measured, draw_groups, question_type

CONTEXT = "In 1973 the oil crisis began ."
QUESTIONS = [
    ("a", "When did the crisis begin?", ("1973", "in 1973")),
    ("b", "What began?", ("the oil crisis", "crisis")),
    ("c", "Who began it?", ()),
    ("d", "How many crises, which began?", ("oil",)),
]
SPANS = [(1, 1), (4, 4), (3, 3), (2, 4)]
NONE = [-9.0, 1.0, 4.0, 0.0]
"""No-answer scores; the best span of each question scores 2."""


class Inputs(NamedTuple):
    rows: torch.Tensor
    mask: None = None


class Data:
    """Two batches with the questions in reverse order."""

    dataset = "oil"

    def __init__(self, questions: Sequence[tuple[str, str, tuple[str, ...]]]) -> None:
        words = CONTEXT.split()
        starts = [CONTEXT.index(word) for word in words]
        texts = [
            SimpleNamespace(
                id=name,
                question=question,
                context=CONTEXT,
                answers=answers,
                starts=starts,
                ends=[start + len(word) for start, word in zip(starts, words, strict=True)],
            )
            for name, question, answers in questions
        ]
        self.parts = dict.fromkeys(("validation", "test"), SimpleNamespace(text=texts.__getitem__))
        self.indices = torch.split(torch.arange(len(questions)).flip(0), 3)

    def val_dataloader(self) -> Iterator[Any]:
        for indices in self.indices:
            yield SimpleNamespace(inputs=Inputs(indices), index=indices)

    test_dataloader = val_dataloader


class Network(torch.nn.Module):
    def __init__(self, no_answer: bool) -> None:
        super().__init__()
        self.no_answer = no_answer

    def forward(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        start, end = torch.zeros(2, len(inputs.rows), len(CONTEXT.split()))
        for row, index in enumerate(inputs.rows.tolist()):
            start[row, SPANS[index][0]] = end[row, SPANS[index][1]] = 1
        return start, end, torch.tensor(NONE)[inputs.rows] if self.no_answer else None


class Module(torch.nn.Module):
    def __init__(self, *, no_answer: bool = False, threshold: float | None = None) -> None:
        super().__init__()
        self.network = Network(no_answer)
        self.config = SimpleNamespace(no_answer=no_answer, max_answer=4)
        self.exported = {"threshold": threshold}


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_report_of_answers(tmp_path: Path) -> None:
    questions = [*QUESTIONS[:2], ("c", *QUESTIONS[3][1:])]
    found = write(Module(), Data(questions), tmp_path, part="validation", device=torch.device("cpu"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "groups.csv",
        "groups.json",
        "groups.png",
        "predictions.json",
        "questions.csv",
    ]
    answers = {"a": "1973", "b": "crisis", "c": "oil"}
    assert list(json.loads((tmp_path / "predictions.json").read_text()).items()) == list(answers.items())
    assert found.figures == {"exact_match": 1.0, "f1": 1.0}
    assert found.exported == {}
    rows = rows_of(tmp_path / "questions.csv")
    assert [row["prediction"] for row in rows] == list(answers.values())
    assert rows[1]["references"] == "the oil crisis | crisis"
    for row in rows:
        assert CONTEXT[int(row["start"]) : int(row["end"])] == row["prediction"]
        assert row.keys().isdisjoint({"no_answer"})
    # 7 words have 22 spans of at most 4 words: the best one, 4 that share its start or end, and 17 others.
    assert float(rows[0]["probability"]) == pytest.approx(math.e**2 / (math.e**2 + 4 * math.e + 17))
    groups = json.loads((tmp_path / "groups.json").read_text())
    assert (groups["dataset"], groups["part"], groups["questions"]) == ("oil", "validation", 3)
    assert [row["group"] for row in groups["groups"]["question type"]] == ["what", "when", "how many"]
    assert sum(row["questions"] for row in groups["groups"]["words in the answer"]) == 3
    table = rows_of(tmp_path / "groups.csv")
    assert [row["group"] for row in table if row["kind"] == "words in the passage"] == ["1–74"]
    assert "when" in found.text


def test_the_report_with_a_no_answer_score(tmp_path: Path) -> None:
    data, cpu = Data(QUESTIONS), torch.device("cpu")
    found = write(Module(no_answer=True), data, tmp_path, part="test", device=cpu)
    # Only the third question has no answer, and only its score is above the second's.
    assert found.exported == {"threshold": -1.0}
    assert found.figures == pytest.approx({"exact_match": 3 / 4, "f1": (3 + 2 / 3) / 4})
    assert json.loads((tmp_path / "predictions.json").read_text())["c"] == ""
    odds = json.loads((tmp_path / "null_odds.json").read_text())
    assert odds == {"a": -11.0, "b": -1.0, "c": 2.0, "d": -2.0}
    rows = rows_of(tmp_path / "questions.csv")
    assert (rows[2]["start"], rows[2]["end"], rows[2]["no_answer"]) == ("", "", "2.0")
    assert float(rows[2]["probability"]) > float(rows[1]["probability"])
    groups = json.loads((tmp_path / "groups.json").read_text())
    assert groups["threshold"] == -1.0
    assert [row["questions"] for row in groups["groups"]["answerable"]] == [3, 1]
    assert "has an answer          3         66.7   88.9" in found.text
    figures = AnswerFigures("2.0")
    truths = [row[2] for row in QUESTIONS]
    figures.update(["1973", "crisis", "oil", "the oil crisis"], truths, torch.tensor(list(odds.values())))
    for name, value in figures.compute().items():
        assert float(value) == pytest.approx({**found.figures, "threshold": -1.0}[name])


def test_a_given_threshold_is_kept(tmp_path: Path) -> None:
    module = Module(no_answer=True, threshold=-5.0)
    found = write(module, Data(QUESTIONS), tmp_path, part="test", device=torch.device("cpu"))
    assert found.exported == {}
    assert found.figures == {"exact_match": 0.5, "f1": 0.5}
    figures = AnswerFigures("2.0", threshold=-5.0)
    figures.update(["1973", "", "oil"], [["1973"], ["oil"], []], torch.tensor([-11.0, -6.0, 2.0]))
    assert {name: float(value) for name, value in figures.compute().items()} == pytest.approx(
        {"exact_match": 2 / 3, "f1": 2 / 3, "threshold": -5.0}
    )


def test_a_diverged_model_gives_no_answers(tmp_path: Path) -> None:
    module = Module()
    module.network.forward = lambda inputs: (*torch.full((2, len(inputs.rows), 7), math.nan), None)  # type: ignore[method-assign]
    found = write(module, Data(QUESTIONS[:2]), tmp_path, part="test", device=torch.device("cpu"))
    assert found.figures == {"exact_match": 0.0, "f1": 0.0}
    assert [row["prediction"] for row in rows_of(tmp_path / "questions.csv")] == ["", ""]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What is it?", "what"),
        ("In which year, and how?", "which"),
        ("To whom did it go?", "who"),
        ("Whose is it?", "who"),
        ("how  MUCH is it?", "how many"),
        ("How was it?", "how"),
        ("It began when?", "when"),
        ("What's up?", "what"),
        ("Where?", "where"),
        ("Why?", "why"),
        ("Is somewhat whole?", "other"),
        ("", "other"),
    ],
)
def test_question_types(question: str, kind: str) -> None:
    assert question_type(question) == kind


def test_groups_by_length() -> None:
    groups = Groups()
    for words, length in ((1, 1), (5, 74), (6, 75), (7, 299), (40, 300), (0, 1000)):
        references = (" ".join(["x"] * words),) if words else ()
        row = Measured("", "What?", "", references, exact_match=1.0, f1=0.5)
        groups.add(row, " ".join(["x"] * length))
    found = groups.figures()
    counts = {
        kind: {row["group"]: row["questions"] for row in rows} for kind, rows in found["groups"].items()
    }
    assert counts == {
        "answerable": {"has an answer": 5, "no answer": 1},
        "question type": {"what": 6},
        "words in the answer": {"1": 1, "5–6": 2, "7–10": 1, "11+": 1, "no answer": 1},
        "words in the passage": {"1–74": 2, "75–99": 1, "200–299": 1, "300+": 2},
    }
    assert (found["questions"], found["exact_match"], found["f1"]) == (6, 1.0, 0.5)


def test_a_title_may_contain_any_characters(tmp_path: Path, pictures: None) -> None:
    row = {"group": "苹果 $x", "questions": 1, "exact_match": 1.0, "f1": 1.0}
    draw_groups(tmp_path / "x.png", {"kind": [row]}, "$x, 苹果")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_fit_chooses_the_threshold_on_the_validation_set(
    fit: Callable[..., Path], questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = (("train", "train2"), ("validation", "dev2"), ("test", "train2"))
    files = [f"--{part}-file={questions / name}.json" for part, name in parts]
    run = fit("x", *files, f"--prepared-dir={tmp_path / 'prepared'}", "--epochs=1")
    assert "no answer" in capsys.readouterr().out
    groups = json.loads((run / "figures/groups.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    assert groups["part"] == "test"
    assert [row["questions"] for row in groups["groups"]["answerable"]] == [24, 8]
    assert (groups["f1"], groups["exact_match"]) == (summary["test"]["f1"], summary["test"]["exact_match"])
    threshold = json.loads((run / "model/config.json").read_text())["threshold"]
    assert groups["threshold"] == threshold == pytest.approx(summary["validation"]["threshold"])
    assert main(["squad", "test", str(run), f"--out={tmp_path / 'again'}", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["threshold"] == pytest.approx(threshold)
    for name in ("groups.json", "null_odds.json", "predictions.json", "questions.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (run / "figures" / name).read_bytes()
    predictions, truth = run / "figures/predictions.json", questions / "train2.json"
    assert main(["squad", "score", str(predictions), f"--file={truth}", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["f1"], scored["exact_match"]) == pytest.approx((groups["f1"], groups["exact_match"]))

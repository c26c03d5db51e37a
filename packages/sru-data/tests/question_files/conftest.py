from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Make:
    """Write a file of paragraphs, each a context and questions: text and answers, or None if impossible.

    An id consists of the name of the file and the number of the question.
    """

    def make(
        name: str, *paragraphs: tuple[str, Sequence[tuple[str, Sequence[tuple[str, int]] | None]]]
    ) -> Path:
        numbers = iter(range(1000))

        def question(text: str, answers: Sequence[tuple[str, int]] | None) -> dict[str, Any]:
            return {
                "id": f"{name} {next(numbers)}",
                "question": text,
                "answers": [{"text": answer, "answer_start": start} for answer, start in answers or ()],
                "is_impossible": answers is None,
            }

        content = [
            {"context": context, "qas": [question(*given) for given in questions]}
            for context, questions in paragraphs
        ]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"data": [{"title": "Weather", "paragraphs": content}]}))
        return path

    return make


@pytest.fixture
def sources(write: Make) -> dict[str, Path]:
    """Two parts with the same paragraph of rain, and one of snow in training."""
    rain = (
        "The rain falls.",
        [("What falls?", [("rain", 4)]), ("The what?", [("The rain", 0), ("rain", 4)])],
    )
    snow = ("Snow does not.", [("And snow?", None)])
    return {"train": write("train", rain, snow), "validation": write("validation", rain)}

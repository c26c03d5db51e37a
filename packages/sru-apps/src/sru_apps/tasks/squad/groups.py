"""Figures by kind of question, length of the answer and length of the passage: table, JSON and picture.

This module does not import torch, because it also scores the predictions of other programs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sru_apps.train.csv_rows import write_csv
from sru_apps.train.pictures import save_figure
from sru_apps.train.strict_json import write_json

_WORDS = {
    "what": "what",
    "who": "who|whom|whose",
    "when": "when",
    "where": "where",
    "which": "which",
    "how many": r"how\s+(?:many|much)",
    "how": "how",
    "why": "why",
}
_TYPES = (*_WORDS, "other")
_QUESTION_WORD = re.compile(rf"\b(?:{'|'.join(f'({words})' for words in _WORDS.values())})\b", re.IGNORECASE)
_ANSWER_WORDS = (1, 2, 3, 4, 5, 7, 11)
_PASSAGE_WORDS = (1, 75, 100, 125, 150, 200, 300)
_NO_ANSWER = "no answer"


class Measured(NamedTuple):
    """A question, the answer given, and its scores."""

    id: str
    """The id of the question."""
    question: str
    """The question."""
    prediction: str
    """The answer; empty for none."""
    references: Sequence[str]
    """The reference answers; none if the question has no answer."""
    exact_match: float
    """0 or 1."""
    f1: float
    """From 0 to 1."""
    probability: float | None = None
    """The model's probability of the answer."""
    start: int | None = None
    """The offset of its first character in the passage; None without an answer."""
    end: int | None = None
    """The offset after its last character."""
    no_answer: float | None = None
    """The no-answer score, if the model has one."""


def question_type(question: str) -> str:
    """Return the first question word: what, who, when, where, which, how many, how or why; else `other`.

    `whom` and `whose` count as `who`, `how much` as `how many`.

    Args:
        question: The question.
    """
    found = _QUESTION_WORD.search(question)
    return _TYPES[found.lastindex - 1 if found and found.lastindex else -1]


def _ranges(edges: Sequence[int]) -> list[str]:
    """Name the ranges that begin at the given numbers."""
    names = [str(first) if after == first + 1 else f"{first}–{after - 1}" for first, after in pairwise(edges)]
    return [*names, f"{edges[-1]}+"]


class Groups:
    """The sums of exact match and F1 over groups of questions."""

    def __init__(self) -> None:
        kinds = {
            "answerable": ["has an answer", _NO_ANSWER],
            "question type": _TYPES,
            "words in the answer": [*_ranges(_ANSWER_WORDS), _NO_ANSWER],
            "words in the passage": _ranges(_PASSAGE_WORDS),
        }
        self._sums = {kind: {name: [0, 0.0, 0.0] for name in names} for kind, names in kinds.items()}

    def add(self, row: Measured, context: str) -> None:
        """Count a question.

        Args:
            row: The question and its answer.
            context: The passage.
        """
        length = len(row.references[0].split()) if row.references else 0
        places = {
            "answerable": 0 if row.references else 1,
            "question type": _TYPES.index(question_type(row.question)),
            "words in the answer": bisect_right(_ANSWER_WORDS, max(1, length)) - 1 if row.references else -1,
            "words in the passage": bisect_right(_PASSAGE_WORDS, max(1, len(context.split()))) - 1,
        }
        for kind, place in places.items():
            sums = list(self._sums[kind].values())[place]
            for number, value in enumerate((1, row.exact_match, row.f1)):
                sums[number] += value

    def figures(self) -> dict[str, Any]:
        """Return the figures of all questions, and those of the groups that have any, as plain types."""
        everything = [sum(column) for column in zip(*self._sums["answerable"].values(), strict=True)]
        found = {
            kind: [{"group": name, **_means(*sums)} for name, sums in groups.items() if sums[0]]
            for kind, groups in self._sums.items()
        }
        if not self._sums["answerable"][_NO_ANSWER][0]:
            del found["answerable"]
        return {**_means(*everything), "groups": found}


def _means(count: float, exact: float, overlap: float) -> dict[str, float]:
    return {"questions": int(count), "exact_match": exact / max(1, count), "f1": overlap / max(1, count)}


def write_files(
    folder: Path,
    rows: Sequence[Measured],
    figures: Mapping[str, Any],
    *,
    dataset: str,
    part: str,
) -> None:
    """Write `questions.csv`, and `groups.json`, `groups.csv` and `groups.png`.

    Args:
        folder: Where they go.
        rows: The questions.
        figures: The result of `Groups.figures`, possibly with further figures.
        dataset: The name of the data.
        part: The part of the data.
    """
    has_scores = any(row.no_answer is not None for row in rows)
    columns = [name for name in Measured._fields if name != "no_answer" or has_scores]
    table = [
        {
            **row._asdict(),
            "references": " | ".join(dict.fromkeys(row.references)),
            "exact_match": int(row.exact_match),
        }
        for row in rows
    ]
    write_csv(folder / "questions.csv", [{name: row[name] for name in columns} for row in table], columns)
    write_json(folder / "groups.json", {"dataset": dataset, "part": part, **figures})
    groups = [{"kind": kind, **row} for kind, found in figures["groups"].items() for row in found]
    write_csv(folder / "groups.csv", groups)
    title = f"{dataset}, {part}: {summary(figures)}"
    draw_groups(folder / "groups.png", figures["groups"], title)


def summary(figures: Mapping[str, Any]) -> str:
    """Format the figures of all questions.

    Args:
        figures: The result of `Groups.figures`.
    """
    exact, overlap = (100 * figures[name] for name in ("exact_match", "f1"))
    return f"exact match {exact:.2f} %, F1 {overlap:.2f} % of {figures['questions']:,} questions"


def table(figures: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    """Format the figures of some kinds of groups, in percent, for the console.

    Args:
        figures: The result of `Groups.figures`.
        kinds: The kinds to include, if there are any groups.
    """
    rows = [row for kind in kinds for row in figures["groups"].get(kind, [])]
    width = max(len(row["group"]) for row in rows)
    lines = [f"{'':<{width}}  questions  exact match     F1"]
    for row in rows:
        exact, overlap = 100 * row["exact_match"], 100 * row["f1"]
        lines.append(f"{row['group']:<{width}}  {row['questions']:9,}  {exact:11.1f}  {overlap:5.1f}")
    return lines


def draw_groups(path: Path, groups: Mapping[str, Sequence[Mapping[str, Any]]], title: str) -> None:
    """Draw F1 and exact match of each group as bars, with the number of its questions.

    Args:
        path: The PNG to write or replace.
        groups: The figures of each kind of groups.
        title: The title above them.
    """
    # Figure, not pyplot: needs no display and leaves no global state.
    from matplotlib.figure import Figure

    sizes = [len(rows) for rows in groups.values()]
    figure = Figure(figsize=(8, 1.4 + 0.34 * sum(sizes) + 0.5 * len(sizes)), layout="constrained")
    figure.suptitle(title.replace("$", r"\$"), fontsize="medium", wrap=True)
    panels = figure.subplots(len(sizes), sharex=True, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, (kind, rows) in zip(panels, groups.items(), strict=True):
        places = range(len(rows))
        for name, label, shift, color in (
            ("f1", "F1", -0.2, "C0"),
            ("exact_match", "exact match", 0.2, "C1"),
        ):
            values = [100 * row[name] for row in rows]
            bars = axes.barh([place + shift for place in places], values, 0.38, label=label, color=color)
            axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=7)
        axes.set_yticks(places, [f"{row['group']}  ({row['questions']:,})" for row in rows], fontsize=9)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_ylabel(kind)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.align_ylabels()
    panels[-1].set_xlim(0, 108)
    panels[-1].set_xlabel("percent; in brackets the number of questions")
    save_figure(figure, path)

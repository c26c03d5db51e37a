"""The examples of docs/guides/drop-in.md run as they stand, before its diffs are applied and after."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs" / "guides"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="these tests were taken without the documentation")


def blocks(language: str) -> list[str]:
    text = (DOCS / "drop-in.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def apply(diff: str, program: str) -> str:
    """Apply a diff: its first added line goes to the top, its second replaces the removed line."""
    lines = {sign: [line[1:] for line in diff.splitlines() if line[0] == sign] for sign in "+-"}
    (old,), (first, new) = lines["-"], lines["+"]
    assert program.count(old) == 1
    return f"{first}\n{program.replace(old, new)}"


def run(number: int, module: str) -> dict:
    program = blocks("python")[number]
    if module == "compat.LSTM":
        program = apply(blocks("diff")[number], program)
    assert f"self.rnn = {module}(" in program
    namespace: dict = {}
    exec(compile(program, f"drop-in.md, example {number}", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("module", ["nn.LSTM", "compat.LSTM"])
def test_the_language_model_learns_agreement(module, capsys):
    result = run(0, module)
    assert result["before"] > 14
    assert result["after"] < 3
    if module == "compat.LSTM":
        assert result["agreement"] > 0.9  # a model that does not remember the subject gets half of them right
    assert "perplexity of unseen text" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["nn.LSTM", "compat.LSTM"])
def test_the_tagger_uses_both_sides(module, capsys):
    assert run(1, module)["accuracy"] > 0.95
    assert "tagged correctly" in capsys.readouterr().out


def test_every_example_has_its_diff():
    assert len(blocks("python")) == len(blocks("diff")) == 2

"""A trained language model in Python generates and scores like the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.errors import UserError
from sru_apps.train.export import export_model
from sru_data.tokenizers import WordTokenizer

TEXT = "the quick fox\njumps\n\nthe fox\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = WordTokenizer.train([TEXT], line_ends=True)
    torch.manual_seed(0)
    settings = {"vocab_size": len(tokenizer), "embedding_size": 4, "hidden_size": 5, "initial_range": 1.0}
    network = LanguageModel(LanguageModelConfig(**settings))
    export_model(tmp_path / "model", network, {"task": "lm", "model": settings}, tokenizer)
    return tmp_path / "model"


@pytest.mark.usefixtures("one_thread")
def test_generate_equals_the_commands_output(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--prompt=the quick", "--seed=3", "--max-tokens=12", "--top-k=4", "--stop=jumps"]
    assert main(["lm", "generate", f"--model={model}", *args]) == 0
    trained = sru_apps.load(model)
    options = {"max_tokens": 12, "top_k": 4, "seed": 3, "stop": ["jumps"]}
    text = trained.generate("the quick", **options)
    assert capsys.readouterr().out == f"the quick{text}\n"
    assert "".join(trained.stream("the quick", **options)) == text


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("independent", [True, False])
def test_scores_equal_the_commands_output(
    model: Path, tmp_path: Path, independent: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.txt").write_text(TEXT)
    args = ["--independent-lines"] if independent else []
    assert main(["lm", "score", str(tmp_path / "x.txt"), f"--model={model}", "--json", *args]) == 0
    *rows, _ = map(json.loads, capsys.readouterr().out.splitlines())
    found = sru_apps.load(model).score(TEXT.splitlines(keepends=True), independent=independent)
    assert [(score.tokens, score.nll) for score in found] == [(row["tokens"], row["nll"]) for row in rows]


def test_scored_documents_are_independent(model: Path) -> None:
    """The first token of a document is still predicted from the previous document, as in training."""
    config = json.loads((model / "config.json").read_text())
    separator = sru_apps.load(model).tokenizer.encode("\n")[0]
    lines = ["jumps the\n", "\n", "quick\n", "the fox\n"]
    others = ["fox fox fox quick\n", *lines[1:]]

    def scores(texts: list[str]) -> list[float]:
        return [score.nll for score in sru_apps.load(model).score(texts, independent=False)]

    assert scores(lines)[2:] != scores(others)[2:]
    (model / "config.json").write_text(json.dumps({**config, "separator": separator}))
    assert scores(lines)[1] != scores(others)[1]
    assert scores(lines)[2:] == scores(others)[2:]
    assert scores(lines)[3] == pytest.approx(scores(lines[2:])[1])


@pytest.mark.parametrize("separator", [-1, 99, "<eos>", True])
def test_an_invalid_separator(model: Path, separator: object) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "separator": separator}))
    with pytest.raises(UserError, match="separator must be the number of a symbol, below 7"):
        sru_apps.load(model)


def test_errors(model: Path) -> None:
    trained = sru_apps.load(model)
    with pytest.raises(ValueError, match="max_tokens must be at least 0, got -1"):
        trained.generate("the", max_tokens=-1)
    with pytest.raises(ValueError, match="temperature must be"):
        trained.generate("the", temperature=-1.0)
    with pytest.raises(ValueError, match=r"score: texts must be a list of texts, got one text: \['the'\]"):
        trained.score("the")

"""A trained classifier in Python gives the results of the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.tasks.classify.predict import CUT_OFF, NOTHING_KNOWN, Classifier
from sru_apps.train.errors import UserError
from sru_apps.train.export import export_model
from sru_data.tokenizers import WordTokenizer

TOKENIZER = WordTokenizer.train(["a warm and funny film", "dull"])


def untrained(**options: Any) -> Classifier:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(TOKENIZER), "embedding_size": 4, "hidden_size": 3, "num_classes": 3}
    network = SentenceClassifier(ClassifierConfig(**{**sizes, **options}))
    return Classifier(network, TOKENIZER, {"labels": ["a", "b", "c"], "temperature": 1.0})


@pytest.mark.usefixtures("one_thread")
def test_predictions_equal_the_commands_output(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["a warm and funny film", "", "tedious", "simply awful noise ."]
    model = sru_apps.load(trained_run)
    found = model.predict(texts, probabilities=True)
    assert main(["classify", "predict", f"--model={trained_run}", "--json", *texts]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{**prediction._asdict()} for prediction in found] == [{**row, "pair": None} for row in printed]
    assert model.labels == ["negative", "positive"]
    assert found[1].label is found[1].probability is None
    assert model.predict(texts)[0].probabilities is None


def test_predictions_do_not_depend_on_the_order_of_lengths() -> None:
    model = untrained()
    texts = ["a film", "dull", "a warm and funny film", "warm", "a funny film"] * 3
    alone = [model.predict([text])[0] for text in texts]
    together = model.predict(texts)
    assert [prediction.text for prediction in together] == texts
    assert [prediction.label for prediction in together] == [prediction.label for prediction in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_a_temperature_divides_the_logits(tmp_path: Path) -> None:
    sharp = untrained()
    entries = {"task": "classify", "labels": ["a", "b", "c"], "temperature": 2.0}
    settings = {"vocab_size": len(TOKENIZER), "embedding_size": 4, "hidden_size": 3, "num_classes": 3}
    export_model(tmp_path, sharp.network, {**entries, "model": settings}, TOKENIZER)
    (found,) = sru_apps.load(tmp_path).predict(["a warm film"], probabilities=True)
    ids = torch.tensor(TOKENIZER.encode("a warm film")).unsqueeze(1)
    with torch.no_grad():
        (wanted,) = (sharp.network(ids) / 2).softmax(-1)
    assert list(found.probabilities.values()) == pytest.approx(wanted.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("place", "entry", "message"),
    [
        ("entries", {"temperature": 0}, "ValueError: temperature must be above 0, got 0"),
        ("entries", {"label_separator": 3}, "ValueError: label_separator must be a str, got 3"),
        ("model", {"pairs": "no"}, "ValueError: pairs must be a bool, got 'no'"),
        ("model", {"multi_label": 1}, "ValueError: multi_label must be a bool, got 1"),
    ],
)
def test_invalid_entries(tmp_path: Path, place: str, entry: dict[str, Any], message: str) -> None:
    settings = {"vocab_size": len(TOKENIZER), "embedding_size": 4, "hidden_size": 3, "num_classes": 3}
    entries: dict[str, Any] = {"task": "classify", "labels": ["a", "b", "c"], "model": settings}
    (entries if place == "entries" else settings).update(entry)
    export_model(tmp_path, untrained().network, entries, TOKENIZER)
    with pytest.raises(UserError, match=message):
        sru_apps.load(tmp_path)


def test_labels_above_one_half_are_given() -> None:
    model = untrained(multi_label=True)
    (found,) = model.predict(["a warm film"], probabilities=True)
    assert found.probabilities is not None
    chosen = [name for name, value in found.probabilities.items() if value > 0.5]
    assert 0 < len(chosen) < 3
    assert found.label == ",".join(chosen)
    assert found.probability == min(max(value, 1 - value) for value in found.probabilities.values())


def test_pairs() -> None:
    model = untrained(pairs=True)
    found = model.predict(["a film", "", "dull"], ["dull", "", "a film"])
    assert [prediction.pair for prediction in found] == ["dull", "", "a film"]
    assert found[1].label is None
    first = torch.tensor(TOKENIZER.encode("a film")).unsqueeze(1)
    second = torch.tensor(TOKENIZER.encode("dull")).unsqueeze(1)
    with torch.no_grad():
        wanted = model.network(first, None, second, None).softmax(-1).max()
    assert found[0].probability == pytest.approx(float(wanted), abs=1e-6)
    with pytest.raises(ValueError, match="model classifies pairs of sentences, got single ones"):
        model.predict(["a film"])
    with pytest.raises(ValueError, match="predict: this model classifies sentences, got pairs"):
        untrained().predict(["a film"], ["dull"])


def test_a_single_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"texts must be a list of texts, got one text: \['a film'\]"):
        untrained().predict("a film")


def test_a_missing_text_is_named() -> None:
    with pytest.raises(ValueError, match=r"predict: texts\[1\] must be a string, got nan"):
        untrained().predict(["a film", float("nan")])  # type: ignore[list-item]


def test_notes() -> None:
    found = untrained().predict(["zebra gnu", "zebra film", "", "film " * 20_000])
    assert [prediction.note for prediction in found] == [NOTHING_KNOWN, None, None, CUT_OFF]


def test_paths_that_cannot_be_loaded(trained_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model at .*none; give a run folder"):
        sru_apps.load(tmp_path / "none")
    with pytest.raises(UserError, match=r"is not an exported model: config.json is missing"):
        sru_apps.load(tmp_path)
    torch.save({"state_dict": {}, "task": "demo"}, tmp_path / "x.ckpt")
    made_by = r"was made by `sru demo`; expected one made by `sru` classify, lm, squad, translate, chat"
    with pytest.raises(UserError, match=made_by):
        sru_apps.load(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="the device 'gpuu' cannot be used: "):
        sru_apps.load(trained_run, device="gpuu")

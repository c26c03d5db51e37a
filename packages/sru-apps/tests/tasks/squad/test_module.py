from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sru_apps.tasks.squad.answers import answer_of, best_spans
from sru_apps.tasks.squad.data import SquadData
from sru_apps.tasks.squad.figures import AnswerFigures
from sru_apps.tasks.squad.model import question_losses, reader_loss
from sru_apps.tasks.squad.module import SquadModule
from sru_apps.train.optimizers import OptimizerConfig

OPTIONS = {"hidden_size": 6, "num_layers": 1}


def set_up(questions: Path, version: str = "") -> tuple[SquadData, SquadModule]:
    data = SquadData(
        train_file=str(questions / f"train{version}.json"),
        validation_file=str(questions / f"dev{version}.json"),
        prepared_dir=str(questions / f"prepared{version}"),
        embedding_size=8,
        min_count=1,
        processes=1,
    )
    data.prepare_data()
    data.setup("fit")
    torch.manual_seed(0)
    return data, SquadModule.build(data, OPTIONS, OptimizerConfig())


@pytest.mark.parametrize("version", ["", "2"])
def test_figures_are_computed_from_the_best_spans(questions: Path, version: str) -> None:
    data, module = set_up(questions, version)
    assert module.config.no_answer == (version == "2")
    logged: dict[str, float] = {}
    module.eval().trainer = SimpleNamespace(testing=False, datamodule=data)  # type: ignore[assignment]
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    figures, losses = AnswerFigures("2.0" if version else "1.1"), []
    module.on_validation_epoch_start()
    for place, batch in enumerate(data.val_dataloader()):
        with torch.no_grad():
            module.validation_step(batch, place)
            scores = module.network(batch.inputs)
            losses.append(question_losses(scores, batch.start, batch.end))
            spans = best_spans(scores.start, scores.end, max_length=15)
        for row, index in enumerate(batch.index.tolist()):
            text = data.parts["validation"].text(index)  # type: ignore[attr-defined]
            found, *_ = answer_of(text, int(spans.start[row, 0]), int(spans.end[row, 0]))
            doubt = scores.none[row : row + 1] - spans.scores[row, :1] if version else None
            figures.update([found], [text.answers], doubt)
    module.on_validation_epoch_end()
    expected = {"loss": torch.cat(losses).mean(), **figures.compute()}
    assert logged == pytest.approx({f"validation_{name}": float(x) for name, x in expected.items()})


def test_an_answer_that_was_not_located_is_not_scored(questions: Path) -> None:
    data, module = set_up(questions, "2")
    module.eval().trainer = SimpleNamespace(testing=False, datamodule=data)  # type: ignore[assignment]
    (batch,) = data.val_dataloader()
    lost = batch._replace(start=torch.full_like(batch.start, -1), end=torch.full_like(batch.end, -1))
    with torch.no_grad():
        module.validation_step(lost, 0)
        losses = question_losses(module.network(batch.inputs), batch.start, batch.end)
    assert module._counted == 3  # the unanswerable ones among twelve
    assert module._nats == pytest.approx(float(losses[batch.start < 0].sum()))


def test_the_training_loss(questions: Path) -> None:
    data, module = set_up(questions)
    batch = next(iter(data.train_dataloader()))
    module.eval()
    expected = reader_loss(module.network(batch.inputs), batch.start, batch.end)
    assert torch.equal(module.training_step(batch, 0), expected)


def test_hyper_parameters_are_plain_values_that_rebuild_the_module(questions: Path) -> None:
    data, module = set_up(questions)
    again = SquadModule.from_checkpoint(module.hparams)
    assert (again.config, again.optimizer, again.exported) == (
        module.config,
        module.optimizer,
        module.exported,
    )
    assert module.exported == {"annotator": data.description, "tags": [], "entities": [], "threshold": None}
    torch.save(dict(module.hparams), buffer := io.BytesIO())
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == dict(module.hparams)


def test_training_starts_from_pretrained_vectors(questions: Path) -> None:
    data, module = set_up(questions)
    vectors = torch.randn(len(data.tokenizer), 8)  # type: ignore[arg-type]
    module.start(SimpleNamespace(pretrained=SimpleNamespace(weight=vectors)))  # type: ignore[arg-type]
    assert torch.equal(module.network.inputs.embedding.weight, vectors)


def test_layers_are_relearned_for_other_annotations(questions: Path) -> None:
    _, module = set_up(questions)
    other = SimpleNamespace(annotator=SimpleNamespace(description={"features": "spacy", "version": "3"}))
    assert module.relearned(other) == ("", ())
    config = {**module.hparams["config"], "num_tags": 2, "num_entities": 1}
    tagged = SquadModule(
        config, annotator={"features": "spacy", "version": "4"}, tags=["", "NN"], entities=[""]
    )
    reason, prefixes = tagged.relearned(other)
    assert reason == "the words were annotated differently"
    named = [name for name in tagged.network.state_dict() if name.startswith(prefixes)]
    assert {name.rpartition(".rnn.")[0] for name in named} == {"document_encoder.layers.0"}
    same = SimpleNamespace(annotator=SimpleNamespace(description={"features": "spacy", "version": "4"}))
    assert tagged.relearned(same) == ("", ())


def test_fit_with_mixed_precision(fit: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = fit("half", "--trainer.precision=bf16-mixed", "--optimizer.name=adamax")
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    assert 0 <= summary["validation_exact_match"] <= summary["validation_f1"] <= 1
    assert 0 < summary["parameters_without_embedding"] < summary["parameters"]
    exact, f1 = (100 * summary[f"validation_{name}"] for name in ("exact_match", "f1"))
    assert f"exact match {exact:.2f} %, F1 {f1:.2f} %, loss " in capsys.readouterr().out

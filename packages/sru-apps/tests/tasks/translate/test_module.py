"""The losses and the figures of training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch.nn import functional as F

from sru_apps.tasks.translate import module as translate_module
from sru_apps.tasks.translate.data import TranslationData
from sru_apps.tasks.translate.decoding import search
from sru_apps.tasks.translate.metrics import TranslationScorer
from sru_apps.tasks.translate.module import TranslationModule
from sru_apps.train.optimizers import OptimizerConfig
from sru_data.loaders import IGNORE

pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu")
OPTIONS = {"embedding_size": 8, "hidden_size": 6, "num_layers": 1, "attention": "luong", "dropout": 0.0}


@pytest.fixture
def data(corpus: Path, tmp_path: Path) -> TranslationData:
    files = {
        f"{part}{side}_file": str(corpus / f"{name}.{language}")
        for part, name in (("train", "train"), ("validation", "dev"))
        for side, language in (("", "en"), ("_target", "de"))
    }
    how = {"unit": "words", "prepared_dir": str(tmp_path / "prepared"), "bleu_tokenizer": "none"}
    made = TranslationData(**files, **how, evaluation_batch_size=3)
    made.prepare_data()
    made.setup("fit")
    return made


def build(data: TranslationData, **options: Any) -> TranslationModule:
    torch.manual_seed(0)
    return TranslationModule.build(data, {**OPTIONS, **options}, OptimizerConfig())


def test_the_loss_is_smoothed_and_averaged_over_tokens_without_padding(data: TranslationData) -> None:
    module = build(data, label_smoothing=0.2)
    batch = next(iter(data.train_dataloader()))
    assert (batch.targets == IGNORE).any()
    found = module.training_step(batch, 0)
    logits = module.network.output(module.network(batch.source, batch.target, batch.source_mask))
    for name, smoothing in (("loss", 0.2), ("mean_loss", 0.0)):
        wanted = F.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, label_smoothing=smoothing
        )
        torch.testing.assert_close(found[name], wanted)
    assert not found["mean_loss"].requires_grad


@pytest.mark.parametrize("fitting", [True, False])
def test_figures_are_computed_over_all_sentences(
    data: TranslationData, fitting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build(data, label_smoothing=0.2, beam=4, validation_beam=2).eval()
    logged: dict[str, float] = {}
    state = SimpleNamespace(fn=TrainerFn.FITTING if fitting else TrainerFn.VALIDATING)
    module.trainer = SimpleNamespace(testing=False, datamodule=data, state=state)  # type: ignore[assignment]
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    beams = []

    def watched(*args: Any, beam: int) -> Any:
        beams.append(beam)
        return search(*args, beam=beam)

    monkeypatch.setattr(translate_module, "search", watched)
    module.on_validation_epoch_start()
    losses, hypotheses, references = [], [], []
    for place, batch in enumerate(data.val_dataloader()):
        with torch.no_grad():
            module.validation_step(batch, place)
            h = module.network(batch.source, batch.target, batch.source_mask)
            real = batch.targets != IGNORE
            losses.append(
                F.cross_entropy(module.network.output(h[real]), batch.targets[real], reduction="none")
            )
            for best, *_ in search(module.network, batch.source, batch.source_mask, beam=2 if fitting else 4):
                hypotheses.append(data.tokenizer.decode(best.ids))  # type: ignore[union-attr]
        references += [data.parts["validation"].text(i).targets for i in batch.index.tolist()]  # type: ignore[attr-defined]
    module.on_validation_epoch_end()
    assert set(beams) == {2 if fitting else 4}
    assert len(hypotheses) == 8
    loss = torch.cat(losses).mean()
    scores = TranslationScorer(tokenizer="none").corpus(hypotheses, references)
    expected = {"loss": loss, "perplexity": loss.exp(), "bleu": scores.bleu, "chrf": scores.chrf}
    assert logged == pytest.approx({f"validation_{name}": float(value) for name, value in expected.items()})
    figures = {"bleu": 35.123, "chrf": 58.0, "loss": 1.5}
    assert module.describe(figures) == "BLEU 35.12, chrF 58.00, loss 1.5000"
    assert module.summary({"test": figures}) == {"test_bleu": 35.123, "test_chrf": 58.0}


def test_both_languages_may_share_all_embeddings(data: TranslationData, tmp_path: Path) -> None:
    options = {name: value for name, value in data.hparams.items() if name != "prepared_dir"}
    joint = TranslationData(**{**options, "joint": True, "prepared_dir": str(tmp_path / "joint")})
    joint.setup("fit")
    module = build(joint, tie_embeddings="all")
    assert module.network.source_embedding is module.network.target_embedding
    assert module.config.source_vocab_size == module.config.target_vocab_size == len(joint.tokenizer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tie_embeddings=all needs a joint vocabulary"):
        build(data, tie_embeddings="all")

"""The training of a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from sru_apps.tasks.squad.answers import answer_of, best_spans, no_answer_score
from sru_apps.tasks.squad.batches import Batch
from sru_apps.tasks.squad.data import SquadData
from sru_apps.tasks.squad.figures import AnswerFigures
from sru_apps.tasks.squad.model import ReaderConfig, build_reader, question_losses, reader_loss
from sru_apps.train.module import TaskModule, count_parameters
from sru_apps.train.optimizers import OptimizerConfig


class SquadModule(TaskModule):
    """Training of a reader, and its figures: exact match and F1 as the official script computes them.

    Args:
        config: The network, or its `dataclasses.asdict`.
        optimizer: The optimizer and its schedule, or their `dataclasses.asdict`.
        annotator: The description of the annotator that tokenizes texts and finds their features.
        tags: The parts of speech by id; empty without features.
        entities: The kinds of named entities by id; empty without features.
        threshold: How much higher, in logits, no answer must score than the best span to be predicted; None
            for the threshold with the best F1 on the evaluated data.
    """

    config_class = ReaderConfig
    network_class = staticmethod(build_reader)
    sizes_of_data = ("embedding_size",)
    shares: ClassVar[Mapping[str, str]] = {"exact_match": "exact match", "f1": "F1"}

    def __init__(
        self,
        config: ReaderConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
        *,
        annotator: Mapping[str, Any],
        tags: Sequence[str] = (),
        entities: Sequence[str] = (),
        threshold: float | None = None,
    ) -> None:
        self.exported = {
            "annotator": dict(annotator),
            "tags": list(tags),
            "entities": list(entities),
            "threshold": threshold,
        }
        super().__init__(config, optimizer, **self.exported)
        self.network = build_reader(self.config)
        self.figures = AnswerFigures("2.0" if self.config.no_answer else "1.1", threshold=threshold)
        self._nats, self._counted = 0.0, 0

    @classmethod
    def build(cls, data: SquadData, options: Mapping[str, Any], optimizer: OptimizerConfig) -> SquadModule:
        """Build the module for prepared questions."""
        assert data.tokenizer is not None
        config = ReaderConfig(
            vocab_size=len(data.tokenizer),
            embedding_size=data.embedding_size,
            num_features=data.num_features,
            num_tags=len(data.tags),
            num_entities=len(data.entities),
            fixed_vectors=data.fixed_vectors,
            no_answer=data.no_answer,
            **options,
        )
        return cls(config, optimizer, annotator=data.description, tags=data.tags, entities=data.entities)

    def start(self, data: SquadData) -> None:
        """Start from pretrained word vectors, if there are any; training tunes those that are not fixed."""
        if data.pretrained is not None:
            self.network.inputs.embedding.start(data.pretrained.weight)

    def relearned(self, former: Any) -> tuple[str, tuple[str, ...]]:
        """Relearn the layers that read parts of speech and entities, if those are annotated differently."""
        if not self.config.num_tags or dict(former.annotator.description) == self.exported["annotator"]:
            return "", ()
        return "the words were annotated differently", (
            *("inputs.tags.", "inputs.entities."),
            *("document_encoder.layers.0.", "reading.layers.0."),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        return reader_loss(self.network(batch.inputs), batch.start, batch.end)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.figures.reset()
        self._nats, self._counted = 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Compare the best spans with the references."""
        scores = self.network(batch.inputs)
        spans = best_spans(scores.start, scores.end, max_length=self.config.max_answer)
        questions = self.trainer.datamodule.parts[self.stage]  # type: ignore[attr-defined]
        texts = [questions.text(index) for index in batch.index.tolist()]
        places = zip(spans.start[:, 0].tolist(), spans.end[:, 0].tolist(), strict=True)
        predictions = [answer_of(text, *place)[0] for text, place in zip(texts, places, strict=True)]
        na_scores = None if scores.none is None else no_answer_score(spans, scores.none)
        self.figures.update(predictions, [text.answers for text in texts], na_scores)
        # An answer that matches no words cannot be scored.
        impossible = torch.tensor([text.is_impossible for text in texts], device=batch.start.device)
        counted = (batch.start >= 0) | (impossible & self.config.no_answer)
        losses = question_losses(scores, batch.start, batch.end)[counted]
        self._nats += float(losses.sum())
        self._counted += len(losses)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of all questions."""
        figures = {name: float(value) for name, value in self.figures.compute().items()}
        self.log_figures({"loss": self._nats / max(1, self._counted), **figures})

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step
    on_test_epoch_end = on_validation_epoch_end

    def summary(self, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return what `sru squad table` compares."""
        parameters = count_parameters(self) - count_parameters(self.network.inputs.embedding)
        return {**super().summary(figures), "parameters_without_embedding": parameters}

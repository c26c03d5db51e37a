"""The document reader of DrQA, the choice among the readers, and their loss."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sru_apps.nn import StackedEncoder
from sru_apps.ranges import ranged
from sru_apps.tasks.squad.batches import ReaderInput
from sru_apps.tasks.squad.fusion import FusionOptions, FusionReader
from sru_apps.tasks.squad.layers import InputLayer, OutputLayer, QuestionSummary, ReaderOptions, Scores


@dataclass(frozen=True, kw_only=True)
class ReaderConfig(FusionOptions):
    """Sizes and choices of a reader.

    Raises:
        ValueError: A number is out of its range, or two choices exclude each other.
    """

    reader: Literal["drqa", "fusion"] = ranged("drqa", among=("drqa", "fusion"))
    """The network: DrQA's document reader, or FusionNet's multi-level fusion."""
    question_layers: int | None = ranged(None, at_least=1)
    """drqa: recurrent layers over the question; default: as `num_layers`."""
    concat_layers: bool | None = None
    """drqa: concatenate the outputs of all layers; default: yes."""
    residual: bool | None = None
    """drqa: add the input of each layer but the first to its output; default: no."""

    def __post_init__(self) -> None:
        super().__post_init__()
        common, fusion, own = (_names(kind) for kind in (ReaderOptions, FusionOptions, ReaderConfig))
        others = own - fusion - {"reader"} if self.reader == "fusion" else fusion - common
        for name in sorted(others):
            if getattr(self, name) is not None:
                raise ValueError(f"the reader {self.reader!r} has no option {name}; leave it out")


def _names(options: Any) -> set[str]:
    return {item.name for item in fields(options)}


class DocumentReader(nn.Module):
    """Score where in a passage the answer to a question starts and ends.

        document, question = input layer        d = encoder(document)        q = summary(encoder'(question))
        start_t = d_t · (W_s q + b_s)        end_t = d_t · (W_e q + b_e)

    Args:
        config: Sizes and choices.

    Source: Chen et al., "Reading Wikipedia to Answer Open-Domain Questions" (2017), section 3.2; with SRU,
    Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence" (2018), section 4.2.
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = InputLayer(config)

        def encoder(size: int, num_layers: int) -> StackedEncoder:
            return StackedEncoder(
                config.encoder,
                size,
                config.hidden_size,
                num_layers=num_layers,
                dropout=config.dropout,
                output_dropout=config.dropped_outputs,
                variational=config.variational_dropout,
                concat_layers=config.concat_layers is not False,
                residual=bool(config.residual),
                bidirectional=config.bidirectional,
                options=config,
            )

        self.document_encoder = encoder(self.inputs.document_size, config.num_layers)
        question_layers = config.question_layers or config.num_layers
        self.question_encoder = encoder(self.inputs.question_size, question_layers)
        sizes = self.document_encoder.output_size, self.question_encoder.output_size
        self.summary = QuestionSummary(sizes[1], config.question_merge)
        self.outputs = OutputLayer(config, *sizes)

    def forward(self, inputs: ReaderInput) -> Scores:
        """Score a batch.

        Args:
            inputs: Passages and questions; none is empty.
        """
        embedded = self.inputs(inputs)
        h = self.question_encoder(embedded.question, inputs.question_mask)
        summary = self.summary(h, inputs.question_mask)
        document = self.document_encoder.parts(embedded.document, inputs.document_mask)
        return self.outputs(document, summary, inputs.document_mask)  # type: ignore[no-any-return]


def build_reader(config: ReaderConfig) -> nn.Module:
    """Build the network that the configuration names."""
    return FusionReader(config) if config.reader == "fusion" else DocumentReader(config)


def reader_loss(scores: Scores, start: Tensor, end: Tensor) -> Tensor:
    """Return the mean loss over the questions of a batch that have one; 0 if none has.

    Args:
        scores: The logits of the reader.
        start: (B,) int64, as for `question_losses`.
        end: (B,) int64.
    """
    losses = question_losses(scores, start, end)
    return losses.mean() if scores.none is not None else losses.sum() / (start >= 0).sum().clamp(min=1)


def question_losses(scores: Scores, start: Tensor, end: Tensor) -> Tensor:
    """Return the negative log-likelihood of each answer.

    A question without a span is treated as one without an answer if the reader has a score for that;
    otherwise its loss is 0.

    Args:
        scores: The logits of the reader.
        start: (B,) int64, the first word of each answer; -1 for none.
        end: (B,) int64, its last word; -1 for none.

    Returns:
        (B,).

    Source: with a no-answer score, Clark and Gardner, "Simple and Effective Multi-Paragraph Reading
    Comprehension" (2018), "No-Answer Option".
    """
    answered = start >= 0
    totals = [logits.logsumexp(-1) for logits in (scores.start, scores.end)]
    first, last = (
        logits.gather(-1, place.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        for logits, place in ((scores.start, start), (scores.end, end))
    )
    total = totals[0] + totals[1]
    if scores.none is None:
        return torch.where(answered, total - first - last, 0)
    total = torch.logaddexp(total, scores.none)
    return total - torch.where(answered, first + last, scores.none)

"""The parts that all readers share: common options, the input layer, and the layer that finds spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_apps.nn import (
    AlignedAttention,
    AttentionPooling,
    BilinearAttention,
    EncoderOptions,
    RecurrentName,
    WordVectors,
    make_dropout,
    weighted_mean,
)
from sru_apps.nn.layers import SequenceDropout
from sru_apps.ranges import check_at_least, ranged
from sru_apps.tasks.squad.batches import ReaderInput

_NO_ANSWER_UNITS = 80


@dataclass(frozen=True, kw_only=True)
class ReaderOptions(EncoderOptions):
    """Sizes and choices that all readers have, and the options of their encoders.

    Raises:
        ValueError: A number is out of its range, or the encoder lacks one of the options.
    """

    vocab_size: int
    """Rows of the embedding; row 0 is padding."""
    embedding_size: int
    """E, the length of the word vectors."""
    num_features: int
    """F, the features that describe how a word of the passage relates to the question."""
    # Factories, because a field with a plain default is a command-line option.
    num_tags: int = field(default_factory=int)
    """Parts of speech, padding included; 0 without."""
    num_entities: int = field(default_factory=int)
    """Kinds of named entities, padding included; 0 without."""
    fixed_vectors: int = field(default_factory=int)
    """The number of rows at the end of the embedding that stay fixed in training."""
    no_answer: bool = field(default_factory=bool)
    """Whether a question may have no answer."""
    encoder: RecurrentName = "sru"
    """The recurrent cell."""
    hidden_size: int = ranged(128, at_least=1)
    """Units per direction of a recurrent layer."""
    num_layers: int = ranged(3, at_least=1)
    """Recurrent layers over the passage; fusion: over passage and question, each a level of fusion."""
    bidirectional: bool = True
    """Read in both directions; cells with one direction get a second, backward layer."""
    use_aligned_question: bool = True
    """Give each passage word the attention-weighted mean of the question's word vectors."""
    question_merge: Literal["attention", "mean"] = ranged("attention", among=("attention", "mean"))
    """How to pool the question into one vector: self-attention, or a plain mean."""
    tag_size: int | None = ranged(None, at_least=1)
    """Size of part-of-speech embeddings; default: one-hot vectors."""
    entity_size: int | None = ranged(None, at_least=1)
    """Size of named-entity embeddings; default: one-hot vectors."""
    end_conditioned: bool = False
    """Condition the end of the answer on the predicted start."""
    embedding_dropout: float = ranged(0.4, at_least=0, below=1)
    """Dropout on the word vectors."""
    dropout: float = ranged(0.2, at_least=0, below=1)
    """Dropout in recurrent layers, or on their inputs."""
    output_dropout: float | None = ranged(None, at_least=0, below=1)
    """Dropout on the outputs of each stack of layers; default: as `dropout`."""
    variational_dropout: bool = True
    """Use one dropout mask for all positions of a sequence, instead of one per position."""
    max_answer: int = ranged(15, at_least=1)
    """The longest answer to predict, in words."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, vocab_size=self.vocab_size, embedding_size=self.embedding_size)
        check_at_least(0, num_features=self.num_features)
        self.given(self.encoder)

    @property
    def dropped_outputs(self) -> float:
        """The dropout on the outputs of a stack."""
        return self.dropout if self.output_dropout is None else self.output_dropout


class Scores(NamedTuple):
    """The logits of a batch.

        log P(i, j) = start_i + end_j − Z        log P(none) = none − Z
        Z = log(e^none + Σ_i e^start_i · Σ_j e^end_j)

    Without a no-answer score this is a softmax of the starts and one of the ends.
    """

    start: Tensor
    """(B, T) logits, float32 or float64, -∞ at padding."""
    end: Tensor
    """(B, T) logits, like `start`."""
    none: Tensor | None
    """(B,) logits of no answer; None for a model that always answers."""


class Embedded(NamedTuple):
    """A batch after the input layer."""

    document: Tensor
    """(T, B, F) all features of the words of the passage."""
    words: Tensor
    """(T, B, E) only their word vectors."""
    question: Tensor
    """(J, B, E) the word vectors of the question."""


class InputLayer(nn.Module):
    """Word vectors of passage and question, and further features of the passage.

        document_t = [w_t; Σ_j a_tj q_j; features_t; tag_t; entity_t]

    w and q are word vectors after dropout, a comes from `AlignedAttention`; tags and entities are one-hot
    or learned vectors.

    Args:
        config: Sizes and choices.

    Attributes:
        document_size: F, the features of a word of the passage.
        question_size: E.

    Source: Chen et al., "Reading Wikipedia to Answer Open-Domain Questions" (2017), section 3.2.
    """

    def __init__(self, config: ReaderOptions) -> None:
        super().__init__()
        size, dropout = config.embedding_size, config.embedding_dropout
        self.embedding = WordVectors(config.vocab_size, size, num_fixed=config.fixed_vectors)
        self.dropout = make_dropout(dropout, variational=config.variational_dropout)
        self.aligned = AlignedAttention(size) if config.use_aligned_question else None
        self.tags = _labels(config.num_tags, config.tag_size)
        self.entities = _labels(config.num_entities, config.entity_size)
        self.question_size = size
        self.document_size = (
            size * (2 if config.use_aligned_question else 1)
            + config.num_features
            + sum(
                own or number
                for number, own in (
                    (config.num_tags, config.tag_size),
                    (config.num_entities, config.entity_size),
                )
                if number
            )
        )

    def forward(self, inputs: ReaderInput) -> Embedded:
        """Look up a batch.

        Args:
            inputs: Passages and questions.
        """
        words, question = (self.dropout(self.embedding(ids)) for ids in (inputs.document, inputs.question))
        parts = [words]
        if self.aligned is not None:
            parts.append(self.aligned(words, question, inputs.question_mask))
        parts.append(inputs.features.to(words.dtype))
        for labels, ids in ((self.tags, inputs.tags), (self.entities, inputs.entities)):
            if labels is not None:
                parts.append(labels(ids).to(words.dtype))
        return Embedded(torch.cat(parts, -1), words, question)


class OneHot(nn.Module):
    """One-hot vectors.

    Args:
        number: Their length.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, ids: Tensor) -> Tensor:
        """Turn ids of any shape into vectors, along a new last axis."""
        return F.one_hot(ids, self.number)


def _labels(number: int, size: int | None) -> nn.Module | None:
    if number == 0:
        return None
    return OneHot(number) if size is None else nn.Embedding(number, size, padding_idx=0)


class QuestionSummary(nn.Module):
    """One vector for each question: the mean of its words, optionally weighted by attention.

    Args:
        size: Q, the features of a word.
        merge: `attention` or `mean`.
    """

    def __init__(self, size: int, merge: Literal["attention", "mean"]) -> None:
        super().__init__()
        self.attention = AttentionPooling(size) if merge == "attention" else None

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Summarise a batch.

        Args:
            h: (J, B, Q), zero at padding.
            mask: (J, B) bool, True at padding; None without padding.

        Returns:
            (B, Q).
        """
        if self.attention is not None:
            return self.attention(h, mask)  # type: ignore[no-any-return]
        return h.mean(0) if mask is None else h.sum(0) / (~mask).sum(0).unsqueeze(-1)


class OutputLayer(nn.Module):
    """Scores of the positions where an answer may start and end, and of no answer.

        d = dropout(document)
        start_t = d_t · (W_s q + b_s)        end_t = d_t · (W_e q' + b_e)
        q' = q, or GRU(Σ_t softmax(start)_t d_t, q) if `end_conditioned`
        none = w · relu(V [q; Σ_t softmax(start)_t d_t; Σ_t softmax(end)_t d_t] + b) + b'

    Args:
        config: Sizes and choices.
        document_size: O, the features of a word of the passage.
        question_size: Q, the features of a question.

    Source: start and end, Chen et al., "Reading Wikipedia to Answer Open-Domain Questions" (2017), section
    3.2. The end after the start: Huang et al., "FusionNet" (2018), section 3.2. No answer: Clark and Gardner,
    "Simple and Effective Multi-Paragraph Reading Comprehension" (2018), "No-Answer Option".
    """

    def __init__(self, config: ReaderOptions, document_size: int, question_size: int) -> None:
        super().__init__()
        self.size = document_size
        self.dropout = make_dropout(config.dropped_outputs, variational=config.variational_dropout)
        self.start = BilinearAttention(document_size, question_size)
        self.end = BilinearAttention(document_size, question_size)
        self.middle = nn.GRUCell(document_size, question_size) if config.end_conditioned else None
        self.none: nn.Module | None = None
        if config.no_answer:
            self.none = nn.Sequential(
                nn.Linear(question_size + 2 * document_size, _NO_ANSWER_UNITS),
                nn.ReLU(),
                nn.Linear(_NO_ANSWER_UNITS, 1),
            )

    def forward(self, document: Sequence[Tensor], question: Tensor, mask: Tensor | None = None) -> Scores:
        """Score a batch.

        Args:
            document: The features of the words of the passages in parts, (T, B, ·), together (T, B, O).
            question: (B, Q).
            mask: (T, B) bool, True at padding; None without padding.
        """
        kept = None
        if not isinstance(self.dropout, SequenceDropout):
            document = [self.dropout(part) for part in document]
        elif self.training and self.dropout.p > 0:
            kept = self.dropout(question.new_ones(1, len(question), self.size)).squeeze(0)

        def mean(scores: Tensor) -> Tensor:
            found = weighted_mean(scores.softmax(-1), document)
            return found if kept is None else found * kept

        start = self.start(document, question, mask, kept)
        started = None if self.middle is None and self.none is None else mean(start)
        asked = question if self.middle is None else self.middle(started, question)
        end = self.end(document, asked, mask, kept)
        none = None
        if self.none is not None:
            summary = torch.cat([question, started, mean(end)], -1)  # type: ignore[list-item]
            none = self.none(summary).squeeze(-1).to(start.dtype)
        return Scores(start, end, none)

"""The configuration of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sru_apps.nn import EncoderOptions, RecurrentName
from sru_apps.nn.adaptive import default_cutoffs
from sru_apps.ranges import check_at_least, ranged


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(EncoderOptions):
    """Sizes and choices of a `LanguageModel`, and the options of its encoder.

    Raises:
        ValueError: A number is out of its range, or two choices exclude each other.
    """

    vocab_size: int
    """V, of the tokenizer."""
    encoder: RecurrentName = "sru"
    """The encoder."""
    embedding_size: int = ranged(128, at_least=1)
    """E, the width of the embedding."""
    hidden_size: int = ranged(256, at_least=1)
    """D, the width of the layers."""
    num_layers: int = ranged(2, at_least=1)
    """L, the number of layers."""
    dropout: float = ranged(0.0, at_least=0, below=1)
    """Dropout between the layers."""
    embedding_dropout: float | None = ranged(None, at_least=0, below=1)
    """Dropout on the embedding; default: `dropout`."""
    output_dropout: float | None = ranged(None, at_least=0, below=1)
    """Dropout before the output layer; default: `dropout`."""
    embedding: Literal["plain", "adaptive"] = ranged("plain", among=("plain", "adaptive"))
    """plain, or adaptive: rare symbols have fewer features (Baevski and Auli, 2019)."""
    output: Literal["linear", "adaptive"] = ranged("linear", among=("linear", "adaptive"))
    """linear: a softmax over all symbols at once; adaptive: over clusters (Grave et al., 2017)."""
    cutoffs: tuple[int, ...] | None = None
    """First ids of the clusters of rarer symbols; default: 3/40 and 9/40 of the vocabulary."""
    cluster_shrink: int = ranged(4, at_least=1)
    """The factor by which each cluster has fewer features than the one before."""
    tie_weights: bool = False
    """Share the weights of embedding and output layer (Press and Wolf, 2017)."""
    project_output: bool | None = None
    """Map the outputs linearly to E features before the output layer; default: where sharing the weights
    needs it."""
    initial_range: float | None = ranged(None, above=0)
    """Bound of the uniform initial weights of a plain embedding and a linear output layer; default: as
    `nn.Embedding` and `nn.Linear` start, or 0.1 where they share their weights."""
    activation_checkpointing: bool = False
    """Recompute the layers in the backward pass to save memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, vocab_size=self.vocab_size)
        self._check_sharing()
        self.given(self.encoder)
        if self.cutoffs is not None:
            object.__setattr__(self, "cutoffs", tuple(self.cutoffs))

    def _check_sharing(self) -> None:
        adaptive = (self.embedding == "adaptive", self.output == "adaptive")
        if self.cutoffs is not None and not any(adaptive):
            raise ValueError("cutoffs are for an adaptive embedding or output; choose one, or leave them out")
        if self.tie_weights and adaptive[0] != adaptive[1]:
            raise ValueError(
                "tie_weights needs an embedding and an output of the same kind, got "
                f"embedding {self.embedding} and output {self.output}"
            )
        if self.tie_weights and self.project_output is False and self.hidden_size != self.embedding_size:
            raise ValueError(
                f"tie_weights needs the hidden size {self.hidden_size} to be the embedding size "
                f"{self.embedding_size}; let project_output map one to the other"
            )

    @property
    def projects_output(self) -> bool:
        """Whether there is a linear map from D to E features."""
        if self.project_output is None:
            return self.tie_weights and self.hidden_size != self.embedding_size
        return self.project_output

    @property
    def clusters(self) -> tuple[int, ...]:
        """The cutoffs in use.

        Raises:
            ValueError: The vocabulary is too small to be cut.
        """
        return default_cutoffs(self.vocab_size) if self.cutoffs is None else self.cutoffs

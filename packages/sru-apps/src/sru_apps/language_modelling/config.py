"""What it takes to build a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sru_apps.encoders import EncoderOptions, RecurrentName
from sru_apps.language_modelling.adaptive import default_cutoffs


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(EncoderOptions):
    """Sizes and choices of a `LanguageModel`, and what only some encoders can be told.

    Raises:
        ValueError: When a number is outside its range, or two choices exclude each other.
    """

    vocab_size: int
    """V, of the tokenizer."""
    encoder: RecurrentName = "sru"
    """`sru`, `srupp`, `lstm`, `gru`, `mingru` or `gated-linear`."""
    embedding_size: int = 128
    """E, the width of the embedding."""
    hidden_size: int = 256
    """D, the width of the layers."""
    num_layers: int = 2
    """L, how many layers there are."""
    dropout: float = 0.0
    """Dropout between the layers."""
    embedding_dropout: float | None = None
    """Dropout on the embedding; default: `dropout`."""
    output_dropout: float | None = None
    """Dropout before the output layer; default: `dropout`."""
    embedding: Literal["plain", "adaptive"] = "plain"
    """Whether rare symbols have fewer features in the embedding (Baevski and Auli, 2019)."""
    output: Literal["linear", "adaptive"] = "linear"
    """Whether the softmax is over all symbols at once or over clusters (Grave et al., 2017)."""
    cutoffs: tuple[int, ...] | None = None
    """First ids of the clusters of rarer symbols; default: 3/40 and 9/40 of the vocabulary."""
    cluster_shrink: int = 4
    """The factor by which each cluster has fewer features than the one before."""
    tie_weights: bool = False
    """Whether embedding and output layer share their weights (Press and Wolf, 2017)."""
    project_output: bool | None = None
    """Whether a linear map takes the outputs to E features before the output layer; default: where sharing
    the weights needs it."""
    initial_range: float | None = None
    """Bound of the uniform initial weights of a plain embedding and a linear output layer; default: as
    `nn.Embedding` and `nn.Linear` start, or 0.1 where they share their weights."""
    activation_checkpointing: bool = False
    """Whether training saves memory and computes what is between the layers a second time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "embedding_dropout", "output_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")
        for name, known in (("embedding", ("plain", "adaptive")), ("output", ("linear", "adaptive"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
        if self.cluster_shrink < 1:
            raise ValueError(f"cluster_shrink must be at least 1, got {self.cluster_shrink}")
        if self.initial_range is not None and not self.initial_range > 0:
            raise ValueError(f"initial_range must be above 0, got {self.initial_range}")
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
        """The cutoffs that are used.

        Raises:
            ValueError: When the vocabulary is too small to be cut.
        """
        return default_cutoffs(self.vocab_size) if self.cutoffs is None else self.cutoffs

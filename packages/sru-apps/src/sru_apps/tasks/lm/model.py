"""The recurrent language model and its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sru_apps.nn import EncoderOptions, RecurrentEncoder, RecurrentName, State
from sru_apps.nn.adaptive import AdaptiveEmbedding, AdaptiveSoftmax, default_cutoffs
from sru_apps.nn.cross_entropy import linear_cross_entropy
from sru_apps.nn.layers import Dropout
from sru_apps.ranges import check_at_least, ranged
from sru_nn.gemm import project

# Positions of a prompt that are read at once; this bounds memory use.
_READ_AT_ONCE = 1024
_SHARED_RANGE, _WIDEST_RANGE = 0.1, 1000


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(EncoderOptions):
    """Sizes and choices of a `LanguageModel`, and the options of its encoder.

    Raises:
        ValueError: A number is out of its range, or two choices exclude each other.
    """

    vocab_size: int
    """V, the size of the tokenizer's vocabulary."""
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
    """plain, or adaptive: rare tokens have fewer features (Baevski and Auli, 2019)."""
    output: Literal["linear", "adaptive"] = ranged("linear", among=("linear", "adaptive"))
    """linear: one softmax over all tokens; adaptive: over clusters (Grave et al., 2017)."""
    cutoffs: tuple[int, ...] | None = None
    """First ids of the clusters of rarer tokens; default: 3/40 and 9/40 of the vocabulary."""
    cluster_shrink: int = ranged(4, at_least=1)
    """The factor by which the number of features shrinks from one cluster to the next."""
    tie_weights: bool = False
    """Tie the weights of the embedding and the output layer (Press and Wolf, 2017)."""
    project_output: bool | None = None
    """Project the outputs to E features before the output layer; default: if tied weights need it."""
    initial_range: float | None = ranged(None, above=0)
    """Bound of the uniform initial weights of a plain embedding and a linear output layer; default: the
    initialisation of `nn.Embedding` and `nn.Linear`, or 0.1 if the weights are tied."""
    activation_checkpointing: bool = False
    """Recompute the layers in the backward pass to save memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, vocab_size=self.vocab_size)
        if self.initial_range is not None and self.initial_range > _WIDEST_RANGE:
            raise ValueError(f"initial_range must be at most {_WIDEST_RANGE}, got {self.initial_range}")
        self.given(self.encoder)
        if self.cutoffs is not None:
            object.__setattr__(self, "cutoffs", tuple(self.cutoffs))
            if sorted(set(self.cutoffs)) != list(self.cutoffs):
                raise ValueError(f"cutoffs must rise, got {', '.join(map(str, self.cutoffs))}")
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
            ValueError: The vocabulary is too small to be divided.
        """
        return default_cutoffs(self.vocab_size) if self.cutoffs is None else self.cutoffs


class LanguageModel(nn.Module):
    """Predict the next symbol: embedding, recurrent layers, and an output layer over the vocabulary.

        x = dropout(embedding(ids))        h = encoder(x)        logits = W · dropout(P h) + b

    P is optional. A plain embedding and a linear output layer keep PyTorch's initialisation. With an
    `initial_range`, their weights are uniform within it and the bias is zero, as in Zaremba et al.,
    "Recurrent Neural Network Regularization", 2014, and Merity et al., "Regularizing and Optimizing LSTM
    Language Models", 2018. Adaptive layers are initialised as in `AdaptiveEmbedding`.

    Args:
        config: Sizes and choices.

    Raises:
        ValueError: The vocabulary is too small for the clusters of an adaptive layer.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        size, features = config.vocab_size, config.embedding_size
        self.embedding = (
            AdaptiveEmbedding(size, features, cutoffs=config.clusters, shrink=config.cluster_shrink)
            if config.embedding == "adaptive"
            else nn.Embedding(size, features)
        )
        self.embedding_dropout = Dropout(
            config.dropout if config.embedding_dropout is None else config.embedding_dropout
        )
        self.encoder = RecurrentEncoder(
            config.encoder,
            features,
            config.hidden_size,
            num_layers=config.num_layers,
            dropout=config.dropout,
            options=config,
            activation_checkpointing=config.activation_checkpointing,
        )
        width = self.encoder.output_size
        self.projection: nn.Linear | None = None
        if config.projects_output:
            self.projection = nn.Linear(width, features, bias=False)
            nn.init.xavier_uniform_(self.projection.weight)
            width = features
        self.output_dropout = Dropout(
            config.dropout if config.output_dropout is None else config.output_dropout
        )
        self.output = (
            AdaptiveSoftmax(
                width,
                size,
                cutoffs=config.clusters,
                shrink=config.cluster_shrink,
                tied=self.embedding if config.tie_weights else None,  # type: ignore[arg-type]
            )
            if config.output == "adaptive"
            else nn.Linear(width, size)
        )
        # The weights of an embedding are far too large for an output layer.
        bound = config.initial_range or (_SHARED_RANGE if config.tie_weights else None)
        if bound is not None and isinstance(self.embedding, nn.Embedding):
            nn.init.uniform_(self.embedding.weight, -bound, bound)
        if bound is not None and isinstance(self.output, nn.Linear):
            nn.init.zeros_(self.output.bias)
            nn.init.uniform_(self.output.weight, -bound, bound)
        if config.tie_weights and isinstance(self.output, nn.Linear):
            self.output.weight = self.embedding.weight  # type: ignore[assignment]

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Score every possible next symbol.

        Args:
            ids: (T, B) int64, the symbols read.
            state: The state returned for the preceding text; None at the start of a text.

        Returns:
            logits: (T, B, V), unnormalised log-probabilities of the symbol after each position.
            state: The states to continue from.
        """
        h, state = self._encode(ids, state)
        return self.output(h), state

    def loss(
        self, inputs: Tensor, targets: Tensor, state: State | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Score the given next symbols, without the logits of all positions at once.

        Args:
            inputs: (T, B) int64, the symbols read.
            targets: (T, B) int64, the symbol after each, `IGNORE` (-100) where nothing is scored.
            state: As for `forward`.
            reset: (T, B) bool, True where the symbol read is the first of a document, which is read without
                the preceding text; None for one document.

        Returns:
            nll: (T, B) float32, or float64 in a float64 model: the negative log-likelihoods; 0 where nothing
            is scored.
            state: As `forward` returns it.
        """
        h, state = self._encode(inputs, state, reset)
        flat, wanted = h.flatten(0, 1), targets.flatten()
        if isinstance(self.output, AdaptiveSoftmax):
            nll = self.output.loss(flat, wanted)
        else:
            nll = linear_cross_entropy(flat, self.output.weight, self.output.bias, wanted)
        return nll.view(targets.shape), state

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one symbol of each stream, and score every possible next symbol.

        Args:
            ids: (B,) int64.
            state: As for `forward`.

        Returns:
            logits: (B, V), as `forward` returns them for the position.
            state: As `forward` returns it.
        """
        h, state = self.encoder.step(self.embedding_dropout(self.embedding(ids)), state)
        return self.output(self._features(h)), state

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read a text of any length, and score every possible next symbol.

        Args:
            ids: (T, B) int64, T at least 1.
            state: As for `forward`.

        Returns:
            logits: (B, V), as `forward` returns them for the last position.
            state: As `forward` returns it.
        """
        h = ids
        for part in torch.split(ids, _READ_AT_ONCE):
            h, state = self.encoder(self.embedding_dropout(self.embedding(part)), state=state)
        return self.output(self._features(h[-1])), state  # type: ignore[return-value]

    def _encode(self, ids: Tensor, state: State | None, reset: Tensor | None = None) -> tuple[Tensor, State]:
        h, state = self.encoder(self.embedding_dropout(self.embedding(ids)), state=state, reset=reset)
        return self._features(h), state

    def _features(self, h: Tensor) -> Tensor:
        return self.output_dropout(h if self.projection is None else project(self.projection, h))  # type: ignore[no-any-return]

"""The Transformer with SRUs in place of its feed-forward networks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sru_apps.nn.layers import Dropout
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.model import Memory, TranslationModel
from sru_nn import SRUCell
from sru_nn.dtypes import accumulate_dtype
from sru_nn.gemm import project

_LONGEST_WAVE = 10_000


class LayerState(NamedTuple):
    """The state of a decoder layer after t symbols; the batch is the second axis."""

    keys: Tensor
    """(t, N, E)."""
    values: Tensor
    """(t, N, E)."""
    c: Tensor
    """(1, N, D), the state of its SRU."""


class TransformerSRU(TranslationModel):
    """A Transformer whose layers have an SRU in place of the feed-forward network.

        x = √E · embedding[symbol] + positions
        each layer of the encoder:   x += attention(norm(x));  x += W · SRU(norm(x)) + b
        each layer of the decoder:   the same, causal, with x += attention(norm(x), source) in between
        h = norm(x)

    The SRU has no highway term, h = r ⊙ c, since the residual connection already carries x; with three
    matrices per SRU the models have 79 and 90 million parameters, as in the paper. Layer norm precedes each
    sublayer, as in OpenNMT-py, which the paper used. With `bidirectional` the SRUs of the encoder are
    bidirectional, with half of the units per direction.

    Args:
        config: Sizes and choices.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence" (2018), section 4.3;
    Vaswani et al., "Attention Is All You Need" (2017), for the positions.
    """

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__(config)
        self.dropout = Dropout(config.dropout)
        self.encoder = nn.ModuleList(Layer(config, decodes=False) for _ in range(config.num_layers))
        self.encoder_norm = nn.LayerNorm(config.embedding_size)
        self.decoder = nn.ModuleList(Layer(config, decodes=True) for _ in range(config.num_decoder_layers))
        self.decoder_norm = nn.LayerNorm(config.embedding_size)

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Memory:
        """Encode the source; the memory holds the keys and values of the decoder's layers."""
        x = self.dropout(self._add_positions(self.embed(self.source_embedding, source), 0))
        if mask is not None:
            # The attention weights of padding are zero, but 0 · NaN would still be NaN.
            x = x.masked_fill(mask.unsqueeze(-1), 0.0)
        encoder: Any = self.encoder
        decoder: Any = self.decoder
        for layer in encoder:
            x = layer.read(x, mask)
        x = self.encoder_norm(x)
        known = [layer.source_attention.keys_and_values(x) for layer in decoder]
        keys, values = zip(*known, strict=True)
        return Memory(keys, values, x.new_zeros(1, x.shape[1], 0), mask)

    def start(self, memory: Memory) -> tuple[LayerState, ...]:
        """Return the initial state of every layer."""
        key = memory.keys[0]
        nothing = key.new_zeros(0, *key.shape[1:])
        c = key.new_zeros(1, key.shape[1], self.config.hidden_size, dtype=accumulate_dtype(key.dtype))
        return tuple(LayerState(nothing, nothing, c) for _ in self.decoder)

    def decode(self, target: Tensor, memory: Memory) -> Tensor:
        """Read whole targets."""
        return self._run(target, self.start(memory), memory)[0]

    def step(self, ids: Tensor, state: Any, memory: Memory) -> tuple[Tensor, Tensor, tuple[LayerState, ...]]:
        """Read one symbol of each target; the weights are those of the last layer."""
        h, weights, state = self._run(ids.unsqueeze(0), state, memory)
        return project(self.output, h.squeeze(0)), weights.squeeze(0), state

    def _run(
        self, ids: Tensor, state: tuple[LayerState, ...], memory: Memory
    ) -> tuple[Tensor, Tensor, tuple[LayerState, ...]]:
        x = self.embed(self.target_embedding, ids)
        x = self.dropout(self._add_positions(x, state[0].keys.shape[0]))
        decoder: Any = self.decoder
        after, weights = [], x
        for number, (layer, before) in enumerate(zip(decoder, state, strict=True)):
            known = memory.keys[number], memory.values[number]
            x, weights, new = layer.write(x, before, known, memory.mask)
            after.append(new)
        return self.output_dropout(self.decoder_norm(x)), weights, tuple(after)

    def _add_positions(self, x: Tensor, first: int) -> Tensor:
        """Add the positions from `first` on: sines and cosines of wavelengths from 2π to 2π · 10,000."""
        steps, _, size = x.shape
        # Half-precision types represent few integers exactly.
        dtype = torch.promote_types(x.dtype, torch.float32)
        places = torch.arange(first, first + steps, dtype=dtype, device=x.device)
        half = (size + 1) // 2
        powers = torch.arange(half, dtype=dtype, device=x.device) / max(1, half - 1)
        angles = places.unsqueeze(1) * torch.exp(-math.log(_LONGEST_WAVE) * powers)
        return x + torch.cat([angles.sin(), angles.cos()], 1)[:, :size].unsqueeze(1).to(x.dtype)


class Layer(nn.Module):
    """A layer of the encoder or the decoder.

    Args:
        config: Sizes and choices.
        decodes: Whether it is a decoder layer: causal, and attending to the source.
    """

    def __init__(self, config: TranslationConfig, *, decodes: bool) -> None:
        super().__init__()
        size, units = config.embedding_size, config.hidden_size
        both_ways = config.both_ways and not decodes
        dropout = config.dropout if config.sru_dropout is None else config.sru_dropout

        def attention() -> HeadedAttention:
            return HeadedAttention(size, config.attention_heads, dropout=config.alignment_dropout)

        self.norm, self.attention = nn.LayerNorm(size), attention()
        if decodes:
            self.source_norm, self.source_attention = nn.LayerNorm(size), attention()
        self.sru_norm = nn.LayerNorm(size)
        self.sru = SRUCell(
            size,
            units // 2 if both_ways else units,
            dropout=dropout,
            rnn_dropout=dropout,
            bidirectional=both_ways,
            has_skip_term=False,
        )
        self.back = nn.Linear(units, size)
        self.dropout = Dropout(config.dropout)

    def read(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Read a source.

        Args:
            x: (S, B, E).
            mask: (S, B) bool, True at padding; None if there is no padding.

        Returns:
            (S, B, E).
        """
        given = self.norm(x)
        found, _ = self.attention(given, *self.attention.keys_and_values(given), mask)
        x = x + self.dropout(found)
        h, _ = self.sru(self.sru_norm(x), None, mask)
        return x + self.dropout(self.back(h))  # type: ignore[no-any-return]

    def write(
        self, x: Tensor, state: LayerState, source: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> tuple[Tensor, Tensor, LayerState]:
        """Read the next positions of targets.

        Args:
            x: (T, N, E), N = B·K.
            state: The state after the previous positions.
            source: Keys and values of the sources, (S, B, E) each.
            mask: (S, B) bool, True at padding of the source; None if there is no padding.

        Returns:
            x: (T, N, E).
            weights: (T, N, S), the attention weights of the source's positions.
            state: The state for the next positions.
        """
        given = self.norm(x)
        new = self.attention.keys_and_values(given)
        keys, values = (torch.cat(pair) for pair in zip(state[:2], new, strict=True))
        x = x + self.dropout(self.attention(given, keys, values, causal=True)[0])
        # The K targets of a source are additional queries to it.
        steps, sources = x.shape[0], source[0].shape[1]
        queries = self.source_norm(x).unflatten(1, (sources, -1)).transpose(1, 2).flatten(0, 1)
        found, weights = (
            part.unflatten(0, (steps, -1)).transpose(1, 2).flatten(1, 2)
            for part in self.source_attention(queries, *source, mask)
        )
        x = x + self.dropout(found)
        h, c = self.sru(self.sru_norm(x), state.c.squeeze(0))
        return x + self.dropout(self.back(h)), weights, LayerState(keys, values, c.unsqueeze(0))


class HeadedAttention(nn.Module):
    """Scaled dot-product attention with several heads.

        o_t = W [o_t1; ...; o_tH]    o_th = Σ_j a_tj V_h y_j    a_tj = softmax_j(q_t · k_j / √(E/H))
        q_t = Q_h x_t    k_j = K_h y_j    for each head h

    Args:
        size: E, of both sequences.
        heads: H, a divisor of E.
        dropout: Dropout on the weights a.

    Source: Vaswani et al. (2017), section 3.2.
    """

    def __init__(self, size: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(size, size, bias=False) for _ in range(4))
        self.dropout = Dropout(dropout)
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight)

    def keys_and_values(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values, (S, B, E) each, of `y`, (S, B, E)."""
        return project(self.key, y), project(self.value, y)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, causal: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            x: (T, B, E), the input of the queries.
            keys: (S, B, E).
            values: (S, B, E), finite even at padding.
            mask: (S, B) bool, True at padding; None if there is no padding.
            causal: Whether x are the last T of the S positions, each of which attends only up to itself.

        Returns:
            found: (T, B, E).
            weights: (T, B, S), the mean over the heads.
        """
        queries = project(self.query, x) * (x.shape[-1] // self.heads) ** -0.5
        # Fold the heads into the batch, as if they were separate sentences.
        q, k, v = (
            part.reshape(part.shape[0], part.shape[1] * self.heads, -1).transpose(0, 1)
            for part in (queries, keys, values)
        )
        scores = torch.bmm(q, k.transpose(1, 2))
        if mask is not None:
            padding = mask.t().repeat_interleave(self.heads, 0).unsqueeze(1)
            scores = scores.masked_fill(padding, -torch.inf)
        steps, places = scores.shape[1:]
        if causal and steps > 1:
            later = scores.new_ones(steps, places, dtype=torch.bool).triu(places - steps + 1)
            scores = scores.masked_fill(later, -torch.inf)
        weights = scores.softmax(-1).to(v.dtype)
        found = torch.bmm(self.dropout(weights), v).transpose(0, 1).reshape(x.shape)
        mean = weights.view(-1, self.heads, steps, places).mean(1).transpose(0, 1)
        return project(self.output, found), mean

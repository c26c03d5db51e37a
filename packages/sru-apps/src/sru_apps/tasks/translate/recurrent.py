"""The recurrent encoder-decoder with attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sru_apps.nn import RecurrentEncoder, StackedEncoder, State, last
from sru_apps.nn.encoders import ENCODERS
from sru_apps.nn.layers import make_dropout
from sru_apps.tasks.translate.attention import SourceAttention
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.model import Memory, TranslationModel
from sru_nn import SRUppState
from sru_nn.dtypes import accumulate_dtype
from sru_nn.gemm import project


class EncoderDecoder(TranslationModel):
    """A recurrent encoder of the source, and a recurrent decoder that attends to it.

        m = encoder(source)                     z = [→m_S; ←m_1]
        h¹ = layer¹(target), from a state computed from z
        o_t = attention(h¹_t, m)
        hˡ = layerˡ([hˡ⁻¹; o]) for l > 1        h̃_t = tanh(W [hᴸ_t; o_t])

    This is the attention `bahdanau`: the lowest layer computes the queries and does not read the attention's
    output o, so all steps of a target are computed at once; the layers above read o. With `luong`, hᴸ
    computes the queries and no layer reads o; input feeding (section 3.3 of Luong et al.) is left out, since
    it would make the steps sequential.

    The initial state of layer l is W z + b for the state c of an SRU, which is unbounded, and tanh(W z + b)
    for the h of a GRU and for the h and c of an LSTM.

    Args:
        config: Sizes and choices.

    Raises:
        ValueError: The attention or a cell does not support its sizes.

    Source: Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate" (2015);
    Luong et al., "Effective Approaches to Attention-based Neural Machine Translation" (2015). Queries from
    the first layer: Wu et al., "Google's Neural Machine Translation System" (2016), section 3, and Chen et
    al., "The Best of Both Worlds" (2018), section 4.1.
    """

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__(config)
        self.encoder = StackedEncoder(
            config.encoder,
            config.embedding_size,
            config.hidden_size,
            num_layers=config.num_layers,
            dropout=config.dropout,
            variational=config.variational,
            concat_layers=False,
            residual=config.residual,
            bidirectional=config.both_ways,
            options=config.options_of(config.encoder),
        )
        found, units = self.encoder.output_size, config.decoder_units
        self.queries_from = 0 if config.attention == "bahdanau" else config.num_decoder_layers - 1
        above = units + (found if config.attention == "bahdanau" else 0)
        sizes = [config.embedding_size, *[above] * (config.num_decoder_layers - 1)]
        self.layers = nn.ModuleList(
            RecurrentEncoder(
                config.decoder, size, units, num_layers=1, options=config.options_of(config.decoder)
            )
            for size in sizes
        )
        inside = ENCODERS[config.decoder].drop_inside if config.variational else None
        if inside is not None:
            for layer in self.layers:
                inside(layer.rnn, config.dropout)
        self.dropout = (
            nn.Identity()
            if inside is not None
            else make_dropout(config.dropout, variational=config.variational)
        )
        self.attention = SourceAttention(
            units, found, score=config.score or "general", dropout=config.alignment_dropout
        )
        parts = 2 if config.decoder == "lstm" else 1
        self.bridge = nn.Linear(found, config.num_decoder_layers * parts * units)
        self.combine = nn.Linear(units + found, config.embedding_size, bias=False)

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Memory:
        """Encode the source; `values` are the outputs m, and the summary is z."""
        m = self.encoder(self.embed(self.source_embedding, source), mask)
        summary = last(m, mask, bidirectional=self.config.both_ways)
        return Memory((self.attention.keys(m),), (m,), summary.unsqueeze(0), mask)

    def start(self, memory: Memory) -> State:
        """Return the initial state, a tuple with the state of each layer."""
        config = self.config
        vectors = self.bridge(memory.summary).unflatten(-1, (config.num_decoder_layers, -1))
        if config.decoder in ("lstm", "gru"):
            vectors = torch.tanh(vectors)
        return tuple(
            _first_state(layer, vector) for layer, vector in zip(self.layers, vectors.unbind(2), strict=True)
        )

    def decode(self, target: Tensor, memory: Memory) -> Tensor:
        """Read whole targets."""
        return self._run(target, self.start(memory), memory)[0]

    def step(self, ids: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Read one symbol of each target."""
        h, weights, state = self._run(ids, state, memory)
        return project(self.output, h), weights, state

    def _run(self, ids: Tensor, state: Any, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Read whole targets, (T, B), or one symbol of each, (N,)."""
        whole = ids.dim() == 2
        layers: Any = self.layers
        h, after = self.embed(self.target_embedding, ids), []
        found: Any = None
        weights: Any = None
        for number, (layer, before) in enumerate(zip(layers, state, strict=True)):
            given = self.dropout(h if found is None else torch.cat([h, found], -1))
            new, last_state = layer(given, state=before) if whole else layer.step(given, before)
            h = new + h if self.config.residual and number else new
            after.append(last_state)
            if number == self.queries_from:
                found, weights = self._attend(h, memory)
        h = torch.tanh(project(self.combine, torch.cat([h, found], -1)))
        return self.output_dropout(h), weights, tuple(after)

    def _attend(self, h: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attend from every position of B targets, (T, B, D), or from N targets, (N, D)."""
        (keys,), (values,), _, mask = memory
        whole = h.dim() == 3
        # The product is batched over sources: T queries each, or one for each of its K targets.
        query = h.transpose(0, 1) if whole else h.reshape(keys.shape[1], -1, h.shape[-1])
        found, weights = self.attention(query, keys, values, mask)
        return (found.transpose(0, 1), weights) if whole else (found.flatten(0, 1), weights.flatten(0, 1))


def _first_state(layer: Any, vector: Tensor) -> State:
    """Turn (1, B, ·) into the state of a layer: c of an SRU, h of a GRU, [h; c] of an LSTM."""
    if layer.name == "lstm":
        h, c = vector.chunk(2, -1)
        return h.contiguous(), c.contiguous()
    if layer.name == "gru":
        return vector.contiguous()
    vector = vector.to(accumulate_dtype(vector.dtype), memory_format=torch.contiguous_format)
    if layer.name == "sru":
        return vector
    # SRU++: an empty chunk builds a state with an empty attention memory.
    _, state = layer.rnn.stream(
        vector.new_zeros(0, vector.shape[1], layer.rnn.input_size), SRUppState(vector)
    )
    return state  # type: ignore[no-any-return]

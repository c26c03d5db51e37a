"""A stack of SRU++ layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence

from sru_nn.arguments import check_exclusive, check_sizes, input_and_state
from sru_nn.cells.sru.run import run_layer
from sru_nn.cells.srupp.attention import SRUppAttention
from sru_nn.cells.srupp.attention_masks import ended
from sru_nn.cells.srupp.layer import SRUppCell
from sru_nn.cells.srupp.memory import Cache
from sru_nn.cells.srupp.ragged_attention import reading_once
from sru_nn.cells.srupp.state import check_saved_inputs
from sru_nn.cells.srupp.streaming import StreamingStack
from sru_nn.cells.srupp.transform import SRUppProjectedLinear
from sru_nn.pieces import lay_end_to_end, pad_out
from sru_nn.positions import Positions
from sru_nn.recurrent import map_tensors
from sru_nn.stack import by_layer
from sru_nn.watched import as_leaf


class SRUpp(StreamingStack):
    """A stack of SRU++ layers, each as in `SRUppCell`: the output of one is the input of the next.

    The arguments, their defaults and their meaning are those of `sru` 3.0.0.dev6, in the same order, so that
    `from sru import SRUpp` can become `from sru_nn import SRUpp`; the keyword-only ones are additions.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        proj_size: P, the width of the attention.
        num_layers: L, the number of layers.
        dropout: Probability of the variational dropout on the output of each layer but the last, and of
            the dropout after each attention.
        attn_dropout: Probability of the dropout of the attention maps.
        num_heads: H, the number of heads of each attention.
        bidirectional: Whether each layer has a second direction from the last step to the first.
        layer_norm: Whether each layer's input (its output with `normalize_after`) is normalised.
        normalize_after: Whether `layer_norm` normalises the outputs instead of the inputs.
        attn_layer_norm: Whether there is a norm after each attention.
        highway_bias: Initial value of the output gate's bias; below zero favours the highway.
        attention_every_n_layers: Only every n-th layer has attention; the others have two linear maps.
        attention_last_n_layers: Only the last n layers have attention; with -1 `attention_every_n_layers`
            applies.
        rescale: Whether the highway is scaled to preserve the variance in deep stacks at initialisation.
        nn_rnn_compatible_return: Whether the state is returned as `(L·N, B, D)`, like `nn.LSTM`'s.
        proj_input_to_hidden_first: Whether the input is first projected to the width of the output.
        weight_c_init: Bound of the uniform initialisation of the recurrent vectors.
        causal: Whether a position attends only to itself and earlier positions, without an `attn_mask`.
        context: With `causal`, the maximum number of earlier positions that a position attends to; None for
            all.
        batch_first: Whether the batch dimension of input, output, the padding masks and the memory comes
            first. The layout of the state does not change.
        normalize_memory: With `layer_norm` and without `normalize_after`, whether the memory is normalised
            like the input; see `SRUppCell`.
        learn_initial_state: Whether each layer has a learned initial state (see `SRUCell`).

    State dicts of `sru` 3.0.0.dev6 load unchanged; one of another architecture raises a `RuntimeError` that
    names the first argument that differs and both values.

    Attributes:
        rnn_lst: The L layers, of type `SRUppCell`.
        input_to_hidden: The first linear map, or None.

    Raises:
        ValueError: An argument is outside its range, or two exclude each other.

    Source: Lei, "When Attention Meets Fast Recurrence: Training Language Models with Reduced Compute", EMNLP
    2021.

    Example:
        >>> import torch
        >>> rnn = SRUpp(64, 128, 32, num_layers=2, causal=True)
        >>> h, c, memory = rnn(torch.randn(20, 8, 64))
        >>> h.shape, c.shape, [x.shape[-1] for x in memory["saved_inputs"]]
        (torch.Size([20, 8, 128]), torch.Size([2, 8, 128]), [64, 128])
        >>> h, state = rnn.stream(torch.randn(20, 8, 64))
        >>> h, state = rnn.step(torch.randn(8, 64), state)
        >>> h.shape
        torch.Size([8, 128])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        proj_size: int,
        num_layers: int = 2,
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        num_heads: int = 1,
        bidirectional: bool = False,
        layer_norm: bool = False,
        normalize_after: bool = False,
        attn_layer_norm: bool = True,
        highway_bias: float = -2.0,
        attention_every_n_layers: int = 1,
        attention_last_n_layers: int = -1,
        rescale: bool = False,
        nn_rnn_compatible_return: bool = False,
        proj_input_to_hidden_first: bool = False,
        weight_c_init: float = 1.0,
        *,
        causal: bool = False,
        context: int | None = None,
        batch_first: bool = False,
        normalize_memory: bool = False,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__()
        first_size = self._set_sizes(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            batch_first=batch_first,
            project_input=proj_input_to_hidden_first,
        )
        self.nn_rnn_compatible_return = bool(nn_rnn_compatible_return)
        if self.input_to_hidden is not None:
            nn.init.xavier_uniform_(self.input_to_hidden.weight)
        check_sizes("SRUpp", proj_size=proj_size, attention_every_n_layers=attention_every_n_layers)
        check_sizes("SRUpp", at_least=-1, attention_last_n_layers=attention_last_n_layers)
        check_exclusive("SRUpp", causal=causal, bidirectional=bidirectional)
        if attention_every_n_layers != 1 and attention_last_n_layers != -1:
            raise ValueError(
                f"SRUpp: attention_every_n_layers = {attention_every_n_layers} and attention_last_n_layers = "
                f"{attention_last_n_layers} exclude each other; choose one"
            )
        self.proj_size = proj_size
        self.num_heads = num_heads
        self.causal = bool(causal)
        self.context = context
        self.rnn_lst = nn.ModuleList()
        for layer in range(num_layers):
            size = self.output_size if layer else first_size
            outputs = self.output_size * (3 if size == self.output_size else 4)
            attends = (layer + 1) % attention_every_n_layers == 0
            if attention_last_n_layers != -1:
                attends = num_layers - layer <= attention_last_n_layers
            transform: nn.Module
            if attends:
                transform = SRUppAttention(
                    size,
                    outputs,
                    proj_size,
                    num_heads=num_heads,
                    dropout=dropout,
                    attn_dropout=attn_dropout,
                    layer_norm=attn_layer_norm,
                    causal=causal,
                    context=context,
                )
            else:
                transform = SRUppProjectedLinear(size, outputs, proj_size, dropout, attn_layer_norm)
            self.rnn_lst.append(
                SRUppCell(
                    size,
                    hidden_size,
                    dropout=dropout if layer + 1 < num_layers else 0.0,
                    bidirectional=bidirectional,
                    highway_bias=highway_bias,
                    layer_norm=layer_norm,
                    normalize_after=normalize_after,
                    transform_module=transform,
                    rescale=rescale,
                    weight_c_init=weight_c_init,
                    normalize_memory=normalize_memory,
                    learn_initial_state=learn_initial_state,
                )
            )
        self.dropout = dropout

    def _set_dropout(self, p: float) -> None:
        super()._set_dropout(p)
        for cell in self.rnn_lst:
            cell.transform.dropout.p = p  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Reinitialise all weights."""
        super().reset_parameters()
        if self.input_to_hidden is not None:
            nn.init.xavier_uniform_(self.input_to_hidden.weight)

    def forward(
        self,
        input: Tensor | PackedSequence | None = None,
        c0: Tensor | None = None,
        mask_pad: Tensor | None = None,
        attn_mask: Tensor | None = None,
        memory: Sequence[Tensor | Cache | None] | None = None,
        memory_mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        x: Tensor | PackedSequence | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor, dict[str, Any]]:
        """Run the stack.

        Args:
            input: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence, `(total, E)`
                or `(1, total, E)` with `cu_seqlens`, or a `PackedSequence`.
            c0: `(L, B, N·D)`, or `(L, N·D)` for a single sequence: the states before the first step; the
                learned ones, or zeros, if None. With `nn_rnn_compatible_return`, `(L·N, B, D)` is also
                accepted.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero where a
                position is padding. No position attends to padding, it does not change the state, and its
                output is zero (the bias of the norm with `normalize_after`).
            attn_mask: `(T, M + T)`, the positions of the memory first: bool, True where a position must not
                attend to another one, or numbers (also integers, as in `sru`) that are added to the scores.
                It is combined with `causal`. A position whose mask excludes everything attends to nothing.
            memory: For each layer its inputs at M earlier positions, `(M, B, ·)`, or `(B, M, ·)` with
                `batch_first`, as in the `saved_inputs` of the earlier call; or None. `(M, ·)` for a single
                sequence.
            memory_mask_pad: `(M, B)`, `(B, M)` with `batch_first`, or `(M,)` for a single sequence: non-zero
                where a position of the memory is padding.
            reset: As for `SRU`. Positions do not attend to other sequences either. The memory belongs to the
                sequence before the first reset.
            cu_seqlens: As for `SRU`. Each sequence attends only to itself, and there is no memory.
            x: Another name for `input`.
            state: Another name for `c0`.

        Returns:
            `h`: the outputs of the last layer, with the layout of `input` and N·D features.
            `c`: `(L, B, N·D)`, the states after the last step; `(L·N, B, D)` with `nn_rnn_compatible_return`;
            without B for a single sequence. float32, or float64 for float64 input.
            `memory`: `{"saved_inputs": [...]}`, the input of each layer, `(T, B, ·)`, or `(B, T, ·)` with
            `batch_first`; zero at the padding of the first layer. Detach them before passing them as the
            memory of the next segment, unless you want gradients to flow through it. With `reset` also
            `"memory_mask_pad"`, with the layout of the argument: True at padding and at positions of
            sequences that have ended.

        Raises:
            ValueError: A shape or the length of `memory` does not fit, an argument is passed under both of
                its names, `mask_pad` or `reset` is combined with a `PackedSequence`, or one of them or a
                memory with `cu_seqlens`.
            TypeError: A dtype does not fit.
        """
        given, c0 = input_and_state(self, input, c0, x, state)
        banks: Any = (memory, memory_mask_pad)
        if isinstance(given, fx.Proxy):
            return as_leaf(  # type: ignore[no-any-return]
                self, given, c0, mask_pad, attn_mask, *banks, reset=reset, cu_seqlens=cu_seqlens
            )
        turned = self.batch_first
        if isinstance(given, Tensor):
            turned = given.dim() == 3 and (turned or cu_seqlens is not None)
        if cu_seqlens is not None and memory is not None:
            raise ValueError("SRUpp: with cu_seqlens pass memory=None; a memory needs a batch (T, B, E)")
        if turned:
            banks = map_tensors(lambda tensor: tensor.transpose(0, 1), banks)
        h, (c, *kept) = self._forward(
            given, (c0, *banks), mask_pad, reset=reset, cu_seqlens=cu_seqlens, attn_mask=attn_mask
        )
        if torch._C._get_tracing_state() is not None:  # tracing does not support lists
            kept = [tuple(part) if isinstance(part, list) else part for part in kept]
        if turned:
            kept = map_tensors(lambda tensor: tensor.transpose(0, 1), kept)
        elif cu_seqlens is not None:
            kept = map_tensors(lambda tensor: tensor.squeeze(1), kept)
        return h, c, dict(zip(("saved_inputs", "memory_mask_pad"), kept, strict=False))

    def _check_state(self, state: Any, *batch: int) -> None:
        c0, memory, memory_mask_pad = state
        super()._check_state(c0, *batch)
        check_saved_inputs(memory, memory_mask_pad, self.num_layers)

    def _begin(self, x: Tensor, state: Any, where: Positions) -> tuple[Any, Positions]:
        return state, where  # a reset also ends the memory, so the attention handles it

    def _run_packed(
        self, x: Tensor, state: Any, cu_seqlens: Tensor, longest: int, **options: Any
    ) -> tuple[Tensor, Any]:
        """Run packed sequences as a padded batch, because their memory has a batch axis."""
        (padded,), mask_pad = pad_out(cu_seqlens, x, length=longest)
        h, state = self._run(padded, state, Positions(mask_pad), **options)
        return lay_end_to_end(h, cu_seqlens, x.shape[0]), state

    def _run(
        self, x: Tensor, state: Any, where: Positions, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        c0, memory, memory_mask_pad = state
        x, saved, last = self._enter(x, where.mask_pad), [], []
        states = by_layer(self._layer_states(c0), self.num_layers)
        with reading_once(where.cu_seqlens):
            for cell, c, bank in zip(self.rnn_lst, states, memory or [None] * self.num_layers, strict=True):
                saved.append(x)
                x, c = run_layer(cell, x, c, where, attn_mask, bank, memory_mask_pad)  # type: ignore[arg-type]
                last.append(c)
        kept = [saved] if where.reset is None else [saved, ended(where.mask_pad, where.reset)]
        return x, (self._returned_states(torch.stack(last)), *kept)

    def extra_repr(self) -> str:
        """Show the options that the layers do not show."""
        context = "" if self.context is None else f", context={self.context}"
        return f"{super().extra_repr()}, proj_size={self.proj_size}{context}"

"""One SRU++ layer."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import Tensor, fx, nn

from sru_nn.arguments import input_and_state
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.cells.srupp.attention import SRUppAttention
from sru_nn.cells.srupp.memory import Cache, KeyValues
from sru_nn.cells.srupp.transform import SRUppProjectedLinear
from sru_nn.positions import Positions
from sru_nn.watched import as_leaf


class SRUppCell(SRUCell):
    """One SRU++ layer over a whole sequence: an `SRUCell` whose pre-activations come from attention.

        u = Attention(x)
        f_t = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r_t = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c     h_t = r_t ⊙ m ⊙ g(c_t) + (1 − r_t ⊙ m) ⊙ x'_t

    The arguments, their defaults and their order are those of `sru` 3.0.0.dev6.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        dropout: As for `SRUCell`.
        rnn_dropout: As for `SRUCell`.
        bidirectional: As for `SRUCell`.
        projection_size: Not used: the transform has its own.
        highway_bias: As for `SRUCell`.
        layer_norm: As for `SRUCell`.
        normalize_after: As for `SRUCell`.
        transform_module: An `SRUppAttention` or `SRUppProjectedLinear` with E inputs and K·N·D outputs, gate
            after gate; or another module that is called in the same way and returns the layout of `sru`,
            `(T, B, N·D·K)`, gates innermost. K is 3, or 4 with a highway and E ≠ N·D. It receives `reset` and
            `cu_seqlens` as keyword arguments if they are given.
        rescale: As for `SRUCell`.
        has_skip_term: As for `SRUCell`.
        use_tanh: As for `SRUCell`.
        v1: As for `SRUCell`.
        amp_recurrence_fp16: As for `SRUCell`.
        weight_c_init: As for `SRUCell`.
        normalize_memory: With `layer_norm` and without `normalize_after`, whether the memory is normalised
            like the input. With False it is used as is, as in `sru` 3.0.0.dev6. With True, segments whose
            memory holds the inputs of the earlier segments produce the same outputs as the whole sequence.
        learn_initial_state: As for `SRUCell`.

    Attributes:
        transform: The `transform_module` if it is an `SRUppAttention` or `SRUppProjectedLinear`; otherwise
            None, and the module is available as `custom_m`.
        weight_c: `(2·N·D,)`, v_f then v_r.
        bias: `(2·N·D,)`, b_f then b_r.

    State dicts of `sru` 3.0.0.dev6 load unchanged.

    Raises:
        ValueError: There is no `transform_module` or its sizes do not fit, a size is not positive, or a
            probability is outside [0, 1).

    Source: Lei, "When Attention Meets Fast Recurrence: Training Language Models with Reduced Compute", EMNLP
    2021, section 3.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dropout: float = 0.0,
        rnn_dropout: float = 0.0,
        bidirectional: bool = False,
        projection_size: int = 0,
        highway_bias: float = 0.0,
        layer_norm: bool = False,
        normalize_after: bool = True,
        transform_module: nn.Module | None = None,
        rescale: bool = False,
        has_skip_term: bool = True,
        use_tanh: bool = False,
        v1: bool = False,
        amp_recurrence_fp16: bool = True,
        weight_c_init: float = 1.0,
        *,
        normalize_memory: bool = False,
        learn_initial_state: bool = False,
    ) -> None:
        if transform_module is None:
            raise ValueError(
                "SRUppCell: transform_module must be a module like SRUppAttention; SRUCell is the layer that "
                "needs none"
            )
        super().__init__(
            input_size,
            hidden_size,
            dropout=dropout,
            rnn_dropout=rnn_dropout,
            bidirectional=bidirectional,
            use_tanh=use_tanh,
            highway_bias=highway_bias,
            has_skip_term=has_skip_term,
            layer_norm=layer_norm,
            rescale=rescale,
            v1=v1,
            custom_m=transform_module,
            amp_recurrence_fp16=amp_recurrence_fp16,
            normalize_after=normalize_after,
            weight_c_init=weight_c_init,
            learn_initial_state=learn_initial_state,
        )
        self.normalize_memory = bool(normalize_memory)
        if isinstance(transform_module, (SRUppAttention, SRUppProjectedLinear)):
            sizes = (transform_module.in_features, transform_module.out_features)
            expected = (input_size, self.num_matrices * self.output_size)
            if sizes != expected:
                raise ValueError(
                    "SRUppCell: transform_module must have (in_features, out_features) = (E, K·N·D) = "
                    f"{expected}, got {sizes}"
                )
            self.transform, self.custom_m = transform_module, None

    def _reset_transform(self) -> None:
        self.transform.reset_parameters()  # type: ignore[union-attr,operator]

    def forward(
        self,
        input: Tensor | None = None,
        c0: Tensor | None = None,
        mask_pad: Tensor | None = None,
        attn_mask: Tensor | None = None,
        memory: Tensor | Cache | None = None,
        memory_mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        x: Tensor | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layer; see `SRUCell.forward` for results and errors.

        Args:
            input: As for `SRUCell`.
            c0: As for `SRUCell`.
            mask_pad: As for `SRUCell`.
            attn_mask: `(T, M + T)`, as for `SRUppAttention`.
            memory: `(M, B, E)`, the inputs of the earlier positions.
            memory_mask_pad: `(M, B)`, non-zero where a position of the memory is padding.
            reset: As for `SRUCell`. Positions do not attend to other sequences either. The memory belongs to
                the sequence before the first reset.
            cu_seqlens: As for `SRUCell`. Each sequence attends only to itself, and there is no memory.
            x: Another name for `input`.
            state: Another name for `c0`.
        """
        given, c0 = input_and_state(self, input, c0, x, state)
        where = Positions(mask_pad, reset, cu_seqlens)
        if isinstance(given, fx.Proxy):
            return as_leaf(  # type: ignore[no-any-return]
                self, given, c0, mask_pad, attn_mask, memory, memory_mask_pad, **where.options()
            )
        return self._forward(given, c0, where, attn_mask, memory, memory_mask_pad)

    def _transformed(self, x: Tensor, where: Positions, *attention: Any) -> Any:
        attn_mask, memory, memory_mask_pad = attention
        if isinstance(memory, Cache) and (self.bidirectional or self.transform is None):
            raise ValueError(
                "SRUppCell: stream needs one direction, and SRUppAttention or SRUppProjectedLinear as its "
                "transform"
            )
        normalizes = self.normalize_memory and not self.normalize_after and self.layer_norm is not None
        if normalizes and isinstance(memory, Tensor):
            memory = self.layer_norm(memory)  # type: ignore[misc]
        given = {"attn_mask": attn_mask, "memory": memory, "memory_mask_pad": memory_mask_pad}
        transform = self.custom_m if self.transform is None else self.transform
        return transform(x, mask_pad=where.mask_pad, **given, **where.options())  # type: ignore[misc]

    def step(
        self,
        x: Tensor,
        state: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        c: Tensor | None = None,
    ) -> NoReturn:
        """Not supported, because a step attends to earlier positions; use `stream`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("SRUppCell.step: a step needs the positions before it; use stream, or SRUpp.step")

    def stream(
        self,
        input: Tensor,
        c0: Tensor | None = None,
        cache: KeyValues | None = None,
        mask_pad: Tensor | None = None,
        pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, KeyValues | None]:
        """Run the layer over the next positions of a sequence.

        Args:
            input: `(T, B, E)`.
            c0: `(B, N·D)`, the state before them; zeros if None.
            cache: The cache returned by the previous `stream`; None at the start and in a layer without
                attention.
            mask_pad: `(T, B)`, non-zero where a position is padding.
            pad: `(B, S + T)` bool, True where a position, of the cache or of the input, is padding. After a
                `reset`, it must also be True, in the next call, at positions of sequences that have ended.
            reset: `(T, B)` bool, True where a sequence begins. The cache belongs to the sequence before the
                first reset.

        Returns:
            `h`: `(T, B, N·D)`.
            `c`: `(B, N·D)`.
            `cache`: The keys and values for the next call; None in a layer without attention.

        Raises:
            ValueError: The layer is not causal, or a shape does not fit.
            TypeError: A dtype does not fit.
        """
        memory = Cache(cache)
        earlier = None if pad is None else pad[:, : pad.shape[1] - input.shape[0]].t()
        h, c = self(input, c0, mask_pad, None, memory, earlier, reset=reset)
        return h, c, memory.seen

    def _arguments(self) -> dict[str, Any]:
        transform: Any = self.transform
        if transform is None:
            return super()._arguments()
        return super()._arguments() | {
            "attention": isinstance(transform, SRUppAttention),
            "proj_size": transform.proj_features,
            "attn_layer_norm": transform.layer_norm is not None,
        }

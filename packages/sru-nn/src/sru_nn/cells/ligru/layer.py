"""One layer of a Li-GRU or an SLi-GRU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from sru_nn.arguments import check_like_parameters, shown_options
from sru_nn.cells.ligru import reference
from sru_nn.cells.ligru.arguments import Activation, Normalization, check_arguments
from sru_nn.cells.ligru.norm import FrameNorm
from sru_nn.cells.ligru.operator import ligru_recurrence
from sru_nn.gemm import project
from sru_nn.operators import is_recorded
from sru_nn.pieces import marks
from sru_nn.positions import Positions, expand_initial, learned
from sru_nn.quantization import Int8Linear
from sru_nn.watched import is_watched, refuse_script


class LiGRULayer(nn.Module):
    """One layer over a whole sequence, in one direction or two; the arguments are those of `SLiGRU`.

    Args:
        recurrent_norm: Whether the product with the state is normalised, as in an `SLiGRU`.

    Attributes:
        transform: W, an `nn.Linear` with 2·D outputs, u_h then u_z; with a bias if it is not normalised.
        norm: The norm of W x, or None.
        recurrent: U, an `nn.Linear` with 2·D outputs, shared by both directions.
        recurrent_norm: The norm of U h, or None.
        initial_state: `(N·D,)`, with `learn_initial_state`; otherwise None.
    """

    __prepare_scriptable__ = refuse_script

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        normalization: Normalization,
        nonlinearity: Activation,
        bias: bool,
        dropout: float,
        re_init: bool,
        bidirectional: bool,
        recurrent_norm: bool,
        recurrent_elementwise_affine: bool,
        learn_initial_state: bool,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.normalization, self.nonlinearity = normalization, nonlinearity
        self.dropout, self.bidirectional = float(dropout), bool(bidirectional)
        self.bias, self.re_init = bool(bias), bool(re_init)
        gates = 2 * hidden_size
        self.transform = nn.Linear(input_size, gates, bias=self.bias and normalization == "none")
        self.norm: nn.Module | None = None
        if normalization != "none":
            self.norm = FrameNorm(gates) if normalization == "batch" else nn.LayerNorm(gates)
            if not self.bias:  # a buffer, out of reach of optimizers and initialisers
                del self.norm.bias
                self.norm.register_buffer("bias", torch.zeros(gates))
        self.recurrent = nn.Linear(hidden_size, gates, bias=False)
        affine = recurrent_elementwise_affine
        self.recurrent_norm = nn.LayerNorm(gates, elementwise_affine=affine) if recurrent_norm else None
        self.initial_state = nn.Parameter(torch.zeros(self.output_size)) if learn_initial_state else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Reinitialise the weights as PyTorch does for each module; U is orthogonal with `re_init`."""
        for module in (self.transform, self.norm, self.recurrent, self.recurrent_norm):
            if module is not None:
                module.reset_parameters()  # type: ignore[operator]
        if self.re_init:
            nn.init.orthogonal_(self.recurrent.weight)
        if self.initial_state is not None:
            self.initial_state.zero_()

    def forward(
        self,
        x: Tensor,
        state: Tensor | None = None,
        mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layer.

        Args:
            x: `(T, B, E)`; `(total, 1, E)` with `cu_seqlens`.
            state: `(B, N·D)`, the state before the first step; `initial_state`, or zeros, if None.
            mask_pad: `(T, B)` bool, True where a position is padding; x is zero there.
            reset: `(T, B)` bool, True where a sequence begins.
            cu_seqlens: `(S + 1,)` int64, where the concatenated sequences begin and end.

        Returns:
            `h`: `(T, B, N·D)`.
            `state`: `(B, N·D)`, the state after the last step.
        """
        # Checked here, not in the stack: FSDP may shard each layer and cast its input to the compute dtype.
        who = "LiGRU" if self.recurrent_norm is None else "SLiGRU"
        check_like_parameters(who, x, self.transform)
        where = Positions(mask_pad, reset, cu_seqlens)
        u = self._normalized(project(self.transform, x), mask_pad)
        initial, sequences = learned(self.initial_state, u), where.sequences(x)
        if state is None:
            state = expand_initial(initial, sequences)
        mask_h = None
        if self.training and self.dropout > 0:
            mask_h = F.dropout(u.new_ones(sequences, self.output_size), self.dropout)
        u = torch.unflatten(u, -1, (2, self.hidden_size))
        begins = None if reset is None else initial
        weight = self._weight(x.shape[0])
        if weight is None:
            found = mask_pad if reset is None else marks(mask_pad, reset, self.bidirectional)
            given = (u, state, begins, mask_h, found, cu_seqlens, self.bidirectional, self.nonlinearity)
            return reference.by_product(lambda h: self._product(h, u.dtype), *given)
        norm = self.recurrent_norm
        options: dict[str, Any] = {
            "bidirectional": self.bidirectional,
            "activation": self.nonlinearity,
            "norm_eps": None if norm is None else norm.eps,
            "norm_weight": None if norm is None else norm.weight,
            "norm_bias": None if norm is None else norm.bias,
            "mask_h": mask_h,
            "mask_pad": mask_pad,
            "reset": reset,
            "h_reset": begins,
            "cu_seqlens": cu_seqlens,
        }
        check_arguments(u, weight, state, **options)
        return ligru_recurrence(u, weight, state, **options)

    def _weight(self, steps: int) -> Tensor | None:
        """Return U, or None if modules of the product were replaced and must be called at each step.

        8-bit weights are converted to floating point once per sequence. A single step reads them as they are.
        """
        linear: Any = self.recurrent
        if self.recurrent_norm is not None and _is_another(self.recurrent_norm, nn.LayerNorm):
            return None
        if linear._parameters.get("bias") is not None:
            return None
        if type(linear) is Int8Linear and not is_watched(linear):
            is_sequence = is_recorded() or steps > 1  # a graph must work for any number of steps
            return linear.dequantized() if is_sequence else None
        if _is_another(linear, nn.Linear):
            return None
        weight: Any = linear.weight
        return None if is_traceable_wrapper_subclass(weight) else weight  # quantized by another library

    def _product(self, h: Tensor, storage: torch.dtype) -> Tensor:
        product: Tensor = self.recurrent(h.to(storage))
        if self.recurrent_norm is not None:
            product = self.recurrent_norm(product)
        return product.to(h.dtype)

    def _normalized(self, u: Tensor, mask_pad: Tensor | None) -> Tensor:
        if self.norm is None:
            return u
        frames = u.flatten(0, 1)
        if mask_pad is None or not isinstance(self.norm, FrameNorm):
            return self.norm(frames).view_as(u)  # type: ignore[no-any-return]
        return self.norm(frames, mask_pad.flatten()).view_as(u)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Show the sizes and every option that differs from its default."""
        usual: dict[str, Any] = {"nonlinearity": "relu", "dropout": 0.0, "bidirectional": False, "bias": True}
        return ", ".join(filter(None, (f"{self.input_size}, {self.hidden_size}", shown_options(self, usual))))


def _is_another(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether calling a module may do anything but the `forward` of `kind`."""
    return type(module).forward is not kind.forward or is_watched(module)

"""The attention that replaces the projection of an SRU layer in SRU++."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from sru_nn.arguments import (
    check_features,
    check_floating,
    check_like_parameters,
    check_probabilities,
    check_shape,
    check_sizes,
    shown_options,
)
from sru_nn.cells.srupp.attention_masks import attention_mask, joined_masks, pieces_of_all
from sru_nn.cells.srupp.memory import Cache, KeyValues
from sru_nn.cells.srupp.ragged_attention import attend_by_length, can_read, is_read_once
from sru_nn.cells.srupp.transform import Transform
from sru_nn.gemm import project
from sru_nn.operators import is_transformed
from sru_nn.positions import Positions, check_alone, check_cu_seqlens, check_ends, check_reset


class SRUppAttention(Transform):
    """The transform of an SRU++ layer: self-attention in a low dimension, between two matrices.

        z = W_1 x          q = z          [k, v] = W_2 z
        a = softmax(q kᵀ / √d) v          u = W_3 dropout(norm(z + α a))

    Each of the H heads has d = P/H features. Keys and values also come from the positions of `memory`, which
    precede those of the input. A position whose mask excludes everything has a = 0.

    Args:
        in_features: E, the number of input features.
        out_features: K·N·D, the number of output features.
        proj_features: P, the width of the attention, a multiple of `num_heads`.
        num_heads: H, the number of heads.
        dropout: Probability of the dropout before W_3.
        attn_dropout: Probability of the dropout of the attention map.
        rezero_init_alpha: Initial value of α.
        layer_norm: Whether there is a norm.
        normalize_after: Whether the norm is where the equations show it. Otherwise q, k and v are computed
            from norm(z), and α a is added to z itself.
        causal: Whether a position attends only to itself and earlier positions.
        context: With `causal`, the maximum number of earlier positions that a position attends to; None for
            all.

    Attributes:
        linear1: W_1, an `nn.Linear` without a bias.
        linear2: W_2, an `nn.Linear` without a bias; first the rows of k, then those of v.
        linear3: W_3, an `nn.Linear` without a bias.
        alpha: `(1,)`, α.

    Raises:
        ValueError: A size is not positive, P is not a multiple of H, a probability is outside [0, 1), or
            there is a `context` without `causal`.

    The attention is PyTorch's `scaled_dot_product_attention`. Its fused kernels support only first
    derivatives in reverse mode: for second derivatives use `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    They are not used in forward-mode differentiation and `torch.func` transforms.

    Source: Lei, "When Attention Meets Fast Recurrence: Training Language Models with Reduced Compute", EMNLP
    2021, section 3; options and defaults as in the `sru` package, version 3.0.0.dev6.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        proj_features: int,
        num_heads: int = 1,
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        rezero_init_alpha: float = 0.0,
        layer_norm: bool = False,
        normalize_after: bool = True,
        *,
        causal: bool = False,
        context: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features, proj_features, dropout)
        who = "SRUppAttention"
        check_sizes(who, num_heads=num_heads)
        check_probabilities(who, attn_dropout=attn_dropout)
        if proj_features % num_heads:
            raise ValueError(
                f"{who}: proj_features must be a multiple of num_heads, got {proj_features} and {num_heads}"
            )
        if context is not None:
            check_sizes(who, context=context)
            if not causal:
                raise ValueError(f"{who}: context needs causal=True, got context={context}")
        self.num_heads = num_heads
        self.attn_dropout = float(attn_dropout)
        self.rezero_init_alpha = float(rezero_init_alpha)
        self.normalize_after = bool(normalize_after)
        self.causal = bool(causal)
        self.context = context
        self.linear2 = nn.Linear(proj_features, 2 * proj_features, bias=False)
        self.linear3 = nn.Linear(proj_features, out_features, bias=False)
        self.alpha = nn.Parameter(torch.empty(1))
        self.layer_norm = nn.LayerNorm(proj_features) if layer_norm else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Apply Glorot initialisation to the matrices, and set α."""
        super().reset_parameters()
        self.alpha.fill_(self.rezero_init_alpha)

    def forward(
        self,
        input: Tensor,
        mask_pad: Tensor | None = None,
        attn_mask: Tensor | None = None,
        memory: Tensor | Cache | None = None,
        memory_mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Compute the pre-activations of a sequence.

        Args:
            input: `(T, B, E)`.
            mask_pad: `(T, B)`, non-zero where a position is padding, to which no position attends.
            attn_mask: `(T, M + T)`, the positions of the memory first: bool, True where a position must not
                attend to another one, or numbers (also integers) that are added to the scores.
            memory: `(M, B, E)`, the inputs of the earlier positions.
            memory_mask_pad: `(M, B)`, non-zero where a position of the memory is padding.
            reset: `(T, B)` bool, True where a sequence begins; positions do not attend to other sequences.
                The memory belongs to the sequence before the first reset.
            cu_seqlens: `(S + 1,)` int32 or int64: the input, with B = 1, holds S concatenated sequences. Each
                attends only to itself, and there is no memory.

        Returns:
            `(T, B, K·N·D)`.

        Raises:
            ValueError: A shape does not fit.
            TypeError: A dtype does not fit.
        """
        where = Positions(mask_pad, reset, cu_seqlens)
        earlier = self._check(input, where, attn_mask, memory, memory_mask_pad)
        x = torch.cat([memory.to(input.dtype), input]) if isinstance(memory, Tensor) else input
        pad = None
        if mask_pad is not None or (earlier and memory_mask_pad is not None):
            pad = joined_masks(memory_mask_pad if earlier else None, earlier, mask_pad, input)
            # A NaN in the padding must not reach a result or a gradient through the matrices.
            x = x.masked_fill(pad[pad.shape[0] - x.shape[0] :].unsqueeze(-1), 0.0)
        z, start = project(self.linear1, x), x.shape[0] - input.shape[0]
        residual = z[start:] if start else z
        if self.layer_norm is not None and not self.normalize_after:
            z = self.layer_norm(z)
        q = self._split_heads(z[start:] if start else z)
        seen = KeyValues(*map(self._split_heads, project(self.linear2, z).chunk(2, dim=-1)))
        if isinstance(memory, Cache):
            seen = memory.extend(seen, self.context)
        if cu_seqlens is not None and attn_mask is None and can_read(cu_seqlens, input.shape[0]):
            attended = attend_by_length(self._attend_padded, q, seen, cu_seqlens)
        else:
            pieces = pieces_of_all(earlier, input, mask_pad, reset, cu_seqlens)
            attended = self._attend(q, seen, attn_mask, pad, pieces)
        attended = attended.permute(2, 0, 1, 3).flatten(2)
        z = torch.addcmul(residual, attended, self.alpha.to(residual.dtype))
        if self.layer_norm is not None and self.normalize_after:
            z = self.layer_norm(z)
        return project(self.linear3, self.dropout(z))

    def stream(
        self, input: Tensor, cache: KeyValues | None = None, pad: Tensor | None = None
    ) -> tuple[Tensor, KeyValues]:
        """Compute the pre-activations of the next positions of a sequence.

        Args:
            input: `(T, B, E)`.
            cache: The cache returned by the previous `stream`; None at the start.
            pad: `(B, S + T)` bool, True where a position, of the cache or of the input, is padding.

        Returns:
            `u`: `(T, B, K·N·D)`.
            `cache`: With S + T positions, or the last `context` of them.

        Raises:
            ValueError: The attention is not causal, or a shape does not fit.
        """
        memory = Cache(cache)
        masks = (None, None) if pad is None else pad.t().tensor_split((pad.shape[1] - input.shape[0],))
        u = self(input, masks[1], None, memory, masks[0])
        assert memory.seen is not None
        return u, memory.seen

    def _split_heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.num_heads, -1)).permute(1, 2, 0, 3)

    def _attend(
        self,
        q: Tensor,
        seen: KeyValues,
        attn_mask: Tensor | None,
        pad: Tensor | None,
        pieces: Tensor | None,
    ) -> Tensor:
        """Return the attention outputs for the queries `(B, H, T, P/H)`, in the same shape."""
        if not q.shape[2]:
            return q
        earlier = seen.keys.shape[2] - q.shape[2]
        allowed = attention_mask(q, earlier, self.causal, self.context, attn_mask, pad, pieces)
        with _kernels():
            attended = F.scaled_dot_product_attention(
                q,
                *seen,
                attn_mask=allowed.mask,
                dropout_p=self.attn_dropout if self.training else 0.0,
                is_causal=allowed.is_causal,
            )
        return attended if allowed.unattended is None else attended.masked_fill(allowed.unattended, 0.0)

    def _attend_padded(self, q: Tensor, seen: KeyValues, pad: Tensor | None) -> Tensor:
        """Return the attention outputs for queries of sequences with padding at their ends."""
        # With causal attention no real position attends to the padding.
        return self._attend(q, seen, None, None if self.causal else pad, None)

    def _check(self, input: Any, where: Positions, attn_mask: Any, memory: Any, memory_mask_pad: Any) -> int:
        """Raise if an argument does not fit; return M."""
        who, (mask_pad, reset, cu_seqlens) = "SRUppAttention", where
        check_features(who, "input", input, "(T, B, E)", (3,), self.in_features)
        check_like_parameters(who, input, self.linear1)
        length, batch, features = input.shape
        earlier = 0
        if isinstance(memory, Cache):
            if not self.causal:
                raise ValueError(
                    f"{who}: stream needs causal=True, because later positions are not known yet"
                )
            earlier = 0 if memory.seen is None else memory.seen.keys.shape[2]
        elif memory is not None:
            check_floating(who, "memory", memory)
            earlier = memory.shape[0] if memory.dim() else 0
            check_shape(who, "memory", memory, "(M, B, E)", (earlier, batch, features), like=input)
        if memory is not None and memory_mask_pad is not None:
            check_shape(who, "memory_mask_pad", memory_mask_pad, "(M, B)", (earlier, batch), like=input)
        if mask_pad is not None:
            check_shape(who, "mask_pad", mask_pad, "(T, B)", (length, batch), like=input)
        if reset is not None:
            check_reset(who, reset, "(T, B)", (length, batch), input)
        if cu_seqlens is not None:
            check_alone(who, mask_pad, reset)
            if memory is not None:
                raise ValueError(f"{who}: with cu_seqlens pass memory=None; a memory needs a batch (T, B, E)")
            check_shape(who, "input", input, "(total, 1, E)", (length, 1, features))
            check_cu_seqlens(who, cu_seqlens, input)
            if not is_read_once(cu_seqlens):
                check_ends(who, cu_seqlens, length)
        if attn_mask is not None:
            check_shape(who, "attn_mask", attn_mask, "(T, M + T)", (length, earlier + length), like=input)
            if attn_mask.is_complex():
                raise TypeError(
                    f"{who}: attn_mask must be bool (True where one must not attend) or of real numbers "
                    f"(added to the scores), got {attn_mask.dtype}"
                )
        return earlier

    def extra_repr(self) -> str:
        """Show the options that the submodules do not show."""
        usual = {
            "num_heads": 1,
            "attn_dropout": 0.0,
            "causal": False,
            "context": None,
            "normalize_after": True,
        }
        return shown_options(self, usual)


def _kernels() -> contextlib.AbstractContextManager[None]:
    """Return a context without the fused kernels where they lack a derivative or a batching rule."""
    if torch.compiler.is_compiling() or not is_transformed():
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.MATH)

"""What the functions of `sru_nn.functional` refuse, and the messages that say why."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn.dtypes import STORAGE_DTYPES, accumulate_dtype

ACTIVATIONS = ("identity", "tanh", "relu")


def check_sru_recurrence(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    x: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
) -> None:
    """Raise on the first argument that `sru_recurrence` cannot take."""
    check = _Checker("sru_recurrence", "u", u, "(T, B, K, N·D)", "gates before columns", sizes=(3, 4))
    if activation not in ACTIVATIONS:
        raise ValueError(f"sru_recurrence: activation must be one of {ACTIVATIONS}, got {activation!r}")
    length, batch, gates, columns = u.shape
    if bidirectional and columns % 2:
        raise ValueError(
            f"sru_recurrence: bidirectional needs an even number of columns N·D, "
            f"got {columns} in u {tuple(u.shape)}"
        )
    if x is not None and gates == 4:
        raise ValueError("sru_recurrence: u with K = 4 gates brings its own highway term u_x; pass x=None")
    if x is None and scale_x != 1.0:
        raise ValueError(
            f"sru_recurrence: scale_x = {scale_x} has no effect without x; pass x or leave scale_x at 1"
        )
    if isinstance(v, Tensor) and v.dim() == 4:
        check("v", v, "(T, B, 2, N·D)", (length, batch, 2, columns))
    else:
        check("v", v, "(2, N·D)", (2, columns))
    check("bias", bias, "(2, N·D)", (2, columns))
    check.optional("c0", c0, "(B, N·D)", (batch, columns))
    check.optional("x", x, "(T, B, N·D)", (length, batch, columns), (u.dtype,))
    check.optional("mask_c", mask_c, "(B, N·D)", (batch, columns))
    check.optional("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,))


def check_gated_linear_recurrence(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, mask_pad: Tensor | None
) -> None:
    """Raise on the first argument that `gated_linear_recurrence` cannot take."""
    check = _Checker("gated_linear_recurrence", "q", q, "(T, B, H, K)", "heads before keys")
    length, batch, heads, key_size = q.shape
    value_size = v.shape[-1] if isinstance(v, Tensor) and v.dim() == 4 else "V"
    check("k", k, "(T, B, H, K)", (length, batch, heads, key_size), (q.dtype,))
    check("v", v, "(T, B, H, V)", (length, batch, heads, value_size), (q.dtype,))
    check("log_g", log_g, "(T, B, H, K)", (length, batch, heads, key_size))
    check.optional("s0", s0, "(B, H, K, V)", (batch, heads, key_size, value_size))
    check.optional("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,))


def check_mingru_recurrence(u: Tensor, h0: Tensor | None, mask_pad: Tensor | None) -> None:
    """Raise on the first argument that `mingru_recurrence` cannot take."""
    check = _Checker("mingru_recurrence", "u", u, "(T, B, 2, D)", "u_h before u_z", sizes=(2,))
    length, batch, _, columns = u.shape
    check.optional("h0", h0, "(B, D)", (batch, columns))
    check.optional("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,))


class _Checker:
    """Checks the argument of a function that sets the dtype and the device, and the others against it."""

    def __init__(
        self, who: str, name: str, like: Tensor, letters: str, order: str, sizes: tuple[int, ...] = ()
    ) -> None:
        """Raise unless a tensor has a storage dtype, four axes, and one of these sizes in the third."""
        self.who, self.first, self.like = who, name, like
        self._check_type(name, like)
        if like.dim() != 4 or (sizes and like.shape[2] not in sizes):
            with_gates = " with K = 3 or 4" if len(sizes) > 1 else ""
            raise ValueError(
                f"{who}: {name} must have shape {letters}{with_gates}, got {tuple(like.shape)}; "
                f"reshape the projection's output with .view{letters}, {order}"
            )
        if like.dtype not in STORAGE_DTYPES:
            raise TypeError(f"{who}: {name} must be float32, float64, float16 or bfloat16, got {like.dtype}")

    def __call__(
        self,
        name: str,
        tensor: Tensor,
        letters: str,
        shape: tuple[int | str, ...],
        dtypes: tuple[torch.dtype, ...] | None = None,
    ) -> None:
        """Raise unless a tensor fits; without `dtypes` those of storage and accumulation do."""
        like = self.like
        self._check_type(name, tensor)
        if tensor.shape != shape:
            expected = f"({', '.join(map(str, shape))})"
            raise ValueError(
                f"{self.who}: {name} must have shape {letters} = {expected}, got {tuple(tensor.shape)}"
            )
        dtypes = dtypes or (like.dtype, accumulate_dtype(like.dtype))
        if tensor.dtype not in dtypes:
            either = " or ".join(dict.fromkeys(str(dtype) for dtype in dtypes))
            raise TypeError(
                f"{self.who}: {name} must be {either} with {self.first} of {like.dtype}, got {tensor.dtype}"
            )
        if tensor.device != like.device:
            raise ValueError(
                f"{self.who}: {name} must be on the device of {self.first}, {like.device}, "
                f"got {tensor.device}"
            )

    def optional(self, name: str, tensor: Tensor | None, *rest: Any) -> None:
        """Raise unless a tensor is None or fits."""
        if tensor is not None:
            self(name, tensor, *rest)

    def _check_type(self, name: str, value: object) -> None:
        if not isinstance(value, Tensor):
            got = "None" if value is None else type(value).__name__
            raise TypeError(f"{self.who}: {name} must be a torch.Tensor, got {got}")

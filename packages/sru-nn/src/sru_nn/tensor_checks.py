"""What the functions of `sru_nn.functional` refuse, with the sentence that says why."""

from __future__ import annotations

import torch
from torch import Tensor

from sru_nn.dtypes import accumulate_dtype

ACTIVATIONS = ("identity", "tanh", "relu")
_STORAGE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


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
    if u.dim() != 4 or u.shape[2] not in (3, 4):
        raise ValueError(
            f"sru_recurrence: u must have shape (T, B, K, N·D) with K = 3 or 4, got {tuple(u.shape)}; "
            "reshape the projection's output with .view(T, B, K, N·D), gates before columns"
        )
    _check_storage("sru_recurrence", "u", u)
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

    check = _Checker("sru_recurrence", "u", u)
    if v.dim() == 4:
        check("v", v, "(T, B, 2, N·D)", (length, batch, 2, columns))
    else:
        check("v", v, "(2, N·D)", (2, columns))
    check("bias", bias, "(2, N·D)", (2, columns))
    check("c0", c0, "(B, N·D)", (batch, columns))
    check("x", x, "(T, B, N·D)", (length, batch, columns), (u.dtype,))
    check("mask_c", mask_c, "(B, N·D)", (batch, columns))
    check("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,))


def check_gated_linear_recurrence(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, mask_pad: Tensor | None
) -> None:
    """Raise on the first argument that `gated_linear_recurrence` cannot take."""
    who = "gated_linear_recurrence"
    if q.dim() != 4:
        raise ValueError(
            f"{who}: q must have shape (T, B, H, K), got {tuple(q.shape)}; "
            "reshape the projection's output with .view(T, B, H, K), heads before keys"
        )
    _check_storage(who, "q", q)
    length, batch, heads, key_size = q.shape
    value_size = v.shape[-1] if v.dim() == 4 else "V"
    check = _Checker(who, "q", q)
    check("k", k, "(T, B, H, K)", (length, batch, heads, key_size), (q.dtype,))
    check("v", v, "(T, B, H, V)", (length, batch, heads, value_size), (q.dtype,))
    check("log_g", log_g, "(T, B, H, K)", (length, batch, heads, key_size))
    check("s0", s0, "(B, H, K, V)", (batch, heads, key_size, value_size))
    check("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,))


def check_mingru_recurrence(u: Tensor, h0: Tensor | None, mask_pad: Tensor | None) -> None:
    """Raise on the first argument that `mingru_recurrence` cannot take."""
    who = "mingru_recurrence"
    if u.dim() != 4 or u.shape[2] != 2:
        raise ValueError(
            f"{who}: u must have shape (T, B, 2, D), got {tuple(u.shape)}; "
            "reshape the projection's output with .view(T, B, 2, D), u_h before u_z"
        )
    _check_storage(who, "u", u)
    length, batch, _, columns = u.shape
    check = _Checker(who, "u", u)
    check("h0", h0, "(B, D)", (batch, columns))
    check("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,))


def _check_storage(who: str, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in _STORAGE_DTYPES:
        raise TypeError(f"{who}: {name} must be float32, float64, float16 or bfloat16, got {tensor.dtype}")


class _Checker:
    """Compares the other arguments of a function with the one that sets the dtype and the device."""

    def __init__(self, who: str, first: str, like: Tensor) -> None:
        self.who, self.first, self.like = who, first, like

    def __call__(
        self,
        name: str,
        tensor: Tensor | None,
        letters: str,
        shape: tuple[int | str, ...],
        dtypes: tuple[torch.dtype, ...] | None = None,
    ) -> None:
        """Raise unless a tensor is None or fits; the dtypes are those of storage and accumulation if None."""
        if tensor is None:
            return
        like = self.like
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

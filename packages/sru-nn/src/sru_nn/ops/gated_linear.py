"""The gated linear recurrence as the operators `sru_nn::gated_linear_forward` and `_backward`, on any device.

The arguments have been checked by `sru_nn.functional`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn import reference
from sru_nn.ops import gated_linear_chunks as chunks

_SCHEMA = "Tensor q, Tensor k, Tensor v, Tensor log_g"
torch.library.define(
    "sru_nn::gated_linear_forward",
    f"({_SCHEMA}, Tensor? s0, bool save) -> (Tensor o, Tensor s, Tensor starts)",
)
torch.library.define(
    "sru_nn::gated_linear_backward",
    f"({_SCHEMA}, Tensor starts, Tensor? grad_o, Tensor? grad_s) "
    "-> (Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor grad_log_g, Tensor grad_s0)",
)
torch.library.impl("sru_nn::gated_linear_forward", "CompositeExplicitAutograd", chunks.forward)
torch.library.impl("sru_nn::gated_linear_backward", "CompositeExplicitAutograd", chunks.backward)


def gated_linear_recurrence(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, *, mask_pad: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.gated_linear_recurrence` by chunks of time."""
    if mask_pad is not None:
        q, k, v, log_g = reference.without_padding(mask_pad, q, k, v, log_g)
    given = (q, k, v, log_g, s0)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
    o, s, _ = torch.ops.sru_nn.gated_linear_forward(*given, save)
    return o, s


@torch.library.register_fake("sru_nn::gated_linear_forward")  # type: ignore[untyped-decorator]
def _forward_results(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _, batch, heads, key_size = q.shape
    dtype, value_size = reference.accumulate_dtype(q.dtype), v.shape[-1]
    s = q.new_empty(batch, heads, key_size, value_size, dtype=dtype)
    starts = q.new_empty(
        chunks.turns(q, v)[1] if save else 0, batch * heads, key_size, value_size, dtype=dtype
    )
    return q.new_empty(v.shape), s, starts


@torch.library.register_fake("sru_nn::gated_linear_backward")  # type: ignore[untyped-decorator]
def _backward_results(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, starts: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    results = (x.new_empty(x.shape) for x in (q, k, v, log_g))
    return *results, starts.new_empty(*q.shape[1:], v.shape[-1])  # type: ignore[return-value]


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.saved = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.mark_non_differentiable(output[2])
    # A result that nothing was computed from has no gradient, rather than zeros as large as itself.
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, grad_o: Tensor | None, grad_s: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    if not ctx.saved:
        raise RuntimeError("sru_nn::gated_linear_forward: a gradient needs save=True")
    *given, starts = ctx.saved_tensors
    s0 = given[-1]
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return *_differentiable_gradients(given, grad_o, grad_s), None
    *gradients, grad_s0 = torch.ops.sru_nn.gated_linear_backward(*given[:-1], starts, grad_o, grad_s)
    return *gradients, None if s0 is None else grad_s0.to(s0.dtype), None


def _differentiable_gradients(
    given: list[Tensor | None], grad_o: Tensor | None, grad_s: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the reference, which have gradients themselves."""
    pairs = zip(reference.gated_linear_recurrence(*given), (grad_o, grad_s), strict=True)  # type: ignore[arg-type]
    results, upstream = zip(*((result, grad) for result, grad in pairs if grad is not None), strict=True)
    wanted = [x for x in given if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad(results, wanted, upstream, create_graph=True, allow_unused=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in given)


torch.library.register_autograd(
    "sru_nn::gated_linear_forward", _differentiate, setup_context=_save_for_backward
)

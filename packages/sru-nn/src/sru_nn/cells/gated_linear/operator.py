"""The gated linear recurrence as the operators `sru_nn::gated_linear_forward` and `_backward`, on any device.

On a CPU the kernels run them where they can, step by step; everywhere else plain PyTorch does, by chunks.
What runs is chosen when it runs: both ways save the same states, those before each chunk. Pointers are taken
inside of them alone. The arguments have been checked by `sru_nn.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sru_nn import backend, reference
from sru_nn.cells.gated_linear import chunks
from sru_nn.eager import is_plain
from sru_nn.kernel_calls import address, run_kernel, storage_dtype

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


def gated_linear_recurrence(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, *, mask_pad: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.gated_linear_recurrence`."""
    if mask_pad is not None:
        q, k, v, log_g = reference.without_padding(mask_pad, q, k, v, log_g)
    # In the accumulation dtype, so that a kernel is compiled for one dtype of them only.
    dtype = reference.accumulate_dtype(q.dtype)
    log_g = log_g.to(dtype)
    s0 = None if s0 is None else s0.to(dtype)
    given = (q, k, v, log_g, s0)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
    if is_plain(*given) and runs_on_kernels(q, v):
        # What the dispatcher takes, some tenths of a millisecond both ways, is a good part of a decoding
        # step, and of a training step of a small model.
        return _Recurrence.apply(*given) if save else _forward(*given, save)[:2]  # type: ignore[no-untyped-call]
    if q.shape[0] == 1:
        # A single step has nothing in it for chunks to gain.
        return reference.gated_linear_recurrence(*given)
    o, s, _ = torch.ops.sru_nn.gated_linear_forward(*given, save)
    return o, s


@torch.library.register_fake("sru_nn::gated_linear_forward")  # type: ignore[untyped-decorator]
def _forward_results(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    length, batch, heads, key_size = q.shape
    dtype, value_size = reference.accumulate_dtype(q.dtype), v.shape[-1]
    s = q.new_empty(batch, heads, key_size, value_size, dtype=dtype)
    segments = chunks.count_chunks(length) if save else 0
    starts = s.new_empty(segments, batch * heads, key_size, value_size)
    return q.new_empty(v.shape), s, starts


@torch.library.register_fake("sru_nn::gated_linear_backward")  # type: ignore[untyped-decorator]
def _backward_results(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, starts: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    results = (x.new_empty(x.shape) for x in (q, k, v, log_g))
    return *results, starts.new_empty(*q.shape[1:], v.shape[-1])  # type: ignore[return-value]


def runs_on_kernels(q: Tensor, v: Tensor) -> bool:
    """Return whether the kernels would run the operators now; they are for CPU tensors that are not empty."""
    return q.device.type == "cpu" and backend.active(q.device) == "kernels" and q.numel() * v.numel() > 0


def _forward(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if not runs_on_kernels(q, v):
        return chunks.forward(q, k, v, log_g, s0, save)
    import sru_kernels

    o, s, starts = _forward_results(q, k, v, log_g, s0, save)
    held: list[Tensor] = []
    given = address(s0, held), o.data_ptr(), s.data_ptr(), starts.data_ptr() if save else 0
    args = sru_kernels.GatedLinearForward._make((*_arguments(q, k, v, log_g, held), *given))
    run_kernel("gated_linear_forward", args, q.device)
    return o, s, starts


def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    starts: Tensor,
    grad_o: Tensor | None,
    grad_s: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if not runs_on_kernels(q, v):
        return chunks.backward(q, k, v, log_g, starts, grad_o, grad_s)
    import sru_kernels

    grad_q, grad_k, grad_v, grad_log_g, grad_s0 = _backward_results(q, k, v, log_g, starts)
    held: list[Tensor] = []
    saved = [address(tensor, held) for tensor in (starts, grad_o, grad_s)]
    outputs = [tensor.data_ptr() for tensor in (grad_q, grad_k, grad_v, grad_log_g, grad_s0)]
    args = sru_kernels.GatedLinearBackward._make((*_arguments(q, k, v, log_g, held), *saved, *outputs))
    run_kernel("gated_linear_backward", args, q.device)
    return grad_q, grad_k, grad_v, grad_log_g, grad_s0


torch.library.impl("sru_nn::gated_linear_forward", "CompositeExplicitAutograd", _forward)
torch.library.impl("sru_nn::gated_linear_backward", "CompositeExplicitAutograd", _backward)


def _arguments(q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, held: list[Tensor]) -> tuple[Any, ...]:
    """Return the fields that the arguments of both kernels begin with, in their order.

    What had to be made contiguous for a kernel stays in `held`.
    """
    addresses = [address(tensor, held) for tensor in (q, k, v, log_g)]
    return (storage_dtype(q.dtype), *q.shape, v.shape[-1], chunks.CHUNK, *addresses)


class _Recurrence(torch.autograd.Function):
    """What the operators do, on the kernels, for tensors that nothing but autograd watches."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        o, s, starts = _forward(q, k, v, log_g, s0, True)
        _save(ctx, (q, k, v, log_g, s0), starts)
        return o, s

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return _gradients(ctx, *grads)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *given, ctx.saved = inputs
    ctx.mark_non_differentiable(output[2])
    _save(ctx, given, output[2])


def _save(ctx: Any, given: Sequence[Tensor | None], starts: Tensor) -> None:
    ctx.save_for_backward(*given, starts)
    # A result that nothing was computed from has no gradient, rather than zeros as large as itself.
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, grad_o: Tensor | None, grad_s: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    if not ctx.saved:
        raise RuntimeError("sru_nn::gated_linear_forward: a gradient needs save=True")
    return *_gradients(ctx, grad_o, grad_s), None


def _gradients(ctx: Any, grad_o: Tensor | None, grad_s: Tensor | None) -> tuple[Tensor | None, ...]:
    q, k, v, log_g, s0, starts = ctx.saved_tensors
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _differentiable_gradients([q, k, v, log_g, s0], grad_o, grad_s)
    plain = is_plain(q, k, v, log_g, starts, grad_o, grad_s)
    run = _backward if plain else torch.ops.sru_nn.gated_linear_backward
    *gradients, grad_s0 = run(q, k, v, log_g, starts, grad_o, grad_s)
    return *gradients, None if s0 is None else grad_s0.to(s0.dtype)


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

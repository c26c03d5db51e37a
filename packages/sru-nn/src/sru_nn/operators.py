"""Register operators of `torch.library`, and determine when a call must go through one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sru_nn import flops

TORCH_2_13 = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_is_batch = torch._C._functorch.is_legacy_batchedtensor


def is_recorded() -> bool:
    """Return whether calls are recorded or observed now, so that the operators themselves must run.

    True under `torch.compile` and `torch.export`, a dispatch mode (fake tensors, a counter of operations) and
    a `torch.jit` trace.
    """
    return bool(
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._get_tracing_state() is not None
    )


def is_one(size: Any) -> bool:
    """Return whether a size is one in every run of a recorded graph, not only in the example."""
    return type(size) is int and size == 1


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether these tensors hold their values in memory and operations on them are not observed.

    False for tensor subclasses (fake, quantized, distributed); if `is_recorded`; in a `torch.func` transform,
    forward-mode differentiation or a batch of gradients (`is_grads_batched`); and for tensors that PyTorch
    negates or zeroes lazily, such as the imaginary part of a conjugate, which the dispatcher resolves.
    """
    if is_recorded() or is_transformed():
        return False
    for tensor in tensors:  # not all(...), which takes as long as the checks
        if tensor is not None and (
            type(tensor) not in _PLAIN or _is_batch(tensor) or tensor.is_neg() or tensor._is_zerotensor()
        ):
            return False
    return True


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` or forward-mode differentiation is active.

    An operator with its own derivative supports only reverse mode, and PyTorch can neither batch nor
    transform it: forward-mode differentiation would treat its result as a constant.
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    # An older compiler can trace neither this check nor the gradient of torch.func, only vmap.
    if not TORCH_2_13 and torch.compiler.is_dynamo_compiling():
        return False
    # Not "is not None", which the compiler evaluates to True.
    return isinstance(torch._C._functorch.peek_interpreter_stack(), torch._C._functorch.CInterpreter)


def define(
    name: str,
    schema: str,
    run: Callable[..., Any],
    results: Callable[..., Any],
    differentiate: Callable[..., Any] | None = None,
    save: Callable[..., None] | None = None,
    device: str = "default",
    count_flops: Callable[..., int] | None = None,
) -> None:
    """Register the operator `sru_nn::name`.

    Args:
        name: The name.
        schema: The arguments and results.
        run: Computes the results.
        results: Returns empty tensors with the shapes, dtypes and devices of the results.
        differentiate: The `backward` of its gradient; None for no gradient.
        save: The `setup_context` of its gradient.
        device: The type of device that `run` is for, "default" for any.
        count_flops: Returns the number of floating-point operations from its arguments; None for none.
    """
    qualified = f"sru_nn::{name}"
    torch.library.define(qualified, schema)
    torch.library.impl(qualified, device, run)
    operator = getattr(torch.ops.sru_nn, name)

    @functools.wraps(results)
    def shapes(*args: Any, **named: Any) -> Any:
        _let_inductor_call(operator.default)
        return results(*args, **named)

    torch.library.register_fake(qualified, shapes)
    # Without an entry here, a decomposition in PyTorch's table would compute the shapes of a graph.
    getattr(torch._decomp, "meta_table", {})[operator.default] = shapes
    if count_flops is not None:
        flops.register(operator, count_flops)
    if differentiate is not None:
        torch.library.register_autograd(qualified, differentiate, setup_context=save)


def _let_inductor_call(operator: Any) -> None:
    """Make PyTorch's compiler call an operator, although `sru_nn.export` registers a decomposition of it.

    The compiler does so by default. But if the environment variable CI is set, as on most test services, it
    treats the entry in PyTorch's table of decompositions as a bug of its own and raises.
    """
    lowering = sys.modules.get("torch._inductor.lowering")
    if lowering is not None and operator not in lowering.lowerings:
        keep_strides = getattr(lowering, "constrain_to_fake_tensors", lowering.constrain_to_fx_strides)
        lowering.make_fallback(operator, keep_strides, warn=False)

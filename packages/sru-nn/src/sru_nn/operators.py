"""What the operators of all cells share: their registration, their autograd and the calls of the kernels.

A recurrence is two operators of `torch.library`, forward and backward, so that autograd, `torch.compile` and
`torch.export` see one call each way on any device, with or without kernels. An operator chooses its backend
when it runs. In eager mode the same code is called directly: the dispatcher takes half a millisecond for both
ways, a good part of a decoding step and of a training step of a small model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn import backend

TORCH_2_13 = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_is_batch = torch._C._functorch.is_legacy_batchedtensor

Tensors = tuple[Tensor, ...]


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether these tensors are ordinary memory and nothing watches what is done to them.

    False for tensor subclasses (fake, quantized, distributed), under `torch.compile` and `torch.export`, a
    dispatch mode, a transform of `torch.func`, forward-mode differentiation, a batch of gradients
    (`is_grads_batched`), or a `torch.jit` trace.
    """
    return (
        not torch.compiler.is_compiling()
        and all(tensor is None or (type(tensor) in _PLAIN and not _is_batch(tensor)) for tensor in tensors)
        and torch._C._len_torch_dispatch_stack() == 0
        and not is_transformed()
        and torch._C._get_tracing_state() is None
    )


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` or forward-mode differentiation is active.

    An operator with a derivative of its own has one in reverse only, and PyTorch can neither batch nor
    transform it: forward-mode differentiation would take its result for a constant.
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    # An older compiler cannot trace the question, nor the gradient of torch.func; vmap it can.
    if torch.compiler.is_dynamo_compiling() and not TORCH_2_13:
        return False
    # Not "is not None", which the compiler takes for true.
    return isinstance(torch._C._functorch.peek_interpreter_stack(), torch._C._functorch.CInterpreter)


def define(
    name: str,
    schema: str,
    run: Callable[..., Any],
    results: Callable[..., Any],
    differentiate: Callable[..., Any],
    save: Callable[..., None] | None = None,
    device: str = "default",
) -> None:
    """Register the operator `sru_nn::name`.

    Args:
        name: The name.
        schema: The arguments and results.
        run: Computes the results.
        results: Returns empty tensors with the shapes, dtypes and devices of the results.
        differentiate: The `backward` of its gradient.
        save: The `setup_context` of its gradient.
        device: The type of device that `run` is for, "default" for any.
    """
    qualified = f"sru_nn::{name}"
    torch.library.define(qualified, schema)
    torch.library.impl(qualified, device, run)
    torch.library.register_fake(qualified, results)
    torch.library.register_autograd(qualified, differentiate, setup_context=save)


class Passes(NamedTuple):
    """Two functions for the two operators of a recurrence, with the arguments of their schemas."""

    forward: Callable[..., Tensors]
    backward: Callable[..., Tensors]


class Recurrence:
    """A recurrence as the operators `sru_nn::NAME_forward` and `sru_nn::NAME_backward`.

        NAME_forward(*inputs, save) -> outputs, last state, states
        NAME_backward(*inputs, states, grad of outputs, grad of last state) -> gradients of the first inputs

    The states are what the backward pass needs beside the inputs, the same with every backend; empty unless
    `save`.

    Args:
        name: The name.
        schemas: The arguments, tensors first, and results. The backward pass may leave out the last inputs.
        kernels: Runs them on the kernels.
        plain: Runs them in plain PyTorch.
        results: Returns their results, empty.
        choose: Returns the backend for these inputs.
        differentiate_twice: Returns gradients that can be differentiated, from the tensors and the upstream
            gradients. Without it a second derivative is refused.
    """

    def __init__(
        self,
        name: str,
        schemas: tuple[str, str],
        *,
        kernels: Passes,
        plain: Passes,
        results: Passes,
        choose: Callable[..., backend.Backend],
        differentiate_twice: Callable[..., Sequence[Tensor | None]] | None = None,
    ) -> None:
        self.name = name
        self.passes = {"kernels": kernels, "reference": plain}
        self.choose = choose
        self.differentiate_twice = differentiate_twice
        arguments = [schema.partition("->")[0] for schema in schemas]
        self.tensors = arguments[0].count("Tensor")
        self.inputs = arguments[0].count(",")
        self.backward_inputs = arguments[1].count(",") - 2
        define(
            f"{name}_forward",
            schemas[0],
            lambda *args: self.passes[choose(*args[:-1])].forward(*args),
            results.forward,
            self._differentiate,
            self._set_up,
        )
        define(
            f"{name}_backward",
            schemas[1],
            lambda *args: self.passes[choose(*args[:-3])].backward(*args),
            results.backward,
            self._refuse_second_derivative,
        )

    def __call__(self, chosen: backend.Backend | None, *inputs: Any) -> tuple[Tensor, Tensor]:
        """Return the outputs and the last state.

        Args:
            chosen: The backend, or None for the operator to choose.
            *inputs: As in the schema.
        """
        tensors = inputs[: self.tensors]
        save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
        if chosen is None or not is_plain(*tensors):
            outputs, last, _ = getattr(torch.ops.sru_nn, f"{self.name}_forward")(*inputs, save)
        elif save:
            outputs, last = _Direct.apply(self, chosen, *inputs)  # type: ignore[no-untyped-call]
        else:
            outputs, last, _ = self.passes[chosen].forward(*inputs, False)
        return outputs, last

    def save(self, ctx: Any, chosen: backend.Backend, inputs: Sequence[Any], states: Tensor) -> None:
        """Keep what the gradients need, the backend included: other threads than this may ask for them."""
        ctx.save_for_backward(*inputs[: self.tensors], states)
        ctx.constants, ctx.chosen = inputs[self.tensors :], chosen
        # A result that is not used has no gradient, rather than zeros as large as itself.
        ctx.set_materialize_grads(False)

    def gradients(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs, through the backend that ran forward."""
        *tensors, states = ctx.saved_tensors
        inputs = (*tensors, *ctx.constants)
        twice = torch.is_grad_enabled()
        if twice and self.differentiate_twice is not None and not torch.compiler.is_compiling():
            found = self.differentiate_twice(*inputs, *grads)
        else:
            given = (*inputs[: self.backward_inputs], states, *grads)
            # With gradients enabled the operator says that there is no second derivative.
            if not twice and is_plain(*tensors, states, *grads):
                found = self.passes[ctx.chosen].backward(*given)
            else:
                with backend.using(ctx.chosen):
                    found = getattr(torch.ops.sru_nn, f"{self.name}_backward")(*given)
        wanted = (None if x is None else grad for x, grad in zip(tensors, found, strict=False))
        return (*wanted, *[None] * (self.inputs - min(len(found), len(tensors))))

    def _set_up(self, ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        *given, ctx.saved = inputs
        ctx.mark_non_differentiable(output[2])
        self.save(ctx, self.choose(*given), given, output[2])

    def _differentiate(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if not ctx.saved:
            raise RuntimeError(f"sru_nn::{self.name}_forward: a gradient needs save=True")
        return *self.gradients(ctx, *grads[:2]), None

    def _refuse_second_derivative(self, *_: Any) -> None:
        raise RuntimeError(
            f"{self.name}_recurrence: the kernels have no second derivative; choose the backend 'reference' "
            "(sru_nn.backend.using('reference')) for the forward pass"
        )


class _Direct(torch.autograd.Function):
    """The operators of a recurrence without the dispatcher."""

    @staticmethod
    def forward(ctx: Any, recurrence: Recurrence, chosen: backend.Backend, *inputs: Any) -> Tensors:
        outputs, last, states = recurrence.passes[chosen].forward(*inputs, True)
        ctx.recurrence = recurrence
        recurrence.save(ctx, chosen, inputs, states)
        return outputs, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.recurrence.gradients(ctx, *grads)


@functools.cache
def storage_dtype(dtype: torch.dtype) -> Any:
    """Return the kernels' name of a dtype."""
    import sru_kernels

    return sru_kernels.DType[str(dtype).removeprefix("torch.")]


@functools.cache
def activation_member(name: str) -> Any:
    """Return the kernels' name of an activation."""
    import sru_kernels

    return sru_kernels.Activation[name]


def run_kernel(name: str, device: torch.device, *fields: Any) -> None:
    """Run a kernel on the threads of a CPU, or in the current stream of a CUDA device.

    Args:
        name: The kernel, as `sru_kernels.cpu` and `sru_kernels.cuda` call it.
        device: Where its tensors are.
        *fields: Its arguments, in order: tensors, None for one left out, and what it takes as it is. A tensor
            it writes to is contiguous.
    """
    import sru_kernels

    # This list keeps what had to be made contiguous.
    held = [field.contiguous() if isinstance(field, Tensor) else field for field in fields]
    values = [x.data_ptr() if isinstance(x, Tensor) else 0 if x is None else x for x in held]
    arguments = getattr(sru_kernels, name.title().replace("_", ""))._make(values)
    if device.type == "cpu":
        getattr(sru_kernels.cpu, name)(arguments, num_threads=torch.get_num_threads())
        return
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream()
        kernel = getattr(sru_kernels.cuda, name)
        kernel(arguments, device=stream.device_index, stream=stream.cuda_stream)

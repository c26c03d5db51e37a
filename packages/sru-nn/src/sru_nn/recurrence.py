"""A recurrence as two operators of `torch.library`, and its autograd.

Autograd, `torch.compile` and `torch.export` see one call per pass on any device, with or without kernels. An
operator chooses its backend when it runs. In eager mode the same code is called directly: the dispatcher
takes half a millisecond for both passes, as long as many decoding or training steps of small models.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.operators import define, is_plain


class Passes(NamedTuple):
    """An implementation of the two operators of a recurrence.

    forward(inputs, save) returns the outputs, the last state and the states, which may be None unless `save`.
    backward(inputs, states, grad of outputs, grad of last state) returns the gradients of the first inputs.
    """

    forward: Callable[..., tuple[Tensor, Tensor, Tensor | None]]
    backward: Callable[..., tuple[Tensor, ...]]


def passes_of(module: str) -> Passes:
    """Return the functions `forward` and `backward` of a module, which is imported when one of them runs."""

    def run(name: str) -> Callable[..., Any]:
        return lambda *args: getattr(importlib.import_module(module), name)(*args)

    return Passes(run("forward"), run("backward"))


class Recurrence:
    """A recurrence as the operators `sru_nn::NAME_forward` and `sru_nn::NAME_backward`.

        NAME_forward(*inputs, save) -> outputs, last state, states
        NAME_backward(*inputs, states, grad of outputs, grad of last state) -> gradients of the first inputs

    The states are what the backward pass needs besides the inputs. They are the same for every backend, and
    empty unless `save`.

    Args:
        name: The name.
        inputs: A named tuple for the inputs, tensors first.
        schemas: The arguments and results of both. The backward pass may leave out the last inputs.
        kernels: Runs them on the kernels.
        triton: Runs them in Triton; None if it cannot, in which case `choose` never returns it.
        plain: Runs them in plain PyTorch.
        results: Returns their results, uninitialised.
        choose: Returns the backend for these inputs.
        count_flops: Returns how many floating-point operations the equations take; backward takes twice as
            many.
        differentiate_twice: Like `backward`, but takes no states and returns gradients that can be
            differentiated. A compiled graph, which would unroll the steps, supports only first derivatives.
    """

    def __init__(
        self,
        name: str,
        inputs: Callable[..., Sequence[Any]],
        schemas: tuple[str, str],
        *,
        kernels: Passes,
        triton: Passes | None = None,
        plain: Passes,
        results: Passes,
        choose: Callable[[Any], backend.Backend],
        count_flops: Callable[[Any], int],
        differentiate_twice: Callable[..., Sequence[Tensor | None]],
    ) -> None:
        self.name = name
        # A profile shows the name of this class.
        self.direct: Any = type(name.title().replace("_", ""), (_Direct,), {})
        self.inputs = inputs
        self.passes = {"kernels": kernels, "reference": plain}
        if triton is not None:
            self.passes["triton"] = triton
        self.results = results
        self.choose = choose
        self.differentiate_twice = differentiate_twice
        arguments = [schema.partition("->")[0] for schema in schemas]
        self.tensors = arguments[0].count("Tensor")
        self.backward_inputs = arguments[1].count(",") - 2
        define(
            f"{name}_forward",
            schemas[0],
            self._run_forward,
            lambda *args: results.forward(inputs(*args[:-1]), args[-1]),
            self._differentiate,
            self._set_up,
            count_flops=lambda *args: count_flops(inputs(*args[:-1])),
        )
        define(
            f"{name}_backward",
            schemas[1],
            self._run_backward,
            lambda *args: results.backward(inputs(*args[:-3]), *args[-3:]),
            self._refuse_second_derivative,
            count_flops=lambda *args: 2 * count_flops(inputs(*args[:-3])),
        )

    def __call__(self, chosen: backend.Backend | None, inputs: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Return the outputs and the last state.

        Args:
            chosen: The backend, or None for the operator to choose.
            inputs: The named tuple.
        """
        tensors = tuple(inputs)[: self.tensors]
        save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
        if chosen is None or not is_plain(*tensors):
            if torch._C._get_tracing_state() is not None:
                self._check_trace()
                save = True  # a constant in the trace, which must also serve calls that need gradients
            outputs, last, _ = getattr(torch.ops.sru_nn, f"{self.name}_forward")(*inputs, save)
        elif save:
            outputs, last = self.direct.apply(self, chosen, *inputs)
        else:
            outputs, last, _ = self.run("forward", chosen, inputs, False)
        return outputs, last

    def run(self, way: str, chosen: backend.Backend, *args: Any) -> tuple[Any, ...]:
        """Run `forward` or `backward` on a backend, in a profile under the name of the operator."""
        return profiled(f"{self.name}_{way}", getattr(self.passes[chosen], way), *args)  # type: ignore[no-any-return]

    def _check_trace(self) -> None:
        """Raise in PyTorch's older ONNX exporter, which cannot translate the operator."""
        if torch.onnx.is_in_onnx_export():
            raise RuntimeError(
                f"sru_nn::{self.name}_forward: ONNX has no such operator, and torch.jit.trace cannot export "
                "it as a loop; call torch.onnx.export with dynamo=True, or sru_nn.export.to_onnx"
            )

    def save(self, ctx: Any, chosen: backend.Backend, inputs: Sequence[Any], states: Tensor | None) -> None:
        """Save what the gradients need, and the backend, because another thread may compute the gradients."""
        ctx.save_for_backward(*inputs[: self.tensors], states)
        ctx.constants, ctx.chosen = inputs[self.tensors :], chosen
        # An unused result has no gradient, rather than zeros of its own size.
        ctx.set_materialize_grads(False)

    def gradients(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs, by the backend that ran forward."""
        *tensors, states = ctx.saved_tensors
        inputs = self.inputs(*tensors, *ctx.constants)
        found: Sequence[Tensor | None]
        if not torch.is_grad_enabled() and is_plain(*tensors, states, *grads):
            found = self.run("backward", ctx.chosen, inputs, states, *grads)
        elif torch.is_grad_enabled() and not torch.compiler.is_compiling():
            found = self.differentiate_twice(inputs, *grads)
        else:  # the operator, which also raises an error for a second derivative
            with backend.using(ctx.chosen):
                run = getattr(torch.ops.sru_nn, f"{self.name}_backward")
                found = run(*inputs[: self.backward_inputs], states, *grads)
        wanted = [None if x is None else grad for x, grad in zip(tensors, found, strict=False)]
        return (*wanted, *[None] * (len(inputs) - len(wanted)))

    def _run_forward(self, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        inputs, save = self.inputs(*args[:-1]), args[-1]
        outputs, last, states = self.passes[self.choose(inputs)].forward(inputs, save)
        # An operator returns a tensor for each of its results.
        return outputs, last, self.results.forward(inputs, save)[2] if states is None else states  # type: ignore[return-value]

    def _run_backward(self, *args: Any) -> tuple[Tensor, ...]:
        inputs = self.inputs(*args[:-3])
        return self.passes[self.choose(inputs)].backward(inputs, *args[-3:])

    def _set_up(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        *given, ctx.saved = inputs
        ctx.mark_non_differentiable(output[2])
        self.save(ctx, self.choose(self.inputs(*given)), given, output[2])

    def _differentiate(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if not ctx.saved:
            raise RuntimeError(f"sru_nn::{self.name}_forward: a gradient needs save=True")
        return *self.gradients(ctx, *grads[:2]), None

    def _refuse_second_derivative(self, *_: Any) -> None:
        raise RuntimeError(
            f"sru_nn::{self.name}_backward: a graph has no second derivative; run the recurrence outside of "
            "torch.compile"
        )


class _Direct(torch.autograd.Function):
    """The operators of a recurrence without the dispatcher."""

    @staticmethod
    def forward(ctx: Any, recurrence: Recurrence, chosen: backend.Backend, *given: Any) -> Any:
        inputs, ctx.recurrence = recurrence.inputs(*given), recurrence
        outputs, last, states = recurrence.run("forward", chosen, inputs, True)
        recurrence.save(ctx, chosen, inputs, states)
        return outputs, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.recurrence.gradients(ctx, *grads)


def profiled(name: str, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that does the work of `sru_nn::name`, so that a profile shows that name."""
    if not torch._C._autograd._profiler_enabled():
        return run(*args, **kwargs)
    with torch.profiler.record_function(f"sru_nn::{name}"):
        return run(*args, **kwargs)


def by_reference(reference: Callable[[Any], tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    """Return the `differentiate_twice` of a recurrence: gradients of the reference, which have gradients too.

    They take another forward pass, whose graph keeps the results of every step until it is differentiated.

    Args:
        reference: Maps the named tuple of inputs to the outputs and the last state.
    """

    def differentiate_twice(inputs: Sequence[Any], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        pairs = zip(reference(inputs), grads, strict=True)
        results, upstream = zip(*((result, grad) for result, grad in pairs if grad is not None), strict=True)
        learns = [isinstance(x, Tensor) and x.requires_grad for x in inputs]
        wanted = [x for x, is_wanted in zip(inputs, learns, strict=True) if is_wanted]
        found = iter(torch.autograd.grad(results, wanted, upstream, create_graph=True, allow_unused=True))
        return tuple(next(found) if is_wanted else None for is_wanted in learns)

    return differentiate_twice

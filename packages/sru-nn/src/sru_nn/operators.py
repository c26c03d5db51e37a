"""What the operators of all cells share: their registration, their autograd and the calls of the kernels.

A recurrence is two operators of `torch.library`, forward and backward, so that autograd, `torch.compile` and
`torch.export` see one call each way on any device, with or without kernels. An operator chooses its backend
when it runs. In eager mode the same code is called directly: the dispatcher takes half a millisecond for both
ways, as long as many a decoding step or training step of a small model.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn import backend, flops

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
    """Return whether a size is one whenever what is recorded runs, not only in the example."""
    return type(size) is int and size == 1


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether the memory of these tensors holds their values and nothing watches what is done to them.

    False for tensor subclasses (fake, quantized, distributed), where `is_recorded`, in a transform of
    `torch.func`, forward-mode differentiation or a batch of gradients (`is_grads_batched`); and for tensors
    that PyTorch negates or zeroes lazily, such as the imaginary part of a conjugate, which the dispatcher
    resolves.
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

    An operator with a derivative of its own has one in reverse only, and PyTorch can neither batch nor
    transform it: forward-mode differentiation would take its result for a constant.
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    # An older compiler cannot trace the question, nor the gradient of torch.func; vmap it can.
    if not TORCH_2_13 and torch.compiler.is_dynamo_compiling():
        return False
    # Not "is not None", which the compiler takes for true.
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
        differentiate: The `backward` of its gradient; None without one.
        save: The `setup_context` of its gradient.
        device: The type of device that `run` is for, "default" for any.
        count_flops: Returns how many floating-point operations it takes, from its arguments; None for none.
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
    """Have PyTorch's compiler call an operator, whatever `sru_nn.export` says of it to other programs.

    By itself it does the same, but where the environment variable CI is set, as it is on most services that
    run tests, it takes the entry in PyTorch's table of decompositions for a mistake of its own and raises.
    """
    lowering = sys.modules.get("torch._inductor.lowering")
    if lowering is not None and operator not in lowering.lowerings:
        keep_strides = getattr(lowering, "constrain_to_fake_tensors", lowering.constrain_to_fx_strides)
        lowering.make_fallback(operator, keep_strides, warn=False)


class Passes(NamedTuple):
    """What runs the two operators of a recurrence.

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

    The states are what the backward pass needs beside the inputs, the same with every backend; empty unless
    `save`.

    Args:
        name: The name.
        inputs: A named tuple for the inputs, tensors first.
        schemas: The arguments and results of both. The backward pass may leave out the last inputs.
        kernels: Runs them on the kernels.
        triton: Runs them in Triton; None where it cannot, and `choose` never returns it.
        plain: Runs them in plain PyTorch.
        results: Returns their results, empty.
        choose: Returns the backend for these inputs.
        count_flops: Returns how many floating-point operations the equations take; backward takes twice as
            many.
        differentiate_twice: As `backward` but without the states: gradients that can be differentiated. A
            compiled graph, which would unroll them, has first derivatives only.
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
        """Raise in PyTorch's older exporter of ONNX, which would find no translation of the operator."""
        if torch.onnx.is_in_onnx_export():
            raise RuntimeError(
                f"sru_nn::{self.name}_forward: ONNX has no such operator, and torch.jit.trace cannot export "
                "it as a loop; call torch.onnx.export with dynamo=True, or sru_nn.export.to_onnx"
            )

    def save(self, ctx: Any, chosen: backend.Backend, inputs: Sequence[Any], states: Tensor | None) -> None:
        """Keep what the gradients need, and the backend, as another thread may compute them."""
        ctx.save_for_backward(*inputs[: self.tensors], states)
        ctx.constants, ctx.chosen = inputs[self.tensors :], chosen
        # A result that is not used has no gradient, rather than zeros as large as itself.
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
        else:  # the operator, which also says that there is no second derivative
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

    They take another forward pass, whose graph keeps what every step computes until it is differentiated.

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


def current_device(like: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return a block in which the device of a tensor is the current one, where Triton starts its kernels."""
    if like.is_cpu:  # in its interpreter
        return contextlib.nullcontext()
    return torch.get_device_module(like.device).device(like.device)  # type: ignore[no-any-return]


def run_kernel(name: str, like: Tensor, *fields: Any) -> None:
    """Run a kernel on the threads of a CPU, or in the current stream of a CUDA device.

    Args:
        name: The kernel, as `sru_kernels.cpu` and `sru_kernels.cuda` call it.
        like: A tensor on the device.
        *fields: The arguments, in order: tensors (None for one left out), a dtype, the name of an activation,
            and numbers, addresses among them. A tensor the kernel writes to is contiguous.
    """
    package, constants = kernels()
    held, values = [], []
    for field in fields:
        if field is None:  # most of them, usually
            values.append(0)
        elif isinstance(field, Tensor):
            if not field.is_contiguous():
                field = field.contiguous()
                held.append(field)  # the kernel only sees its address
            values.append(field.data_ptr())
        else:
            values.append(constants.get(field, field))
    arguments = getattr(package, name.title().replace("_", ""))._make(values)
    if like.is_cpu:
        getattr(package.cpu, name)(arguments, num_threads=torch.get_num_threads())
        return
    stream = torch.cuda.current_stream(like.device)  # the kernels make its device current themselves
    getattr(package.cuda, name)(arguments, device=stream.device_index, stream=stream.cuda_stream)


@functools.cache
def kernels() -> tuple[Any, dict[Any, Any]]:
    """Return the package, and what it takes for a dtype or the name of an activation."""
    import sru_kernels

    dtypes = {getattr(torch, name): member for name, member in sru_kernels.DType.__members__.items()}
    return sru_kernels, {**dtypes, **sru_kernels.Activation.__members__}

"""Detect modules whose call must not be bypassed, because of hooks, a replaced `forward` or a trace."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.nn.modules import module as every_module


def is_watched(module: nn.Module) -> bool:
    """Return whether calling a module may do more than the `forward` of its class, so that it must be called.

    That is the case with a hook, on this module or on all modules, after `module.compile()`, and if `forward`
    has been replaced: on the module, as offloading and adapters do, or on its class.
    """
    kind = type(module)
    written = _home(kind)
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _may_alter(every_module._global_forward_hooks)
        or _may_alter(every_module._global_forward_pre_hooks)
        or every_module._global_backward_hooks
        or every_module._global_backward_pre_hooks
        or module._compiled_call_impl is not None
        or "forward" in module.__dict__
        or (
            written != kind.__module__
            and written != next(base for base in kind.__mro__ if "forward" in vars(base)).__module__
        )
    )


def _may_alter(hooks: dict[int, Any]) -> bool:
    """Return whether hooks on all modules may do more than those of counters, which only record names."""
    return bool(hooks) and any(
        getattr(hook, "__module__", "") != "torch.utils.module_tracker" for hook in hooks.values()
    )


def _home(kind: type[nn.Module]) -> str:
    """Return the name of the module that defines `forward`, even if functools.wraps sets another."""
    return getattr(kind.forward, "__globals__", {}).get("__name__", "")  # type: ignore[no-any-return]


# As in sru_nn.backend: the compiler of PyTorch 2.6 cannot read the globals of a function.
_home._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_altered(module: nn.Module) -> bool:
    """Return whether calling a module may do more than our `forward`: it is watched, or of a subclass."""
    return is_watched(module) or not _home(type(module)).startswith("sru_nn.")


def as_leaf(module: nn.Module, x: fx.Proxy, *args: Any, **kwargs: Any) -> Any:
    """Record the call of a module as one node of a `torch.fx` graph, as for PyTorch's own modules.

    Raises:
        TraceError: Operations that a hook or a subclass adds to `forward` would be recorded a second time.
    """
    if is_altered(module):
        raise fx.proxy.TraceError(
            f"torch.fx cannot record {type(module).__name__} with a hook, or whose class overrides forward, "
            "as one node; trace with a Tracer whose is_leaf_module returns True for it"
        )
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    tracer: Any = x.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (x, *args), kwargs)


def refuse_script(module: nn.Module) -> nn.Module:
    """Raise when `torch.jit.script` prepares a module; used as its `__prepare_scriptable__`.

    Raises:
        NotImplementedError: Always.
    """
    raise NotImplementedError(
        f"{type(module).__name__}: torch.jit.script cannot compile it; deploy the model with torch.export, "
        "with AOTInductor (sru_nn.export.to_aoti) or with ONNX (sru_nn.export.to_onnx)"
    )

"""Whether a call may go to compiled code, or even straight there, past PyTorch's dispatcher."""

from __future__ import annotations

import torch
from torch import Tensor

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_is_batch = torch._C._functorch.is_legacy_batchedtensor
TORCH_2_13 = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether nothing but memory is behind these tensors and nothing watches what is done to them.

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
    """Return whether a transform of `torch.func` or forward-mode differentiation looks at what is done.

    An operator with a derivative of its own has one in reverse only, and PyTorch can neither batch nor
    transform it: forward-mode differentiation would take it for a constant.
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    # An older compiler cannot trace the question, nor the gradient of torch.func; vmap it can.
    if torch.compiler.is_dynamo_compiling() and not TORCH_2_13:
        return False
    # Not "is not None", which the compiler takes for true.
    return isinstance(torch._C._functorch.peek_interpreter_stack(), torch._C._functorch.CInterpreter)

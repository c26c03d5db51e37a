"""Whether a call may go past PyTorch's dispatcher, straight to compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether nothing but memory is behind these tensors and nothing watches what is done to them.

    False for tensor subclasses (fake, quantized, distributed), under `torch.compile` and `torch.export`, a
    dispatch mode, a transform of `torch.func`, or a `torch.jit` trace.
    """
    return (
        not torch.compiler.is_compiling()
        and all(tensor is None or type(tensor) in _PLAIN for tensor in tensors)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._get_tracing_state() is None
    )

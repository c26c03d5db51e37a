"""From a model to a program without operators of `sru_nn`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from sru_nn.export.operators import decompositions


def to_program(who: str, model: nn.Module, args: tuple[Any, ...], dynamic_shapes: Any) -> ExportedProgram:
    """Export a model for inference and replace its operators; `who` names the caller in errors."""
    _check(who, model, args)
    try:
        with torch.no_grad():
            program = torch.export.export(model, args, dynamic_shapes=dynamic_shapes, strict=False)
    except Exception as error:
        custom = [name for name, part in model.named_modules() if getattr(part, "custom_m", None) is not None]
        if not custom:
            raise
        raise ValueError(
            f"{who}: the model cannot be exported with its custom_m (in {', '.join(custom)}), because "
            f"{str(error).strip().splitlines()[0]}; write a custom_m whose operations do not depend on the "
            "values of its input, or build the module without custom_m"
        ) from error
    replaced: ExportedProgram = program.run_decompositions(decompositions())
    return replaced


def _check(who: str, model: nn.Module, args: Any) -> None:
    if not isinstance(args, tuple):
        kind = type(args).__name__
        raise TypeError(f"{who}: args must be a tuple, got {kind}; write (x,) for a single tensor")
    if model.training:
        raise ValueError(
            f"{who}: the model is in training mode, where dropout is random; call model.eval() first"
        )
    for name, module in model.named_modules():
        if getattr(module, "length_parallel", False):
            raise ValueError(
                f"{who}: {name or 'the model'} solves for all steps at once until it converges, which a "
                "graph cannot follow; set length_parallel=False, the results are the same"
            )
    leaves = pytree.tree_leaves(args, is_leaf=lambda arg: isinstance(arg, PackedSequence))
    if any(isinstance(leaf, PackedSequence) for leaf in leaves):
        raise TypeError(
            f"{who}: a PackedSequence keeps its lengths as data, which a graph cannot follow; pass a padded "
            "tensor and mask_pad"
        )

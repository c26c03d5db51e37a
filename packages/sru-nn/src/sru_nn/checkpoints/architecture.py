"""Infer from a state dict how its module was built, and find contradictions with another module.

Everything here is plain data: state dicts in the layout of this package, and arguments by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from sru_nn.checkpoints.layouts import is_dense, last_matrix, read_cell, shortened


def describe_cell(state_dict: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the arguments that the entries of a cell reveal, in the order in which to compare them.

    `output_size` is N·D; the shapes do not reveal the number of directions. `custom_m` lists the names of the
    entries of a custom transform, and `highway_scale` is the factor that `sru` saves.

    Returns:
        The arguments; empty if these are not the entries of a cell.
    """
    entries = ((str(name), value) for name, value in state_dict.items() if is_dense(value))
    own = {name[len(prefix) :]: value for name, value in entries if name.startswith(prefix)}
    bias, vectors = own.get("bias"), own.get("weight_c")
    sizes = {tensor.shape for tensor in (bias, vectors) if tensor is not None}
    if len(sizes) != 1 or len(shape := sizes.pop()) != 1 or shape[0] % 2 or not shape[0]:
        return {}
    told: dict[str, Any] = {"output_size": shape[0] // 2}
    custom = sorted(name.removeprefix("custom_m.") for name in own if name.startswith("custom_m."))
    if custom:
        told["custom_m"] = custom
    last = own.get(last_matrix(own, "") or "")
    first = own.get("transform.linear1.weight", own.get("transform.down.weight", last))
    if last is not None and first is not None and last.dim() == first.dim() == 2:
        inputs, gates = first.shape[1], last.shape[0] / told["output_size"]
        told["input_size"] = inputs
        if is_srupp := "transform.linear1.weight" in own:
            told["attention"] = "transform.linear3.weight" in own
            told["proj_size"] = first.shape[0]
            told["attn_layer_norm"] = "transform.layer_norm.weight" in own
        if gates == 4 or (gates == 3 and inputs != told["output_size"]):
            told["has_skip_term"] = gates == 4
        if not is_srupp:
            told["projection_size"] = 0 if first is last else first.shape[0]
    if "initial_state" in own:
        told["learn_initial_state"] = True
    norm = own.get("layer_norm.weight")
    if custom or last is not None:
        told["layer_norm"] = norm is not None
    if norm is not None and told.get("input_size", told["output_size"]) != told["output_size"]:
        told["normalize_after"] = norm.numel() != told["input_size"]
    for name, tensor in (("v1", vectors), ("bias", bias)):
        if tensor is not None and _has_values(tensor):
            told[name] = bool(tensor.any()) != (name == "v1")
    scale = own.get("scale_x")
    if scale is not None and _has_values(scale) and scale.is_floating_point() and scale.numel() == 1:
        told["highway_scale"], told["tolerance"] = float(scale), 4 * torch.finfo(scale.dtype).eps
    return told


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor is ordinary: not on the meta device, not fake and not distributed."""
    return type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta


def scaled_for(scale: float) -> float | None:
    """Return the initial bias from which `rescale` derives this factor; None for no scaling."""
    return round(math.log((scale**2 - 1) / 2), 4) + 0.0 if scale > 1.0 else None


def check_version(name: str, own: int, metadata: Mapping[str, Any], prefix: str) -> None:
    """Raise if the entries were saved by a newer version of the module."""
    saved = metadata.get("version")
    if isinstance(saved, int) and saved > own:
        raise RuntimeError(
            f"{prefix or name}: the state dict is of version {saved} of {name}, newer than this package "
            f"supports: {own}; install a newer sru-nn"
        )


def check_stack(stack: Mapping[str, Any], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if a state dict holds a stack with a different number of layers or a different first map.

    Args:
        stack: The arguments of this stack by name.
        state_dict: The entries.
        prefix: The prefix of this stack's names.
    """
    pattern = re.compile(re.escape(prefix) + r"rnn_lst\.(\d{1,9})\.")
    layers = {int(match[1]) for name in state_dict if (match := pattern.match(name))}
    if not layers:
        return
    if max(layers) + 1 != stack["num_layers"]:
        refuse(prefix, "num_layers", stack["num_layers"], max(layers) + 1)
    layer = f"{prefix}rnn_lst.0."
    entries = {name: value for name, value in state_dict.items() if name.startswith(layer)}
    read_cell(entries, layer)
    first = describe_cell(entries, layer)
    if first:
        _check_hidden_size(stack, first["output_size"], prefix)
    weight, name = state_dict.get(f"{prefix}input_to_hidden.weight"), "proj_input_to_hidden_first"
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        weight = None
    if not first or (weight is not None) == stack[name]:
        if weight is not None and weight.shape[1] != stack["input_size"]:
            refuse(prefix, "input_size", stack["input_size"], weight.shape[1])
    elif weight is not None:
        refuse(prefix, name, False, True, f"{name}=True and input_size={weight.shape[1]}")
    elif first.get("input_size") not in (first["output_size"], None):
        refuse(prefix, name, True, False)


def check_cell(cell: Mapping[str, Any], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if a state dict holds a cell built with different arguments.

    Args:
        cell: The arguments of this cell by name; `custom_m` is the name of its class.
        state_dict: The entries.
        prefix: The prefix of this cell's names.

    Raises:
        RuntimeError: An argument differs; the message names the first one and both values.
    """
    told = describe_cell(state_dict, prefix)
    if not told:
        return
    _check_hidden_size(cell, told["output_size"], prefix)
    custom, theirs = cell["custom_m"], told.pop("custom_m", None)
    if custom is None and theirs:
        module = f"a module with {', '.join(map(shortened, theirs[:3]))}"
        refuse(prefix, "custom_m", None, module, "custom_m=<that module>")
    if custom is not None and "projection_size" in told:
        refuse(prefix, "custom_m", custom, None)
    if told.get("v1"):
        del told["v1"]  # zero vectors fit any module
    if not told.get("bias"):
        told.pop("bias", None)
    for name, value in told.items():
        if name in cell and cell[name] != value:
            remedy = "the attention_every_n_layers or attention_last_n_layers that the saved one had"
            alias = "n_proj" if name == "projection_size" and "rnn_lst." not in prefix else name
            refuse(prefix, alias, cell[name], value, remedy if name == "attention" else None)
    # Only a highway that carries the input itself is scaled.
    if "highway_scale" in told and cell["has_skip_term"] and cell["num_matrices"] == 3:
        tolerance = max(1e-5, told["tolerance"])  # a module in half precision rounds it
        if not math.isclose(told["highway_scale"], cell["scale_x"], rel_tol=tolerance):
            bias = scaled_for(told["highway_scale"])
            if bias is None:
                refuse(prefix, "rescale", True, False)
            if not cell["rescale"]:
                refuse(prefix, "rescale", False, True, f"rescale=True and highway_bias={bias:g}")
            refuse(prefix, "highway_bias", f"{cell['highway_bias']:g}", f"{bias:g}")


def _check_hidden_size(module: Mapping[str, Any], saved: int, prefix: str) -> None:
    size, directions = module["hidden_size"], module["num_directions"]
    if saved == directions * size:
        return
    fits = saved % directions == 0
    if saved == (3 - directions) * size:
        same = (
            f"in {'one direction' if directions == 1 else 'two directions'} hidden_size={saved // directions}"
        )
        remedy = f"bidirectional={directions == 1}, or {same}" if fits else None
        refuse(prefix, "bidirectional", directions == 2, directions == 1, remedy)
    if fits:
        refuse(prefix, "hidden_size", size, saved // directions)
    refuse(prefix, "hidden_size", size, saved, f"hidden_size={saved} and bidirectional=False")


def refuse(prefix: str, field: str, ours: object, theirs: object, remedy: str | None = None) -> NoReturn:
    """Raise an error that names an argument, its two values and what to do.

    Args:
        prefix: The prefix of the module's names.
        field: The argument.
        ours: Its value in this module.
        theirs: Its value in the state dict.
        remedy: How to build a module that fits; by default with the value of the state dict.
    """
    where = f"{prefix[:-1]}: " if prefix else ""
    raise RuntimeError(
        f"{where}{field}: this module has {ours}, the state dict {theirs}; "
        f"build it with {remedy or f'{field}={theirs}'}"
    )

"""The SRUs of a state dict, and the calls that make modules for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from sru_nn.checkpoints.architecture import CellState, describe_cell, told

_SAVED_BY = {
    "sru 2": "sru 2.x (2.3.5 to 2.6.0)",
    "sru 3": "sru 3.0.0.dev",
    "sru_nn": "sru_nn, and left as it is",
    None: "sru; its version cannot be told",
}


class ConversionError(Exception):
    """Why a file cannot be converted, in one sentence that also says what to do."""


class Found(NamedTuple):
    """An SRU in a state dict."""

    prefix: str
    """What its names begin with, for example `"encoder.rnn."`."""
    saved_by: str
    """The version whose layout it has, as far as the names tell."""
    call: str
    """A call that makes a module which these weights fit."""
    untold: tuple[str, ...]
    """The arguments that the weights say nothing of."""


def find_cells(state_dict: Mapping[str, Any]) -> dict[str, dict[str, CellState]]:
    """Find what belongs to SRU layers.

    Returns:
        For the prefix of each stack the layers by their prefixes, in order. A layer alone is its own stack.
    """
    stacks: dict[str, dict[str, CellState]] = {}
    names = [str(name) for name in state_dict if re.search(r"(^|\.)weight_c$", str(name))]
    for prefix in sorted((name.removesuffix("weight_c") for name in names), key=_in_order):
        state = describe_cell(state_dict, prefix)
        if state is not None and f"{prefix}bias" in state_dict:
            match = re.fullmatch(r"(.*?)rnn_lst\.\d+\.", prefix)
            stacks.setdefault(match[1] if match else prefix, {})[prefix] = _completed(
                state_dict, prefix, state
            )
    return stacks


def _in_order(name: str) -> list[str]:
    """Sort layer 10 after layer 2."""
    return [part.zfill(9) if part.isdigit() else part for part in name.split(".")]


def _completed(state_dict: Mapping[str, Any], prefix: str, state: CellState) -> CellState:
    """Read the sizes of an SRU++ cell from its transform, before or after it was renamed."""
    for name, saved_by in (("transform_module.", "sru 3"), ("transform.", "sru_nn")):
        start = prefix + name
        names = tuple(sorted(key[len(start) :] for key in state_dict if key.startswith(start)))
        if is_srupp(names):
            last = state_dict[start + ("linear3.weight" if "linear3.weight" in names else "linear2.weight")]
            return state._replace(
                saved_by=saved_by,
                transform=names,
                input_size=state_dict[f"{start}linear1.weight"].shape[1],
                num_matrices=last.shape[0] // state.output_size,
            )
    return state


def is_srupp(transform: Collection[str]) -> bool:
    """Return whether a transform with entries of these names is that of an SRU++ layer."""
    known = {"linear1.weight", "linear2.weight", "linear3.weight", "alpha"}
    known |= {"layer_norm.weight", "layer_norm.bias"}
    return {"linear1.weight", "linear2.weight"} <= set(transform) <= known


def describe(state_dict: Mapping[str, Tensor], prefix: str, cells: Mapping[str, CellState]) -> Found:
    """Write the call that makes a module for these layers, and list what it leaves open."""
    states = list(cells.values())
    saved_by = next((state.saved_by for state in states if state.saved_by), None)
    name = "SRUCell" if prefix in cells else "SRUpp" if is_srupp(states[0].transform) else "SRU"
    first_map = None if name == "SRUCell" else state_dict.get(f"{prefix}input_to_hidden.weight")
    inputs = states[0].input_size if first_map is None else first_map.shape[1]
    positional: list[object] = [inputs or "...", states[0].output_size]
    arguments: dict[str, object] = {} if name == "SRUCell" else {"num_layers": len(states)}
    untold: list[str] = []
    if states[0].output_size % 2 == 0:
        untold.append(f"bidirectional (if it was, hidden_size={states[0].output_size // 2})")
    if name == "SRUpp":
        positional.append(_first_matrix(state_dict, next(iter(cells))).shape[0])
        arguments |= _attention(states)
        untold += ["num_heads", "dropout", "attn_dropout"]
    else:
        widths = [state.projection_size if state.is_narrow else 0 for state in states]
        if any(widths):
            arguments["projection_size"] = widths[0] if len(set(widths)) == 1 else widths
        untold += ["use_tanh", "use_relu", "dropout", "rnn_dropout"]
    tellings = [told(state) for state in states]
    has_skip_term = {telling.get("has_skip_term") for telling in tellings}
    if name != "SRUpp" and has_skip_term == {None}:
        untold.append("has_skip_term")
    elif name != "SRUpp" and False in has_skip_term:
        arguments["has_skip_term"] = False
    arguments |= _scale(states, name, untold)
    if states[0].layer_norm is not None:
        arguments["layer_norm"] = True
        normalize_after = {telling.get("normalize_after") for telling in tellings}
        if normalize_after == {None}:
            untold.append("normalize_after")
        elif True in normalize_after:
            arguments["normalize_after"] = True
    if name != "SRUpp" and all(state.has_vectors is False for state in states):
        arguments["v1"] = True
    if name != "SRUpp" and any(state.transform for state in states):
        arguments["custom_m"] = "..."
    if first_map is not None:
        arguments["proj_input_to_hidden_first"] = True
    words = [*map(str, positional), *(f"{name}={value}" for name, value in arguments.items())]
    return Found(prefix, _SAVED_BY[saved_by], f"{name}({', '.join(words)})", tuple(untold))


def _first_matrix(state_dict: Mapping[str, Tensor], prefix: str) -> Tensor:
    old = f"{prefix}transform_module.linear1.weight"
    return state_dict[old] if old in state_dict else state_dict[f"{prefix}transform.linear1.weight"]


def _attention(states: list[CellState]) -> dict[str, Any]:
    """Find the arguments that put attention into these layers."""
    has = ["linear3.weight" in state.transform for state in states]
    arguments: dict[str, Any] = {}
    layers, last = len(has), sum(has)
    every = next((n for n in range(1, layers + 1) if has == [(i + 1) % n == 0 for i in range(layers)]), None)
    if every is None:
        arguments["attention_last_n_layers"] = last
    elif every > 1:
        arguments["attention_every_n_layers"] = every
    if not any("layer_norm.weight" in state.transform for state in states):
        arguments["attn_layer_norm"] = False
    return arguments


def _scale(states: list[CellState], name: str, untold: list[str]) -> dict[str, Any]:
    """Find the arguments that scale the highway."""
    scales = [state for state in states if state.scale_x is not None]
    biases = [state.highway_bias for state in scales if state.highway_bias is not None]
    if biases:
        return {"rescale": True, "highway_bias": biases[0]}
    if not scales:
        untold += ["rescale", "highway_bias"]
    return {"rescale": False} if scales and name == "SRUCell" else {}

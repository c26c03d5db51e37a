"""The SRUs of a state dict, and the calls that build modules for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from sru_nn.checkpoints.architecture import describe_cell, scaled_for

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
    """A call that builds a module for these weights."""
    untold: tuple[str, ...]
    """The arguments that the weights do not tell."""


def find_cells(state_dict: Mapping[str, Any]) -> dict[str, list[str]]:
    """Find the SRU layers of a state dict in any layout.

    Returns:
        For the prefix of each stack, the prefixes of its layers in order. A single cell is its own stack.
    """
    stacks: dict[str, list[str]] = {}
    names = [str(name) for name in state_dict if re.search(r"(^|\.)weight_c$", str(name))]
    for prefix in sorted((name.removesuffix("weight_c") for name in names), key=_in_order):
        if f"{prefix}bias" in state_dict and describe_cell(state_dict, prefix):
            match = re.fullmatch(r"(.*?)rnn_lst\.\d+\.", prefix)
            stacks.setdefault(match[1] if match else prefix, []).append(prefix)
    return stacks


def _in_order(name: str) -> list[str]:
    """Sort layer 10 after layer 2."""
    return [part.zfill(9) if part.isdigit() else part for part in name.split(".")]


def describe(
    prefix: str, saved_by: str | None, layers: Sequence[dict[str, Any]], first_map: Tensor | None
) -> Found:
    """Write the call that builds a module for these layers, and list the arguments left open.

    Args:
        prefix: What the names of the stack begin with.
        saved_by: Which version saved it.
        layers: What the entries of each layer tell (`describe_cell`).
        first_map: The matrix of the stack's first linear map, if it has one.
    """
    first, output_size = layers[0], layers[0]["output_size"]
    alone = "alone" in first
    name = "SRUCell" if alone else "SRUpp" if "attention" in first else "SRU"
    inputs = first.get("input_size", "...") if first_map is None else first_map.shape[1]
    words: list[object] = [inputs, output_size]
    arguments: dict[str, object] = {} if alone else {"num_layers": len(layers)}
    untold: list[str] = []
    if output_size % 2 == 0:
        untold.append(f"bidirectional (if it was, hidden_size={output_size // 2})")
    if name == "SRUpp":
        words.append(first["proj_size"])
        arguments |= _attention(layers)
        untold += ["num_heads", "dropout", "attn_dropout"]
    else:
        widths = [layer.get("projection_size", 0) for layer in layers]
        if any(widths):
            arguments["projection_size"] = widths[0] if len(set(widths)) == 1 else widths
        untold += ["use_tanh", "use_relu", "dropout", "rnn_dropout"]
        _add(arguments, untold, layers, "has_skip_term", False)
    scales = [layer["highway_scale"] for layer in layers if "highway_scale" in layer]
    biases = [bias for scale in scales if (bias := scaled_for(scale)) is not None]
    if biases:
        arguments |= {"rescale": True, "highway_bias": biases[0]}
    elif not scales:
        untold += ["rescale", "highway_bias"]
    elif alone:
        arguments["rescale"] = False
    if first.get("layer_norm"):
        arguments["layer_norm"] = True
        _add(arguments, untold, layers, "normalize_after", True)
    if name != "SRUpp" and all(layer.get("v1") for layer in layers):
        arguments["v1"] = True
    if any("custom_m" in layer for layer in layers):
        arguments["custom_m"] = "..."
    if first_map is not None:
        arguments["proj_input_to_hidden_first"] = True
    words += [f"{name}={value}" for name, value in arguments.items()]
    return Found(prefix, _SAVED_BY[saved_by], f"{name}({', '.join(map(str, words))})", tuple(untold))


def _add(
    arguments: dict[str, Any], untold: list[str], layers: Sequence[dict[str, Any]], name: str, unusual: bool
) -> None:
    """Add an argument if a layer tells its unusual value, or list it as untold if none tells any."""
    values = [layer[name] for layer in layers if name in layer]
    if unusual in values:
        arguments[name] = unusual
    elif not values:
        untold.append(name)


def _attention(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Find the arguments that put attention into these layers."""
    has = [layer["attention"] for layer in layers]
    numbers = range(1, len(has) + 1)
    every = next((n for n in numbers if has == [number % n == 0 for number in numbers]), None)
    arguments = (
        {"attention_last_n_layers": sum(has)} if every is None else {"attention_every_n_layers": every}
    )
    if every == 1:
        arguments = {}
    if not any(layer["attn_layer_norm"] for layer in layers):
        arguments["attn_layer_norm"] = False
    return arguments

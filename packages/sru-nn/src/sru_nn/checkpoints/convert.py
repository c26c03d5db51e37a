"""Convert old checkpoints of `sru` to the layout of this package, and write the calls that build modules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from reprlib import repr as short
from typing import Any, NamedTuple

from torch import Tensor

from sru_nn.checkpoints.architecture import describe_cell, scaled_for
from sru_nn.checkpoints.layouts import read_cell, shortened

_SAVED_BY = {
    "sru 2": "sru 2.x (2.3.5 to 2.6.0)",
    "sru 3": "sru 3.0.0.dev",
    "sru_nn": "sru_nn, and left as it is",
    None: "sru, of unknown version",
}


class ConversionError(Exception):
    """The reason why a file cannot be converted and what to do about it, in one sentence."""


class Found(NamedTuple):
    """An SRU in a state dict."""

    prefix: str
    """The prefix of its names, for example `"encoder.rnn."`."""
    saved_by: str
    """The version whose layout it has, judging by the names."""
    call: str
    """A call that builds a module for these weights."""
    untold: tuple[str, ...]
    """The arguments that cannot be inferred from the weights."""


def convert(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Found]]:
    """Rewrite every `SRU`, `SRUpp` and `SRUCell` of a state dict in the layout of this package.

    Args:
        state_dict: The entries of any model. It is not modified; entries of other modules are returned
            unchanged.

    Returns:
        The new entries, and what was found.

    Raises:
        ConversionError: There is no SRU, or the sizes of one contradict each other.
        TypeError: It is not a mapping.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"convert: state_dict must be a mapping, got a {type(state_dict).__name__}")
    if unnamed := [name for name in state_dict if not isinstance(name, str)]:
        raise TypeError(f"convert: state_dict must have names that are str, got {short(unnamed[0])}")
    new = dict(state_dict)
    found = []
    for stack, prefixes in find_cells(new).items():
        layers, saved_by = [], None
        for prefix in prefixes:
            try:
                saved_by = read_cell(new, prefix) or saved_by
            except RuntimeError as error:
                where = f"{shortened(prefix[:-1])}: " if prefix else ""
                raise ConversionError(f"{where}{error}") from None
            layers.append(describe_cell(new, prefix))
            new.pop(f"{prefix}scale_x", None)
        alone = stack in prefixes
        first_map = None if alone else new.get(f"{stack}input_to_hidden.weight")
        found.append(Found(stack, _SAVED_BY[saved_by], *_describe(layers, alone, first_map)))
    if not found:
        raise ConversionError("there is no SRU in it: nothing has the entries weight_c and bias of a layer")
    return new, found


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
    """Return a sort key that puts layer 10 after layer 2."""
    return [part.zfill(9) if part.isdigit() else part for part in name.split(".")]


def _describe(
    layers: Sequence[dict[str, Any]], alone: bool, first_map: Tensor | None
) -> tuple[str, tuple[str, ...]]:
    """Write the call that builds a module for these layers, and list the arguments that cannot be inferred.

    Args:
        layers: The arguments inferred from the entries of each layer (`describe_cell`).
        alone: Whether the layer is not in a stack.
        first_map: The matrix of the stack's first linear map, if it has one.
    """
    first, output_size = layers[0], layers[0]["output_size"]
    first_map = first_map if isinstance(first_map, Tensor) and first_map.dim() == 2 else None
    name = "SRUCell" if alone else "SRUpp" if "attention" in first else "SRU"

    def told(argument: str) -> list[Any]:
        return [layer[argument] for layer in layers if argument in layer]

    sizes = [first.get("input_size", "...") if first_map is None else first_map.shape[1], output_size]
    arguments: dict[str, object] = {} if alone else {"num_layers": len(layers)}
    untold = [] if output_size % 2 else [f"bidirectional (if it was, hidden_size={output_size // 2})"]
    # Arguments that may be unknown, and the value for which they are written out.
    unusual = {"normalize_after": True} if first.get("layer_norm") else {}
    if name == "SRUpp":
        sizes.append(first["proj_size"])
        arguments |= _attention(layers)
        untold += ["num_heads", "dropout", "attn_dropout"]
    else:
        if any(widths := [layer.get("projection_size", 0) for layer in layers]):
            arguments["projection_size"] = widths[0] if len(set(widths)) == 1 else widths
        untold += ["use_tanh", "use_relu", "dropout", "rnn_dropout"]
        unusual["has_skip_term"] = False
    if biases := [bias for scale in told("highway_scale") if (bias := scaled_for(scale)) is not None]:
        arguments |= {"rescale": True, "highway_bias": biases[0]}
    elif not told("highway_scale"):
        untold += ["rescale", "highway_bias"]
    elif alone:
        arguments["rescale"] = False
    for argument, value in unusual.items():
        if value in told(argument):
            arguments[argument] = value
        elif not told(argument):
            untold.append(argument)
    given = {
        "layer_norm=True": first.get("layer_norm"),
        "v1=True": name != "SRUpp" and all(layer.get("v1") for layer in layers),
        "custom_m=...": told("custom_m"),
        "proj_input_to_hidden_first=True": first_map is not None,
        "learn_initial_state=True": first.get("learn_initial_state"),
    }
    words = [*map(str, sizes), *(f"{name}={value}" for name, value in arguments.items())]
    return f"{name}({', '.join([*words, *(word for word, holds in given.items() if holds)])})", tuple(untold)


def _attention(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Find the arguments that put attention into these layers."""
    has = [layer.get("attention", False) for layer in layers]
    arguments: dict[str, Any] = {"attention_last_n_layers": sum(has)}
    for every in range(len(has), 0, -1):
        if has == [number % every == 0 for number in range(1, len(has) + 1)]:
            arguments = {"attention_every_n_layers": every} if every > 1 else {}
    if not any(layer.get("attn_layer_norm") for layer in layers):
        arguments["attn_layer_norm"] = False
    return arguments

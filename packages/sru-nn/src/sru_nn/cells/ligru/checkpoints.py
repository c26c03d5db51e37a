"""State dicts of SpeechBrain's and `fast_sligru`'s Li-GRU and SLi-GRU, and checks that they fit a module.

Both packages store a layer as `rnn.I.w`, `rnn.I.u`, `rnn.I.norm` and `rnn.I.layer_norm`, with the candidate
before the gate, as here. Their dropout masks are dropped, and `h_init` becomes `initial_state`.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from sru_nn.checkpoints.architecture import refuse
from sru_nn.checkpoints.layouts import is_dense, strip_wrappers

_PARTS = {"w": "transform", "u": "recurrent", "layer_norm": "recurrent_norm"}
_MASKS = ("drop_masks", "drop_mask_te")


def read_stack(state_dict: dict[str, Any], prefix: str) -> None:
    """Convert the entries of a stack in place from the layout of these packages to that of `sru_nn`."""
    strip_wrappers(state_dict, prefix)
    pattern = re.compile(re.escape(prefix) + r"rnn\.(\d{1,9})\.(\w+)(.*)", re.DOTALL)
    for name in list(state_dict):
        if match := pattern.fullmatch(name):
            value, (layer, part, rest) = state_dict.pop(name), match.groups()
            if part not in _MASKS:
                part = "initial_state" if part == "h_init" else _PARTS.get(part, part)
                state_dict[f"{prefix}layers.{layer}.{part}{rest}"] = value


def check_stack(stack: Any, state_dict: dict[str, Any], prefix: str) -> None:
    """Raise if a state dict in the layout of this package holds a stack with different arguments.

    An initial state from these packages is used for all directions. Zeros that this stack does not store are
    dropped.

    Raises:
        RuntimeError: An argument differs; the message names the first one and both values.
    """
    home = f"{prefix}layers."
    layers: dict[int, dict[str, Any]] = {}
    for name, value in state_dict.items():
        layer, _, entry = name.removeprefix(home).partition(".")
        if name.startswith(home) and layer.isdecimal():
            layers.setdefault(int(layer), {})[entry] = value
    if not layers:
        return
    if max(layers) + 1 != stack.num_layers:
        refuse(prefix, "num_layers", stack.num_layers, max(layers) + 1)
    for number, entries in sorted(layers.items()):
        _check_layer(stack, number, entries, prefix)
        own = stack.layers[number]
        initial, name = entries.get("initial_state"), f"{home}{number}.initial_state"
        if initial is not None and own.initial_state is None:
            del state_dict[name]
        elif is_dense(initial) and initial.dim() == 2:  # type: ignore[union-attr]
            state_dict[name] = initial.flatten().repeat(stack.num_directions)  # type: ignore[union-attr]
        if own.transform.bias is None:
            state_dict.pop(f"{home}{number}.transform.bias", None)


def _check_layer(stack: Any, number: int, entries: dict[str, Any], prefix: str) -> None:
    weight, recurrent = _matrix(entries, "transform.weight"), _matrix(entries, "recurrent.weight")
    layer = stack.layers[number]
    if recurrent is not None and recurrent.shape[1] != stack.hidden_size:
        refuse(prefix, "hidden_size", stack.hidden_size, recurrent.shape[1])
    if weight is not None and weight.shape[1] != layer.input_size:
        if number == 0:
            refuse(prefix, "input_size", stack.input_size, weight.shape[1])
        refuse(prefix, "bidirectional", stack.bidirectional, not stack.bidirectional)
    normalization = "batch" if "norm.running_mean" in entries else "none"
    if "norm.weight" in entries and normalization == "none":
        normalization = "layer"
    if weight is not None and normalization != stack.normalization:
        remedy = f"normalization={normalization!r}"
        refuse(prefix, "normalization", stack.normalization, normalization, remedy)
    bias = entries.get("transform.bias" if normalization == "none" else "norm.bias")
    if not layer.bias and _is_not_zero(bias):
        refuse(prefix, "bias", False, True)
    affine = "recurrent_norm.weight" in entries
    norm = layer.recurrent_norm
    if affine and norm is None:
        refuse(prefix, "the norm of the product with the state", None, "one", "the class SLiGRU")
    if norm is not None and recurrent is not None and affine != norm.elementwise_affine:
        refuse(prefix, "recurrent_elementwise_affine", norm.elementwise_affine, affine)
    if layer.initial_state is None and _is_not_zero(entries.get("initial_state")):
        refuse(prefix, "learn_initial_state", False, True)


def _matrix(entries: dict[str, Any], name: str) -> Tensor | None:
    value = entries.get(name)
    return value if is_dense(value) and value.dim() == 2 else None  # type: ignore[union-attr]


def _is_not_zero(value: Any) -> bool:
    return is_dense(value) and not value.is_meta and bool(value.any())

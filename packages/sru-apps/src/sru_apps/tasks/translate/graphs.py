"""Export of a translation model as two ONNX files: the encoder and one decoder step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim

from sru_apps.nn.states import map_state
from sru_apps.tasks.translate.model import TranslationModel
from sru_nn import SRUppAttention
from sru_nn.export import to_onnx


class Part(NamedTuple):
    """A tensor passed from the encoder to the decoder, or from step to step."""

    name: str
    """The name of the decoder's input."""
    dtype: str
    """For example float32."""
    shape: list[int | str]
    """The size of each axis, or the dynamic size: `source`, `batch`, or `past` (the symbols read)."""


class Graphs(NamedTuple):
    """The inputs and limits of the exported graphs."""

    memory: list[Part]
    """The encoded sources."""
    state: list[Part]
    """The decoder's state."""
    most_source_symbols: int | None
    """None if unlimited."""
    most_target_symbols: int | None
    """None if unlimited."""


@torch.no_grad()
def write_graphs(model: TranslationModel, folder: Path) -> Graphs:
    """Write `encoder.onnx` and `decoder.onnx`.

        encoder: source (S, B) int64, mask (S, B) bool → memory_0, ..., state_0, ...
        decoder: ids (B,) int64, memory_0, ..., state_0, ...
                 → log_probs (B, V), attention (B, S), next_state_0, ...

    The number of sentences, their lengths and the number of symbols that the decoder has read are dynamic.
    Each stream of the decoder has its own memory, so K hypotheses of a sentence take K copies of it. State
    tensors that grow with the symbols read start empty and are not outputs of the encoder.

    Args:
        model: The model, in evaluation mode, on the CPU.
        folder: The folder to write to; it must exist.

    Returns:
        The descriptions of the numbered tensors, and the length limits.
    """
    base = _Example(model)
    changed = {
        "source": _Example(model, symbols=6),
        "batch": _Example(model, sentences=4),
        "past": _Example(model, steps=3),
    }
    memory, state = (
        _parts(name, getattr(base, name), {size: getattr(other, name) for size, other in changed.items()})
        for name in ("memory", "state")
    )
    most_source, most_target = _most_symbols(model)
    dims = {
        "source": Dim("source", max=most_source),
        "batch": Dim("batch"),
        "past": Dim("past", max=most_target),
    }

    def free(part: Part) -> dict[int, Any]:
        return {axis: dims[size] for axis, size in enumerate(part.shape) if isinstance(size, str)}

    begins = [number for number, part in enumerate(state) if "past" not in part.shape]
    to_onnx(
        _Encoder(model, begins).eval(),
        (base.source, base.mask),
        folder / "encoder.onnx",
        dynamic_shapes=({0: dims["source"], 1: dims["batch"]},) * 2,
        input_names=["source", "mask"],
        output_names=[part.name for part in (*memory, *(state[number] for number in begins))],
    )
    to_onnx(
        _Decoder(model, base).eval(),
        (base.ids, tensors_of(base.memory), tensors_of(base.state)),
        folder / "decoder.onnx",
        dynamic_shapes=({0: dims["batch"]}, list(map(free, memory)), list(map(free, state))),
        input_names=["ids", *(part.name for part in (*memory, *state))],
        output_names=["log_probs", "attention", *(f"next_{part.name}" for part in state)],
    )
    return Graphs(memory, state, most_source, most_target)


def tensors_of(tree: Any) -> list[Tensor]:
    """Return the tensors of a memory or a state, in order."""
    found: list[Tensor] = []

    def add(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_state(tree, add)
    return found


def _parts(name: str, tree: Any, changed: Mapping[str, Any]) -> list[Part]:
    """Describe the tensors of a tree; comparison with other examples shows which axes are dynamic."""
    others = {size: tensors_of(other) for size, other in changed.items()}
    return [
        Part(
            f"{name}_{number}",
            str(tensor.dtype).removeprefix("torch."),
            [
                next((size for size in others if others[size][number].shape[axis] != length), length)
                for axis, length in enumerate(tensor.shape)
            ],
        )
        for number, tensor in enumerate(tensors_of(tree))
    ]


class _Example:
    """One encoder call and a few decoder steps, to read the shapes from."""

    @torch.no_grad()
    def __init__(
        self, model: TranslationModel, *, symbols: int = 5, sentences: int = 3, steps: int = 2
    ) -> None:
        self.source = torch.ones(symbols, sentences, dtype=torch.int64)
        self.mask = torch.zeros(symbols, sentences, dtype=torch.bool)
        self.mask[-1, -1] = True
        self.ids = torch.full((sentences,), model.config.bos_id)
        self.memory = model.encode(self.source, self.mask)
        self.state = model.start(self.memory)
        for _ in range(steps):
            _, _, self.state = model.step(self.ids, self.state, self.memory)


def _most_symbols(model: TranslationModel) -> tuple[int | None, int | None]:
    """Return the maximum number of source and target symbols that the graphs support.

    Attention with a limited context has a different graph for longer sequences. PyTorch switches between the
    graphs one position earlier, and a step has one position more than its past.
    """
    found: dict[bool, list[int]] = {True: [], False: []}
    for name, module in model.named_modules():
        if isinstance(module, SRUppAttention) and module.context is not None:
            found[name.startswith("encoder.")].append(module.context - 2)
    return min(found[True], default=None), min(found[False], default=None)


class _Encoder(nn.Module):
    """The encoder, and the non-empty tensors of the decoder's initial state."""

    def __init__(self, model: TranslationModel, begins: list[int]) -> None:
        super().__init__()
        self.model = model
        self._begins = begins

    def forward(self, source: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        memory = self.model.encode(source, mask)
        state = tensors_of(self.model.start(memory))
        return (*tensors_of(memory), *(state[number] for number in self._begins))


class _Decoder(nn.Module):
    """A step of the decoder."""

    def __init__(self, model: TranslationModel, example: _Example) -> None:
        super().__init__()
        self.model = model
        self._example = example

    def forward(self, ids: Tensor, memory: list[Tensor], state: list[Tensor]) -> tuple[Tensor, ...]:
        logits, attention, after = self.model.step(
            ids, _filled(self._example.state, state), _filled(self._example.memory, memory)
        )
        return (logits.log_softmax(-1), attention, *tensors_of(after))


def _filled(form: Any, tensors: list[Tensor]) -> Any:
    """Return a tree of the same structure with other tensors."""
    following = iter(tensors)
    return map_state(form, lambda _: next(following))

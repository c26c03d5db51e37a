"""Damaged checkpoints for `python -m sru_nn.convert`."""

from __future__ import annotations

import contextlib
import io
import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from cases import Case, Refused, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sru_nn import SRU
from sru_nn.convert import main

GOLDEN = Path(__file__).resolve().parents[1] / "tests/golden"


def refuses(error: BaseException) -> bool:
    """Accept no error: `_convert` recognises refusals from the command's output."""
    return False


def _convert(case: Case, path: Path, *options: str) -> dict[str, torch.Tensor]:
    """Run the command and return the tensors it wrote."""
    errors, new = io.StringIO(), case.folder / "new.safetensors"
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main([str(path), str(new), *options])
    said = errors.getvalue().strip()
    case.note(said)
    if status == 0:
        return load_file(new)
    assert (status, str(path) in said) == (1, True), f"exit status {status}: {said}"
    raise Refused(said)


def converted_bytes(case: Case) -> None:
    """Files of torch.save or safetensors with mutated bytes."""
    weights = SRU(4, 4, 2).state_dict()
    path = case.folder / case.draw(st.sampled_from(["old.pt", "old.safetensors"]), "name")
    (save_file if path.suffix == ".safetensors" else torch.save)(weights, path)
    path.write_bytes(mutated_bytes(path.read_bytes(), case.random()))
    _convert(case, path)


def converted_contents(case: Case) -> None:
    """State dicts of every older version, with one mutated entry."""
    name = case.draw(st.sampled_from(sorted(path.name for path in GOLDEN.glob("*.pt"))), "golden")
    examples = _golden(name)
    number = case.draw(st.integers(0, len(examples) - 1), "example")
    content = mutated_tree(dict(examples[number]["state_dict"]), case.random(), _hostile)
    shape = case.draw(st.integers(0, 2), "shape")
    path = case.folder / "old.pt"
    torch.save([content, {"model": content}, [content]][shape], path)
    _convert(
        case, path, *case.draw(st.sampled_from([[], ["--entry=model"], ["--entry=x"], ["--keep-wrappers"]]))
    )


@cache
def _golden(name: str) -> list[dict[str, Any]]:
    return torch.load(GOLDEN / name, weights_only=True)["cases"]  # type: ignore[no-any-return]


def _hostile(chance: random.Random, value: Any) -> Any:
    """Return a wrong value in place of an entry."""
    if not isinstance(value, torch.Tensor):
        return hostile_value(chance, value)
    kinds = [value[None], value.flatten(), value.flatten()[:-1], value.int(), value.sum(), value.tolist()]
    return chance.choice([*kinds, value.to_sparse(), value.to("meta"), value * torch.nan, "x", None])

"""Malicious, damaged and unrelated files are refused in one sentence, quickly and with little memory."""

from __future__ import annotations

import io
import pickle
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from sru_nn import SRU, SRUCell
from sru_nn.convert import ConversionError, convert, main

as_sru_2 = runpy.run_path(str(Path(__file__).parents[1] / "golden" / "old_layouts.py"))["as_sru_2"]
pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")


def weights() -> dict[str, torch.Tensor]:
    return as_sru_2(SRU(4, 4).state_dict())


def saved(content: object, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def with_entry(changes: dict[str, object]) -> bytes:
    return saved(weights() | changes)


def compressed() -> bytes:
    """An archive with an entry that inflates a thousandfold."""
    given, file = zipfile.ZipFile(io.BytesIO(saved(weights()))), io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in given.namelist():
            with archive.open(name, "w") as entry:
                entry.write(given.read(name))
                if name.endswith("data/0"):
                    entry.write(bytes(1 << 26))
    return file.getvalue()


class ManyBytes:
    """A pickle of a few bytes that expands to 4 GB."""

    def __reduce__(self):
        return bytearray, (1 << 32,)


def shared() -> bytes:
    """One small storage that many entries view."""
    storage = torch.zeros(1 << 16)
    return saved(weights() | {f"view{i}": storage[: -i or None] for i in range(40)})


NOT_DENSE = {
    "sparse": lambda: torch.eye(8).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(16), 0.1, 0, torch.qint8),
    "meta": lambda: torch.zeros(16, device="meta"),
}
FILES = {
    "a compressed entry": (compressed, "its entries are compressed, which torch.save never does"),
    "bytes made by a number": (
        lambda: saved({"x": ManyBytes()} | weights()),
        "it holds a bytearray, which is not part of a state dict",
    ),
    "the same in the old format": (
        lambda: saved({"x": ManyBytes()} | weights(), _use_new_zipfile_serialization=False),
        "it holds a bytearray",
    ),
    "a number repeated": (
        lambda: with_entry({"huge": torch.zeros(1).expand(1 << 32)}),
        "far more than the file, which has",
    ),
    "many views of one storage": (shared, "far more than the file, which has"),
    "half a file": (lambda: saved(weights())[:-200], "torch.load cannot read it as tensors: "),
    "half an old file": (
        lambda: saved(weights(), _use_new_zipfile_serialization=False)[:-20],
        "torch.load cannot read it as tensors: ",
    ),
    "a pickle of something else": (
        lambda: pickle.dumps(range(3)),
        "cannot read it as tensors: Unsupported operand",
    ),
    "a name of 1 MB": (lambda: with_entry({"x" * 1_000_000: torch.zeros(2)}), "x… (1000000 characters)"),
    "a name that is not UTF-8": (lambda: with_entry({"\ud800": torch.zeros(2)}), r"'\\ud800'"),
    **{
        f"a {kind} tensor": (
            lambda make=make: with_entry({"rnn_lst.0.bias": make()}),
            "its entry 'rnn_lst.0.bias' is not a dense tensor with values",
        )
        for kind, make in NOT_DENSE.items()
    },
}
PROGRAM = """
import resource, sys, time
from sru_nn.convert import main
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    status = main([path, path + ".safetensors"])
    assert status == 1, (path, status)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)
"""


def test_files(tmp_path):
    """All in one process, whose peak memory is that of the worst file."""
    paths = [tmp_path / f"{number}.pt" for number in range(len(FILES))]
    for path, (make, _) in zip(paths, FILES.values(), strict=True):
        path.write_bytes(make())
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=2 * len(paths))
    lines = result.stderr.splitlines()
    assert result.returncode == 0, result.stderr
    assert len(lines) == len(paths), result.stderr
    for line, path, (_, message) in zip(lines, paths, FILES.values(), strict=True):
        assert line.startswith(f"python -m sru_nn.convert: {path}: ")
        assert message in line
        assert len(line) < 700
    assert int(result.stdout) < 500_000  # kB


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x80\x02" * 1000, b'{"a": 1}', bytes(8) + b"{}"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_other_content(tmp_path, capsys, content, suffix):
    path = tmp_path / f"old.{suffix}"
    path.write_bytes(content)
    assert main([str(path), str(tmp_path / "new.safetensors")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_a_file(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "new.safetensors")]) == 1
    assert f"{tmp_path}: it is not a file" in capsys.readouterr().err
    assert main(["nothing\0", str(tmp_path / "new.safetensors")]) == 1
    assert "null byte" in capsys.readouterr().err


def test_names_are_not_listed_without_end(tmp_path, capsys):
    path = tmp_path / "old.pt"
    torch.save({f"{i}{'x' * 100}": i for i in range(100)}, path)
    assert main([str(path), str(tmp_path / "new.safetensors")]) == 1
    printed = capsys.readouterr().err
    assert "and 92 more" in printed
    assert len(printed) < 1200


ENTRIES = {
    "text": (lambda value: "x", "must be a tensor, got a str"),
    "a list": (lambda value: value.tolist(), "must be a tensor, got a list"),
    "sparse": (lambda value: value.to_sparse(), r"must be a dense tensor, got torch\.sparse_coo"),
    "quantized": (lambda value: NOT_DENSE["quantized"](), "must be a dense tensor, got a quantized one"),
    "three axes": (lambda value: value[None], r"must have 2 axes, got \(1, 4, "),
    "one axis": (lambda value: value.flatten(), r"must have 2 axes, got \("),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_entries_that_are_no_weights(kind):
    """The one function that reads a layer refuses them, for `load_state_dict` too."""
    change, message = ENTRIES[kind]
    state_dict = as_sru_2(SRUCell(4, 4).state_dict())
    state_dict["weight"] = change(state_dict["weight"])
    with pytest.raises(ConversionError, match=f"weight {message}"):
        convert(state_dict)
    with pytest.raises(RuntimeError, match=f"the state dict: weight {message}"):
        SRUCell(4, 4).load_state_dict(state_dict)


@pytest.mark.parametrize("name", ["bias", "weight_c"])
@pytest.mark.parametrize("wrong", [torch.zeros(()), torch.zeros(0), torch.zeros(2, 8), torch.zeros(7), [1]])
def test_vectors_that_are_none(name, wrong):
    state_dict = as_sru_2(SRUCell(4, 4).state_dict()) | {name: wrong}
    with pytest.raises(ConversionError, match=f"there is no SRU in it|{name} must be a tensor, got a list"):
        convert(state_dict)
    with pytest.raises(RuntimeError, match=r"must be a tensor|projection of a state dict|size mismatch"):
        SRUCell(4, 4).load_state_dict(state_dict)


def test_a_number_of_layers_that_no_file_holds():
    cell = as_sru_2(SRUCell(4, 4).state_dict())
    state_dict = {f"rnn_lst.{'9' * 30}.{name}": value for name, value in cell.items()}
    _, (found,) = convert(state_dict)
    assert found.call == "SRU(4, 4, num_layers=1)"
    state_dict = {f"rnn_lst.999999999.{name}": value for name, value in cell.items()}
    with pytest.raises(RuntimeError, match="num_layers: this module has 2, the state dict 1000000000"):
        SRU(4, 4).load_state_dict(state_dict)

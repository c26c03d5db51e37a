"""`python -m sru_nn.convert`, and the function behind it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import sru_nn
from sru_nn import SRU, SRUCell, SRUpp
from sru_nn.checkpoints.command import main
from sru_nn.convert import ConversionError, convert

FOLDER = Path(__file__).parents[1] / "golden"
LAYOUTS = runpy.run_path(str(FOLDER / "old_layouts.py"))
as_sru_2, as_sru_3 = LAYOUTS["as_sru_2"], LAYOUTS["as_sru_3"]
FILES = ("sru_2_3_5", "sru_2_6_0", "sru_3_0_0_dev6", "srupp_3_0_0_dev6")


def golden_cases(file):
    cases = torch.load(FOLDER / f"{file}.pt", weights_only=True)["cases"]
    kinds = ("SRU", "SRUCell", "SRUpp")
    return [c for c in cases if c.get("custom", "none") == "none" and c.get("module", "SRU") in kinds]


def build(found, arguments):
    """Make the module of the call that the command prints, with what it says that the weights do not tell."""
    known = {word.split(" ")[0] for word in found.untold} & arguments.keys()
    call = found.call
    if arguments.get("bidirectional"):
        size = arguments["hidden_size"]
        call = call.replace(f", {2 * size}", f", {size}", 1)
    return eval(call[:-1] + "".join(f", {n}={arguments[n]}" for n in sorted(known)) + ")", vars(sru_nn))


@pytest.mark.parametrize("file", FILES)
def test_the_call_that_is_printed_fits(file):
    """The module that the call makes reads the old entries and the new ones, with the same result."""
    cases = golden_cases(file)
    assert cases
    for case in cases:
        old = case["state_dict"]
        before = {name: value.clone() for name, value in old.items()}
        new, (found,) = convert(old)
        assert found.saved_by.startswith("sru 2.x" if "_2_" in file else "sru 3.0.0.dev")
        module = build(found, case["arguments"]).double()
        module.load_state_dict(old)
        read = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(new)
        assert read.keys() == new.keys()
        for name, value in module.state_dict().items():
            torch.testing.assert_close(value, read[name], rtol=0, atol=0)
        again, (left,) = convert(new)
        assert left.saved_by == "sru_nn, and left as it is"
        for name, value in new.items():
            torch.testing.assert_close(again[name], value, rtol=0, atol=0)
        for name, value in before.items():
            torch.testing.assert_close(old[name], value, rtol=0, atol=0)


class Model(nn.Module):
    """Two SRUs and more, tied as language models are."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.encoder = nn.ModuleDict({"rnn": SRU(6, 4, bidirectional=True, rescale=True)})
        self.cell = SRUCell(8, 6, n_proj=2)
        self.out = nn.Linear(6, 7)
        self.out.weight = self.embedding.weight

    def old_state_dict(self):
        state_dict = OrderedDict()
        for name, module in (("encoder.rnn.", self.encoder["rnn"]), ("cell.", self.cell)):
            layout = as_sru_2 if name == "cell." else as_sru_3
            state_dict |= {name + n: v for n, v in layout(module.state_dict()).items()}
        rest = {n: v for n, v in self.state_dict().items() if n.startswith(("embedding", "out"))}
        return OrderedDict(state_dict | rest)


def saved(folder, content):
    path = folder / "old.pt"
    torch.save(content, path)
    return str(path), str(folder / "new.safetensors")


def test_a_model_with_two_stacks(tmp_path, capsys):
    model = Model()
    old, new = saved(tmp_path, model.old_state_dict())
    assert main([old, new]) == 0
    printed = capsys.readouterr().out
    assert "encoder.rnn: saved by sru 3.0.0.dev.\n    SRU(6, 8, num_layers=2)" in printed
    assert "cell: saved by sru 2.x (2.3.5 to 2.6.0).\n    SRUCell(8, 6, projection_size=2)" in printed
    assert "The weights do not say: bidirectional (if it was, hidden_size=4)" in printed
    state_dict = safetensors.torch.load_file(new)
    assert state_dict.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state_dict[name], value, rtol=0, atol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "old.pt"]


def test_it_converts_what_it_wrote(tmp_path, capsys):
    old, new = saved(tmp_path, Model().old_state_dict())
    again = str(tmp_path / "again.safetensors")
    assert main([old, new]) == 0
    assert main([new, again]) == 0
    assert Path(new).read_bytes() == Path(again).read_bytes()
    assert capsys.readouterr().out.count("saved by sru_nn, and left as it is") == 2


def test_wrappers(tmp_path, capsys):
    state_dict = {f"module.{name}": value for name, value in as_sru_2(SRU(4, 4).state_dict()).items()}
    old, new = saved(tmp_path, state_dict)
    assert main([old, new]) == 0
    assert "Stripped 'module.', with which every name began." in capsys.readouterr().out
    assert "rnn_lst.0.transform.weight" in safetensors.torch.load_file(new)
    assert main([old, new, "--force", "--keep-wrappers"]) == 0
    assert "module: saved by sru 2.x" in capsys.readouterr().out
    assert "module.rnn_lst.0.transform.weight" in safetensors.torch.load_file(new)


def test_a_checkpoint_of_a_trainer(tmp_path, capsys):
    content = {"epoch": 3, "state_dict": as_sru_2(SRU(4, 4).state_dict()) | {"version": 2}, "optimizer": {}}
    old, new = saved(tmp_path, content)
    assert main([old, new]) == 0
    printed = capsys.readouterr().out
    assert "The state dict is the entry 'state_dict'." in printed
    assert "Left out, because they are not tensors: version." in printed
    assert "The model itself: saved by sru 2.x" in printed


def test_two_entries(tmp_path, capsys):
    state_dict = as_sru_2(SRU(4, 4).state_dict())
    old, new = saved(tmp_path, {"model": state_dict, "ema": state_dict})
    assert main([old, new]) == 1
    assert (
        "name the entry that is the state dict with --entry; there are 'model', 'ema'"
        in capsys.readouterr().err
    )
    assert main([old, new, "--entry", "ema"]) == 0
    assert main([old, new, "--force", "--entry", "best"]) == 1
    assert "its entry 'best' is not a state dict" in capsys.readouterr().err


def test_it_does_not_overwrite(tmp_path, capsys):
    old, new = saved(tmp_path, as_sru_2(SRU(4, 4).state_dict()))
    Path(new).write_text("precious")
    assert main([old, new]) == 1
    assert f"{new} exists already; --force overwrites it" in capsys.readouterr().err
    with open(new) as before:
        assert main([old, new, "--force"]) == 0
        assert before.read() == "precious", "the file was written into, not replaced"
    assert Path(new).read_bytes() != b"precious"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, capsys):
    old, new = saved(tmp_path, as_sru_2(SRU(4, 4).state_dict()))
    Path(new).write_text("precious")

    def save_file(tensors, path, metadata):
        Path(path).write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(safetensors.torch, "save_file", save_file)
    assert main([old, new, "--force"]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert Path(new).read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "old.pt"]


def test_a_whole_module_is_not_unpickled(tmp_path, capsys):
    old, new = saved(tmp_path, SRU(4, 4))
    assert main([old, new]) == 1
    error = capsys.readouterr().err
    assert "it holds more than tensors (it asks for sru_nn.cells.sru.stack.SRU)" in error
    assert "torch.save(module.state_dict(), 'state_dict.pt')" in error
    assert not Path(new).exists()


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_the_file_does_not_run(tmp_path, capsys):
    old, new = saved(tmp_path, {"rnn": Trap(tmp_path / "sprung")})
    assert main([old, new]) == 1
    assert "reading that would run code" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(2)}, "there is no SRU in it: nothing has the entries weight_c and bias"),
        ([torch.zeros(2)], "it holds a list, not a state dict"),
        ({"model": 3}, "with --entry; there are 'model'"),
    ],
)
def test_what_is_no_state_dict_of_an_sru(tmp_path, capsys, content, message):
    old, new = saved(tmp_path, content)
    assert main([old, new]) == 1
    assert f"{old}: " in (error := capsys.readouterr().err)
    assert message in error
    assert not Path(new).exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_file_of_something_else(tmp_path, capsys, content):
    (tmp_path / "old.pt").write_bytes(content)
    assert main([str(tmp_path / "old.pt"), str(tmp_path / "new.safetensors")]) == 1
    assert "torch.load cannot read it as tensors: " in capsys.readouterr().err


def test_no_file(tmp_path, capsys):
    assert main([str(tmp_path / "old.pt"), str(tmp_path / "new.safetensors")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_without_safetensors(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    old, new = saved(tmp_path, as_sru_2(SRU(4, 4).state_dict()))
    assert main([old, new]) == 1
    assert "the package safetensors is not installed: pip install safetensors" in capsys.readouterr().err


def test_sizes_that_contradict():
    state_dict = as_sru_2(SRU(5, 4).state_dict())
    state_dict["rnn_lst.0.weight"] = torch.zeros(5, 15)
    with pytest.raises(ConversionError, match=r"rnn_lst.0: the projection of a state dict of sru must have"):
        convert(state_dict)


def test_a_redundant_projection_is_merged():
    state_dict = SRU(4, 4, num_layers=1).state_dict()
    state_dict["rnn_lst.0.transform.down.weight"] = down = torch.randn(9, 4)
    state_dict["rnn_lst.0.transform.up.weight"] = up = torch.randn(12, 9)
    del state_dict["rnn_lst.0.transform.weight"]
    new, (found,) = convert(as_sru_3(state_dict))
    torch.testing.assert_close(new["rnn_lst.0.transform.weight"], up @ down)
    assert found.call == "SRU(4, 4, num_layers=1)"


def test_layer_ten_comes_after_layer_two():
    module = SRUpp(4, 4, 2, num_layers=12, attention_every_n_layers=5)
    _, (found,) = convert(module.state_dict())
    assert found.call == "SRUpp(4, 4, 2, num_layers=12, attention_every_n_layers=5)"


def test_attention_in_some_layers():
    for arguments in ("num_layers=4, attention_every_n_layers=2", "num_layers=4, attention_last_n_layers=2"):
        module = eval(f"SRUpp(8, 8, 4, {arguments})", vars(sru_nn))
        _, (found,) = convert(module.state_dict())
        assert found.call == f"SRUpp(8, 8, 4, {arguments})"
        assert isinstance(eval(found.call, vars(sru_nn)), SRUpp)


def test_the_command():
    command = [sys.executable, "-m", "sru_nn.convert", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: python -m sru_nn.convert" in result.stdout
    assert "--force" in result.stdout

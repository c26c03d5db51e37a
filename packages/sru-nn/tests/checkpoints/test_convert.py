"""`python -m sru_nn.convert`, and the function behind it."""

from __future__ import annotations

import copy
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
from sru_nn.convert import ConversionError, convert, main

FOLDER = Path(__file__).parents[1] / "golden"
LAYOUTS = runpy.run_path(str(FOLDER / "old_layouts.py"))
as_sru_2, as_sru_3 = LAYOUTS["as_sru_2"], LAYOUTS["as_sru_3"]
FILES = ("sru_2_3_5", "sru_2_6_0", "sru_3_0_0_dev6", "srupp_3_0_0_dev6")


def golden_cases(file):
    cases = torch.load(FOLDER / f"{file}.pt", weights_only=True)["cases"]
    kinds = ("SRU", "SRUCell", "SRUpp")
    return [c for c in cases if c.get("custom", "none") == "none" and c.get("module", "SRU") in kinds]


def build(found, arguments):
    """Build the module from the printed call, adding the arguments that it says cannot be inferred."""
    known = {word.split(" ")[0] for word in found.untold} & arguments.keys()
    call = found.call
    if arguments.get("bidirectional"):
        size = arguments["hidden_size"]
        call = call.replace(f", {2 * size}", f", {size}", 1)
    return eval(call[:-1] + "".join(f", {n}={arguments[n]}" for n in sorted(known)) + ")", vars(sru_nn))


@pytest.mark.parametrize("file", FILES)
def test_the_call_that_is_printed_fits(file):
    """The module that the call builds loads the old entries and the new ones, with the same result."""
    cases = golden_cases(file)
    assert cases
    for case in cases:
        old, before = case["state_dict"], copy.deepcopy(case["state_dict"])
        new, (found,) = convert(old)
        assert found.saved_by.startswith("sru 2.x" if "_2_" in file else "sru 3.0.0.dev")
        module = build(found, case["arguments"]).double()
        module.load_state_dict(old)
        read = copy.deepcopy(module.state_dict())
        module.load_state_dict(new)
        again, (left,) = convert(new)
        assert left.saved_by == "sru_nn, and left as it is"
        for one, other in [(dict(module.state_dict()), dict(read)), (again, new), (dict(old), dict(before))]:
            torch.testing.assert_close(one, other, rtol=0, atol=0)


class Model(nn.Module):
    """Two SRUs and other layers, with tied weights as in language models."""

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


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return a function that writes old.pt, converts it and returns the exit status and what was printed."""
    monkeypatch.chdir(tmp_path)

    def run(content, *options, old="old.pt", new="new.safetensors"):
        if isinstance(content, bytes):
            Path(old).write_bytes(content)
        elif content is not None:
            torch.save(content, old)
        status = main([old, new, *options])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def sru_2():
    return as_sru_2(SRU(4, 4).state_dict())


def test_a_model_with_two_stacks(command):
    model = Model()
    status, printed = command(model.old_state_dict())
    assert status == 0
    assert "encoder.rnn: saved by sru 3.0.0.dev.\n    SRU(6, 8, num_layers=2)" in printed
    assert "cell: saved by sru 2.x (2.3.5 to 2.6.0).\n    SRUCell(8, 6, projection_size=2)" in printed
    assert "The weights do not say: bidirectional (if it was, hidden_size=4)" in printed
    new = safetensors.torch.load_file("new.safetensors")
    torch.testing.assert_close(new, dict(model.state_dict()), rtol=0, atol=0)
    assert sorted(path.name for path in Path().iterdir()) == ["new.safetensors", "old.pt"]
    status, printed = command(None, old="new.safetensors", new="again.safetensors")
    assert (status, printed.count("saved by sru_nn, and left as it is")) == (0, 2)
    assert Path("again.safetensors").read_bytes() == Path("new.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "message", "name"),
    [
        ((), "Stripped 'module.', with which every name began.", "rnn_lst.0.transform.weight"),
        (("--keep-wrappers",), "module: saved by sru 2.x", "module.rnn_lst.0.transform.weight"),
    ],
)
def test_wrappers(command, options, message, name):
    status, printed = command({f"module.{name}": value for name, value in sru_2().items()}, *options)
    assert status == 0
    assert message in printed
    assert name in safetensors.torch.load_file("new.safetensors")


def test_a_checkpoint_of_a_trainer(command):
    content = {"epoch": 3, "state_dict": sru_2() | {"version": 2}, "optimizer": {}}
    status, printed = command(content)
    assert status == 0
    assert "The state dict is the entry 'state_dict'." in printed
    assert "Left out, because they are not tensors: version." in printed
    assert "The model itself: saved by sru 2.x" in printed


def test_an_entry_by_its_name(command):
    assert command({"model": sru_2(), "ema": sru_2()}, "--entry", "ema")[0] == 0


def test_it_does_not_overwrite(command):
    new = Path("new.safetensors")
    new.write_text("precious")
    status, printed = command(sru_2())
    assert status == 1
    assert f"{new} exists already; --force overwrites it" in printed
    with new.open() as before:
        assert command(sru_2(), "--force")[0] == 0
        assert before.read() == "precious", "the file was written into, not replaced"
    assert new.read_bytes() != b"precious"


def test_a_failed_write_leaves_nothing(command, monkeypatch):
    def save_file(tensors, path, metadata):
        Path(path).write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(safetensors.torch, "save_file", save_file)
    Path("new.safetensors").write_text("precious")
    status, printed = command(sru_2(), "--force")
    assert status == 1
    assert "the disk is full" in printed
    assert Path("new.safetensors").read_text() == "precious"
    assert sorted(path.name for path in Path().iterdir()) == ["new.safetensors", "old.pt"]


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


REFUSED = {
    "it holds more than tensors (it asks for sru_nn.cells.sru.stack.SRU)": lambda: SRU(4, 4),
    "torch.save(module.state_dict(), 'state_dict.pt')": lambda: SRU(4, 4),
    "reading that would run code": lambda: {"rnn": Trap()},
    "there is no SRU in it: nothing has the entries weight_c and bias": lambda: {"weight": torch.zeros(2)},
    "it holds a list, not a state dict": lambda: [torch.zeros(2)],
    "with --entry; there are 'model'": lambda: {"model": 3},
    "name the entry that is the state dict with --entry; there are 'model', 'ema'": lambda: {
        "model": sru_2(),
        "ema": sru_2(),
    },
    "torch.load cannot read it as tensors: ": lambda: b"",
    "old.pt: torch.load cannot read it as tensors: ": lambda: b"not a checkpoint",
    "No such file": lambda: None,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(command, message):
    status, printed = command(REFUSED[message]())
    assert status == 1
    assert message in printed
    assert {path.name for path in Path().iterdir()} <= {"old.pt"}  # nothing is written, no code has run


def test_an_entry_that_is_no_state_dict(command):
    status, printed = command({"model": sru_2()}, "--entry", "best")
    assert status == 1
    assert "its entry 'best' is not a state dict" in printed


def test_without_safetensors(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    status, printed = command(sru_2())
    assert status == 1
    assert "the package safetensors is not installed: pip install safetensors" in printed


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


@pytest.mark.parametrize("argument", ["attention_every_n_layers=2", "attention_last_n_layers=2"])
def test_attention_in_some_layers(argument):
    call = f"SRUpp(8, 8, 4, num_layers=4, {argument})"
    _, (found,) = convert(eval(call, vars(sru_nn)).state_dict())
    assert found.call == call


@pytest.mark.parametrize("kind", ["SRU(4, 4, num_layers=2", "SRUpp(4, 4, 2, num_layers=2", "SRUCell(4, 4"])
def test_a_learned_initial_state(kind):
    call = f"{kind}, learn_initial_state=True)"
    new, (found,) = convert(eval(call, vars(sru_nn)).state_dict())
    assert found.call.replace(", rescale=False", "") == call
    assert any(name.endswith("initial_state") for name in new)


def test_the_command():
    command = [sys.executable, "-m", "sru_nn.convert", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: python -m sru_nn.convert" in result.stdout
    assert "--force" in result.stdout

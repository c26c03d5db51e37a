"""AOTInductor packages run in a process that has no sru_nn."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import pack_sequence

from sru_nn import SRU, SLiGRU
from sru_nn.compat import LSTM
from sru_nn.export import to_aoti

from ..conftest import TORCH_2_13
from .conftest import LENGTHS, D, E

PROGRAM = """
import sys
sys.modules["sru_nn"] = sys.modules["sru_kernels"] = None  # an import of either is an ImportError
import torch
run = torch._inductor.aoti_load_package(sys.argv[1])
for args, expected in torch.load(sys.argv[2]):
    torch.testing.assert_close(run(*args), expected)
print("the same")
"""


class TwoCells(nn.Module):
    """One after the other, in one package: compiling C++ takes most of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = LSTM(E, D, bidirectional=True, batch_first=True)
        self.light = SLiGRU(2 * D, D, bidirectional=True)

    def forward(self, x: Tensor, c0: Tensor, mask_pad: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs and both states."""
        h, (_, c) = self.rnn(x.transpose(0, 1), mask_pad=mask_pad.t())
        return *self.light(h.transpose(0, 1), c0, mask_pad), c


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Skipping serialization")
def test_a_package_runs_without_this_one(tmp_path, inputs, shapes):
    rnn = TwoCells().eval()
    lengths = LENGTHS if TORCH_2_13 else [(4, batch) for _, batch in LENGTHS]
    shapes = shapes if TORCH_2_13 else ({1: Dim("batch")}, {1: Dim("batch")}, {1: Dim("batch")})

    def make(length: int, batch: int):
        x, c0, mask = inputs(length, batch)
        return x, c0[:1].clone(), mask

    package = to_aoti(rnn, make(4, 3), tmp_path / "rnn.pt2", dynamic_shapes=shapes)
    cases = [(args, rnn(*args)) for args in (make(*length) for length in lengths)]
    torch.save(cases, tmp_path / "cases.pt")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, package, str(tmp_path / "cases.pt")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == "the same\n", result.stderr


def test_wrong_requests(tmp_path):
    rnn, x, path = SRU(E, D, 1, dropout=0.5), torch.randn(3, 2, E), tmp_path / "rnn.pt2"
    with pytest.raises(ValueError, match=r"to_aoti: the model is in training mode.*call model\.eval\(\)"):
        to_aoti(rnn, (x,), path)
    rnn.eval()
    with pytest.raises(ValueError, match=r"to_aoti: the path of a package must end in \.pt2"):
        to_aoti(rnn, (x,), tmp_path / "rnn.so")
    with pytest.raises(TypeError, match=r"to_aoti: args must be a tuple, got Tensor; write \(x,\)"):
        to_aoti(rnn, x, path)
    with pytest.raises(TypeError, match=r"to_aoti: a PackedSequence .* padded tensor and mask_pad"):
        to_aoti(rnn, (pack_sequence([x[:, 0]]),), path)
    with pytest.raises(ValueError, match=r"to_aoti: rnn_lst\.0 solves .* set length_parallel=False"):
        to_aoti(SRU(E, D, 1, length_parallel=True).eval(), (x,), path)


class DependsOnData(nn.Module):
    """A projection that no graph can hold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Branch on the values of the input."""
        return x.repeat(1, 1, 3) if x.sum() > 0 else x.repeat(1, 1, 3) * 2


def test_a_custom_m_that_cannot_be_exported_is_named(tmp_path):
    model = nn.ModuleDict({"rnn": SRU(D, D, 1, custom_m=DependsOnData())}).eval()
    model.forward = lambda x: model["rnn"](x)
    with pytest.raises(
        ValueError, match=r"custom_m \(in rnn\.rnn_lst\.0\), because .*, or build the module without custom_m"
    ):
        to_aoti(model, (torch.randn(3, 2, D),), tmp_path / "rnn.pt2")

"""DDP and FSDP2 in two processes over gloo against one process that has the whole batch."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed

import sru_nn

from .conftest import CHOICES

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch was built without gloo",
)
MODELS = ["SRU", "SRU with projections", "LSTM", "SLiGRU", *["SRUpp"] * hasattr(sru_nn, "SRUpp")]
needs_fsdp = pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"), reason="FSDP2 of this PyTorch does not run on the CPU"
)
FSDP_WAYS = [pytest.param(way, marks=needs_fsdp) for way in ("fsdp_layers", "fsdp_whole")]
WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture(scope="module", params=CHOICES[-1:])
def trained(request, tmp_path_factory) -> dict[str, dict[str, list[float]]]:
    """Return the resulting numbers for each model and each way of training it."""
    environment = os.environ | {"SRU_NN_BACKEND": request.param, "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host name may not resolve
    folder = tmp_path_factory.mktemp("distributed")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(WORKER), str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        pytest.fail(f"the processes did not end:\n{process.communicate()[0]}")
    assert process.returncode == 0, output
    results = json.loads((folder / "results.json").read_text())
    assert results["backend"] == request.param
    return results["models"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("way", ["ddp", *FSDP_WAYS])
def test_losses_are_those_of_one_process(trained, model, way):
    alone = trained[model]["alone"]
    *losses, _, _ = alone
    assert all(after < before for before, after in itertools.pairwise(losses))
    assert trained[model][way] == pytest.approx(alone, rel=1e-9)


@needs_fsdp
@pytest.mark.parametrize("model", MODELS)
def test_fsdp_may_compute_in_bfloat16(trained, model):
    low, alone = trained[model]["fsdp_bfloat16"], trained[model]["alone"]
    assert low != pytest.approx(alone, rel=1e-9)
    assert low == pytest.approx(alone, rel=0.05)

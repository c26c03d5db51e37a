"""The reports in `benchmarks/`, on synthetic figures."""

import json
import sys
from types import SimpleNamespace

import pytest

from ..cuda_on_cpu.build import SOURCE

BENCHMARKS = SOURCE / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the tests are not beside the benchmarks")
SHAPE = (128, 32, 512)
ROW = {
    "kernel": {"function": "sru_forward", "dtype": "float32", "in_ring": True},
    "architecture": "90",
    **{"registers": 64, "shared": 32768, "spills": 0, "steps_ahead": 12.0},
    **{"instructions": 1.0, "cycles": 1.0, "0 ns": 1.0, "600 ns": 1.0, "1000 ns": 1.0},
}


@pytest.fixture(autouse=True)
def _reports(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def h100():
    import cuda_model

    return cuda_model, next(gpu for gpu in cuda_model.GPUS if gpu.architecture == "90")


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({}, "memory"),
        ({"instructions": 1000.0}, "issue"),
        ({"1000 ns": 1000.0}, "latency"),
        ({"0 ns": 1000.0, "1000 ns": 1050.0}, "chain"),
    ],
)
def test_the_tightest_bound_is_named(change, bound):
    model, gpu = h100()
    prediction = model.predict({**ROW, **change}, SHAPE, gpu, "1000 ns")
    assert prediction.bound == bound
    # 24 bytes for each of 16384 columns take 117 ns per step; 1000 cycles are 505.
    expected = {"memory": 1.0, "chain": 117.4 / 530.3}.get(bound, 117.4 / 505.1)
    assert prediction.fraction == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((128, 8, 512), {"threads": 8}),
        ((20, 8, 512), {"in_ring": True}),  # shorter than a tile
        ((128, 64, 1024), {"in_ring": True}),
        ((128, 256, 1024), {"in_ring": True, "columns": 4}),
        ((128, 4096, 33), {}),
    ],
)
def test_the_model_chooses_the_same_kernel_as_the_launcher(shape, kernel):
    model, gpu = h100()
    kinds = ({}, {"in_ring": True}, {"in_ring": True, "columns": 4}, {"threads": 8})
    kernels = [{"function": "sru_forward", "dtype": "float32", **kind} for kind in kinds]
    rows = [{"kernel": each, "architecture": name, "steps": 24} for each in kernels for name in ("90", "75")]
    taken = model.chosen(rows, "sru_forward", "float32", shape, gpu)
    assert taken["architecture"] == "90"
    assert model.kernel_of(taken) == model.CudaKernel("sru_forward", "float32", **kernel)


def test_shared_memory_limits_resident_warps():
    model, _ = h100()
    assert model.resident_warps({**ROW, "shared": 0}) == 32  # 64 registers
    assert model.resident_warps(ROW) == 4 * (228 // 33)


def test_requests_in_flight():
    model, gpu = h100()
    columns = 32 * 512 / gpu.multiprocessors
    assert model.kibibytes_ahead(ROW, SHAPE, gpu) == columns * 12 * 16 / 1024


def test_longer_rings_in_small_blocks():
    model, gpu = h100()
    row = {**ROW, "kernel": {**ROW["kernel"], "columns": 1}, "in_small_blocks": {"steps_ahead": 28.0}}
    ahead = {
        batch: model.chosen([row], "sru_forward", "float32", (128, batch, 128), gpu)["steps_ahead"]
        for batch in (131, 132)  # one block for all multiprocessors but one, and for all
    }
    assert ahead == {131: 28.0, 132: 12.0}


def test_the_chunks_of_gated_linear():
    model, _ = h100()
    kernel = {"function": "gated_linear_backward", "dtype": "bfloat16"}
    row = {"kernel": kernel, "architecture": "90", "registers": 220}
    assert model.gated_blocks(row) == 2
    assert model.gated_blocks({**row, "registers": 64}) == 4  # with 48 KiB of shared memory each
    assert model.gated_kibibytes_ahead(row) == 2 * 16 * 64 * (2 + 2 + 4 + 2 + 2) / 1024
    on_tensor_cores = {**row, "kernel": {**kernel, "option": True}, "registers": 128}
    assert model.gated_blocks(on_tensor_cores) == 2  # with 256 threads each
    assert model.gated_blocks({**on_tensor_cores, "registers": 40}) == 4  # with 46 KiB each


def test_gated_linear_requests_enough_at_a_time():
    """At least 16 KiB per multiprocessor of sm_90, in every documented kernel, at 64 keys and values.

    At least 12 KiB in backward on tensor cores, where a multiprocessor has registers for only one block.
    """
    model, _ = h100()
    page = json.loads((BENCHMARKS.parents[2] / "docs/benchmarks/cuda-kernels.json").read_text())
    kernels = 0
    for row in page["kernels"]:
        kernel = model.kernel_of(row)
        if row["architecture"] == "90" and kernel.function.startswith("gated_linear_"):
            kernels += 1
            has_one_block = kernel.function == "gated_linear_backward" and kernel.option
            assert model.gated_kibibytes_ahead(row) >= (12 if has_one_block else 16), kernel
    assert kernels


def test_a_constant_missing_from_the_sources():
    model, _ = h100()
    with pytest.raises(SystemExit, match=r"runtime/cuda/launch\.cpp has no constexpr missing"):
        model.constant("runtime/cuda/launch.cpp", "missing")


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (False, "the package torch is not installed"),
        (True, "torch sees no CUDA device"),
    ],
)
def test_a_machine_without_a_gpu(monkeypatch, tmp_path, installed, message):
    import gpu_report

    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(gpu_report.importlib.util, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"gpu_report: nothing was measured, because {message}"):
        gpu_report.main()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_contenders_run(monkeypatch, dtype):
    """On the CPU, all except Triton."""
    pytest.importorskip("sru_nn")
    import gpu_timing

    monkeypatch.setattr(gpu_timing, "DEVICE", "cpu")
    names = set()
    for name, prepare in gpu_timing.contenders((3, 2, 8), dtype):
        names.add(name)
        if "triton" not in name:
            calls = prepare()
            h, grad_x = calls["forward"](), calls["both"]()[3 if "recurrence" in name else 0]
            assert h.shape == grad_x.shape == (3, 2, 8), name
            assert not h.requires_grad, name
    assert len(names) == 8
    assert gpu_timing.bytes_moved((1, 1, 1), "bfloat16") == {"forward": 10, "both": 36}


def timed(seconds):
    return {"low": 0.9 * seconds, "median": seconds, "high": 1.1 * seconds}


def result():
    case = {"shape": SHAPE, "dtype": "float32"}
    rows = [
        {**case, "name": "SRU layer, kernels", "forward": timed(1e-5), "both": timed(3e-5)},
        {**case, "name": "SRU layer, triton", "reason": "Triton is not installed"},
        {**case, "name": "cuDNN LSTM layer", "forward": timed(1e-4), "both": timed(3.6e-4)},
        {
            **{"name": "SRU recurrence, kernels", "dtype": "bfloat16", "shape": (256, 32, 1024)},
            **{"forward": timed(1e-3), "bytes": {"forward": 8e8}},
        },
    ]
    return {
        "machine": {"gpu": "a GPU"},
        "tests": "9 passed",
        "copy": 1e12,
        "rows": rows,
        "profiles": "no ncu",
    }


def test_the_page_of_a_gpu_report():
    import gpu_page

    lines = list(gpu_page.page(result()))
    text = "\n".join(lines)
    assert "layer against cuDNN's LSTM, forward and backward, (128, 32, 512), float32: 12.0 times, at" in text
    assert "against a copy, (256, 32, 1024), bfloat16: 80% (missed), at least 85% is the goal" in text
    assert "(128, 32, 512), bfloat16: not measured, at least 10.0 times" in text
    assert "| 10 (9 to 11) |  | 30 (27 to 33) |  | 12.0 |" in text
    assert "| SRU layer, triton | not measured: Triton is not installed |" in text
    assert "| 1,000 (900 to 1,100) | 800 (80%) | not measured |" in text
    assert lines[-1] == "not measured: no ncu"


def test_missing_measurements_are_shown():
    import gpu_page

    lines = list(gpu_page.summary(None, [SHAPE]))
    assert lines[2:] == [
        f"| {SHAPE}, {dtype} | not measured | not measured |" for dtype in ("float32", "bfloat16")
    ]
    assert list(gpu_page.summary(result(), [SHAPE]))[2] == f"| {SHAPE}, float32 | not measured | 12.0 times |"


def test_ncu_output():
    import gpu_report

    name = "void sru_kernels::device::sru::sru_forward_kernel<float, 1, 1>(sru_kernels::SruForward)"
    metrics = {"dram__bytes_read.sum": "1,024", "dram__bytes_write.sum": "512", "gpu__time_duration.sum": "2"}
    head = '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
    lines = [f'"0","{name}","{metric}","byte","{value}"' for metric, value in metrics.items()]
    (row,) = gpu_report.read_profile("\n".join(["==PROF== Connected", head, *lines]))
    assert row == {
        "kernel": "sru_forward_kernel<float, 1, 1>",
        "read": 1024.0,
        "written": 512.0,
        "nanoseconds": 2.0,
    }

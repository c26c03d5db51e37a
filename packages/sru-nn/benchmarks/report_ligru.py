"""The page and the targets of the Li-GRU benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contenders import GRU, LSTM
from contenders_ligru import BATCH, INPUTS, OURS, PRODUCTS, SIZE, SLOW, STABLE, THEIRS
from record import described, ratio_target

Row = Mapping[str, Any]
MODES = ("forward", "forward and backward")
# Seconds (forward, backward) from the README of fast_sligru: four layers of 512 units, input 1024, batch 16.
# By length: its CUDA extension, then its plain PyTorch.
PUBLISHED = {
    100: ((0.05, 0.15), (0.11, 0.25)),
    500: ((0.25, 0.63), (0.55, 1.29)),
    1000: ((0.50, 1.27), (1.11, 3.68)),
    2000: ((1.02, 2.65), (2.26, 11.87)),
    3000: ((1.55, 3.84), (3.39, 24.39)),
}
# (mode, contender, minimum speedup over it) at 1000 steps
FASTER = [
    ("forward", GRU, 2.0),
    ("forward", LSTM, 2.0),
    ("forward and backward", GRU, 2.0),
    ("forward and backward", LSTM, 2.0),
    ("forward", SLOW, 1.7),
    ("forward and backward", SLOW, 30.0),
]
# (mode, maximum ratio to the time of the products alone) at 1000 steps
CLOSE = [("forward", 1.2), ("forward and backward", 1.3)]
LENGTH, LONGEST, LINEAR = 1000, 3000, 1.1
HALF_PRECISION = 2.5


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the page."""
    rows, facts = result["rows"], result["machine"]
    yield "# Li-GRU and SLi-GRU on the CPU\n"
    yield f"Written by `nox -s bench -- ligru`: {described(facts)}.\n"
    yield f"Batch {BATCH}, {INPUTS} inputs, {SIZE} units. Median milliseconds, quartiles in brackets; a time"
    yield "without brackets was measured once. All contenders take turns in one run.\n"
    yield f"* **{THEIRS}** is `speechbrain.nnet.RNN.LiGRU`, unmodified and after `torch.jit.script`."
    yield "  `torch.compile` unrolls its loop and takes minutes per length; `--compiled` measures the"
    yield "  shortest length."
    yield f"* **{SLOW}** is a reimplementation of its loop with the same operations, because the"
    yield "  package cannot be installed without CUDA."
    yield f"* **{PRODUCTS}** are the matrix products of one layer, computed for all steps at once with"
    yield "  the faster of PyTorch's two GEMMs. Steps that depend on each other cannot reach that speed."
    yield f"* Per step, `{GRU}` multiplies 1.5 times as much as a Li-GRU, and `{LSTM}` twice as much.\n"
    yield f"With equal weights the outputs and gradients of `{OURS}`, {THEIRS} and the slow layer differ by"
    yield f"at most {result['error']:.0e} of the largest value.\n"
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for mode in MODES:
            chosen = [row for row in rows if (row["mode"], row["dtype"], row["layers"]) == (mode, dtype, 1)]
            if chosen:
                yield f"## {mode.capitalize()}, one layer, {dtype}\n"
                yield from _by_length(chosen)
    yield "## One step, batch 1, float32\n"
    yield "| | microseconds |\n| --- | --- |"
    for row in _of(rows, "step"):
        yield f"| {row['contender']} | {_shown(row, 1e6)} |"
    memory = _of(rows, "memory")
    yield f"\n## Peak memory of a training step, {memory[0]['length']} steps, float32\n"
    yield "| | MiB |\n| --- | --- |"
    for row in memory:
        yield f"| {row['contender']} | {row['bytes'] / 2**20:.0f} |"
    yield "\n## Comparison with published GPU figures\n"
    yield "Seconds for an SLi-GRU with four layers. The figures of a Tesla V100s, with the CUDA extension and"
    yield "with plain PyTorch, are from the README of `fast_sligru`; they were not measured here.\n"
    yield from _published(rows)


def _by_length(rows: Sequence[Row]) -> Iterator[str]:
    lengths = list(dict.fromkeys(row["length"] for row in rows))
    yield "| | " + " | ".join(f"T = {length}" for length in lengths) + " |"
    yield "| --- " * (len(lengths) + 1) + "|"
    for name in dict.fromkeys(row["contender"] for row in rows):
        cells = {row["length"]: row for row in rows if row["contender"] == name}
        shown = [_shown(cells[length], 1e3) if length in cells else "not measured" for length in lengths]
        yield f"| {name} | {' | '.join(shown)} |"
    yield ""


def _published(rows: Sequence[Row]) -> Iterator[str]:
    columns = ("V100s, CUDA", "V100s, PyTorch", "this CPU")
    yield "| T | " + " | ".join(f"{mode}: {column}" for mode in MODES for column in columns) + " |"
    yield "| --- " * 7 + "|"
    for length, (fast, slow) in PUBLISHED.items():
        ours = [seconds(rows, mode, STABLE, length, layers=4) for mode in MODES]
        if None in ours:
            continue
        values = [fast[0], slow[0], ours[0], sum(fast), sum(slow), ours[1]]
        yield f"| {length} | " + " | ".join(f"{value:.2f}" for value in values) + " |"


def targets(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield one row per target, with this run's figure."""
    rows = result["rows"]
    for mode, bound in CLOSE:
        times = (seconds(rows, mode, name, LENGTH) for name in (OURS, PRODUCTS))
        yield ratio_target(f"{mode}, {LENGTH} steps, time over the {PRODUCTS}", bound, *times, at_least=False)
    for mode, other, bound in FASTER:
        times = (seconds(rows, mode, name, LENGTH) for name in (other, OURS))
        yield ratio_target(f"{mode}, {LENGTH} steps, against {other}", bound, *times, at_least=True)
    for mode in MODES:
        long, short = (seconds(rows, mode, OURS, length) for length in (LONGEST, LENGTH))
        pair = (None if long is None else long / LONGEST, None if short is None else short / LENGTH)
        what = f"{mode}, time per step, {LONGEST} steps over {LENGTH}"
        yield ratio_target(what, LINEAR, *pair, at_least=False)
    for mode in MODES:
        pair = (seconds(rows, mode, OURS, LENGTH, dtype=dtype) for dtype in ("float32", "bfloat16"))
        what = f"{mode}, {LENGTH} steps, bfloat16 with AMX against float32"
        yield ratio_target(
            what, HALF_PRECISION, *(pair if result["has AMX"] else (None, None)), at_least=True
        )
    memory = {row["contender"]: row["bytes"] for row in _of(rows, "memory")}
    yield ratio_target(
        f"peak memory of a training step over {GRU}", 1, memory[OURS], memory[GRU], at_least=False
    )


def seconds(
    rows: Sequence[Row], mode: str, contender: str, length: int, *, dtype: str = "float32", layers: int = 1
) -> float | None:
    """Return a contender's median time, or None if it was not measured."""
    wanted = {"contender": contender, "length": length, "dtype": dtype, "layers": layers}
    found = [row["median"] for row in _of(rows, mode) if wanted.items() <= row.items()]
    return found[0] if found else None


def _of(rows: Sequence[Row], mode: str) -> list[Row]:
    return [row for row in rows if row["mode"] == mode]


def _shown(row: Row, scale: float) -> str:
    digits = [
        f"{scale * row[name]:,.{0 if scale * row[name] >= 100 else 1}f}" for name in ("median", "low", "high")
    ]
    return digits[0] if row["rounds"] == 1 else f"{digits[0]} [{digits[1]}, {digits[2]}]"

"""The targets of SRU on two AVX-512 cores, for float32 and one layer unless stated otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contenders import GEMM, LSTM, OLD, OURS
from record import ratio_target, target

Row = Mapping[str, Any]

EVERYWHERE = None
# (mode, shape or EVERYWHERE, contender, minimum speedup over it)
FASTER = [
    ("forward", (128, 32, 512), LSTM, 3.5),
    ("forward", (1024, 1, 1024), LSTM, 9),
    ("forward", EVERYWHERE, OLD, 2),
    ("forward and backward", (128, 32, 512), LSTM, 3),
    ("forward and backward", (256, 32, 1024), LSTM, 3),
    ("forward and backward", (1024, 1, 1024), LSTM, 5),
    ("forward and backward", EVERYWHERE, OLD, 3),
    ("forward and backward", (256, 32, 1024), OLD, 8),
]
# (mode, shape, contender, maximum ratio to its time)
CLOSE = [
    ("forward", (128, 32, 512), GEMM, 1.15),
    ("forward", (256, 32, 1024), GEMM, 1.15),
    ("forward", (1024, 1, 1024), GEMM, 1.15),
    ("forward", (128, 1, 512), GEMM, 1.15),
    ("forward", (512, 16, 256), GEMM, 1.3),
]
# (layers, contender, minimum speedup over it), one step with batch size 1
STEP_FASTER = [
    (1, "nn.LSTMCell", 10),
    (1, "nn.GRUCell", 10),
    (1, LSTM, 40),
    (4, "nn.LSTMCell", 3.5),
    (4, LSTM, 10),
]
STEP_CLOSE = [(1, GEMM, 1.3)]
LENGTH_RATIO = 1.2
IMPORT_SECONDS = 0.05


def targets(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one row per target, with this run's figure."""
    for mode, wanted, other, factor in FASTER:
        for shape in [wanted] if wanted else shapes(rows, mode):
            ours, theirs = (median(rows, mode, name, shape=shape) for name in (OURS, other))
            yield ratio_target(f"{mode} {shape} against {other}", factor, theirs, ours, at_least=True)
    for mode, shape, other, factor in CLOSE:
        ours, theirs = (median(rows, mode, name, shape=shape) for name in (OURS, other))
        yield ratio_target(f"{mode} {shape}, time over the {other}", factor, ours, theirs, at_least=False)
    for layers, other, factor in STEP_FASTER:
        ours, theirs = (median(rows, "step", name, layers=layers) for name in (OURS, other))
        yield ratio_target(
            f"one step, {_layers(layers)}, against {other}", factor, theirs, ours, at_least=True
        )
    for layers, other, factor in STEP_CLOSE:
        ours, theirs = (median(rows, "step", name, layers=layers) for name in (OURS, other))
        yield ratio_target(
            f"one step, {_layers(layers)}, time over the {other}", factor, ours, theirs, at_least=False
        )
    short, long = (row["median"] / row["shape"][0] for row in rows if row["mode"] == "length")
    yield ratio_target(
        "time per step, longest over shortest sequence", LENGTH_RATIO, long, short, at_least=False
    )
    memory = {row["contender"]: row["bytes"] for row in rows if row["mode"] == "memory"}
    yield ratio_target(f"peak memory over {OLD}", 1, memory[OURS], memory.get(OLD), at_least=False)
    seconds = next(row["median"] for row in rows if row["mode"] == "import")
    goal, measured = (f"{1e3 * value:.3g} ms" for value in (IMPORT_SECONDS, seconds))
    yield target("import sru_kernels", f"at most {goal}", measured, seconds <= IMPORT_SECONDS)


def losses(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each case in which another unit was faster than ours."""
    for ours in (row for row in rows if row.get("contender") == OURS and "median" in row):
        place = ("mode", "shape", "dtype", "layers")
        for row in rows:
            same = all(row.get(key) == ours.get(key) for key in place)
            if same and row["contender"] not in (OURS, GEMM) and row["median"] < ours["median"]:
                times = ours["median"] / row["median"]
                where = f"{row['mode']}, {tuple(row['shape'])}, {row['dtype']}, {_layers(row['layers'])}"
                yield f"- {row['contender']} was {times:.2f} times as fast: {where}."


def _layers(number: int) -> str:
    return f"{number} layer{'s' if number > 1 else ''}"


def shapes(rows: Sequence[Row], mode: str) -> list[tuple[int, ...]]:
    """Return the shapes measured in a mode."""
    return list(dict.fromkeys(tuple(row["shape"]) for row in rows if row["mode"] == mode))


def median(rows: Sequence[Row], mode: str, contender: str, **where: object) -> float | None:
    """Return a contender's median seconds in float32, or None if it was not measured."""
    wanted = {"mode": mode, "contender": contender, "dtype": "float32", **where}
    found = [row["median"] for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return found[0] if found else None

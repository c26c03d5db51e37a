"""The page docs/benchmarks/gpu.md, and the measurements in cuda-kernels.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
NOT_MEASURED = "not measured"
LSTM = "cuDNN LSTM layer"
RECURRENCE, LAYER = "SRU recurrence, kernels", "SRU layer, kernels"
GOALS = (
    # Name, shape, minimum, format.
    ("bandwidth of the recurrence, forward, against a copy", (256, 32, 1024), 0.85, "{:.0%}"),
    ("layer against cuDNN's LSTM, forward and backward", (128, 32, 512), 10.0, "{:.1f} times"),
)


def page(result: Result) -> Iterator[str]:
    """The lines of the page."""
    yield "# The kernels on a GPU\n"
    yield "Written by `gpu_report.py` (`nox -s gpu-report`):\n"
    for key, value in result["machine"].items():
        yield f"* {key}: {value}"
    yield f"* tests marked `gpu`: {result['tests']}"
    yield f"* a copy reads and writes {result['copy'] / 1e9:,.0f} GB/s\n"
    yield "Goals:\n"
    for dtype in ("float32", "bfloat16"):
        for what, shape, least, form in GOALS:
            found = reached(result, what, shape, dtype)
            said = (
                NOT_MEASURED
                if found is None
                else f"{form.format(found)}{'' if found >= least else ' (missed)'}"
            )
            yield f"* {what}, {shape}, {dtype}: {said}, at least {form.format(least)} is the goal"
    yield "\n## Times\n"
    yield (
        "Microseconds, median and quartiles. Every call starts with cold caches, on a device kept busy until "
        "then. The bandwidth counts only the bytes that must be moved; its share of a copy's is in "
        "parentheses. Layers have D inputs.\n"
    )
    yield "| (T, B, D), dtype | | forward | GB/s | with backward | GB/s | speed-up over cuDNN's LSTM |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in result["rows"]:
        yield _times(result, row)
    yield "\n## Bytes\n"
    yield from _profiles(result["profiles"])


def reached(result: Result, what: str, shape: tuple[int, int, int], dtype: str) -> float | None:
    """The measured value of a goal; None if it was not measured."""
    if "bandwidth" in what:
        row = _row(result, RECURRENCE, shape, dtype)
        return (
            row["bytes"]["forward"] / row["forward"]["median"] / result["copy"] if "forward" in row else None
        )
    return _speedup(result, _row(result, LAYER, shape, dtype), "both")


def summary(result: Result | None, shapes: Sequence[tuple[int, int, int]]) -> Iterator[str]:
    """A short table for a page that may be generated on a machine without a GPU."""
    gpu = "" if result is None else f" on {result['machine']['gpu']}"
    yield f"| (T, B, D), dtype | forward bandwidth as a share of a copy's{gpu} | layer against cuDNN's LSTM |"
    yield "| --- | --- | --- |"
    for shape in shapes:
        for dtype in ("float32", "bfloat16"):
            cells = [NOT_MEASURED] * 2
            if result is not None:
                found = [reached(result, what, shape, dtype) for what, *_ in GOALS]
                forms = [form for *_, form in GOALS]
                cells = [
                    NOT_MEASURED if value is None else form.format(value)
                    for form, value in zip(forms, found, strict=True)
                ]
            yield f"| {shape}, {dtype} | {cells[0]} | {cells[1]} |"


def _row(result: Result, name: str, shape: Sequence[int], dtype: str) -> Result:
    wanted = (name, list(shape), dtype)
    found = (row for row in result["rows"] if (row["name"], list(row["shape"]), row["dtype"]) == wanted)
    return next(found, {})


def _speedup(result: Result, row: Result, what: str) -> float | None:
    if what not in row:
        return None
    lstm = _row(result, LSTM, row["shape"], row["dtype"])
    return lstm[what]["median"] / row[what]["median"] if what in lstm else None


def _times(result: Result, row: Result) -> str:
    cells = [f"{tuple(row['shape'])}, {row['dtype']}", row["name"]]
    for what in ("forward", "both"):
        if what not in row:
            cells += [f"{NOT_MEASURED}: {row['reason']}" if "reason" in row else NOT_MEASURED, ""]
            continue
        low, median, high = (f"{1e6 * row[what][key]:,.0f}" for key in ("low", "median", "high"))
        rate = row["bytes"][what] / row[what]["median"] if "bytes" in row else None
        share = "" if rate is None else f"{rate / 1e9:,.0f} ({rate / result['copy']:.0%})"
        cells += [f"{median} ({low} to {high})", share]
    faster = None if "recurrence" in row["name"] else _speedup(result, row, "both")
    cells.append("" if faster is None else f"{faster:.1f}")
    return "| " + " | ".join(cells) + " |"


def _profiles(profiles: Sequence[Result] | str) -> Iterator[str]:
    if isinstance(profiles, str) or not profiles:
        yield f"{NOT_MEASURED}: {profiles or 'out of time'}"
        return
    yield "As counted by ncu.\n"
    yield "| (T, B, D), dtype | kernel | MB read | MB written | GB/s |"
    yield "| --- | --- | --- | --- | --- |"
    for row in profiles:
        read, written = row["read"], row["written"]
        rate = (read + written) / row["nanoseconds"]
        yield (
            f"| {tuple(row['shape'])}, {row['dtype']} | `{row['kernel']}` | {read / 1e6:,.1f} "
            f"| {written / 1e6:,.1f} | {rate:,.0f} |"
        )

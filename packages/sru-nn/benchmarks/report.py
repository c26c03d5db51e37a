"""The report of a benchmark: JSON, a Markdown page and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contenders import GEMM, LSTM
from record import described, save
from targets import losses, targets

Row = Mapping[str, Any]
MODES = ("forward", "forward and backward")


def write_report(folder: Path, device: str, machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write `sru-DEVICE.json`, `.md` and `.png`.

    Args:
        folder: Made when missing.
        device: "cpu" or "cuda".
        machine: What describes the run.
        rows: One per measurement.
    """
    name = f"sru-{device}"
    save(folder, name, {"machine": machine, "rows": rows}, _page(name, machine, rows))
    _draw(rows, folder / f"{name}.png")


def _page(name: str, machine: Mapping[str, str], rows: Sequence[Row]) -> Iterator[str]:
    on_cpu = name == "sru-cpu"
    yield f"# SRU on {'the CPU' if on_cpu else 'a GPU'}\n"
    command = "nox -s bench" if on_cpu else "nox -s bench -- --device cuda"
    yield f"Written by `{command}`: {described(machine)}.\n"
    yield "Medians in milliseconds, quartiles in brackets, one layer of D inputs and D units; all in one run,"
    yield "in turns, after the outputs and gradients of the contenders with equal weights were compared.\n"
    yield f"![Speed relative to nn.LSTM]({name}.png)\n"
    if on_cpu:
        yield "## Targets\n"
        yield from targets(rows)
    yield "\n## Where another unit won\n"
    yield from list(losses(rows)) or ["Nowhere in this run."]
    yield ""
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for mode in MODES:
            yield f"## {mode.capitalize()}, {dtype}\n"
            yield from _table(
                [row for row in rows if (row["mode"], row["dtype"]) == (mode, dtype)], "(T, B, D)"
            )
    yield f"## One step, batch 1, D = {_first(rows, 'step')['shape'][2]}, float32\n"
    yield from _table([row for row in rows if row["mode"] == "step"], "layers", key="layers")
    if not on_cpu:
        return
    yield "## Cost against length\n"
    yield "| (T, B, D) | microseconds per step |\n| --- | --- |"
    for row in rows:
        if row["mode"] == "length":
            yield f"| {_shape(row)} | {1e6 * row['median'] / row['shape'][0]:.2f} |"
    memory = [row for row in rows if row["mode"] == "memory"]
    yield f"\n## Peak memory of forward and backward, {_shape(memory[0])}, float32\n"
    yield "| | MiB |\n| --- | --- |"
    for row in memory:
        yield f"| {row['contender']} | {row['bytes'] / 2**20:.0f} |"


def _table(rows: Sequence[Row], head: str, key: str = "shape") -> Iterator[str]:
    names = list(dict.fromkeys(row["contender"] for row in rows))
    yield f"| {head} | " + " | ".join(names) + " |"
    yield "| --- " * (len(names) + 1) + "|"
    for value in dict.fromkeys(row[key] for row in rows):
        cells = {row["contender"]: row for row in rows if row[key] == value}
        label = str(value)
        yield f"| {label} | " + " | ".join(_cell(cells.get(name)) for name in names) + " |"
    yield ""


def _cell(row: Row | None) -> str:
    if row is None:
        return "not measured"
    return f"{_ms(row['median'])} ({_ms(row['low'])} to {_ms(row['high'])})"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def _shape(row: Row) -> str:
    return str(tuple(row["shape"]))


def _first(rows: Sequence[Row], mode: str) -> Row:
    return next(row for row in rows if row["mode"] == mode)


def _draw(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, mode in zip(figure.subplots(1, 2), MODES, strict=True):
        chosen = [row for row in rows if (row["mode"], row["dtype"]) == (mode, "float32")]
        shapes = list(dict.fromkeys(row["shape"] for row in chosen))
        times = {(row["shape"], row["contender"]): row["median"] for row in chosen}
        names = [
            name for name in dict.fromkeys(row["contender"] for row in chosen) if name not in (LSTM, GEMM)
        ]
        width = 0.8 / len(names)
        for index, name in enumerate(names):
            speed = [times[shape, LSTM] / times[shape, name] for shape in shapes]
            places = [place + (index - (len(names) - 1) / 2) * width for place in range(len(shapes))]
            axes.bar(places, speed, width, label=name)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_xticks(range(len(shapes)), [str(shape) for shape in shapes], rotation=20)
        axes.set_title(f"{mode}, float32")
        axes.set_ylabel("times as fast as nn.LSTM")
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
    figure.savefig(path, dpi=120)

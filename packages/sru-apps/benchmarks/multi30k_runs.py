"""BLEU and chrF of several `sru translate fit` runs on Multi30k.

    python multi30k_runs.py runs/translate/multi30k-en-de-sru/* --commit 1a2b3c4

writes multi30k.json, multi30k.md and multi30k.png from run folders. A record in multi30k.json stays until a
run of the same recipe and seed replaces it, so that a page can be built over several days.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sru_apps.train.pictures import draw_curves

from kept_runs import curve, read_folder, read_runs  # isort: skip
from record import described, save  # isort: skip

NAME = "multi30k"
HEAD = """# Translation of Multi30k on a CPU

BLEU and chrF on `test_2016_flickr`, 1,000 captions, of the epoch with the highest BLEU in validation: mean
and standard deviation over seeds. Texts are lower-cased and tokenized, as in the data, and translations are
compared in that form. The recipes `multi30k-*-sru`, `-lstm` and `-gru` differ only in the cell and its width.
To reproduce a row:

    sru translate fit --recipe multi30k-en-de-sru --seeds 3 --name first

![BLEU in validation by the time of training](multi30k.png)
""".splitlines()


def record(folder: Path) -> dict[str, Any]:
    """Read the record of a run."""
    summary, settings, metrics = read_folder(folder)
    scores = json.loads((folder / "figures/scores.json").read_text())
    return {
        "recipe": settings["recipe"],
        "seed": summary["seed"],
        "parameters": summary["parameters"],
        "epochs": summary["epochs"],
        "ended_by": summary["ended_by"],
        "seconds": summary["seconds"],
        "best_epoch": summary["best_epoch"],
        "validation": summary["validation"],
        "test": {name: scores[name] for name in ("bleu", "chrf", "bleu_signature", "chrf_signature")},
        "curve": curve(metrics, seconds="seconds", train_loss="train_loss", bleu="validation_bleu"),
    }


def key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key of a run; records with equal keys replace each other."""
    return run["recipe"], run["seed"]


def page(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write the report."""
    yield from [*HEAD, ""]
    yield "| recipe | parameters | epochs | minutes | seeds | BLEU | chrF |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for recipe in sorted({run["recipe"] for run in runs}):
        own = [run for run in runs if run["recipe"] == recipe]
        minutes = statistics.mean(run["seconds"] for run in own) / 60
        cells = [recipe, f"{own[0]['parameters'] / 1e6:.1f} million", str(max(run["epochs"] for run in own))]
        cells += [f"{minutes:.0f}", str(len(own))]
        cells += [_spread([run["test"][name] for run in own]) for name in ("bleu", "chrf")]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for name in ("bleu_signature", "chrf_signature"):
        yield f"- {' and '.join(f'`{found}`' for found in sorted({run['test'][name] for run in runs}))}"
    yield "\n## Runs\n"
    yield "| recipe | seed | epochs | best | minutes | BLEU | chrF | trained with |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for run in runs:
        cells = [run["recipe"], run["seed"], run["epochs"], run["best_epoch"], f"{run['seconds'] / 60:.0f}"]
        cells += [f"{run['test'][name]:.1f}" for name in ("bleu", "chrf")]
        cells += [described(run["machine"]) + (run["note"] and f". {run['note']}")]
        yield f"| {' | '.join(map(str, cells))} |"


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def main() -> None:
    """Read the runs and report."""
    runs, out = read_runs(__doc__, NAME, record, key)
    save(out, NAME, {"runs": runs}, page(runs))
    curves = {
        f"{run['recipe'].removeprefix('multi30k-')}, seed {run['seed']}": (
            [row["seconds"] / 60 for row in run["curve"]],
            [row["bleu"] for row in run["curve"]],
        )
        for run in runs
    }
    draw_curves(out / f"{NAME}.png", "minutes of training", {"validation BLEU, greedy": curves})


if __name__ == "__main__":
    main()

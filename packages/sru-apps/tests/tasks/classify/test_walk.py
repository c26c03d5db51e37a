"""A user's whole workflow: a CSV file, a trained model, its report, predictions by command and in Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import sru_apps
from sru_apps.cli import main

TOPICS = {"sport": ("The match was won", "Their goalkeeper fell"), "food": ("Boil the soup", "I can't cook")}
RAW = "We WON the match!\n\nCook the soup, don't fall.\nQwfpgj?\n"


@pytest.mark.usefixtures("one_thread", "pictures")
@pytest.mark.filterwarnings("ignore:.*none of it is in the model's vocabulary:UserWarning")
def test_from_a_csv_file_to_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "mail.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "folder"])
        writer.writerows(
            [f"{text}, number {number}!", topic]
            for number in range(10)
            for topic, texts in TOPICS.items()
            for text in texts
        )
    columns = [f"--train-file={tmp_path / 'mail.csv'}", "--text-column=body", "--label-column=folder"]
    small = ["--hidden-size=6", "--epochs=6", "--lr=0.05", "--trainer.accelerator=cpu"]
    assert main(["classify", "fit", *columns, *small, f"--runs-dir={tmp_path}", "--name=one"]) == 0
    run = tmp_path / "classify/mail/one"
    files = {path.name for path in run.rglob("*")}
    assert files >= {"confusion.png", "confusion.json", "classes.json", "mistakes.csv", "learning_curve.png"}

    model = sru_apps.load(run)
    found = model.predict(RAW.splitlines(), probabilities=True)
    assert model.labels == ["food", "sport"]
    assert [prediction.label for prediction in found[:3]] == ["sport", None, "food"]
    assert [prediction.note is not None for prediction in found] == [False, False, False, True]

    (tmp_path / "raw.txt").write_text(RAW)
    capsys.readouterr()
    assert main(["classify", "predict", f"--model={run}", f"--file={tmp_path / 'raw.txt'}", "--json"]) == 0
    output = capsys.readouterr()
    printed = [json.loads(line) for line in output.out.splitlines()]
    assert [{**row, "pair": None} for row in printed] == [prediction._asdict() for prediction in found]
    assert "unknown: " in output.err

    (tmp_path / "raw.csv").write_text("body\n" + "".join(f'"{line}"\n' for line in RAW.splitlines()))
    table = [f"--file={tmp_path / 'raw.csv'}", "--text-column=body", f"--out={tmp_path / 'out.csv'}"]
    assert main(["classify", "predict", f"--model={run}", *table]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["body"] for row in rows] == RAW.splitlines()
    assert [row["probability"] for row in rows] == [
        "" if prediction.probability is None else repr(prediction.probability) for prediction in found
    ]

"""The report on a trained classifier."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.functional import classification as torchmetrics

from sru_apps import load
from sru_apps.cli import main
from sru_apps.tasks.classify.calibration import Reliability
from sru_apps.tasks.classify.pictures import draw_confusion, draw_reliability, shorten
from sru_apps.tasks.classify.tally import LARGEST_MATRIX, Tally

CLASSES = 5
NAMES = [f"class {number}" for number in range(CLASSES)]


def random_scores(texts: int = 400, *, several: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(texts, CLASSES, generator=generator)
    if several:
        return logits, torch.rand(texts, CLASSES, generator=generator) < 0.3
    # The last class never occurs and is never predicted; the one before is only predicted.
    logits[:, -1] = -99
    return logits, torch.randint(0, CLASSES - 2, (texts,), generator=generator)


def tallied(logits: torch.Tensor, labels: torch.Tensor, **settings: Any) -> Tally:
    tally = Tally(CLASSES, **settings)
    for start in range(0, len(logits), 150):
        part = slice(start, start + 150)
        tally.add(logits[part], labels[part], range(len(logits))[part])
    return tally


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("mean", ["macro", "micro", "weighted", "none"])
def test_figures_equal_torchmetrics(several: bool, mean: Any) -> None:
    logits, labels = random_scores(several=several)
    found = tallied(logits, labels, multi_label=several).classes(NAMES)
    settings: dict[str, Any] = {"task": "multilabel" if several else "multiclass", "average": mean}
    settings["num_labels" if several else "num_classes"] = CLASSES
    for name, oracle in (
        ("precision", torchmetrics.precision),
        ("recall", torchmetrics.recall),
        ("f1", torchmetrics.f1_score),
    ):
        ours = found[mean][name] if mean != "none" else [row[name] for row in found["classes"]]
        theirs = oracle(logits.sigmoid() if several else logits, labels.long(), **settings)
        torch.testing.assert_close(torch.tensor(ours), theirs, rtol=0, atol=1e-6)


def test_confusion_counts_true_labels_in_rows() -> None:
    logits, labels = random_scores()
    tally = tallied(logits, labels)
    theirs = torchmetrics.multiclass_confusion_matrix(logits, labels, CLASSES)
    assert torch.equal(tally.confusion, theirs)
    assert tally.classes(NAMES)["accuracy"] == pytest.approx(
        float((logits.argmax(-1) == labels).float().mean())
    )
    assert Tally(LARGEST_MATRIX + 1).confusion is None


def test_the_worst_mistakes_come_first() -> None:
    logits, labels = random_scores()
    tally = tallied(logits, labels)
    assert len(tally.mistakes) == 100
    p, predicted = logits.double().softmax(-1).max(-1)
    wrong = [(-float(p[i]), i) for i in range(len(labels)) if predicted[i] != labels[i]]
    assert [(mistake.doubt, mistake.place) for mistake in tally.mistakes] == sorted(wrong)[:100]
    first = tally.mistakes[0]
    assert first.truth == pytest.approx(float(logits[first.place].double().softmax(-1)[first.label]))
    assert first.label == labels[first.place] != first.predicted == predicted[first.place]


def test_missed_and_wrongly_given_labels_are_mistakes() -> None:
    logits = torch.tensor([[4.0, -9.0], [-5.0, 9.0], [1.0, 3.0]])
    labels = torch.tensor([[False, False], [True, True], [True, True]])
    tally = Tally(2, multi_label=True)
    tally.add(logits, labels, [7, 8, 9])
    assert [(m.place, m.label, m.predicted) for m in tally.mistakes] == [(8, 0, 0), (7, 0, 1)]
    assert tally.mistakes[0].truth == pytest.approx(float(torch.sigmoid(torch.tensor(-5.0))), rel=1e-5)
    assert tally.right == 1


def test_long_labels_are_shortened_in_the_middle() -> None:
    assert shorten("a fine label") == "a fine label"
    assert shorten("complaints about late delivery") == "complaints abo…elivery"
    assert len(shorten("x" * 99)) == 22
    assert shorten("orders from abroad, paid") != shorten("orders from abroad, open")


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("size", [2, 51])
def test_a_label_may_contain_any_characters(tmp_path: Path, size: int) -> None:
    labels = ["$a", "苹果 ½", r"\frac{a", "_^{", *(f"label {number}" for number in range(size))][:size]
    draw_confusion(tmp_path / "x.png", torch.arange(size * size).view(size, size), labels, "$x, 苹果")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("pictures")
def test_reliability_before_and_after_calibration_is_drawn(tmp_path: Path) -> None:
    logits, labels = random_scores()
    found = {"as trained": Reliability(), "$calibrated": Reliability()}
    for temperature, reliability in enumerate(found.values(), 1):
        reliability.add(logits, labels, temperature, multi_label=False)
    draw_reliability(tmp_path / "x.png", found, "$x, 苹果", "accuracy")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_fit_writes_the_report(trained_run: Path) -> None:
    folder = trained_run / "figures"
    summary = json.loads((trained_run / "summary.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.json",
        "calibration.png",
        "classes.csv",
        "classes.json",
        "confusion.json",
        "confusion.png",
        "mistakes.csv",
    ]
    classes, confusion, calibration = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("classes", "confusion", "calibration")
    )
    assert (classes["dataset"], classes["part"], classes["examples"]) == ("sst2", "test", 24)
    assert classes["accuracy"] == pytest.approx(summary["test_accuracy"])
    assert classes["macro"]["f1"] == summary["test"]["macro_f1"]
    assert calibration["nll"] == pytest.approx(summary["test"]["loss"], rel=1e-5)
    assert confusion["labels"] == ["negative", "positive"]
    assert [sum(row) for row in confusion["counts"]] == [12, 12]
    rows = list(csv.DictReader((folder / "classes.csv").read_text().splitlines()))
    assert [float(row["f1"]) for row in rows] == [row["f1"] for row in classes["classes"]]
    mistakes = list(csv.DictReader((folder / "mistakes.csv").read_text().splitlines()))
    assert len(mistakes) == 24 - sum(confusion["counts"][i][i] for i in range(2))
    assert "calibrated" not in calibration


@pytest.mark.usefixtures("pictures")
def test_the_report_of_a_checkpoint(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new/out"
    assert main(["classify", "test", str(trained_run), f"--out={out}"]) == 0
    assert "macro mean" in capsys.readouterr().out
    for name in ("classes.json", "mistakes.csv", "confusion.png"):
        assert (out / name).read_bytes() == (trained_run / "figures" / name).read_bytes()


def test_the_report_of_the_validation_set(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "validate", str(trained_run), f"--out={tmp_path}", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    content = json.loads((tmp_path / "classes.json").read_text())
    assert (content["part"], content["examples"]) == ("validation", 16)
    assert result["macro_f1"] == content["macro"]["f1"]


def test_a_report_that_cannot_be_written(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["classify", "test", str(trained_run), f"--out={tmp_path / 'file'}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "File exists" in line


def test_a_temperature_is_fitted_and_exported(
    small_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    one_thread: None,
    stop_before: Callable[[int, signal.Signals], None],
) -> None:
    fit = ["classify", "fit", *small_options, "--calibrate", "--trainer.max_epochs=1"]
    assert main([*fit, "--name=x"]) == 0
    assert "temperature " in capsys.readouterr().out
    run = tmp_path / "runs/classify/sst2/x"
    temperature = json.loads((run / "model/config.json").read_text())["temperature"]
    calibration = json.loads((run / "figures/calibration.json").read_text())
    assert calibration["calibrated"]["temperature"] == temperature != 1
    assert calibration["calibrated"]["part"] == "validation"
    assert calibration["calibrated"]["nll"] != calibration["nll"]
    assert main(["classify", "test", str(run), f"--out={tmp_path / 'again'}"]) == 0
    assert (tmp_path / "again/mistakes.csv").read_bytes() == (run / "figures/mistakes.csv").read_bytes()
    best = run / "checkpoints/best.ckpt"
    (answer,), (other,) = (load(path).predict(["a warm film"]) for path in (run, best))
    assert answer == other
    stop_before(5, signal.SIGINT)
    assert main([*fit, "--name=stopped"]) == 130
    assert main(["classify", "fit", f"--resume={run.with_name('stopped')}"]) == 0
    for name in ("model/config.json", "figures/calibration.json", "figures/mistakes.csv"):
        assert (run.with_name("stopped") / name).read_bytes() == (run / name).read_bytes()
    assert main(["classify", "fit", f"--resume={best}", "--trainer.max_epochs=2"]) == 0


@pytest.mark.usefixtures("pictures")
def test_multi_label_reports_have_a_confusion_table_per_label(
    tmp_path: Path, small_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f"{'good ' * (i % 2)}{'late ' * (i % 3 == 0)}{i},{'+' * (i % 2)}|{'-' * (i % 3 == 0)}"
        for i in range(60)
    ]
    (tmp_path / "mail.csv").write_text(
        "\n".join(["text,label", *(row.replace(",|", ",").rstrip("|") for row in rows)])
    )
    own = [f"--data.train_file={tmp_path / 'mail.csv'}", "--data.label_separator=|", "--trainer.max_epochs=1"]
    assert main(["classify", "fit", *small_options[2:], *own, "--name=x"]) == 0
    assert "micro mean" in capsys.readouterr().out
    folder = tmp_path / "runs/classify/mail/x/figures"
    assert not (folder / "confusion.png").exists()
    tables = json.loads((folder / "confusion.json").read_text())["labels"]
    classes = json.loads((folder / "classes.json").read_text())
    assert [table["label"] for table in tables] == [row["label"] for row in classes["classes"]]
    for table, row in zip(tables, classes["classes"], strict=True):
        (_, false), (missed, hits) = table["counts"]
        assert sum(map(sum, table["counts"])) == classes["examples"]
        assert (hits + missed, hits + false) == (row["support"], row["predicted"])
    wrong = sum(table["counts"][0][1] + table["counts"][1][0] for table in tables)
    mistakes = list(csv.DictReader((folder / "mistakes.csv").read_text().splitlines()))
    assert len(mistakes) == wrong
    assert {row["predicted"] for row in mistakes} <= {"given", "not given"}

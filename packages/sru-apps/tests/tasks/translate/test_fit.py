"""`sru translate`: training, and evaluation on files with several references."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.translate.decoding import search
from sru_apps.tasks.translate.metrics import TranslationScorer

pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu")


def run(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    capsys.readouterr()
    assert main(["translate", *map(str, args)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    capsys.readouterr()
    assert main(["translate", *map(str, args)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_fit_tests_and_exports_the_best_epoch(trained: Path, corpus: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert {"loss", "perplexity", "bleu", "chrf"} <= summary["test"].keys()
    assert summary["test_bleu"] == summary["test"]["bleu"]
    assert (summary["unit"], summary["dataset"]) == ("words", "train")
    references = (corpus / "test.de").read_text(encoding="utf-8").splitlines()
    written = (trained / "figures/translations.txt").read_text(encoding="utf-8").splitlines()
    model = sru_apps.load(trained)
    sources = (corpus / "test.en").read_text(encoding="utf-8").splitlines()
    assert written == [found.text for found in model.predict(sources)]
    scores = TranslationScorer().corpus(written, [(reference,) for reference in references])
    assert summary["test_chrf"] == pytest.approx(scores.chrf)
    found = json.loads((trained / "figures/scores.json").read_text())
    assert found["chrf"] == pytest.approx(scores.chrf)
    assert found["beam"] == 2
    assert found["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    header, *rows = (trained / "figures/sentences.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["bleu", "chrf", "source", "reference", "translation"]
    assert [row.split("\t")[2:] for row in rows] == [
        list(row) for row in zip(sources, references, written, strict=True)
    ]


def test_evaluation_on_other_sentences_with_several_references(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = sru_apps.load(trained)
    sources = ["one two three four five six", "seven six five four three"]
    (tmp_path / "news.en").write_text("\n".join(sources) + "\n")
    translations = [found.text for found in model.predict(sources)]
    for name, texts in (("one", translations), ("two", ["etwas anderes"] * 2)):
        (tmp_path / f"{name}.de").write_text("\n".join(texts) + "\n", encoding="utf-8")
    files = [
        f"--test-file={tmp_path / 'news.en'}",
        "--test-target-file",
        tmp_path / "two.de",
        tmp_path / "one.de",
    ]
    out = run(capsys, "test", trained, *files, "--bleu-tokenizer=none", f"--out={tmp_path / 'figures'}")
    assert "chrF 100.00, loss " in out, "the best of both references counts"
    assert "nrefs:2|case:mixed|eff:no|tok:none|smooth:exp|version:" in out
    assert (tmp_path / "figures/translations.txt").read_text(encoding="utf-8").splitlines() == translations


def test_evaluation_on_a_table(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "one two three four five six"
    translation = sru_apps.load(trained).translate(source)[0].text
    for name, columns in (("usual", "source\ttarget"), ("own", "en\tde")):
        (tmp_path / f"{name}.tsv").write_text(f"{columns}\n{source}\t{translation}\n", encoding="utf-8")
    assert "chrF 100.00, loss " in run(capsys, "test", trained, f"--test-file={tmp_path / 'usual.tsv'}")
    columns = ["--source-column=en", "--target-column=de"]
    out = run(capsys, "test", trained, f"--test-file={tmp_path / 'own.tsv'}", *columns)
    assert "chrF 100.00, loss " in out


def test_the_report_translates_nothing_again(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def counting(network: Any, source: torch.Tensor, *args: Any, **options: Any) -> Any:
        counted.append(source.shape[1])
        return search(network, source, *args, **options)

    monkeypatch.setattr("sru_apps.tasks.translate.module.search", counting)
    run(capsys, "test", trained, f"--out={tmp_path / 'figures'}")
    assert sum(counted) == 6
    written, former = (
        (folder / "translations.txt").read_text() for folder in (tmp_path / "figures", trained / "figures")
    )
    assert written == former


def test_validate_uses_the_given_beam(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        beam: json.loads(run(capsys, "validate", trained, f"--beam={beam}", "--json")) for beam in (1, 2)
    }
    summary = json.loads((trained / "summary.json").read_text())
    assert found[2]["bleu"] == pytest.approx(summary["validation"]["bleu"])
    assert found[1]["loss"] == pytest.approx(found[2]["loss"])


def test_fsdp_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = "the strategy fsdp is not supported for this task; give --trainer.strategy ddp"
    assert message in refused(capsys, "fit", *options, "--trainer.strategy=fsdp", "--trainer.devices=2")


def test_pairs_are_prepared_once(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [option for option in options if option.startswith("--data.")]
    out = run(capsys, "prepare", *data)
    assert "train: pairs: train 30, validation 8, test 6; 11 and 11 words" in out
    assert f"Prepared pairs: {tmp_path / 'prepared'}" in out


def test_training_starts_from_another_model(
    trained: Path,
    corpus: Path,
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Path(shutil.copy(corpus / "train.en", tmp_path))
    left_out = ("--data.prepared_dir", "--data.unit", "--data.train_file")
    own = [option for option in options if not option.startswith(left_out)]
    own.append(f"--data.train_file={source}")
    out = run(capsys, "fit", *own, f"--init-from={trained}", "--name=second", "--trainer.max_steps=1")
    assert "11 and 11 words" in out
    assert f"starts from {trained}: " in out
    for option in ("--joint=true", "--subword-model=bpe"):
        assert main(["translate", "fit", *own, f"--init-from={trained}", option]) != 0
        assert "--init-from takes the vocabulary of its model, got" in capsys.readouterr().err
    assert "; new: " not in out
    second = trained.parent / "second"
    assert main(["translate", "fit", f"--resume={second}", "--trainer.max_steps=2"]) == 0
    summary = json.loads((second / "summary.json").read_text())
    assert summary["steps"] == 2
    # It can be evaluated like any other model, without its training pairs.
    source.write_text("one\n")
    found = json.loads(run(capsys, "validate", second, "--json"))
    assert found["bleu"] == pytest.approx(summary["validation"]["bleu"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dev.de", b"eins\nzwei\n", "dev.de: expected 8 lines, one for each line of "),
        ("train.en", b"one\ntw\xff\n", "train.en:2: "),
        (
            "train.de",
            (b"eins " * 11 + b"\n") * 30,
            "none of them usable: sentence longer than the limit",
        ),
    ],
)
def test_files_that_are_refused(
    options: list[str],
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    message: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    others = [option.replace(str(corpus / name), str(tmp_path / name)) for option in options]
    assert message in refused(capsys, "fit", *others, "--name=x")
    assert not (tmp_path / "runs").exists()
    assert not list((tmp_path / "prepared").glob("*.ids"))

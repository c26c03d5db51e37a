"""Training on your own CSV file."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.classify.data import SentenceData
from sru_apps.tasks.classify.module import ClassifierModule
from sru_apps.train.checkpoints import read_checkpoint
from sru_apps.train.errors import UserError
from sru_apps.train.optimizers import OptimizerConfig
from sru_data import DataError

COLUMNS = ("body", "folder", "reply", "tags")
SMALL = [
    "--data.text_column=body",
    "--data.batch_size=4",
    "--model.hidden_size=6",
    "--optimizer.lr=0.02",
    "--trainer.accelerator=cpu",
]


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """Forty mails: three in four are spam; each has up to three tags."""
    path = tmp_path / "mail.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(40):
            spam = number % 4 > 0
            text = f"{'WIN' if spam else 'Meet'} {number} now!"
            tags = "|".join(tag for place, tag in enumerate("abc") if number >> place & 1)
            writer.writerow([text, "Spam" if spam else "Work", "no, thanks." if spam else "yes", tags])
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text("now 1 2 3\nwin 4 5 6\nunseen 7 8 9\n")
    return path


def make(path: Path, **options: Any) -> SentenceData:
    names = {"text_column": "body", "label_column": "folder"}
    data = SentenceData(train_file=str(path), **{**names, **options})
    data.setup("fit")
    return data


def test_train_test_and_predict_with_a_csv_file(
    mail: Path, vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = [f"--data.train_file={mail}", "--data.label_column=folder", "--trainer.max_epochs=3", *SMALL]
    fit += ["--data.class_weights=balanced", f"--embeddings={vectors}"]
    assert main(["classify", "fit", *fit, f"--runs-dir={tmp_path}", "--name=one"]) == 0
    opening = capsys.readouterr().out
    assert "mail: 32 + 4 + 4 texts for training, validation and test; labels: Spam (24), Work (8)" in opening
    run = tmp_path / "classify/mail/one"
    summary = json.loads((run / "summary.json").read_text())
    shutil.move(mail, tmp_path / "moved.csv")
    assert main(["classify", "test", str(run)]) == 1
    message = capsys.readouterr().err
    assert f"no file at {mail}; if it has moved, give its new location with --train-file\n" in message
    assert main(["classify", "test", str(run), "--json", f"--train-file={tmp_path / 'moved.csv'}"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == summary["test_accuracy"]
    assert result["tokens"] == 4 * 4
    assert result["unknown"] == 4
    assert "test: 4 of 16 words (25.0 %) are unknown: '" in opening
    weights = read_checkpoint(run / "checkpoints/best.ckpt")["state_dict"]
    assert weights["network.embedding.fixed"].tolist() == [[7, 8, 9]]
    assert main(["classify", "predict", f"--model={run}", "WIN now!", "Unseen now!"]) == 0
    assert [line.split("\t")[0] in ("Spam", "Work") for line in capsys.readouterr().out.splitlines()] == [
        True
    ] * 2
    config = json.loads((run / "model/config.json").read_text())
    assert (config["labels"], config["temperature"]) == (["Spam", "Work"], 1.0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "options",
    [
        [
            "--data.label_column=folder",
            "--data.class_weights=balanced",
            "--model.label_smoothing=0.1",
            "--model.pooling=attention",
        ],
        [
            "--data.label_column=tags",
            "--data.label_separator=|",
            "--data.pair_column=reply",
            "--data.freeze_embeddings=true",
            "--data.class_weights=balanced",
        ],
    ],
    ids=["one label, weighted", "pairs with several labels, frozen"],
)
def test_an_interrupted_run_continues_at_the_same_place(
    options: list[str],
    mail: Path,
    vectors: Path,
    tmp_path: Path,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    files = [f"--data.train_file={mail}", f"--embeddings={vectors}", f"--runs-dir={tmp_path}"]
    fit = ["classify", "fit", *files, *SMALL, *options, "--trainer.max_epochs=2"]
    assert main([*fit, "--name=undisturbed"]) == 0
    stop_before(11, signal.SIGINT)
    assert main([*fit, "--name=interrupted"]) == 130
    group = tmp_path / "classify/mail"
    assert main(["classify", "fit", f"--resume={group / 'interrupted'}"]) == 0
    assert_same_checkpoints(group / "interrupted", group / "undisturbed")


def test_multiple_labels_are_bits(mail: Path) -> None:
    data = make(mail, label_column="tags", label_separator="|", class_weights="balanced")
    (batch, *_) = data.val_dataloader()
    assert batch.labels.dtype == torch.bool
    texts = [data.tokenizer.decode(column.tolist()) for column in batch.ids.t()]
    numbers = [example.text.split()[1] for example in data.splits.validation]
    for text, bits in zip(texts, batch.labels.tolist(), strict=True):
        number = next((number for number in numbers if number in text.split()), None)
        if number is not None:
            assert bits == [bool(int(number) >> place & 1) for place in range(3)]
    counts = [sum(place in e.label for e in data.splits.train) for place in range(3)]
    total = len(data.splits.train)
    assert data.class_weights() == pytest.approx([(total - count) / count for count in counts])


def test_pairs_are_two_texts(mail: Path) -> None:
    data = make(mail, pair_column="reply")
    (batch, *_) = data.test_dataloader()
    assert batch.pair_ids is not None
    seconds = {data.tokenizer.decode(column.tolist()) for column in batch.pair_ids.t()}
    assert seconds <= {"no , thanks .", "yes"}


def test_balanced_weights_are_inversely_proportional_to_class_counts(mail: Path) -> None:
    assert make(mail).class_weights() is None
    weights = make(mail, class_weights="balanced").class_weights()
    assert weights == pytest.approx([32 / (2 * 24), 32 / (2 * 8)])


def test_a_label_may_be_any_text(mail: Path) -> None:
    names = ["très bien\u00a0!", "\U0001f469\u200d\U0001f4bb, work"]
    for name, other in zip(("Spam", "Work"), names, strict=True):
        mail.write_text(mail.read_text().replace(name, f'"{other}"'))
    data = make(mail)
    assert ClassifierModule.build(data, {}, OptimizerConfig()).label_names == sorted(names)


def test_other_labels_are_refused(mail: Path) -> None:
    state = make(mail).state_dict()
    mail.write_text(mail.read_text().replace("Work", "Play"))
    message = "the labels of mail differ from those this checkpoint .* expected Spam, Work, got Play, Spam"
    with pytest.raises(DataError, match=message):
        make(mail).load_state_dict(state)
    later = SentenceData(train_file=str(mail), text_column="body", label_column="folder")
    later.load_state_dict(state)
    with pytest.raises(DataError, match=message):
        later.setup("test")


@pytest.mark.parametrize(
    ("files", "name"),
    [("a/mail.csv.gz", "mail"), (["x.tsv", "y.tsv"], "x"), ("a/b/*.csv", "b"), ("*.csv", "files")],
)
def test_runs_are_named_after_the_file(files: Any, name: str) -> None:
    assert SentenceData(train_file=files).group == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_file": "x", "test_file": []}, "--data.test_file must name a file, got an empty list"),
        ({"train_file": ""}, "--data.train_file must name a file, got an empty text; name one or leave it"),
        ({}, r"no data chosen; give --recipe or --data.name \(cr, .*\), or your own files"),
        ({"name": "sst2", "train_file": "x"}, "both --data.name and --data.train_file are given"),
        ({"name": "sst2", "test_file": "x"}, "--data.test_file is for your own files, not for sst2"),
        ({"name": "mr", "phrases": True}, "--data.phrases is for sst1 and sst2, not for mr; leave it out"),
        ({"train_file": "x", "phrases": True}, "--data.phrases is for .*, not for your own files"),
        ({"name": "sst2", "text_column": "x"}, "--data.text_column is for your own files, not for sst2"),
    ],
)
def test_no_data_or_conflicting_data(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SentenceData(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "bytes", "min_count": 2}, "min_count is for words and characters, not for bytes"),
        ({"unit": "subwords", "embeddings": "x"}, "embeddings is for words, not for subwords"),
        (
            {"tokenizer": "x", "unit": "words"},
            "with --data.tokenizer there is no option unit; leave unit out",
        ),
        ({"tokenizer": "x", "vocab_size": 9}, "with --data.tokenizer there is no option vocab_size"),
        ({"freeze_embeddings": True}, "freeze_embeddings needs pretrained vectors; give --data.embeddings"),
        ({"embedding_words": -1}, "embedding_words must be at least 0, got -1"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SentenceData("sst2", **options)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"unit": "bytes"}, 258),
        ({"unit": "characters"}, 2 + len(set("WIN Meet now!0123456789"))),
        ({"unit": "characters", "vocab_size": 8}, 8),
        ({"rules": "spaces", "min_count": 20}, 4),
        ({"min_count": 20}, 5),
        ({"min_count": 20, "lowercase": False}, 5),
    ],
)
def test_units_of_text(mail: Path, options: dict[str, Any], size: int) -> None:
    assert len(make(mail, **options).tokenizer) == size


def test_a_tokenizer_from_a_file(mail: Path, tmp_path: Path) -> None:
    make(mail, unit="characters").tokenizer.save(tmp_path / "tokenizer.json")
    data = make(mail, tokenizer=str(tmp_path / "tokenizer.json"))
    assert data.tokenizer.tokens == make(mail, unit="characters").tokenizer.tokens
    assert data.unknown("test").unknown == 0
    assert make(mail, unit="bytes").unknown("test") is None


def test_an_empty_vocabulary_is_refused(mail: Path) -> None:
    with pytest.raises(UserError, match=r"cannot build a vocabulary from mail: .* occurs at least 99 times"):
        make(mail, min_count=99)

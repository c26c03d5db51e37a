"""`sru classify predict` on tables: each row is copied, in the same format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from sru_apps.cli import main
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.train.export import export_model
from sru_data.tokenizers import WordTokenizer

MAIL = 'id,body,label\n1,"A warm\nfilm",x\n\n2,,y\n3,zebra gnu,z\n4,"say ""moving""",\n'

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    (tmp_path / "mail.csv").write_text(MAIL)
    return tmp_path / "mail.csv"


def predict(run: Path, *args: object) -> int:
    return main(["classify", "predict", f"--model={run}", *map(str, args)])


def test_a_csv_gets_additional_columns(
    trained_run: Path, mail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert predict(trained_run, "--file", mail, "--text-column=body", "--all", f"--out={out}") == 0
    output = capsys.readouterr()
    classes = "probability_negative, probability_positive"
    assert output.out == f"4 rows in {out}, with the new columns label_2, probability, note, {classes}\n"
    assert output.err.startswith("sru classify predict: ")
    assert "words (" in output.err
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    former = list(csv.DictReader(io.StringIO(MAIL)))
    assert [{name: row[name] for name in former[0]} for row in rows] == former
    assert [bool(row["label_2"]) for row in rows] == [True, False, True, True]
    assert [bool(row["probability"]) for row in rows] == [True, False, True, True]
    assert [row["note"] for row in rows] == ["", "", "none of it is in the model's vocabulary", ""]
    assert float(rows[0][f"probability_{rows[0]['label_2']}"]) == float(rows[0]["probability"])


def test_standard_output_equals_the_file(
    trained_run: Path, mail: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert predict(trained_run, "--file", mail, "--text-column=body") == 0
    printed = capfdbinary.readouterr().out
    assert predict(trained_run, "--file", mail, "--text-column=body", f"--out={tmp_path / 'out.csv'}") == 0
    assert printed == (tmp_path / "out.csv").read_bytes()


def test_json_lines_stay_json_lines(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a warm film"}\n{"text": ""}\n')
    assert predict(trained_run, "--file", tmp_path / "x.jsonl", "--out", tmp_path / "out.jsonl") == 0
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["label"] in ("negative", "positive")
    assert second == {"text": "", "label": None, "probability": None, "note": None}


def test_json_gives_all_probabilities(
    trained_run: Path, mail: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(trained_run, "--file", mail, "--text-column=body", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["A warm\nfilm", "", "zebra gnu", 'say "moving"']
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)


def test_a_row_of_unknown_words_is_named(trained_run: Path, mail: Path) -> None:
    with pytest.warns(UserWarning, match=r"mail.csv:6: none of it is in the model's vocabulary"):
        assert predict(trained_run, "--file", mail, "--text-column=body") == 0


def test_doubtful_rows_after_the_tenth_are_counted(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text\n" + "zebra\n" * 15)
    with pytest.warns(UserWarning, match="there are 5 more such sentences") as warned:
        assert predict(trained_run, "--file", tmp_path / "x.csv") == 0
    assert sum("none of it" in str(warning.message) for warning in warned) == 10


def test_lines_of_several_text_files(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name} film\n\n")
    assert predict(trained_run, "--file", tmp_path / "*.txt") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[2] for line in lines] == ["a film", "", "b film", ""]
    assert predict(trained_run, "--file", tmp_path / "a.txt", f"--out={tmp_path / 'out.csv'}") == 0
    assert (tmp_path / "out.csv").read_text().startswith("text,label,probability,note\na film,")


def test_another_encoding_and_delimiter(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.dat").write_bytes("text|id\ncaf\xe9 film|1\n".encode("cp1252"))
    args = ["--kind=csv", "--encoding=cp1252", "--delimiter=|", "--json"]
    assert predict(trained_run, "--file", tmp_path / "x.dat", *args) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "café film"
    (tmp_path / "x.txt").write_bytes(b"caf\xe9 film\n")
    assert predict(trained_run, "--file", tmp_path / "x.txt", "--encoding=cp1252") == 0
    assert capsys.readouterr().out.endswith("\tcafé film\n")
    assert predict(trained_run, "--file", tmp_path / "x.dat", "--encoding=klingon") == 1
    assert "encoding" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--text-column=bod"],
            "expected a column 'bod', got a CSV file with the columns 'id', 'body'",
        ),
        (
            ["--text-column=sentence"],
            "'body', 'label'; choose one of these with --text-column",
        ),
        (
            ["--text-column=body", "--pair-column=id"],
            "the model classifies single sentences; leave out",
        ),
        (["--text-column=body", "--out=out.tsv"], "expected a name that ends in .csv"),
        (
            ["--out=x.csv", "--json"],
            "--out is for the rows of --file, and --json prints; leave one",
        ),
    ],
)
def test_invalid_options(
    trained_run: Path, mail: Path, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(trained_run, "--file", mail, *args) in (1, 2)
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


def test_out_without_file(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(trained_run, "moving", "--out=x.csv") == 2
    assert (
        "--out is for the rows of --file, and results for sentences given as arguments"
        in capsys.readouterr().err
    )


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """An untrained model for pairs."""
    tokenizer = WordTokenizer.train(["a warm film"])
    settings = {"vocab_size": 5, "embedding_size": 4, "hidden_size": 3, "num_classes": 2, "pairs": True}
    network = SentenceClassifier(ClassifierConfig(**settings))
    entries = {"task": "classify", "labels": ["no", "yes"], "model": settings}
    export_model(tmp_path / "pairs", network, entries, tokenizer)
    return tmp_path / "pairs"


def test_pairs(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(pairs, "a film\tfilm", "", "\twarm") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2:] for row in rows] == [["a film", "film"], ["", ""], ["", "warm"]]
    (tmp_path / "x.csv").write_text("one,two\na film,film\n,\n,warm\n")
    columns = ["--text-column=one", "--pair-column=two"]
    assert predict(pairs, "--file", tmp_path / "x.csv", *columns, "--out", tmp_path / "out.csv") == 0
    table = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row[2] for row in table[1:]] == [row[0] for row in rows]
    assert predict(pairs, "--file", tmp_path / "x.csv", *columns, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pair"] == "warm"


def test_lines_without_a_pair(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(pairs, "a film\tfilm", "a film") == 1
    expected = "line 2: expected two sentences with a tab between them, got one: 'a film'"
    assert expected in capsys.readouterr().err
    (tmp_path / "x.csv").write_text("text\na film\n")
    assert predict(pairs, "--file", tmp_path / "x.csv") == 1
    assert "the model classifies pairs of sentences; give --pair-column" in capsys.readouterr().err

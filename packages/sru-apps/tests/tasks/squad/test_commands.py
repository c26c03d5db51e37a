"""`sru squad predict` and `sru squad ask`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.squad.model import ReaderConfig, build_reader
from sru_apps.train.export import export_model
from sru_data.tokenizers import WordTokenizer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PASSAGE = "The cat sat\r\non a \u201cmat\u201d."
QUESTIONS = ["Who sat?", "Where\u2019s the cat?"]
Said = Callable[[], tuple[str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported untrained reader."""
    torch.manual_seed(0)
    tokenizer = WordTokenizer.from_words(["the", "cat", "sat", "on", "a", "mat", ".", "who", "where", "?"])
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 4, "num_features": 3, "hidden_size": 3}
    config = ReaderConfig(**sizes, num_layers=1)
    folder = tmp_path_factory.mktemp("model")
    texts = {"annotator": {"features": "none"}, "tags": [], "entities": []}
    entries = {"task": "squad", **texts, "threshold": None, "model": asdict(config)}
    export_model(folder, build_reader(config), entries, tokenizer)
    return folder


def run(command: str, model: Path, *args: object) -> int:
    return main(["squad", command, f"--model={model}", *map(str, args)])


def row(answer: Any, *more: str) -> str:
    text = " ".join(answer.text.split())
    return "\t".join([text, f"{answer.probability:.4f}", str(answer.start), str(answer.end), *more])


def test_the_command_answers_like_the_python_api(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = sru_apps.load(model)
    found = [reader.answer(PASSAGE, question, k=2) for question in QUESTIONS]
    expected = [
        row(answer, question) for question, two in zip(QUESTIONS, found, strict=True) for answer in two
    ]
    assert run("predict", model, "--passage", PASSAGE, *QUESTIONS, "-k", 2) == 0
    assert capsys.readouterr().out.splitlines() == expected
    (tmp_path / "passage.txt").write_bytes(b"\xef\xbb\xbf" + PASSAGE.encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(QUESTIONS).encode())))
    assert run("predict", model, f"--passage-file={tmp_path / 'passage.txt'}", "-k=2") == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert run("predict", model, "--passage", PASSAGE, *QUESTIONS, "--json", "--max-length=1") == 0
    for line, question in zip(capsys.readouterr().out.splitlines(), QUESTIONS, strict=True):
        (best,) = reader.answer(PASSAGE, question, max_length=1)
        assert json.loads(line) == {"question": question, "answers": [best._asdict()]}


@pytest.mark.parametrize("passage", ["# the cat", "null", "[1, 2]", "{a: b}", "1e3"])
def test_a_passage_is_not_parsed_as_yaml(
    model: Path, passage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", model, "--passage", passage, passage, "--json", "-k=99") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["question"] == passage
    assert passage in {answer["text"] for answer in found["answers"]}


def test_a_table(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = sru_apps.load(model)
    rows = [("1", PASSAGE, "Who?"), ("2", "", "Who?"), ("3", "the mat", "")]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("start", "text", "question"), *rows])
    options = [f"--file={tmp_path / 'in.csv'}", "--passage-column=text"]
    with pytest.warns(UserWarning, match=r"in\.csv:4: the passage has no words"):
        assert run("predict", model, *options, f"--out={tmp_path / 'out.csv'}", "-k=2") == 0
    assert "3 rows in " in capsys.readouterr().out
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        header, first, *others = csv.reader(file)
    assert header[3:] == ["answer", "probability", "start_2", "end", "note", "answers"]
    best, second = reader.answer(PASSAGE, "Who?", k=2)
    assert first[:3] == list(rows[0])
    assert first[3:8] == [best.text, str(best.probability), str(best.start), str(best.end), ""]
    assert json.loads(first[8]) == [best._asdict(), second._asdict()]
    assert [other[3:8] for other in others] == [
        ["", "", "", "", "the passage has no words"],
        ["", "", "", "", "the question has no words"],
    ]
    assert run("predict", model, *options, "--json") == 0
    assert [len(json.loads(line)["answers"]) for line in capsys.readouterr().out.splitlines()] == [1] * 3


def test_json_lines_to_standard_output(
    model: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"passage": PASSAGE, "question": "Who?"}) + "\n")
    assert run("predict", model, f"--file={tmp_path / 'x.jsonl'}") == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert found["answer"] == PASSAGE[found["start"] : found["end"]]


def test_a_squad_file(
    model: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = f"--file={questions / 'dev.json'}", tmp_path / "out.json"
    articles = json.loads((questions / "dev.json").read_text())["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    reader = sru_apps.load(model)
    expected = {
        question["id"]: reader.answer(paragraph["context"], question["question"])[0].text
        for paragraph in paragraphs
        for question in paragraph["qas"]
    }
    assert run("predict", model, file, f"--out={out}") == 0
    assert f"{len(expected)} answers in {out}" in capsys.readouterr().out
    assert json.loads(out.read_text()) == expected
    assert run("predict", model, file) == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert run("predict", model, file, "--json", "--kind=squad") == 0
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    assert {line["id"]: line["answers"][0]["text"] for line in lines} == expected


def test_predictions_equal_those_of_validation(
    fit: Callable[..., Path], questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # SQuAD 2.0 files, so that some questions have no answer.
    files = [f"--train-file={questions / 'train2.json'}", f"--validation-file={questions / 'dev2.json'}"]
    trained = fit("trained", *files, f"--data.prepared_dir={tmp_path / 'prepared'}")
    assert main(["squad", "validate", str(trained), f"--out={tmp_path / 'figures'}"]) == 0
    both = [f"--file={questions / name}" for name in ("dev.json", "dev2.json")]
    assert run("predict", trained, *both, f"--out={tmp_path / 'out.json'}") == 0
    assert f"21 answers in {tmp_path / 'out.json'}" in capsys.readouterr().out
    for folder in (tmp_path, trained):
        found = (folder / "figures/predictions.json").read_bytes()
        assert found == (tmp_path / "out.json").read_bytes()


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ([], 2, "no passage: give --passage TEXT or --passage-file FILE, or --file FILE"),
        (["--passage=a", "--file=x.json"], 2, "give a passage with questions, or --file, not both"),
        (["--passage=a", "--passage-file=b", "Who?"], 2, "--passage or in --passage-file, not both"),
        (
            ["--passage=a", "--out=x", "Who?"],
            2,
            "--out is for the answers to --file, and answers to questions",
        ),
        (["--file=x.json", "--out=x", "--json"], 2, "--out is for the answers to --file, and --json prints"),
        (["--passage=a"], 1, "no questions: give some as arguments, or one per line on standard input"),
        (["--passage-file=none.txt", "Who?"], 1, "cannot read none.txt: No such file or directory"),
        (["--passage-file=latin.txt", "Who?"], 1, "latin.txt is not UTF-8 at byte 3"),
        (["--passage=a", "Who?", "--threshold=1"], 1, "this model always answers, so there is no threshold"),
        (["--passage=a", "Who?", "-k=0"], 2, "k: expected a number > 0, got 0"),
        (["--file=none.json"], 1, "none.json: expected a text file, got no such file"),
        (["--file=cut.json"], 1, "cut.json"),
        (["--file=cut.json", "--out=./cut.json"], 2, "--out must be another file than those of --file"),
        (["--file=cut.json", "-k=2"], 2, "have one answer per question; add --json to print 2, or leave"),
        (["--file=cut.json", "--kind=csv"], 1, "expected a column 'passage'"),
        (["--file=x.csv"], 1, "expected a column 'passage', got a CSV file with the columns 'a', 'b'"),
        (["--file=x.csv", "--delimiter=;;"], 1, "delimiter must be one ASCII character"),
    ],
)
def test_errors(
    model: Path,
    args: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "cut.json").write_text('{"version": "1.1", "data": [{"title": "a", "paragr')
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    before = sorted(tmp_path.iterdir())
    try:
        found = run("predict", model, *args)
    except SystemExit as error:
        found = error.code  # type: ignore[assignment]
    said = capsys.readouterr()
    assert (found, said.out) == (status, "")
    assert message in said.err
    assert sorted(tmp_path.iterdir()) == before


def piped(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))


def test_questions_through_a_pipe(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = PASSAGE.split("\n")
    talk = ["", "/passage", "", "the mat", "  ", "Who?", "/quit", "Where?"]
    piped(monkeypatch, "", first, *rest, "", *QUESTIONS, *talk)
    assert run("ask", model, "-k=2") == 0
    reader = sru_apps.load(model)
    asked = [*((PASSAGE, question) for question in QUESTIONS), ("the mat", "Who?")]
    expected = [row(answer) for pair in asked for answer in reader.answer(*pair, k=2)]
    assert capsys.readouterr().out.splitlines() == expected


def test_a_first_passage_from_a_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.txt").write_text("the cat\n\nsat on a mat")
    options = [f"--passage-file={tmp_path / 'two.txt'}"]
    piped(monkeypatch, "Gnu?", "\u200b")
    assert run("ask", model, *options, "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["answers"] == [sru_apps.load(model).answer("the cat\n\nsat on a mat", "Gnu?")[0]._asdict()]
    assert second["answers"][0]["note"] == "the question has no words"
    piped(monkeypatch, "Gnu?", "\u200b")
    assert run("ask", model, *options) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "(no word of the question is in the model's vocabulary)",
        "\t\t\t",
        "(the question has no words)",
    ]


def test_an_endless_passage(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, *["y" * 1000] * 1100)
    assert run("ask", model) == 1
    assert "error: the passage is longer than 1,048,576 characters; shorten it" in capsys.readouterr().err


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_at_a_terminal(
    model: Path,
    end: type[BaseException],
    no_color: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passage = "the cat\n\nsat\x1b[2J on a mat"
    typed = iter([passage, "", "Who?"])
    prompts = []

    def type_in(prompt: str) -> str:
        prompts.append(prompt)
        for line in typed:
            return line
        raise end

    monkeypatch.setattr("builtins.input", type_in)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert run("ask", model) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert prompts == ["passage> ", "", "question> ", "question> "]
    how, first, *shown = said.out.splitlines()
    assert how.startswith("Paste a passage and end it with an empty line.")
    answer = sru_apps.load(model).answer(passage, "Who?")[0]
    assert first == row(answer).replace("\x1b", "")
    marked = f"{passage[: answer.start]}<{answer.text}>{passage[answer.end :]}".replace("\x1b", " ")
    expected = marked.replace("<", "\x1b[7m").replace(">", "\x1b[0m").split("\n")
    assert shown == [*([] if no_color else expected), ""]


def test_typed_bytes_of_another_encoding(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python reads undecodable bytes as surrogate escapes.
    typed = iter(["caf\udcc3\udca9", "", "Who\udcff?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert run("ask", model, "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[1])
    assert found["question"] == "Who\ufffd?"
    assert found["answers"][0]["text"] == "caf\xe9"


def test_a_long_passage_is_shown_around_the_answer(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert run("predict", model, "--passage", "the cat sat on a mat " * 99, "Who?", "--max-length=1") == 0
    _, shown = capsys.readouterr().out.splitlines()
    assert "\x1b[7m" in shown
    assert "..." in shown
    assert len(shown) < 850

"""`sru translate translate` and `sru translate score`."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.decoding import Search
from sru_apps.tasks.translate.predict import Translation, Translator
from sru_apps.tasks.translate.systems import build
from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.export import export_model
from sru_data.tokenizers import SentenceTokenizer, WordTokenizer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TEXTS = ["one two", "", "seven three one"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported untrained translator."""
    torch.manual_seed(0)
    texts = ("one two three four five six seven", "eins zwei drei vier fünf sechs sieben")
    tokenizer = TokenizerPair(*(SentenceTokenizer(WordTokenizer.train([text])) for text in texts))
    config = TranslationConfig(
        source_vocab_size=len(tokenizer.source),
        target_vocab_size=len(tokenizer.target),
        embedding_size=8,
        hidden_size=6,
        beam=3,
    )
    folder = tmp_path_factory.mktemp("model")
    export_model(folder, build(config), {"task": "translate", "model": asdict(config)}, tokenizer)
    return folder


def run(command: str, model: Path, *args: object) -> int:
    return main(["translate", command, f"--model={model}", *map(str, args)])


def piped(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))


def fields(translations: list[Translation]) -> list[dict[str, object]]:
    names = ("text", "score", "log_prob", "note")
    return [{name: getattr(found, name) for name in names} for found in translations if found.score]


def test_the_command_translates_like_the_python_api(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: Translator = sru_apps.load(model)
    expected = [best.text for best in trained.predict(TEXTS)]
    assert expected[1] == ""
    assert run("translate", model, *TEXTS) == 0
    assert capsys.readouterr().out.splitlines() == expected
    piped(monkeypatch, *TEXTS, "")
    assert run("translate", model) == 0
    assert capsys.readouterr().out.splitlines() == expected
    how = Search(n_best=2, length_penalty="gnmt", alpha=0.5, min_length=2, max_length=7)
    options = ["--n-best=2", "--length-penalty=gnmt", "--alpha=0.5", "--min-length=2", "--max-length=7"]
    found = list(trained.stream(TEXTS, how, prefix="zwei"))
    assert run("translate", model, *TEXTS, *options, "--prefix=zwei", "--json") == 0
    for text, rows, line in zip(TEXTS, found, capsys.readouterr().out.splitlines(), strict=True):
        assert json.loads(line) == {"source": text, "translations": fields(rows)}
    assert run("translate", model, TEXTS[0], *options, "--prefix=zwei") == 0
    assert capsys.readouterr().out.splitlines() == [f"1\t{row.score:.4f}\t{row.text}" for row in found[0]]


def test_sampled_translations_have_seeds(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = []
    for seed in (4, 5):
        options = ["--sample", "--n-best=2", "--temperature=2", f"--seed={seed}", "--json"]
        assert run("translate", model, *TEXTS[::2], *options) == 0
        rows = map(json.loads, capsys.readouterr().out.splitlines())
        drawn.append([[found["text"] for found in row["translations"]] for row in rows])
    assert [row[1] for row in drawn[0]] == [row[0] for row in drawn[1]]
    assert drawn[0] != drawn[1]


@pytest.mark.usefixtures("pictures")
def test_attention_is_plotted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "attention.png"
    assert run("translate", model, "one $two^ three", f"--attention-picture={picture}") == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("translate", model, " ", f"--attention-picture={tmp_path / 'none.png'}") == 1
    assert "there is no attention to plot: the sentence has no translation" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["attention.png"]


def test_text_files_and_tables(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained: Translator = sru_apps.load(model)
    expected = [best.text for best in trained.predict([*TEXTS, "zebra"])]
    (tmp_path / "in.en.gz").write_bytes(gzip.compress("\n".join([*TEXTS, "zebra", ""]).encode()))
    assert run("translate", model, f"--file={tmp_path / 'in.en.gz'}") == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == expected
    assert "sru translate translate: 1 of 6 words (16.7 %) are unknown: 'zebra'" in said.err
    out = tmp_path / "out.de"
    assert run("translate", model, f"--file={tmp_path / 'in.en.gz'}", f"--out={out}") == 0
    assert out.read_text(encoding="utf-8").splitlines() == expected
    assert capsys.readouterr().out == f"4 sentences in {out}\n"
    assert run("translate", model, f"--file={tmp_path / 'in.en.gz'}", "--n-best=2") == 0
    numbers = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert numbers == ["1", "1", "2", "3", "3", "4", "4"]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("en", "score"), *((text, "1") for text in [*TEXTS, "zebra"])])
    options = [f"--file={tmp_path / 'in.csv'}", "--text-column=en", f"--out={tmp_path / 'out.csv'}"]
    with pytest.warns(UserWarning, match=r"in\.csv:5: none of it is in the model's vocabulary"):
        assert run("translate", model, *options, "--n-best=2") == 0
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["en", "score", "translation", "score_2", "note", "translations"]
    assert [row[2] for row in rows] == expected
    assert json.loads(rows[0][5]) == fields(trained.translate(TEXTS[0], Search(n_best=2)))
    assert rows[1][2:] == ["", "", "", "[]"]


def test_given_translations_are_scored(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: Translator = sru_apps.load(model)
    pairs = [("one two", "eins zwei"), ("zebra", ""), ("three", "zebra drei vier")]
    scores = trained.score(pairs)
    assert [score.unknown for score in scores] == [0, 0, 1]
    for side, name in enumerate(("a.en", "a.de")):
        (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    assert run("score", model, tmp_path / "a.en", tmp_path / "a.de", "--tokens") == 0
    header, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header == ["pair", "tokens", "log-probability", "perplexity", "unknown"]
    nats, tokens = sum(score.log_prob for score in scores), sum(len(score.tokens) for score in scores)
    total = ["total", str(tokens), f"{nats:.4f}", f"{2.718281828459045 ** (-nats / tokens):.4f}", "1"]
    expected = []
    for number, score in enumerate(scores, 1):
        figures = (f"{score.log_prob:.4f}", f"{score.perplexity:.4f}", str(score.unknown))
        expected.append([str(number), str(len(score.tokens)), *figures])
        for token, log_prob in zip(score.tokens, score.log_probs, strict=True):
            expected.append([str(number), token, f"{log_prob:.4f}"])
    assert rows == [*expected, total]
    table = tmp_path / "a.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in [("en", "de"), *pairs]), encoding="utf-8")
    assert run("score", model, table, "--source-column=en", "--target-column=de", "--json") == 0
    *found, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert found == [{"pair": number, **score._asdict()} for number, score in enumerate(scores, 1)]
    assert (last["total"], last["tokens"], last["log_prob"]) == (True, tokens, pytest.approx(nats))


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["translate", "one", "--file=x"], 2, "give sentences either as arguments or in --file, not both"),
        (["translate", "one", "--out=x"], 2, "--out is for the translations of --file, but"),
        (["translate", "--file=in.en", "--out=x", "--json"], 2, "of --file, but --json prints; leave it out"),
        (
            ["translate", "--file=in.en", "--out=./in.en"],
            2,
            "--out must be another file than those of --file",
        ),
        (["translate", "--file=in.csv", "--text-column=b"], 1, "expected a column 'b'"),
        (["translate", "--file=none"], 1, "none: expected a file or folder, got No such file or directory"),
        (["translate", "--file=latin.txt", "--out=x"], 1, "expected text in utf-8, got the byte 0xe9"),
        (
            ["translate"],
            1,
            "no sentences: give some as arguments, in --file, or one per line on standard input",
        ),
        (["translate", "one", "two", "--attention-picture=x"], 2, "--attention-picture is for one sentence"),
        (["translate", "one", "--top-k=2"], 2, "--top-k is for sampling; add --sample, or leave it out"),
        (
            ["translate", "one", "--sample", "--beam=2"],
            2,
            "--beam is for the search, not for --sample; leave",
        ),
        (["translate", "one", "--n-best=4"], 1, "n_best must be at most the size of the beam, 3, got 4"),
        (["translate", "one", "--alpha=-1"], 1, "alpha must be at least 0"),
        (
            ["translate", "one", "--alpha=0.5", "--length-penalty=none"],
            1,
            "alpha is the exponent of the length penalties average and gnmt, got 0.5 with none; leave it out",
        ),
        (
            ["translate", "one", "--min-length=3", "--max-length=2"],
            1,
            "max_length must be at least min_length (3), got 2",
        ),
        (["translate", "one", "--sample", "--top-p=2"], 1, "top_p must be above 0 and at most 1, got 2"),
        (["score", *["in.en"] * 3], 2, "or one file with a column for each, got 3 files"),
        (["score", "in.en", "none"], 1, "none: expected a file, got No such file or directory"),
        (
            ["score", "in.en", "in.csv"],
            1,
            "expected 1 lines, one for each line of in.en, got 2; line n of one",
        ),
        (["score", "in.csv"], 1, "expected a column 'source'"),
        (["score", "empty", "empty"], 1, "empty"),
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
    piped(monkeypatch)
    (tmp_path / "in.en").write_text("one\n")
    (tmp_path / "in.csv").write_text("a\none\n")
    (tmp_path / "latin.txt").write_bytes(b"one\n" * 2000 + b"caf\xe9\n")
    (tmp_path / "empty").write_text("")
    before = sorted(tmp_path.iterdir())
    try:
        found = run(args[0], model, *args[1:])
    except SystemExit as error:
        found = error.code  # type: ignore[assignment]
    said = capsys.readouterr()
    assert (found, message in said.err) == (status, True), said.err
    assert sorted(tmp_path.iterdir()) == before

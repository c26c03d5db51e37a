"""`sru lm generate` and `sru lm score`, from the command line to the output."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict

import pytest
import torch
from torch.nn import functional as F

from sru_apps.cli import main
from sru_apps.inference.loading import load_trained
from sru_apps.tasks.lm import TASK
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.export import export_model
from sru_data.tokenizers import CharTokenizer, WordTokenizer

TEXT = "so it goes\n\nand goes on\nas it must"


@pytest.fixture(scope="module", params=["characters", "words", "words without line ends"])
def model(request, tmp_path_factory):
    if request.param == "characters":
        tokenizer = CharTokenizer.train([TEXT])
    else:
        line_ends = request.param == "words"
        tokenizer = WordTokenizer.train([TEXT], line_ends=line_ends, unk_token="<unk>")
    torch.manual_seed(1)
    config = LanguageModelConfig(
        vocab_size=len(tokenizer), embedding_size=8, hidden_size=8, initial_range=2.0
    )
    folder = tmp_path_factory.mktemp("lm") / "model"
    export_model(folder, LanguageModel(config), {"task": "lm", "model": asdict(config)}, tokenizer)
    return folder


generate, score = "generate", "score"


def run(capsys, command, *args):
    assert main(["lm", command, *map(str, args)]) == 0
    return capsys.readouterr().out


def fails(capsys, command, *args):
    assert main(["lm", command, *map(str, args)]) == 1
    return capsys.readouterr().err


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def test_batching_and_json_change_no_text(model, capsys):
    options = ["--model", model, "--max-tokens", 12, "--seed", 4, "--top-k", 6]
    one = run(capsys, generate, *options, "--prompt", "so it")
    two = run(capsys, generate, *options, "--prompt", "goes")
    both = run(capsys, generate, *options, "--prompt", "so it", "--prompt", "goes")
    assert one.startswith("so it")
    assert both == f"{one}\n{two}"
    found = rows(run(capsys, generate, *options, "--prompt", "so it", "--prompt", "goes", "--json"))
    assert [row["prompt"] + row["text"] + "\n" for row in found] == [one, two]
    assert [row["finish"] for row in found] == ["length", "length"]


def test_each_sample_has_its_own_seed(model, capsys):
    options = ["--model", model, "--prompt", "goes", "--max-tokens", 15, "--temperature", 3, "--json"]
    found = rows(run(capsys, generate, *options, "--samples", 2, "--seed", 7))
    assert [row["seed"] for row in found] == [7, 8]
    assert found[0]["text"] != found[1]["text"]
    assert rows(run(capsys, generate, *options, "--seed", 8)) == [found[1]]


def test_stop_strings(model, capsys):
    options = ["--model", model, "--prompt", "goes", "--max-tokens", 30, "--greedy", "--json"]
    (whole,) = rows(run(capsys, generate, *options))
    stop = whole["text"][3:5]
    (cut,) = rows(run(capsys, generate, *options, "--stop", stop))
    assert cut["finish"] == "stop"
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]


def test_a_text_that_stops_early_does_not_change_the_others(model, capsys):
    options = ["--model", model, "--max-tokens", 30, "--temperature", 4, "--prompt", "so", "--json"]
    stop = rows(run(capsys, generate, *options, "--seed", 1))[0]["text"][9:11]
    options += ["--stop", stop]
    alone = [rows(run(capsys, generate, *options, "--seed", seed))[0] for seed in range(6)]
    assert rows(run(capsys, generate, *options, "--samples", 6)) == alone
    assert len({len(row["text"]) for row in alone}) > 1


def test_prompt_from_a_file_or_standard_input(model, capsys, tmp_path, monkeypatch):
    options = ["--model", model, "--max-tokens", 5]
    wanted = run(capsys, generate, *options, "--prompt", "so it")
    (tmp_path / "p.txt").write_text("so it")
    assert run(capsys, generate, *options, "--prompt-file", tmp_path / "p.txt") == wanted
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"so it")))
    assert run(capsys, generate, *options) == wanted
    error = fails(capsys, generate, *options, "--prompt-file", tmp_path / "p.txt", "--prompt", "so")
    assert "give prompts either with --prompt or in --prompt-file, not both" in error
    assert "cannot read nowhere: No such file or directory" in fails(
        capsys, generate, *options, "--prompt-file", "nowhere"
    )
    (tmp_path / "p.txt").write_bytes(b"so \xff")
    assert "is not UTF-8 at byte 3" in fails(capsys, generate, *options, "--prompt-file", tmp_path / "p.txt")


def test_an_empty_prompt_starts_a_line(model, capsys):
    options = ["--model", model, "--max-tokens", 6, "--greedy"]
    tokenizer = load_trained(TASK, model).tokenizer
    if tokenizer.encode("\n") == [tokenizer.unk_id]:
        error = fails(capsys, generate, *options, "--prompt", "")
        assert (
            "the prompt is empty and the model's vocabulary has no line end to start from; give a prompt"
            in error
        )
        return
    assert "\n" + run(capsys, generate, *options, "--prompt", "") == run(
        capsys, generate, *options, "--prompt", "\n"
    )


def test_an_unknown_prompt(model, capsys):
    is_characters = isinstance(load_trained(TASK, model).tokenizer, CharTokenizer)
    kind, shown = ("characters", "'z', 'é'") if is_characters else ("words", "'zé'")
    message = f"^{kind} that are not in the model's vocabulary are read as the unknown symbol: {shown}$"
    options = ["--model", model, "--prompt", "so zé it", "--max-tokens", 3]
    with pytest.warns(UserWarning, match=message):
        found = run(capsys, generate, *options)
    assert found.startswith("so zé it")
    assert run(capsys, generate, *options, "--allow-unknown") == found
    if not is_characters:  # An explicit <unk> gives no warning.
        assert run(capsys, generate, "--model", model, "--prompt", "so <unk>", "--max-tokens", 1)


def test_the_unknown_symbol_can_be_forbidden(model, capsys):
    tokenizer = load_trained(TASK, model).tokenizer
    unknown = tokenizer.tokens[tokenizer.unk_id]
    options = ["--model", model, "--prompt", "goes", "--max-tokens", 300, "--temperature", 9]
    assert unknown in run(capsys, generate, *options)
    assert unknown not in run(capsys, generate, *options, "--forbid-unknown")


def test_a_byte_order_mark_is_not_part_of_the_prompt(model, capsys, tmp_path, monkeypatch):
    options = ["--model", model, "--max-tokens", 5]
    wanted = run(capsys, generate, *options, "--prompt", "so it")
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfso it")
    assert run(capsys, generate, *options, "--prompt-file", tmp_path / "p.txt") == wanted
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfso it")))
    assert run(capsys, generate, *options) == wanted


def test_a_prompt_that_is_too_long(model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"so" * (1 << 20))))
    error = fails(capsys, generate, "--model", model)
    assert error == "sru lm generate: error: standard input is longer than 1,048,576 bytes; shorten it\n"


def test_texts_are_generated_lazily(model, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr("sru_apps.tasks.lm.commands._BATCH_SIZE", 2)
    monkeypatch.setattr("sru_apps.tasks.lm.commands._print_json", fail)
    options = ["--prompt", "so", "--samples", 10_000_000, "--max-tokens", 1, "--json"]
    assert "no space left" in fails(capsys, generate, "--model", model, *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-tokens=-1"], "max_tokens: expected a number >= 0"),
        (["--max-tokens=1000000000000"], "got 1000000000000"),
        (["--max-tokens=nan"], "max_tokens: expected a whole number, got nan"),
        (["--samples=0"], "samples: expected a number >= 1"),
        (["--seed=-1"], "seed: expected a number >= 0"),
        ([f"--seed={10**30}"], f"got {10**30}"),
        (["--top-k=0"], "top_k: expected a number > 0, got 0"),
        (["--top-p=nan"], "got nan"),
        (["--temperature=nan"], "got nan"),
        (["--temperature=inf"], "got inf"),
        (["--repetition-penalty=inf"], "got inf"),
    ],
)
def test_numbers_out_of_range(capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        main(["lm", generate, "--model", "nowhere", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top-p", "2"], "top_p must be above 0 and at most 1, got 2.0"),
        (["--temperature", "-1"], "temperature must be at least 0, got -1.0"),
        (
            ["--greedy", "--top-k", "3"],
            "--top-k is for drawing, and --greedy draws nothing; leave one of them",
        ),
        (["--greedy", "--temperature", "2"], "--temperature is for drawing, and --greedy draws nothing"),
        (["--stop", ""], "a stop string must hold at least one character"),
    ],
)
def test_invalid_options(capsys, options, message):
    assert message in fails(capsys, generate, "--model", "nowhere", *options)


def oracle(model, lines):
    """Return the losses of consecutive lines, from a single call of the network."""
    trained = load_trained(TASK, model)
    tokenizer = trained.tokenizer
    ends = tokenizer.encode("\n") != [tokenizer.unk_id]
    ids = [[] if not ends and not line.strip() else tokenizer.encode(line) for line in lines]
    text = [*(tokenizer.encode("\n") if ends else []), *(symbol for line in ids for symbol in line)]
    with torch.no_grad():
        logits, _ = trained.network(torch.tensor(text[:-1]).unsqueeze(1))
    costs = F.cross_entropy(logits[:, 0], torch.tensor(text[1:]), reduction="none").double().tolist()
    costs = costs if ends else [0.0, *costs]
    found = []
    for line in ids:
        found.append(sum(costs[: len(line)]))
        costs = costs[len(line) :]
    return found


def test_score(model, capsys, tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text(TEXT)
    lines = TEXT.splitlines(keepends=True)
    *found, total = rows(run(capsys, score, path, "--model", model, "--json"))
    assert [row["line"] for row in found] == [1, 2, 3, 4]
    assert [row["nll"] for row in found] == pytest.approx(oracle(model, lines), rel=1e-4, abs=1e-5)
    assert total["nll"] == pytest.approx(sum(row["nll"] for row in found))
    assert total["tokens"] == sum(row["tokens"] for row in found)
    assert total["perplexity"] == pytest.approx(math.exp(total["nll"] / total["tokens"]))
    bits = total["nll"] / math.log(2) / total["characters"]
    assert total["bits_per_character"] == pytest.approx(bits)
    printed = run(capsys, score, path, "--model", model).splitlines()
    assert printed[0].split("\t") == ["line", "tokens", "nats", "perplexity", "bits/character", "unknown"]
    assert printed[-1].split("\t")[:2] == ["total", str(total["tokens"])]
    assert len(printed) == 6
    # Neither the blocks of the text nor the chunks of the model change the scores.
    monkeypatch.setattr("sru_data.texts.source.BLOCK_BYTES", 8)
    monkeypatch.setattr("sru_apps.tasks.lm.scoring._STEPS", 3)
    *again, _ = rows(run(capsys, score, path, "--model", model, "--json"))
    assert [row["nll"] for row in again] == pytest.approx([row["nll"] for row in found], rel=1e-4)
    assert [row["tokens"] for row in again] == [row["tokens"] for row in found]


@pytest.mark.filterwarnings("ignore:.* not in the model's vocabulary")
def test_the_table_counts_unknown_tokens(model, capsys, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("so it goes\nzé goes\n\nand\tzé")
    unknown = [row["unknown"] for row in rows(run(capsys, score, path, "--model", model, "--json"))]
    table = [line.split("\t") for line in run(capsys, score, path, "--model", model).splitlines()]
    assert [int(row[5]) for row in table[1:]] == unknown
    assert unknown[0] == 0
    assert unknown[1] > 0
    assert unknown[4] == sum(unknown[:4])


def test_unknown_tokens_are_named(model, capsys, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("so it goes\nzé goes\nzé")
    with pytest.warns(UserWarning, match=r"^(words|characters) that are not in .* symbol: ('zé'|'z', 'é')$"):
        run(capsys, score, path, "--model", model)


def test_a_line_that_is_too_long(model, capsys, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("so it\n" + "goes " * 500_000)
    for options in ([], ["--independent-lines"]):
        error = fails(capsys, score, path, "--model", model, *options)
        assert f"{path}:2: expected a line of at most 1,048,576 characters, got a longer one; break" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("block", [1 << 20, 8])
def test_score_of_independent_lines(model, capsys, tmp_path, monkeypatch, block):
    monkeypatch.setattr("sru_data.texts.source.BLOCK_BYTES", block)
    path = tmp_path / "x.txt"
    path.write_text(TEXT)
    *found, _ = rows(run(capsys, score, path, "--model", model, "--json", "--independent-lines"))
    wanted = [
        oracle(model, [line])[0] if line.strip() else found[1]["nll"]
        for line in TEXT.splitlines(keepends=True)
    ]
    assert [row["nll"] for row in found] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_score_of_invalid_files(model, capsys, tmp_path):
    path = tmp_path / "x.txt"
    assert "no file at" in fails(capsys, score, path, "--model", model)
    path.write_text("")
    assert main(["lm", score, str(path), "--model", str(model)]) == 1
    shown = capsys.readouterr()
    assert "expected some text, got an empty one" in shown.err
    assert shown.out == ""
    path.write_bytes(b"it \xff goes")
    assert "expected text in utf-8, got the byte 0xff at byte 3" in fails(
        capsys, score, path, "--model", model
    )

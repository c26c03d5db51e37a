from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from shutil import copytree
from typing import get_args

import pytest
import torch

import sru_apps
from sru_apps.cli import main
from sru_apps.decoding.sampling import Sampling
from sru_apps.nn import RecurrentName
from sru_apps.tasks.chat.model import Conversation, TrainedChatModel
from sru_apps.tasks.chat.tokenizer import DialogueTokenizer
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.errors import UserError
from sru_data.tokenizers import CharTokenizer

MAX_TOKENS = 7
LETTERS = "abcd"


def untrained(encoder: RecurrentName) -> TrainedChatModel:
    torch.manual_seed(0)
    tokenizer = DialogueTokenizer(CharTokenizer.train([LETTERS]))
    config = LanguageModelConfig(
        vocab_size=len(tokenizer), encoder=encoder, embedding_size=8, hidden_size=16, initial_range=1.0
    )
    return TrainedChatModel(LanguageModel(config).double().eval(), tokenizer)


@torch.no_grad()
def recomputed(model: TrainedChatModel, messages: list[str | None]) -> list[str]:
    """Answer greedily, reading the whole conversation again for every token."""
    tokenizer = model.tokenizer
    allowed = [tokenizer.end_id, *range(2, len(tokenizer.text))]
    talk: list[int] = []
    answers = []
    for message in messages:
        talk += tokenizer.encode_question(message)
        answer: list[int] = []
        while len(answer) < MAX_TOKENS:
            logits, _ = model.network(torch.tensor(talk).unsqueeze(1))
            token = max(allowed, key=lambda index: float(logits[-1, 0, index]))
            if token == tokenizer.end_id:
                break
            talk.append(token)
            answer.append(token)
        talk.append(tokenizer.end_id)
        answers.append(tokenizer.decode(answer))
    return answers


@pytest.mark.parametrize("encoder", get_args(RecurrentName))
def test_answers_equal_recomputation_from_the_whole_conversation(encoder: RecurrentName) -> None:
    model = untrained(encoder)
    messages: list[str | None] = ["ab", None, "dcba", "a", "c"]
    talk = Conversation(model, max_tokens=MAX_TOKENS)
    assert ["".join(talk.reply(message)) for message in messages] == recomputed(model, messages)


def test_an_abandoned_answer_does_not_disturb_the_conversation() -> None:
    model = untrained("sru")
    whole, cut = (Conversation(model, max_tokens=size) for size in (2, MAX_TOKENS))
    for message in ("ab", "d"):
        assert "".join(whole.reply(message)) == "".join(islice(cut.reply(message), 2))


def test_samples_depend_on_the_seed_and_contain_only_text() -> None:
    model = untrained("gated-linear")
    wild = Sampling(temperature=5.0)
    answers = [
        ["".join(talk.reply("a")) for _ in range(4)]
        for talk in (Conversation(model, sampling=wild, max_tokens=12, seed=seed) for seed in (1, 1, 2))
    ]
    assert answers[0] == answers[1] != answers[2]
    assert len(set(answers[0])) > 1
    assert set("".join(answers[0])) <= set(LETTERS)


def test_max_tokens_is_checked() -> None:
    with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
        Conversation(untrained("sru"), max_tokens=0)


def test_a_trained_model_answers(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "reply", f"--model={trained_run}", "--message=say b", "--message=say d"]) == 0
    assert capsys.readouterr().out == "b\nd\n"


def test_standard_input_is_answered_line_by_line(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"say a\n\nsay c\n"), encoding="latin-1"))
    assert main(["chat", "reply", f"--model={trained_run / 'model'}", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["user"] for line in lines] == ["say a", "", "say c"]
    assert [line["bot"] for line in lines if line["user"]] == ["a", "c"]
    with_bot_first = Conversation(sru_apps.load(trained_run))
    said = ["".join(with_bot_first.reply(message)) for message in ("say a", None, "say c")]
    assert [line["bot"] for line in lines] == said


def test_standard_input_that_is_not_utf8(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8"))
    assert main(["chat", "reply", f"--model={trained_run}"]) == 1
    assert "line 1 of standard input is not UTF-8 at byte 0; convert it first" in capsys.readouterr().err


def test_a_byte_order_mark_is_not_part_of_the_message(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfsay b\r\n")))
    assert main(["chat", "reply", f"--model={trained_run}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"user": "say b", "bot": "b"}


def test_unknown_characters_are_named(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match="^characters that are not in the model's vocabulary") as found:
        assert main(["chat", "reply", f"--model={trained_run}", "--message=é", "--message=zé"]) == 0
    assert [str(warning.message).partition(": ")[2] for warning in found] == ["'é'", "'z'"]
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize(
    "option", ["--max-tokens=0", "--max-tokens=1000000000000", "--top-k=0", "--temperature=-1"]
)
def test_numbers_out_of_range(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["chat", "reply", "--model=nowhere", option])
    assert "expected a number" in capsys.readouterr().err


def test_an_invalid_value_is_reported_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "reply", "--model=nowhere", "--top-p=2"]) == 1
    assert "top_p must be above 0 and at most 1, got 2.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--top-p=2", "top_p must be above 0 and at most 1, got 2.0"),
        ("--model=nowhere", "no model at nowhere; give a run folder"),
    ],
)
def test_wrong_options(
    trained_run: Path, option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", "reply", f"--model={trained_run}", "--message=a", option]) == 1
    assert message in capsys.readouterr().err


def test_a_model_of_another_task_is_refused(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "generate", f"--model={trained_run}", "--prompt=a"]) == 1
    assert "was made by `sru chat`; expected one made by `sru lm`" in capsys.readouterr().err


def test_a_tokenizer_of_another_model(trained_run: Path, tmp_path: Path) -> None:
    folder = Path(copytree(trained_run / "model", tmp_path / "model"))
    CharTokenizer.train(["xyz"]).save(folder / "tokenizer.json")
    with pytest.raises(UserError, match="they do not belong together"):
        sru_apps.load(folder)


@pytest.mark.usefixtures("one_thread")
def test_python_answers_equal_the_commands(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = ["say a", "say d", "say b"]
    options = ["--temperature=2", "--top-k=5", "--seed=4", "--max-tokens=6"]
    said = [f"--message={message}" for message in messages]
    assert main(["chat", "reply", f"--model={trained_run}", "--json", *said, *options]) == 0
    printed = [json.loads(line)["bot"] for line in capsys.readouterr().out.splitlines()]
    bot = sru_apps.load(trained_run)
    assert bot.reply("say c") == "c"
    for _ in range(2):
        bot.start(temperature=2.0, top_k=5, seed=4, max_tokens=6)
        assert [bot.reply(message) for message in messages] == printed

"""`SquadData` without a trainer."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.squad.data import SquadData
from sru_apps.train.errors import UserError
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.tokenizers import WordTokenizer

VECTORS = {"lives": 1, "Oslo": 2, "pet": 3, "the": 4, "who": 5, "unheard": 6, "never": 7}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word vectors with two equal components."""
    path = tmp_path_factory.mktemp("vectors") / "glove.txt.gz"
    lines = [f"{word} {number} {number}" for word, number in VECTORS.items()]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


@pytest.fixture
def make(questions: Path) -> Callable[..., SquadData]:
    def ready(**options: Any) -> SquadData:
        files = {"train_file": str(questions / "train.json"), "validation_file": str(questions / "dev.json")}
        folder = {"prepared_dir": str(questions / "prepared")} if "train_file" not in options else {}
        data = SquadData(**{**files, **folder, "min_count": 1, "batch_size": 4, "processes": 1, **options})
        data.prepare_data()
        data.setup("fit")
        return data

    return ready


def test_an_epoch_contains_every_question_once(make: Callable[..., SquadData]) -> None:
    data = make()
    batches = list(data.train_dataloader())
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(24))
    padding = [
        torch.zeros(batch.inputs.document.shape, dtype=torch.bool)
        if batch.inputs.document_mask is None
        else batch.inputs.document_mask
        for batch in batches
    ]
    share = sum(int(mask.sum()) for mask in padding) / sum(mask.numel() for mask in padding)
    assert data.padding() == pytest.approx(share)
    assert 0 < share < 0.15
    for batch in batches:
        for column, index in enumerate(batch.index.tolist()):
            text = data.parts["train"].questions.text(index)  # type: ignore[attr-defined]
            answer = text.context[text.starts[batch.start[column]] : text.ends[batch.end[column]]]
            assert (answer,) == text.answers
            rows = batch.inputs.document[: len(text.starts), column].tolist()
            found = [data.tokenizer.tokens[row] for row in rows]  # type: ignore[union-attr]
            words = [text.context[a:b].lower() for a, b in zip(text.starts, text.ends, strict=True)]
            assert found == words


def test_a_tenth_of_the_passages_is_held_out(make: Callable[..., SquadData], questions: Path) -> None:
    def parts(**options: Any) -> tuple[set[int], set[int], str]:
        folder = str(questions / "prepared-train")
        data = make(validation_file=None, prepared_dir=folder, evaluation_batch_size=2, **options)
        loaders = data.train_dataloader(), data.val_dataloader()
        train, held_out = ({int(i) for batch in loader for i in batch.index} for loader in loaders)
        assert {data.parts["validation"].text(i).id for i in held_out} == {
            f"train-{i // 3}-{i % 3}" for i in held_out
        }  # type: ignore[attr-defined]
        return train, held_out, data.opening()

    train, held_out, opening = parts(seed=3)
    assert (len(train), len(held_out), train | held_out) == (21, 3, set(range(24)))
    assert len({i // 3 for i in held_out}) == 1, "three questions on one of the eight passages"
    assert "21 questions for training, 3 for validation (a tenth of the passages, held out)" in opening
    assert parts(seed=3)[:2] == (train, held_out)
    assert len({min(parts(seed=seed)[1]) for seed in range(6)}) > 1


def test_one_passage_cannot_be_split(make: Callable[..., SquadData], questions: Path, tmp_path: Path) -> None:
    content = json.loads((questions / "train.json").read_text())
    del content["data"][0]["paragraphs"][1:]
    path = tmp_path / "one.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"expected questions about several passages, .* give --data.validation_file"
    ):
        make(train_file=str(path), validation_file=None, prepared_dir=str(tmp_path / "prepared"))


def test_processes_split_an_epoch(make: Callable[..., SquadData], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for rank in range(2):
        monkeypatch.setattr(SquadData, "rank", (rank, 2))
        data = make()
        seen += [index for batch in data.train_dataloader() for index in batch.index.tolist()]
        assert sum(len(batch.index) for batch in data.val_dataloader()) == 9
    assert sorted(seen) == list(range(24))


def test_limits_and_subset_apply_only_to_training(make: Callable[..., SquadData]) -> None:
    data = make(max_context=20, subset=7)
    lengths = data.parts["train"].context_lengths
    assert len(lengths) == 7
    assert int(lengths.max()) <= 20
    assert int(data.parts["validation"].context_lengths.max()) > 20
    assert (
        "7 questions for training, 9 for validation\n"
        "12 training questions left out: of over 60 words, or about passages of over 20 words"
        in data.opening()
    )
    with pytest.raises(DataError, match=r"at most 2 words on passages of at most 400, got none; raise"):
        make(max_question=2)


def test_without_vectors_the_vocabulary_is_the_training_words(make: Callable[..., SquadData]) -> None:
    data = make(min_count=9)
    assert isinstance(data.tokenizer, WordTokenizer)
    # Each passage counts once: 28 full stops, 24 times `the`, and 24 question marks.
    assert data.tokenizer.tokens[2:6] == [".", "the", "?", "lives"]
    assert "ada" not in data.tokenizer.tokens
    *_, begin, unknown = data.opening().splitlines()
    words = len(data.tokenizer) - 2
    assert begin.startswith(f"the vectors of all {words} words are random at first; --embeddings FILE gives")
    assert re.fullmatch(r"\d+\.\d % of the words .* occur fewer than 9 times; lower .*min_count", unknown)
    assert "unknown" not in make().opening()
    assert (data.fixed_vectors, data.pretrained, data.embedding_size) == (0, None, 100)
    cased = make(lowercase=False)
    assert {"The", "the", "Ada"} <= set(cased.tokenizer.tokens)  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"no word of train occurs 1000 times; lower --data.min_count"):
        make(min_count=1000)


def test_tuned_learned_and_fixed_vectors(make: Callable[..., SquadData], vectors: Path) -> None:
    data = make(embeddings=str(vectors), tune_words=3, min_count=9, embedding_words=6)
    assert data.tokenizer is not None
    tokens = data.tokenizer.tokens
    learned, fixed = tokens[: -data.fixed_vectors], tokens[-data.fixed_vectors :]
    # The three most frequent question words, then frequent words without a vector.
    assert learned[2:5] == ["?", "lives", "in"]
    assert not set(learned[5:]) & VECTORS.keys()
    assert "of" in learned
    assert set(fixed) == {"oslo", "pet", "the", "who", "unheard", "lives"} - set(learned)
    assert data.pretrained is not None
    weight = data.pretrained.weight
    assert data.embedding_size == weight.shape[1] == 2
    assert weight[tokens.index("pet")].tolist() == [3, 3]
    assert weight[tokens.index("oslo")].tolist() == [2, 2]
    every = make(embeddings=str(vectors), tune_words="all")
    assert every.fixed_vectors == 0
    assert {"ada", "never"} <= set(every.tokenizer.tokens)  # type: ignore[union-attr]


def test_questions_without_an_answer(make: Callable[..., SquadData], questions: Path) -> None:
    plain = make()
    assert not plain.no_answer
    with pytest.raises(
        UserError, match=r"train has no test questions .*; give some with --test-file, or use"
    ):
        plain.test_dataloader()
    folder = str(questions / "prepared2")
    files = {f"{part}_file": str(questions / f"{name}2.json") for part, name in FILES.items()}
    data = make(**files, test_file=str(questions / "dev.json"), prepared_dir=folder)
    assert data.no_answer
    assert data.has_test
    assert int((data.collate(list(data.parts["train"])).start < 0).sum()) == 8
    again = SquadData(prepared_dir=folder, min_count=1)
    again.prepare_data()
    again.setup("fit")
    assert again.opening() == data.opening()
    for option, then, value in (("features", "none", "spacy"), ("max_context", 1000, 2000)):
        with pytest.raises(UserError, match=f"with --data.{option} {then}, got {value}; leave the option"):
            SquadData(prepared_dir=folder, **{option: value}).prepare_data()
    SquadData(prepared_dir=folder, max_context=900).prepare_data()


FILES = {"train": "train", "validation": "dev"}


def test_a_checkpoint_and_its_data_agree(make: Callable[..., SquadData], questions: Path) -> None:
    data = make()
    state = data.state_dict()
    make().load_state_dict(state)
    other = SquadData(**data.hparams)
    other.load_state_dict({**state, "fixed_vectors": 3})
    other.prepare_data()
    other.setup("validate")
    assert (other.fixed_vectors, other.tokenizer.tokens) == (3, data.tokenizer.tokens)  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"the tokens of train differ"):
        make(min_count=9).load_state_dict(state)
    message = r"the parts of speech of train in \S+ differ .*: expected \['', 'NN'\], got \[\]; prepare"
    with pytest.raises(DataError, match=message):
        make().load_state_dict({**state, "tags": ["", "NN"]})
    taught = SquadData(**data.hparams)
    taught.take_tokenizer(dump_tokenizer(WordTokenizer.from_words(["pet", "of"])), {"fixed_vectors": 1})
    taught.prepare_data()
    taught.setup("fit")
    assert (len(taught.tokenizer), taught.fixed_vectors) == (4, 1)  # type: ignore[arg-type]
    assert parse_tokenizer(taught.state_dict()["tokenizer"]).tokens == taught.tokenizer.tokens  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"no questions chosen; give --recipe, --data.name \(squad1, squad2\), or"),
        ({"name": "squad1", "train_file": "x"}, r"both --data.name and --data.train_file are given"),
        ({"name": "squad1", "validation_file": "x"}, r"validation_file needs a train_file"),
        ({"prepared_dir": "x", "test_file": "x"}, r"test_file needs --data.name or --data.train_file"),
        ({"train_file": [], "validation_file": "x"}, r"--data.train_file must name a file, got an empty"),
        ({"name": "squad1", "spacy_model": "en_core_web_md"}, r"--data.spacy_model is for features; leave"),
        ({"name": "squad1", "max_context": 0}, r"max_context must be at least 1, got 0"),
        ({"name": "squad1", "tune_words": -1}, r"tune_words must be at least 0, got -1"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        SquadData(**options)


def test_prepare_reports_what_was_left_out(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = json.loads((questions / "train.json").read_text())
    spoilt = content["data"][0]["paragraphs"][0]["qas"][0]
    spoilt["answers"][0]["answer_start"] += 1
    (tmp_path / "train.json").write_text(json.dumps(content))
    args = ["squad", "prepare", f"--train-file={tmp_path / 'train.json'}", "--processes=1"]
    args.append(f"--validation-file={questions / 'dev.json'}")
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "train: preparing the train split" in shown
    assert "24 questions read, 23 kept" in shown
    assert "1 left out: answer not at its offset, such as" in shown
    assert repr(spoilt["id"]) in shown
    assert "Padding in training: " in shown
    folder = Path(shown.splitlines()[-1].partition(": ")[2])
    assert folder.parent == tmp_path / "cache" / "sru-data" / "prepared"
    assert main(args) == 0
    assert "preparing" not in capsys.readouterr().out
    assert main([*args, f"--prepared-dir={folder}", "--max-context=2000"]) == 1
    assert "max_context_tokens = 1000 (now 2000); delete it or name another folder" in capsys.readouterr().err

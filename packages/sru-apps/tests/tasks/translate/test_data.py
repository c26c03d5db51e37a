"""`TranslationData` without a trainer."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sru_apps.tasks.translate.data import TranslationData
from sru_apps.train.errors import UserError
from sru_data import DataError
from sru_data.datasets.translation import PairFiles
from sru_data.loaders import IGNORE
from sru_data.tokenizers import TextForm


@pytest.fixture
def make(corpus: Path, tmp_path: Path) -> Callable[..., TranslationData]:
    files = {
        f"{part}{side}_file": str(corpus / f"{name}.{language}")
        for part, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
        for side, language in (("", "en"), ("_target", "de"))
    }

    def ready(
        *, state: dict[str, Any] | None = None, evaluates: bool = False, **options: Any
    ) -> TranslationData:
        how = {"prepared_dir": str(tmp_path / "prepared"), "unit": "words"}
        data = TranslationData(**{**files, **how, "max_length": 10, "max_tokens": 40, **options})
        data.evaluates = evaluates
        if state is not None:
            data.load_state_dict(state)
        data.prepare_data()
        data.setup("fit")
        return data

    return ready


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_an_epoch_contains_every_pair_once(make: Callable[..., TranslationData], corpus: Path) -> None:
    data = make()
    pair = data.tokenizer
    assert pair is not None
    assert not pair.joint
    english, german = (lines(corpus / f"train.{language}") for language in ("en", "de"))
    seen = []
    for batch in data.train_dataloader():
        assert max(batch.source.numel(), batch.target.numel()) <= 40
        assert batch.tokens == data.count(batch) == int((batch.targets != IGNORE).sum())
        for column, index in enumerate(batch.index.tolist()):
            seen.append(index)
            source, target = batch.source[:, column].tolist(), batch.target[:, column].tolist()
            assert pair.source.decode(source) == english[index]
            assert pair.decode(target) == german[index]
            length = len(german[index].split())
            assert target[0] == pair.bos_id
            assert batch.targets[:, column].tolist() == [
                *target[1 : length + 1],
                pair.eos_id,
                *[IGNORE] * (len(target) - length - 1),
            ]
            mask = batch.source_mask
            padding = [False] * len(source) if mask is None else mask[:, column].tolist()
            assert padding == [place >= len(english[index].split()) for place in range(len(source))]
    assert sorted(seen) == list(range(30))


def test_processes_split_an_epoch(
    make: Callable[..., TranslationData], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    for rank in range(2):
        monkeypatch.setattr(TranslationData, "rank", (rank, 2))
        data = make()
        seen |= {index for batch in data.train_dataloader() for index in batch.index.tolist()}
        assert sum(len(batch.index) for batch in data.val_dataloader()) == 8
    assert seen == set(range(30))


def test_pairs_are_held_out_without_a_validation_file(make: Callable[..., TranslationData]) -> None:
    options = {"validation_file": None, "validation_target_file": None}
    data = make(**options, seed=3)
    loaders = data.train_dataloader(), data.val_dataloader()
    train, held_out = ({int(i) for batch in loader for i in batch.index} for loader in loaders)
    assert (len(train), len(held_out), train | held_out) == (28, 2, set(range(30)))
    text = data.parts["validation"].text(min(held_out))  # type: ignore[attr-defined]
    assert data.tokenizer is not None
    assert data.tokenizer.source.decode(data.parts["validation"][0].source.tolist()) == text.source
    others = [make(**options, seed=seed).parts["validation"] for seed in range(4)]
    assert len({tuple(other.numbers.tolist()) for other in others}) > 1  # type: ignore[attr-defined]
    # A checkpoint is evaluated on the same pairs, which requires the training pairs.
    again = make(**options, seed=3, state=data.state_dict(), evaluates=True)
    assert again.parts["validation"].numbers.tolist() == sorted(held_out)  # type: ignore[attr-defined]


def test_tables_give_the_same_pairs(
    make: Callable[..., TranslationData], corpus: Path, tmp_path: Path
) -> None:
    rows = list(zip(lines(corpus / "train.en"), lines(corpus / "train.de"), strict=True))
    table = tmp_path / "train.jsonl.gz"
    content = "".join(json.dumps({"en": source, "de": target}) + "\n" for source, target in rows)
    table.write_bytes(gzip.compress(content.encode()))
    (tmp_path / "dev.tsv").write_text("en\tde\tother\none two\teins zwei\tzwei eins\n", encoding="utf-8")
    files = {"train_file": str(table), "validation_file": str(tmp_path / "dev.tsv"), "test_file": None}
    none = {f"{part}_target_file": None for part in ("train", "validation", "test")}
    columns: dict[str, Any] = {"source_column": "en", "target_column": "de"}
    data = make(**files, **none, **columns, prepared_dir=str(tmp_path / "tables"))
    texts = [data.parts["train"].text(index) for index in range(30)]  # type: ignore[attr-defined]
    assert [(text.source, *text.targets) for text in texts] == rows
    with pytest.raises(UserError, match="train has no test sentences; give some with --test-file"):
        data.test_dataloader()


def test_several_references_from_several_files(make: Callable[..., TranslationData], corpus: Path) -> None:
    data = make(test_target_file=[str(corpus / "test.de"), str(corpus / "test.en")])
    found = data.parts["test"].text(0).targets  # type: ignore[attr-defined]
    assert found == (lines(corpus / "test.de")[0], lines(corpus / "test.en")[0])


def test_a_checkpoint_is_evaluated_with_its_own_vocabulary_and_without_training_pairs(
    make: Callable[..., TranslationData], corpus: Path, tmp_path: Path
) -> None:
    state = make().state_dict()
    other = tmp_path / "other.en"
    other.write_text("one eleven\n", encoding="utf-8")
    target = tmp_path / "other.de"
    target.write_text("eins elf\n", encoding="utf-8")
    data = make(state=state, evaluates=True, test_file=str(other), test_target_file=str(target))
    assert set(data.parts) == {"validation", "test"}
    assert data.tokenizer is not None
    assert data.parts["test"][0].source.tolist() == [data.tokenizer.source.encode("one")[0], 1]


def test_a_vocabulary_unlike_the_checkpoints_is_refused(
    make: Callable[..., TranslationData], tmp_path: Path
) -> None:
    state = make().state_dict()
    data = make(vocab_size=5, prepared_dir=str(tmp_path / "rare"))
    with pytest.raises(
        DataError, match="the tokens of train differ from those this checkpoint was trained with"
    ):
        data.load_state_dict(state)
    folder = {"train_file": None, "validation_file": None, "test_file": None}
    folder |= {f"{part}_target_file": None for part in ("train", "validation", "test")}
    with pytest.raises(DataError, match=r"vocabulary of train in .*rare differs from that of the model"):
        make(state=state, evaluates=True, **folder, prepared_dir=str(tmp_path / "rare"))


def test_a_lower_cased_vocabulary_implies_caseless_scores(
    make: Callable[..., TranslationData], tmp_path: Path
) -> None:
    pytest.importorskip("sacrebleu")
    make(lowercase=True)
    data = TranslationData(prepared_dir=str(tmp_path / "prepared"), max_tokens=40)
    data.setup("fit")
    assert data.scorer().sentence("eins zwei drei vier", ["Eins zwei drei vier"]).bleu == pytest.approx(100)
    cased = make(prepared_dir=str(tmp_path / "cased"))
    assert cased.scorer().sentence("eins zwei drei vier", ["Eins zwei drei vier"]).bleu < 100


def test_raw_sentences_are_tokenized_and_scored_in_one_form(
    make: Callable[..., TranslationData], tmp_path: Path
) -> None:
    pytest.importorskip("sacremoses", reason="it implements Moses' tokenization")
    files: dict[str, Any] = {}
    for part in ("train", "validation", "test"):
        for side, text in (("", "A dog's ball.\nIt's red!\n"), ("_target", "Hunde, Bälle.\n(Rot!)\n")):
            path = tmp_path / f"{part}{side}.txt"
            path.write_text(text, encoding="utf-8")
            files[f"{part}{side}_file"] = str(path)
    how: dict[str, Any] = {"pretokenizer": "moses", "source_language": "en", "target_language": "de"}
    data = make(**files, **how, prepared_dir=str(tmp_path / "moses"), bleu_tokenizer="none")
    assert data.tokenizer is not None
    assert {"&apos;s", "ball", "."} <= set(data.tokenizer.source.tokens)
    ids = data.tokenizer.encode_target("(Rot!)")
    assert data.translation(ids) == "( Rot ! )"
    targets = data.parts["test"].text(1).targets  # type: ignore[attr-defined]
    assert data.references(targets) == ["( Rot ! )"]
    plain = make(**files, **how, prepared_dir=str(tmp_path / "moses"))
    assert (plain.translation(ids), plain.references(targets)) == ("(Rot!)", ["(Rot!)"])
    with pytest.raises(UserError, match="the pretokenizer moses needs source_language and target_language"):
        make(**files, pretokenizer="moses", prepared_dir=str(tmp_path / "without"))


@pytest.mark.parametrize("name", ["multi30k-de-en", "wmt14-en-de"])
def test_published_sets_say_how_they_are_tokenized(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sacremoses", reason="it implements Moses' tokenization")
    found = PairFiles.parallel(
        *(write_lines(tmp_path / side, "a dog &apos;s ball .\n") for side in ("s", "t"))
    )
    monkeypatch.setattr("sru_data.datasets.translation.load", lambda *_, **__: {"train": found})
    how: dict[str, Any] = {"unit": "words", "prepared_dir": str(tmp_path / "prepared")}
    data = TranslationData(name=name, **how)  # type: ignore[arg-type]
    data.prepare_data()
    source, target = data.prepared.source_tokenizer.form, data.prepared.target_tokenizer.form
    if name.startswith("multi30k"):
        assert (source, target) == (TextForm("de", lowercase=True), TextForm("en", lowercase=True))
        assert data.prepared.source_tokenizer.tokens[2:-2] == ["&apos;", ".", "a", "ball", "dog", "s"]
    else:
        assert (source, target) == (TextForm(), TextForm())


def write_lines(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("joint", [False, True])
def test_the_opening_counts_pairs_and_tokens(
    make: Callable[..., TranslationData], corpus: Path, tmp_path: Path, joint: bool
) -> None:
    source = tmp_path / "train.en"
    source.write_text((corpus / "train.en").read_text() + "\none\n", encoding="utf-8")
    target = tmp_path / "train.de"
    target.write_text((corpus / "train.de").read_text() + "leer\n" + "eins " * 11 + "\n", encoding="utf-8")
    data = make(train_file=str(source), train_target_file=str(target), joint=joint)
    sizes = "18 words of both" if joint else "11 and 11 words"
    assert data.report().splitlines()[:3] == [
        f"train: pairs: train 30, validation 8, test 6; {sizes}",
        f"1 of 32 train pairs left out: empty sentence, such as {source}:31",
        f"1 of 32 train pairs left out: sentence longer than the limit, such as {source}:32",
    ]
    assert data.tokenizer is not None
    assert data.tokenizer.joint is joint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no sentences chosen; give --recipe, --data.name"),
        (
            {"name": "multi30k-en-de", "train_file": "x"},
            "both --data.name and --data.train_file are given",
        ),
        ({"train_target_file": "x"}, "give --data.train_file too"),
        ({"name": "multi30k-en-de", "test_target_file": "x"}, "give --data.test_file too"),
        (
            {"train_file": "x", "test_set": "y"},
            r"--test-set needs published data \(--data.name\); use --test",
        ),
        ({"validation_file": "x", "prepared_dir": "p"}, "validation_file needs a train_file"),
        ({"test_file": "x", "prepared_dir": "p"}, "test_file needs sentences to train on"),
        ({"train_file": []}, "--data.train_file must name a file, got an empty list"),
        ({"train_file": "x", "train_target_file": ""}, "--data.train_target_file must name a file"),
    ],
)
def test_options_that_name_no_pairs(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TranslationData(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 256}, r"max_tokens must be more than max_length \(256\)"),
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"evaluation_batch_size": 0}, "evaluation_batch_size must be at least 1"),
    ],
)
def test_sizes_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TranslationData(train_file="x", **options)


def test_an_unknown_test_set_is_named() -> None:
    message = "--test-set must be one of test_2016_flickr, test_2017_flickr for multi30k-en-de, got 'nope'"
    with pytest.raises(UserError, match=message):
        TranslationData(name="multi30k-en-de", test_set="nope")


def test_a_prepared_sentence_may_exceed_the_batch_size(
    make: Callable[..., TranslationData], tmp_path: Path
) -> None:
    make()
    data = TranslationData(prepared_dir=str(tmp_path / "prepared"), max_tokens=7)
    data.setup("fit")
    assert max(batch.target.numel() for batch in data.train_dataloader()) <= 7
    data = TranslationData(prepared_dir=str(tmp_path / "prepared"), max_tokens=6)
    data.setup("fit")
    message = (
        r"prepared: expected training sentences of at most 6 tokens \(max_tokens\), .* got one of 7; raise"
    )
    with pytest.raises(DataError, match=message):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("option", "prepared", "given"),
    [
        ("max_length", 10, 4),
        ("max_length", 10, 256),
        ("unit", "words", "subwords"),
        ("vocab_size", None, 5),
        ("min_count", 1, 2),
        ("lowercase", False, True),
        ("pretokenizer", "none", "moses"),
        ("joint", False, True),
    ],
)
def test_a_prepared_folder_fixes_its_options(
    make: Callable[..., TranslationData], tmp_path: Path, option: str, prepared: Any, given: Any
) -> None:
    make()
    folder = tmp_path / "prepared"
    data = TranslationData(prepared_dir=str(folder), max_tokens=300, **{option: given})
    how = f"without --data.{option}" if prepared is None else f"with --data.{option} {prepared}"
    message = re.escape(f"{folder} was prepared {how}, got {given}; leave the option out, or prepare")
    with pytest.raises(UserError, match=message):
        data.prepare_data()
    same = TranslationData(prepared_dir=str(folder), max_tokens=300, **{option: prepared})
    same.prepare_data()
    assert same.prepared.max_length == 10


def test_a_folder_prepared_with_given_vocabularies_opens(
    make: Callable[..., TranslationData], tmp_path: Path
) -> None:
    state = make().state_dict()
    folder = str(tmp_path / "adopted")
    make(state={**state, "adopted": True}, prepared_dir=folder)
    TranslationData(prepared_dir=folder).prepare_data()
    with pytest.raises(UserError, match=r"adopted was prepared with --data.max_length 10, got 9"):
        TranslationData(prepared_dir=folder, max_length=9).prepare_data()

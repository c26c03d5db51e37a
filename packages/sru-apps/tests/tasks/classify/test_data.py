from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from sru_apps.tasks.classify.data import DatasetName, SentenceData
from sru_data import DataError
from sru_data.datasets.classification import NAMES


def make(folder: Path, **options: Any) -> SentenceData:
    data = SentenceData("sst2", data_dir=str(folder), **options)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture
def data(tiny_sst2: Path) -> SentenceData:
    return make(tiny_sst2, batch_size=5)


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    path = tmp_path / "vectors.txt"
    path.write_text("film 1 2 3\nunseen 4 5 6\nabsent 7 8 9\n")
    return str(path)


def test_every_dataset_can_be_chosen() -> None:
    assert get_args(DatasetName) == NAMES


def test_train_batches(data: SentenceData) -> None:
    batches = list(data.train_dataloader())
    assert sum(len(batch.labels) for batch in batches) == 48
    assert max(len(batch.labels) for batch in batches) == 5
    for batch in batches:
        assert batch.ids.shape[1] == len(batch.labels)
        padding = batch.ids == 0
        assert torch.equal(padding, batch.mask) if padding.any() else batch.mask is None
    assert {batch.mask is None for batch in batches} == {True, False}


def test_labels_belong_to_their_sentences(data: SentenceData) -> None:
    for batch in data.test_dataloader():
        texts = [data.tokenizer.decode(column.tolist()) for column in batch.ids.t()]
        positive = [
            any(word in text.split() for word in ("warm", "moving", "great", "wonderful")) for text in texts
        ]
        assert batch.labels.tolist() == [int(value) for value in positive]


def test_sizes_for_the_model(data: SentenceData) -> None:
    assert data.label_names == ["negative", "positive"]
    assert data.embedding_size == 100
    assert data.pretrained is None


def test_embedding_words_follow_the_training_words(tiny_sst2: Path, vectors: str) -> None:
    plain = make(tiny_sst2).tokenizer
    data = make(tiny_sst2, embeddings=vectors)
    assert data.tokenizer.tokens == [*plain.tokens, "unseen", "absent"]
    assert data.fixed_vectors == 2
    pretrained = data.pretrained
    assert pretrained is not None
    assert pretrained.found == 3
    assert data.embedding_size == 3
    assert pretrained.weight[-2:].tolist() == [[4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("count", "more"), [(0, []), (1, []), (2, ["unseen"]), ("all", ["unseen", "absent"])]
)
def test_the_number_of_embedding_words(tiny_sst2: Path, vectors: str, count: Any, more: list[str]) -> None:
    data = make(tiny_sst2, embeddings=vectors, embedding_words=count)
    assert data.tokenizer.tokens[len(data.tokenizer) - len(more) :] == more
    assert data.fixed_vectors == len(more)


def test_all_vectors_are_frozen_except_padding_and_unknown(tiny_sst2: Path, vectors: str) -> None:
    data = make(tiny_sst2, embeddings=vectors, freeze_embeddings=True)
    assert data.fixed_vectors == len(data.tokenizer) - 2


def test_vectors_of_another_size_are_refused(tiny_sst2: Path, vectors: str) -> None:
    with pytest.raises(DataError, match=r"vectors.txt"):
        make(tiny_sst2, embeddings=vectors, embedding_size=7)


def test_the_checkpoint_contains_the_tokenizer(data: SentenceData) -> None:
    state = data.state_dict()
    other = SentenceData("sst2", data_dir="/nowhere")
    other.load_state_dict(state)
    assert other.tokenizer.tokens == data.tokenizer.tokens
    data.load_state_dict(state)


def test_a_checkpoint_with_another_vocabulary_is_refused(data: SentenceData, tiny_sst2: Path) -> None:
    state = data.state_dict()
    with (tiny_sst2 / "classification" / "stsa.binary.train").open("a") as file:
        file.write("1 novelty\n")
    other = make(tiny_sst2)
    assert "novelty" in other.tokenizer.tokens
    with pytest.raises(DataError, match="the tokens of sst2 differ from those this checkpoint"):
        other.load_state_dict(state)
    with pytest.raises(
        DataError, match=r"this run was started by an older version on sst2 .* but not continued"
    ):
        other.load_state_dict({"tokenizer": state["tokenizer"]})


def test_nothing_is_read_before_setup() -> None:
    data = SentenceData("sst2", data_dir="/nowhere")
    assert data.tokenizer is None
    with pytest.raises(DataError, match="/nowhere"):
        data.setup("fit")


def test_the_checkpoints_tokenizer_is_used(data: SentenceData, tiny_sst2: Path) -> None:
    state = data.state_dict()
    with (tiny_sst2 / "classification" / "stsa.binary.train").open("a") as file:
        file.write("1 novelty\n")
    other = SentenceData("sst2", data_dir=str(tiny_sst2))
    other.load_state_dict(state)
    other.setup("test")
    assert other.tokenizer.tokens == data.tokenizer.tokens

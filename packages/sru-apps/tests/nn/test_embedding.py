from __future__ import annotations

import pytest
import torch

from sru_apps.nn import WordVectors


@pytest.fixture
def vectors() -> WordVectors:
    layer = WordVectors(6, 3, num_fixed=2)
    layer.start(torch.arange(18.0).view(6, 3))
    return layer


@pytest.mark.parametrize("ids", [[[1, 3], [2, 0]], [[4, 1], [5, 0]], [[5, 5], [4, 4]]])
def test_rows_are_those_of_one_table(vectors: WordVectors, ids: list[list[int]]) -> None:
    expected = torch.arange(18.0).view(6, 3)[torch.tensor(ids)]
    assert torch.equal(vectors(torch.tensor(ids)), expected)


def test_only_the_first_rows_are_trained(vectors: WordVectors) -> None:
    vectors(torch.tensor([1, 3, 4, 5, 0])).sum().backward()
    assert vectors.weight.grad is not None
    assert vectors.weight.grad[:, 0].tolist() == [0, 1, 0, 1]
    assert vectors.fixed is not None
    assert not vectors.fixed.requires_grad
    assert vectors.fixed.grad is None


def test_no_fixed_row_is_a_plain_embedding() -> None:
    assert list(WordVectors(6, 3).state_dict()) == ["weight"]
    assert list(WordVectors(6, 3, num_fixed=2).state_dict()) == ["weight", "fixed"]


def test_compiled_graphs_have_no_branch(vectors: WordVectors) -> None:
    graph = torch.export.export(vectors, (torch.tensor([1, 2]),))
    assert torch.equal(graph.module()(torch.tensor([5, 1])), vectors(torch.tensor([5, 1])))


@pytest.mark.parametrize("fixed", [-1, 6])
def test_padding_is_never_fixed(fixed: int) -> None:
    with pytest.raises(ValueError, match=f"must be 0 or more and less than num_rows=6, got {fixed}"):
        WordVectors(6, 3, num_fixed=fixed)

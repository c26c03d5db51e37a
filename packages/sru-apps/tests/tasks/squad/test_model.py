from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sru_apps.nn.encoders import ENCODERS
from sru_apps.tasks.squad.batches import ReaderInput
from sru_apps.tasks.squad.layers import Scores
from sru_apps.tasks.squad.model import (
    DocumentReader,
    ReaderConfig,
    build_reader,
    question_losses,
    reader_loss,
)

CONFIG = ReaderConfig(
    vocab_size=30,
    embedding_size=5,
    num_features=3,
    num_tags=4,
    num_entities=3,
    fixed_vectors=10,
    hidden_size=4,
    num_layers=2,
)
LENGTHS, QUESTIONS = [9, 2, 6], [4, 1, 3]
# SRU++ attends in a quarter of its features, and layer norm maps a single feature to zero.
SIZES = {"srupp": 16}


def config(**changes: Any) -> ReaderConfig:
    return replace(CONFIG, **changes)


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    network = build_reader(config(**changes))
    network.inputs.embedding.start(torch.randn(30, 5))  # type: ignore[union-attr, operator]
    return network


def inputs() -> ReaderInput:
    torch.manual_seed(1)

    def padded(lengths: list[int], least: int, below: int) -> tuple[torch.Tensor, torch.Tensor]:
        mask = torch.arange(max(lengths)).unsqueeze(1) >= torch.tensor(lengths)
        return torch.randint(least, below, mask.shape).masked_fill(mask, 0), mask

    (document, mask), (question, question_mask) = padded(LENGTHS, 1, 30), padded(QUESTIONS, 1, 30)
    tags, entities = padded(LENGTHS, 1, 4)[0], padded(LENGTHS, 1, 3)[0]
    features = torch.rand(9, 3, 3).masked_fill(mask.unsqueeze(-1), 0)
    return ReaderInput(document, mask, question, question_mask, features, tags, entities)


def alone(batch: ReaderInput, b: int) -> ReaderInput:
    """Return one question of a batch, without padding."""
    document, question = slice(LENGTHS[b]), slice(QUESTIONS[b])
    return ReaderInput(
        batch.document[document, b : b + 1],
        None,
        batch.question[question, b : b + 1],
        None,
        *(part[document, b : b + 1] for part in (batch.features, batch.tags, batch.entities)),
    )


@pytest.mark.parametrize("reader", ["drqa", "fusion"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_batching_and_padding_change_nothing(encoder: str, reader: str) -> None:
    network = build(encoder=encoder, reader=reader, no_answer=True, end_conditioned=True).eval()
    batch = inputs()
    scores = network(batch)
    for b, length in enumerate(LENGTHS):
        single = network(alone(batch, b))
        for ours, other in zip(scores[:2], single[:2], strict=True):
            torch.testing.assert_close(ours[b, :length], other[0], rtol=1e-4, atol=1e-5)
            assert (ours[b, length:] == -torch.inf).all()
        torch.testing.assert_close(scores.none[b], single.none[0], rtol=1e-4, atol=1e-5)


def test_equations() -> None:
    network = build(no_answer=True, end_conditioned=True).eval()
    batch = alone(inputs(), 0)
    vectors = torch.cat([network.inputs.embedding.weight, network.inputs.embedding.fixed]).detach()
    words = [vectors[i] for i in batch.document[:, 0]]
    asked = [vectors[i] for i in batch.question[:, 0]]
    rows = []
    for t, word in enumerate(words):
        similarities = [
            torch.relu(network.inputs.aligned.projection(word))
            @ torch.relu(network.inputs.aligned.projection(q))
            for q in asked
        ]
        shares = torch.stack(similarities).softmax(0)
        aligned = sum(a * q for a, q in zip(shares, asked, strict=True))
        tag, entity = (torch.eye(n)[ids[t, 0]] for n, ids in ((4, batch.tags), (3, batch.entities)))
        rows.append(torch.cat([word, aligned, batch.features[t, 0], tag, entity]))
    d = network.document_encoder(torch.stack(rows).unsqueeze(1))[:, 0]
    h = network.question_encoder(torch.stack(asked).unsqueeze(1))[:, 0]
    q = (network.summary.attention.query(h).softmax(0) * h).sum(0)
    outputs = network.outputs
    start = torch.stack([x @ outputs.start.projection(q) for x in d])
    started = sum(p * x for p, x in zip(start.softmax(0), d, strict=True))
    end = torch.stack([x @ outputs.end.projection(outputs.middle(started, q)) for x in d])
    ended = sum(p * x for p, x in zip(end.softmax(0), d, strict=True))
    none = outputs.none(torch.cat([q, started, ended]))
    scores = network(batch)
    for found, expected in zip(scores, (start, end, none.squeeze()), strict=True):
        torch.testing.assert_close(found[0], expected)


def test_options_of_the_reader() -> None:
    network = build(
        use_aligned_question=False,
        tag_size=2,
        entity_size=6,
        question_merge="mean",
        question_layers=1,
        concat_layers=False,
    )
    assert network.inputs.document_size == 5 + 3 + 2 + 6
    assert network.inputs(inputs()).document.shape == (9, 3, 16)
    assert (network.document_encoder.output_size, network.question_encoder.output_size) == (8, 8)
    assert len(network.question_encoder.layers) == 1
    h, mask = torch.rand(4, 3, 8), inputs().question_mask
    assert mask is not None
    summary = network.summary(h.masked_fill(mask.unsqueeze(-1), 0), mask)
    torch.testing.assert_close(summary[2], h[:3, 2].mean(0))
    torch.testing.assert_close(network.summary(h), h.mean(0))
    assert build(num_tags=0, num_entities=0).inputs.document_size == 13


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_trained_and_gradients_are_finite(encoder: str) -> None:
    network = build(
        encoder=encoder, hidden_size=SIZES.get(encoder, 4), no_answer=True, end_conditioned=True, tag_size=3
    )
    loss = reader_loss(network(inputs()), torch.tensor([8, -1, 0]), torch.tensor([8, -1, 5]))
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())
    idle = [name for name, g in gradients.items() if g is not None and not g.any()]
    # Keys and values of SRU++ have no gradient while alpha is zero.
    assert [name for name in idle if not name.endswith("transform.linear2.weight")] == []


def test_the_loss_is_the_mean_cross_entropy_of_start_and_end() -> None:
    scores = build().eval()(inputs())
    start, end = torch.tensor([3, -1, 0]), torch.tensor([4, -1, 5])
    losses = question_losses(scores, start, end)
    for b in (0, 2):
        first, last = (
            logits[b].softmax(-1)[place[b]] for logits, place in zip(scores, (start, end), strict=False)
        )
        torch.testing.assert_close(losses[b], -(first * last).log())
    assert losses[1] == 0
    torch.testing.assert_close(reader_loss(scores, start, end), (losses[0] + losses[2]) / 2)
    unlocated = torch.full((3,), -1)
    assert reader_loss(scores, unlocated, unlocated) == 0


def test_no_answer_is_part_of_the_distribution() -> None:
    scores = build(no_answer=True).eval()(inputs())
    start, end = torch.tensor([3, -1, 0]), torch.tensor([4, -1, 5])
    losses = question_losses(scores, start, end)
    for b, length in enumerate(LENGTHS):
        pairs = (scores.start[b, :length, None] + scores.end[b, :length]).exp()
        total = pairs.sum() + scores.none[b].exp()
        chosen = scores.none[b].exp() if b == 1 else pairs[start[b], end[b]]
        torch.testing.assert_close(losses[b], -(chosen / total).log())
    torch.testing.assert_close(reader_loss(scores, start, end), losses.mean())


def test_a_no_answer_score_of_minus_infinity_equals_no_score() -> None:
    logits = torch.randn(2, 3, 7)
    start, end = torch.tensor([3, 0, 1]), torch.tensor([4, 5, 1])
    limit = Scores(*logits, torch.full((3,), -torch.inf))
    torch.testing.assert_close(
        question_losses(limit, start, end), question_losses(Scores(*logits, None), start, end)
    )


@pytest.mark.parametrize("encoder", ["sru", "lstm", "mingru"])
def test_autocast(encoder: str) -> None:
    network = build(encoder=encoder, no_answer=True, end_conditioned=True).eval()
    expected = network(inputs())
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(inputs())
        loss = reader_loss(scores, torch.tensor([3, -1, 0]), torch.tensor([4, -1, 5]))
    assert {part.dtype for part in (*scores, loss)} == {torch.float32}
    for found, exact in zip(scores, expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_the_model_learns() -> None:
    network = build(dropout=0.0, embedding_dropout=0.0)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.03)
    start, end = torch.tensor([7, 0, 2]), torch.tensor([8, 1, 2])
    for _ in range(40):
        optimizer.zero_grad()
        loss = reader_loss(network(inputs()), start, end)
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    scores = network.eval()(inputs())
    assert torch.equal(scores.start.argmax(-1), start)
    assert torch.equal(scores.end.argmax(-1), end)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1, got 1.0"),
        ({"question_merge": "max"}, "question_merge must be one of attention, mean, got 'max'"),
        ({"encoder": "lstm", "rnn_dropout": 0.1}, "the encoder 'lstm' has no option rnn_dropout"),
        ({"max_answer": 0}, "max_answer must be at least 1, got 0"),
        ({"reader": "bidaf"}, "reader must be one of drqa, fusion, got 'bidaf'"),
    ],
)
def test_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_build_reader() -> None:
    assert isinstance(build_reader(CONFIG), DocumentReader)

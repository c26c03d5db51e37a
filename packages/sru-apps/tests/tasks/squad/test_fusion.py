from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sru_apps.nn.encoders import ENCODERS
from sru_apps.tasks.squad.batches import ReaderInput
from sru_apps.tasks.squad.fusion import FullyAwareAttention, FusionReader
from sru_apps.tasks.squad.layers import Scores
from sru_apps.tasks.squad.model import ReaderConfig, build_reader, reader_loss
from sru_apps.train.module import count_parameters

CONFIG = ReaderConfig(
    vocab_size=11, embedding_size=5, num_features=3, reader="fusion", hidden_size=4, num_layers=2
)
# SRU++ attends in a quarter of its features, and layer norm maps a single feature to zero.
SIZES = {"srupp": 16}


def build(**options: Any) -> FusionReader:
    torch.manual_seed(0)
    reader = build_reader(replace(CONFIG, **options))
    assert isinstance(reader, FusionReader)
    for name, parameter in reader.named_parameters():
        if name.endswith("diagonal"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        elif name.endswith("alpha"):
            torch.nn.init.constant_(parameter, 0.7)
    return reader.double()


def passages(lengths: list[int], questions: list[int], *, tags: int = 0) -> ReaderInput:
    steps, words = max(lengths), max(questions)
    mask, question_mask = (
        torch.arange(max(of)).unsqueeze(1) >= torch.tensor(of) for of in (lengths, questions)
    )
    size = (steps, len(lengths))
    return ReaderInput(
        document=torch.randint(1, 11, size).masked_fill(mask, 0),
        document_mask=mask,
        question=torch.randint(1, 11, (words, len(questions))).masked_fill(question_mask, 0),
        question_mask=question_mask,
        features=torch.rand(*size, 3).masked_fill(mask.unsqueeze(-1), 0),
        tags=torch.randint(1, tags, size).masked_fill(mask, 0) if tags else None,
    )


def alone(inputs: ReaderInput, place: int) -> ReaderInput:
    """Return one passage and its question, without padding."""
    assert inputs.document_mask is not None
    assert inputs.question_mask is not None
    length, words = (int((~mask[:, place]).sum()) for mask in (inputs.document_mask, inputs.question_mask))
    column = slice(place, place + 1)
    return ReaderInput(
        inputs.document[:length, column],
        None,
        inputs.question[:words, column],
        None,
        inputs.features[:length, column],
        None if inputs.tags is None else inputs.tags[:length, column],
    )


def attend(layer: FullyAwareAttention, x: Tensor, y: Tensor, values: Tensor) -> Tensor:
    """Apply the equations word by word to one passage, (T, ·), and one question, (J, ·)."""
    width = len(layer.diagonal) // layer.levels
    fused = []
    for word in x:
        levels = []
        for level in range(layer.levels):
            own = slice(level * width, (level + 1) * width)
            u, d = layer.projection.weight[own], layer.diagonal[own]
            scores = torch.stack([torch.relu(u @ word) @ (d * torch.relu(u @ other)) for other in y])
            levels.append(sum(a * z[own] for a, z in zip(scores.softmax(0), values, strict=True)))
        fused.append(torch.cat(levels))  # type: ignore[arg-type]
    return torch.stack(fused)


@pytest.mark.parametrize("levels", [1, 3])
def test_attention_equals_its_equation(levels: int) -> None:
    torch.manual_seed(0)
    layer = FullyAwareAttention(5, 2, levels=levels).double()
    torch.nn.init.uniform_(layer.diagonal, 0.5, 1.5)
    lengths = [4, 1, 2]
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    y = torch.randn(4, 3, 5, dtype=torch.float64)
    values = torch.randn(4, 3, 2 * levels, dtype=torch.float64)
    mask = torch.arange(4).unsqueeze(1) >= torch.tensor(lengths)
    fused = layer([x[..., :2], x[..., 2:]], [y], values, mask)
    assert fused.shape == (6, 3, 2 * levels)
    for place, length in enumerate(lengths):
        wanted = attend(layer, x[:, place], y[:length, place], values[:length, place])
        torch.testing.assert_close(fused[:, place], wanted)
    torch.testing.assert_close(layer([x], [y], values), layer([x], [y], values, torch.zeros_like(mask)))


@pytest.mark.parametrize("fusions", [1, 2])
def test_the_reader_equals_its_equations(fusions: int) -> None:
    reader = build(self_fusions=fusions, understanding_layers=1, final_layers=1, end_conditioned=True).eval()
    inputs = passages([6, 4], [3, 2])
    scores = reader(inputs)
    for place in range(2):
        own = alone(inputs, place)
        embedded = reader.inputs(own)

        def encode(encoder: Any, x: Tensor) -> Tensor:
            return encoder(x.unsqueeze(1))[:, 0]  # type: ignore[no-any-return]

        g, q = embedded.words[:, 0], embedded.question[:, 0]
        h, p = encode(reader.reading, embedded.document[:, 0]), encode(reader.question_reading, q)
        u = encode(reader.question_understanding, p)
        f = attend(reader.fusion, torch.cat([g, h], 1), torch.cat([q, p], 1), torch.cat([p, u], 1))
        v = encode(reader.understanding, torch.cat([h, f], 1))
        history = torch.cat([g, h, f, v], 1)
        for layer, encoder in zip(reader.self_fusions, reader.final, strict=True):
            assert isinstance(layer, FullyAwareAttention)
            s = attend(layer, history, history, v)
            v = encode(encoder, torch.cat([v, s], 1))
            history = torch.cat([history, v], 1)
        assert reader.summary.attention is not None
        summary = reader.summary.attention.query(u).softmax(0).t() @ u
        wanted = reader.outputs([v.unsqueeze(1)], summary)
        length = len(own.document)
        torch.testing.assert_close(scores.start[place, :length], wanted.start[0])
        torch.testing.assert_close(scores.end[place, :length], wanted.end[0])


def gradients(reader: FusionReader, scores: Scores) -> dict[str, Tensor]:
    reader.zero_grad()
    reader_loss(scores, torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2])).backward()
    return {
        name: parameter.grad for name, parameter in reader.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_changes_nothing(encoder: str) -> None:
    reader = build(encoder=encoder).eval()
    lengths = [7, 3, 5]
    inputs = passages(lengths, [1, 4, 2])
    scores = reader(inputs)
    assert scores.start.shape == (3, 7)
    for place, length in enumerate(lengths):
        single = reader(alone(inputs, place))
        for batched, own in zip(scores[:2], single[:2], strict=True):
            torch.testing.assert_close(batched[place, :length], own[0])
            assert (batched[place, length:] == -torch.inf).all()
    before = gradients(reader, scores)
    assert inputs.document_mask is not None
    assert inputs.question_mask is not None
    junk = inputs._replace(
        document=inputs.document.masked_fill(inputs.document_mask, 9),
        question=inputs.question.masked_fill(inputs.question_mask, 7),
        features=inputs.features.masked_fill(inputs.document_mask.unsqueeze(-1), 1e3),
    )
    scores = reader(junk)
    torch.testing.assert_close(gradients(reader, scores), before)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_trained(encoder: str) -> None:
    reader = build(
        encoder=encoder,
        hidden_size=SIZES.get(encoder, 4),
        num_tags=6,
        tag_size=2,
        no_answer=True,
        end_conditioned=True,
    )
    scores = reader(passages([7, 5, 6], [3, 4, 2], tags=6))
    idle = [name for name, grad in gradients(reader, scores).items() if not grad.any()]
    # Keys and values of SRU++ have no gradient while alpha is zero.
    assert [name for name in idle if not name.endswith("transform.linear2.weight")] == []


def test_dropout_is_off_in_evaluation() -> None:
    reader = build()
    inputs = passages([5, 3], [2, 2])
    assert not torch.equal(reader(inputs).start, reader(inputs).start)
    reader.eval()
    assert torch.equal(reader(inputs).start, reader(inputs).start)


@pytest.mark.usefixtures("one_thread")
def test_the_reader_learns() -> None:
    """The answer is the two words that follow the question's second word in the passage."""
    torch.manual_seed(0)
    config = replace(
        CONFIG,
        vocab_size=13,
        embedding_size=16,
        hidden_size=16,
        num_layers=1,
        understanding_layers=1,
        final_layers=1,
        dropout=0.0,
        embedding_dropout=0.0,
    )
    reader = build_reader(config)
    optimizer = torch.optim.Adam(reader.parameters(), lr=1e-2)

    def draw(batch: int) -> tuple[ReaderInput, Tensor]:
        document = torch.stack([torch.randperm(12)[:8] + 1 for _ in range(batch)], 1)
        place = torch.randint(6, (batch,))
        asked = document.gather(0, place.unsqueeze(0))
        question = torch.cat([torch.randint(1, 13, (1, batch)), asked])
        return ReaderInput(document, None, question, None, torch.zeros(8, batch, 3)), place

    for _ in range(120):
        inputs, place = draw(32)
        optimizer.zero_grad()
        reader_loss(reader(inputs), place + 1, place + 2).backward()
        optimizer.step()
    inputs, place = draw(256)
    scores = reader.eval()(inputs)
    for found, wanted in ((scores.start, place + 1), (scores.end, place + 2)):
        assert (found.argmax(1) == wanted).float().mean() > 0.9


def test_the_published_configuration_has_the_published_parameter_count() -> None:
    """The count is from FusionNet of github.com/felixgwu/FastFusionNet with the options in its README."""
    config = ReaderConfig(
        vocab_size=1000,
        embedding_size=300,
        num_features=4,
        num_tags=50,
        num_entities=19,
        tag_size=12,
        entity_size=8,
        reader="fusion",
        hidden_size=125,
        num_layers=2,
        end_conditioned=True,
    )
    with torch.device("meta"):
        reader = FusionReader(config)
    # Its SRU is the first version, which lacks the vectors v of 10 layers; its summary has a redundant bias.
    assert count_parameters(reader) - 300 * 1000 - 10 * 2 * 250 + 1 == 5_760_803


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concat_layers": False}, "the reader 'fusion' has no option concat_layers; leave it out"),
        ({"question_layers": 1}, "the reader 'fusion' has no option question_layers; leave it out"),
        ({"reader": "drqa", "self_fusions": 2}, "the reader 'drqa' has no option self_fusions; leave it out"),
        ({"final_layers": 0}, "final_layers must be at least 1, got 0"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **options)

"""Loading a model from its export or a checkpoint, and the errors of damaged files."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from sru_apps.inference.loading import load_trained
from sru_apps.tasks import chat
from sru_apps.tasks.lm import TASK
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.errors import UserError
from sru_apps.train.export import dump_tokenizer, export_model
from sru_data import DataError
from sru_data.tokenizers import CharTokenizer, SubwordTokenizer

CHAT = chat.TASK
KINDS = [
    {},
    {"tie_weights": True, "encoder": "lstm"},
    {
        "embedding": "adaptive",
        "output": "adaptive",
        "cutoffs": (2, 5),
        "cluster_shrink": 2,
        "tie_weights": True,
    },
]
TOKENIZER = CharTokenizer.train(["a small text\n"])


def build(**options):
    torch.manual_seed(0)
    config = LanguageModelConfig(
        **{"vocab_size": len(TOKENIZER), "embedding_size": 4, "hidden_size": 5, **options}
    )
    return LanguageModel(config).eval()


def export(folder, network, tokenizer, task="lm"):
    export_model(folder, network, {"task": task, "model": asdict(network.config)}, tokenizer)


def checkpoint_of(network, task="lm"):
    return {
        "task": task,
        "state_dict": {f"network.{name}": weight for name, weight in network.state_dict().items()},
        "hyper_parameters": {"config": asdict(network.config)},
        "LanguageModelData": {"tokenizer": dump_tokenizer(TOKENIZER)},
    }


@pytest.fixture
def exported(tmp_path):
    export(tmp_path / "model", build(), TOKENIZER)
    return tmp_path / "model"


@pytest.mark.parametrize("form", ["export", "checkpoint"])
def test_another_memory_length(tmp_path, form):
    network = build(encoder="srupp", projection_size=2, memory_length=2)
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    if form == "export":
        export(path := tmp_path / "model", network, TOKENIZER)
    else:
        torch.save(checkpoint_of(network), path := tmp_path / "x.ckpt")
    longer = build(encoder="srupp", projection_size=2, memory_length=9)
    longer.load_state_dict(network.state_dict())
    ids = torch.arange(2, 12).unsqueeze(1) % len(TOKENIZER)
    found = load_trained(TASK, path, {"memory_length": 9}).network
    assert found.config.memory_length == 9
    torch.testing.assert_close(found(ids)[0], longer(ids)[0])
    assert not torch.allclose(found(ids)[0], load_trained(TASK, path).network(ids)[0])


def test_memory_length_needs_srupp(exported):
    with pytest.raises(
        UserError, match=r"^the encoder 'sru' has no option memory_length, which belongs to sru"
    ):
        load_trained(TASK, exported, {"memory_length": 9})


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("form", ["export", "checkpoint"])
def test_round_trip(tmp_path, options, form):
    network = build(**options)
    path = tmp_path / "x"
    if form == "export":
        export(path, network, TOKENIZER)
    else:
        torch.save(checkpoint_of(network), path)
    loaded = load_trained(TASK, path)
    assert loaded.network.config == network.config
    assert not loaded.network.training
    assert loaded.tokenizer.tokens == TOKENIZER.tokens
    torch.testing.assert_close(loaded.network.state_dict(), network.state_dict(), rtol=0, atol=0)
    if options.get("embedding") == "adaptive":
        assert loaded.network.output.weights[1] is loaded.network.embedding.embeddings[1].weight


def test_a_run_folder_loads_its_export_or_else_its_best_checkpoint(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "checkpoints").mkdir()
    torch.save(checkpoint_of(build()), tmp_path / "checkpoints/best.ckpt")
    assert load_trained(TASK, tmp_path).network.config.embedding_size == 4
    export(tmp_path / "model", build(embedding_size=3), TOKENIZER)
    assert load_trained(TASK, tmp_path).network.config.embedding_size == 3


def test_a_subword_tokenizer_replaces_another_one(exported):
    subwords = SubwordTokenizer.train(["some words of a small text, and more of them"] * 5, vocab_size=20)
    export(exported, build(vocab_size=len(subwords)), subwords)
    assert not (exported / "tokenizer.json").exists()
    assert load_trained(TASK, exported).tokenizer.tokens == subwords.tokens


def test_more_symbols_than_the_tokenizer(tmp_path):
    export(tmp_path / "m", build(vocab_size=len(TOKENIZER) + 3), TOKENIZER, task="chat")
    loaded = load_trained(CHAT, tmp_path / "m")
    assert loaded.network.config.vocab_size == len(loaded.tokenizer) == len(TOKENIZER) + 3
    export(tmp_path / "m", build(), TOKENIZER, task="chat")
    numbers = rf"the model has {len(TOKENIZER)} tokens and its tokenizer {len(TOKENIZER) + 3}"
    with pytest.raises(UserError, match=rf"{numbers}; they do not belong together"):
        load_trained(CHAT, tmp_path / "m")


def test_another_task(tmp_path, exported):
    with pytest.raises(UserError, match="was made by `sru lm`; expected one made by `sru chat`"):
        load_trained(CHAT, exported)
    torch.save(checkpoint_of(build(), "classify"), tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="was made by `sru classify`; expected one made by `sru lm`"):
        load_trained(TASK, tmp_path / "x.ckpt")


def test_no_model(tmp_path):
    with pytest.raises(UserError, match=r"no model at .*/none; give a run folder"):
        load_trained(TASK, tmp_path / "none")
    with pytest.raises(UserError, match=r"is not an exported model: config.json is missing"):
        load_trained(TASK, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_size": 7}, "RuntimeError"),
        ({"encoder": "mamba"}, "unknown recurrent encoder 'mamba'"),
        ({"depth": 2}, "TypeError"),
    ],
)
def test_a_config_that_does_not_match_the_weights(exported, change, reason):
    config = json.loads((exported / "config.json").read_text())
    config["model"].update(change)
    (exported / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"model is damaged or is not an exported model: .*{reason}"):
        load_trained(TASK, exported)


@pytest.mark.parametrize("part", ["hyper_parameters", "state_dict", "LanguageModelData"])
def test_checkpoint_with_a_wrong_part(tmp_path, part):
    torch.save({**checkpoint_of(build()), part: {}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x.ckpt is damaged or is not a checkpoint: "):
        load_trained(TASK, tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("model.safetensors", UserError, "model.safetensors is damaged"),
        ("config.json", UserError, "config.json is damaged"),
        ("tokenizer.json", DataError, "expected a Hugging Face tokenizer.json"),
    ],
)
def test_damaged_files(exported, name, error, message):
    content = (exported / name).read_bytes()
    (exported / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(error, match=message):
        load_trained(TASK, exported)

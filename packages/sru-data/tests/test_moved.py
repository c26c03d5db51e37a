from __future__ import annotations

import importlib
import pickle
import sys

import pytest

from sru_data.loaders.buckets import LengthBatchSampler
from sru_data.moved import redirect

# Every documented module under its former name, with its documented names.
FORMER = {
    "batching": ["LengthBatchSampler", "PaddedBatch", "pad_sequences"],
    "chat": ["Dialogue", "Turn", "USER_KEYS", "read_dialogues"],
    "classification": ["NAMES", "NUM_FOLDS", "Example", "Splits", "load", "read_examples"],
    "embeddings": ["EmbeddingMatrix", "embedding_matrix", "read_embeddings"],
    "home": ["DATA_DIR_VARIABLE", "cache_dir", "download", "locate", "resolve_data_dir"],
    "language_modelling": [
        "FOLDER",
        "NAMES",
        "PYTHON_HELP",
        "Corpus",
        "TextSource",
        "Unit",
        "from_files",
        "load",
        "python_help_text",
    ],
    "streams": ["IGNORE", "Segment", "StreamLoader", "WindowLoader"],
    "text": ["BLOCK_BYTES", "Block", "TextSource", "Unit", "encode_block"],
    "text_files": ["CHUNK_BYTES", "MemoryText", "TextFile", "TextPart"],
    "token_files": [
        "PreparedCorpus",
        "Progress",
        "TextCounts",
        "TokenFile",
        "open_prepared",
        "prepare",
        "prepared_folder",
        "tokenizer_digest",
    ],
    "tokenizers": [
        "PAD_ID",
        "UNK_ID",
        "ByteTokenizer",
        "CharTokenizer",
        "HuggingFaceTokenizer",
        "SubwordTokenizer",
        "Tokenizer",
        "WordTokenizer",
        "load_tokenizer",
    ],
    "tokenizers.streaming": ["StreamingDecoder"],
    "tokenizers.training": ["SUBWORD_SAMPLE_BLOCKS", "UNKNOWN_WORD", "train_tokenizer"],
}


@pytest.mark.parametrize("module", FORMER)
def test_every_documented_name_imports_from_its_former_module(module) -> None:
    imported = importlib.import_module(f"sru_data.{module}")
    assert [name for name in FORMER[module] if not hasattr(imported, name)] == []


def test_a_former_name_is_the_new_module() -> None:
    import sru_data.batching

    from sru_data import home

    assert sru_data.batching is importlib.import_module("sru_data.loaders.buckets")
    assert home.locate is importlib.import_module("sru_data.datasets.sources").locate


def test_what_was_pickled_under_a_former_name_is_loaded() -> None:
    content = pickle.dumps(LengthBatchSampler, protocol=0).replace(b"loaders.buckets", b"batching")
    assert b"sru_data.batching" in content
    assert pickle.loads(content) is LengthBatchSampler


def test_other_packages_can_move_modules_too(tmp_path, monkeypatch) -> None:
    package = tmp_path / "moving"
    package.mkdir()
    for name in ("__init__", "new", "old"):
        (package / f"{name}.py").write_text(f"name = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    redirect({"moving.old": "moving.new"})
    assert importlib.import_module("moving.old").name == "new"
    assert sys.modules["moving.old"] is sys.modules["moving.new"]
    for name in ("moving", "moving.old", "moving.new"):
        monkeypatch.delitem(sys.modules, name)

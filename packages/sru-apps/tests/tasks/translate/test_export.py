"""Exported models translate like the original models."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from sru_apps.cli import main
from sru_apps.inference.loading import load
from sru_apps.tasks.translate import export
from sru_apps.tasks.translate.decoding import MORE, PER_SYMBOL, Search, search
from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.onnx_search import OnnxTranslator
from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.errors import UserError
from sru_data.tokenizers import SentenceTokenizer, WordTokenizer, load_tokenizer
from sru_nn.operators import TORCH_2_13

from .cases import SOURCES, SYSTEMS, TARGETS, model_of

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the export or this test needs it")
pytestmark = [
    pytest.mark.skipif(not TORCH_2_13, reason="sentences of any length in a graph need torch 2.13"),
    # PyTorch's exporter calls deprecated functions.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
]
SENTENCES = [[3, 1, 4, 1, 5, 9, 2], [6], [5, 3, 5], [8, 9, 7, 9, 3]]


def words(count: int) -> SentenceTokenizer:
    """Return a vocabulary of `count` tokens, including padding, unknown and both markers."""
    return SentenceTokenizer(WordTokenizer.from_words([f"w{number}" for number in range(count - 4)]))


def exported(folder: Path, model: TranslationModel) -> OnnxTranslator:
    """Export a model of `cases` with vocabularies, and open it."""
    export.write_export(folder, model, TokenizerPair(words(SOURCES), words(TARGETS)))
    return OnnxTranslator(folder)


def varied_model(**options: Any) -> TranslationModel:
    """Return a model whose translations differ between sentences and end at different lengths."""
    model = model_of(**options)
    with torch.no_grad():
        model.output.weight.mul_(4)
        model.output.weight[-1].mul_(1.5)
    return model


def expected(model: TranslationModel, **options: Any) -> list[list[tuple[list[int], float]]]:
    """Return PyTorch's translations."""
    lengths = torch.tensor([len(sentence) for sentence in SENTENCES])
    mask = torch.arange(int(lengths.max()))[:, None] >= lengths
    source = torch.zeros(mask.shape, dtype=torch.int64)
    for column, sentence in enumerate(SENTENCES):
        source[: len(sentence), column] = torch.tensor(sentence)
    found = search(model, source, mask, Search(**options))
    return [[(one.ids, pytest.approx(one.score, rel=1e-6)) for one in several] for several in found]


SEARCHES: list[dict[str, Any]] = [
    {"beam": 4, "n_best": 3},
    {"beam": 1, "max_length": 6},
    {"beam": 3, "n_best": 2, "length_penalty": "gnmt", "alpha": 0.6, "min_length": 4},
    {"beam": 20, "n_best": 20, "length_penalty": "none", "max_length": 3},
]


class Session:
    """Runs the exported programs of `write_graphs` without the conversion to ONNX, which is slow."""

    programs: ClassVar[dict[str, Any]] = {}

    @classmethod
    def write(cls, model: Any, args: Any, path: Path, **options: Any) -> None:
        """Do the first part of `to_onnx`."""
        names = options.pop("input_names"), options.pop("output_names")
        cls.programs[path.name] = torch.export.export(model, args, **options).module(), *names

    def __init__(self, path: str, **_: Any) -> None:
        self._module, self._inputs, self._outputs = self.programs[Path(path).name]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self._outputs]

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        given = [torch.from_numpy(feed[name]) for name in self._inputs]
        if self._inputs[0] == "ids":
            count = sum(name.startswith("memory") for name in self._inputs)
            given = [given[0], given[1 : count + 1], given[count + 1 :]]
        found = dict(zip(self._outputs, self._module(*given), strict=True))
        return [found[name].numpy() for name in names]


@torch.no_grad()
@pytest.mark.parametrize("system", ["srupp", "transformer-sru"])
def test_the_search_equals_pytorchs(tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sru_apps.tasks.translate.graphs.to_onnx", Session.write)
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    small = {"encoder": "srupp", "num_layers": 1, "decoder_layers": 1, "attention": "luong"}
    model = varied_model(**SYSTEMS[system] | ({} if system == "transformer-sru" else small))
    translator = exported(tmp_path / "exported", model)
    for options in SEARCHES:
        assert translator.translate(SENTENCES, **options) == expected(model, **options)
    # The export determines the maximum length.
    translator.config["longest"] = {"per_source_symbol": 0, "more": 2}
    short = translator.translate(SENTENCES)
    assert short == expected(model, max_length=2)
    translator.config["longest"] = {"per_source_symbol": PER_SYMBOL, "more": MORE}
    # The defaults are the model's, and no sentence depends on the others.
    together = translator.translate(SENTENCES)
    assert together == expected(model)
    assert len({tuple(best.ids) for best, *_ in together}) > 1
    alone = [translator.translate([sentence])[0] for sentence in SENTENCES]
    assert [[one.ids for one in several] for several in alone] == [
        [one.ids for one in several] for several in together
    ]
    assert translator.translate([]) == []


def test_the_command(trained: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, sentences = tmp_path / "deep/exported", corpus / "test.en"
    assert main(["translate", "export", str(trained), "--out", str(folder), "--check", str(sentences)]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert "6 of 6 translations are the same" in printed
    names = ["decoder.onnx", "encoder.onnx", "source.json", "target.json", "translation.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert all(f"{folder / name} (" in printed for name in names)

    model, translator = load(trained), OnnxTranslator(folder)
    source, target = (
        load_tokenizer(folder / translator.config[f"{side}_vocabulary"]) for side in ("source", "target")
    )
    (best,), *_ = translator.translate([source.encode("two five one")])
    assert target.decode(best.ids) == model.translate("two five one")[0].text

    path = folder / "translation.json"
    path.write_text(json.dumps(translator.config | {"forbidden": [0, *range(2, len(model.tokenizer) - 1)]}))
    lines = sentences.read_text().splitlines()
    with pytest.raises(
        UserError,
        match=r"[0-5] of 6 translations .*; '.*' becomes '.*' \(-.*\) with PyTorch and .* with ONNX",
    ):
        export.compare(folder, model.network, model.tokenizer, lines)

    limited = translator.config | {"most_source_symbols": 3, "most_target_symbols": 2}
    path.write_text(json.dumps(limited))

    def refuses(message: str, *given: list[int], **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            OnnxTranslator(folder).translate(list(given), **options)

    refuses(r"sentence 1 must have 1 to 3 symbols, got 4", [2], [2] * 4)
    refuses(r"sentence 0 must have 1 to 3 symbols, got 0", [])
    refuses(r"sentence 0 has an id outside the range 0 to 10", [11])
    refuses(r"n_best must be from 1 to the beam, 2, got 3", [2], n_best=3)
    refuses(r"length_penalty must be average, gnmt or none, got 'wu'", [2], length_penalty="wu")
    refuses(r"alpha is the exponent of .* got 0.6 with none", [2], length_penalty="none", alpha=0.6)
    refuses(r"min_length must be from 0 to 2, the maximum length, got 3", [2], min_length=3)
    assert all(len(best.ids) <= 2 for (best,) in OnnxTranslator(folder).translate([[2], [3]], max_length=9))
    path.write_text(json.dumps(limited | {"most_source_symbols": None}))
    refuses(r"sentence 0 must have at least 1 symbol, got 0", [])
    path.write_text(json.dumps(limited | {"format": 9}))
    refuses(r"exported has format 9, but this script reads format 1; use the onnx_search.py of the", [2])


def test_wrong_command_lines(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")

    def message(*args: str | Path) -> str:
        assert main(["translate", "export", *map(str, args)]) == 1
        return capsys.readouterr().err

    out = ("--out", tmp_path / "exported")
    assert "--out must be a folder, but " in message(trained, "--out", empty)
    assert "--check needs sentences, but " in message(trained, *out, "--check", empty)
    assert "cannot read " in message(trained, *out, "--check", tmp_path / "missing")
    assert "no model at " in message(tmp_path / "missing", *out)

    def refusing(*_: Any) -> str:
        raise ValueError("sentence 0 must have at most 254 symbols")

    sentences = tmp_path / "sentences"
    sentences.write_text("one two\n")
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_export", lambda folder, *_: folder.mkdir())
        patch.setattr(export, "compare", refusing)
        assert "sentence 0 must have at most 254 symbols" in message(trained, *out, "--check", sentences)

    def interrupted(model: TranslationModel, folder: Path) -> Any:
        (folder / "encoder.onnx").write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(export, "write_graphs", interrupted)
    assert "the disk is full" in message(trained, *out)
    assert list(out[1].iterdir()) == []
    monkeypatch.setattr(export, "TORCH_2_13", False)
    assert "exporting sentences of any length needs torch 2.13, got " in message(trained, *out)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "this needs onnx and onnxscript; pip install onnx onnxscript" in message(trained, *out)

"""Random parallel text, and damaged prepared pairs."""

from __future__ import annotations

import gzip
from typing import Any

from cases import TEXTS, Case, dump_json, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets.translation import PairFiles
from sru_data.pair_files import PreparedPairs, VocabularyConfig, open_prepared
from sru_data.pair_files import prepare as prepare_pairs

WORDS = st.sampled_from(
    ["rain", "Rain", "naïve", "雨", "<eos>", "<s>", "[PAD]", "<unk>", "\u2581", "\u2028", ""]
)
SENTENCE = st.one_of(st.lists(WORDS, max_size=6).map(" ".join), st.text(max_size=20), st.sampled_from(TEXTS))
LINES = st.lists(SENTENCE, min_size=1, max_size=6)
WELL_FORMED = ["the rain falls", "snow and snow"]


def refuses(error: BaseException) -> bool:
    """Readers raise only DataError, which names the file; training a tokenizer may raise ValueError."""
    if isinstance(error, DataError):
        return "/case" in str(error)
    return isinstance(error, ValueError) and "okenizer" in str(error).partition(":")[0]


def prepare(folder: Any) -> None:
    """Prepare two pairs."""
    for side in ("en", "de"):
        (folder / f"x.{side}").write_text("\n".join(WELL_FORMED))
    files = PairFiles.parallel(folder / "x.en", folder / "x.de")
    parts = {"train": files, "validation": files, "test": files}
    prepare_pairs(parts, folder / "pairs", name="rain", vocabulary=VocabularyConfig("words"))


def _check(prepared: PreparedPairs) -> None:
    """Ids match their texts, and no id is padding or a marker."""
    for name, part in prepared.parts.items():
        assert len(part) == prepared.report[name].kept, "the report has other counts"
        for index, (_, source, target) in enumerate(part):
            texts = part.text(index)
            for ids, text, tokenizer in (
                (source.tolist(), texts.source, prepared.source_tokenizer),
                (target.tolist(), texts.targets[0], prepared.target_tokenizer),
            ):
                assert ids == tokenizer.encode(text), "ids differ from the text"
                assert ids, "no ids"
                assert 0 < min(ids) <= max(ids) < tokenizer.bos_id, "an id of padding or a marker"
                assert "\n" not in tokenizer.decode(ids), "a line break in a sentence"
                assert len(tokenizer.pieces(text)) == len(ids), "wrong number of pieces"
                assert name != "train" or (text.strip() and len(ids) <= prepared.max_length), "a useless pair"


def pairs(case: Case) -> None:
    """Parallel files and tables: accepted ones have one pair per line and are prepared to the same texts."""
    sides = [case.draw(LINES, side) for side in ("source", "target")]
    kind = case.draw(st.sampled_from(["parallel", "parallel", "jsonl", "tsv"]), "kind")
    intact = case.draw(st.booleans(), "intact")
    chance = case.random()
    if kind == "parallel":
        contents = ["".join(f"{text}\n" for text in [*side, *WELL_FORMED]) for side in sides]
        encoded = [content.encode("utf-8", "surrogatepass") for content in contents]
        encoded[0] = encoded[0] if intact else mutated_bytes(encoded[0], chance)
        paths = [case.write(f"x.{n}.gz", gzip.compress(text)) for n, text in enumerate(encoded)]
        files = PairFiles.parallel(*paths)
    else:
        rows: Any = [dict(zip(("source", "target"), row, strict=True)) for row in zip(*sides, strict=False)]
        rows += [{"source": text, "target": text} for text in WELL_FORMED]
        if kind == "tsv":
            lines = ["source\ttarget", *("\t".join(row.values()) for row in rows)]
            content = "\n".join(lines).encode("utf-8", "surrogatepass")
        else:
            rows = rows if intact else mutated_tree(rows, chance, hostile_value)
            content = b"\n".join(map(dump_json, rows if isinstance(rows, list) else [rows]))
        files = PairFiles.table(
            case.write(f"x.{kind}", content if intact else mutated_bytes(content, chance))
        )
    read = list(files.pairs())
    if kind == "parallel":
        numbers = {gzip.decompress(path.read_bytes()).count(b"\n") for path in files.paths}
        assert not intact or numbers == {len(read)}, "wrong number of pairs"
    config = case.draw(
        st.sampled_from(
            [
                VocabularyConfig("words"),
                VocabularyConfig("words", lowercase=True, min_count=2, joint=True),
                VocabularyConfig("characters", size=20),
                VocabularyConfig("subwords", size=100, model_type="bpe"),
            ]
        ),
        "vocabulary",
    )
    how = {"name": "x", "vocabulary": config, "max_length": case.draw(st.sampled_from([3, 256]), "limit")}
    parts = {"train": files, "test": files}
    prepared = prepare_pairs(parts, case.folder / "p", **how)
    assert [prepared.parts["test"].text(n)[:2] for n in range(len(read))] == [pair[:2] for pair in read]
    _check(prepared)
    # A second call opens the prepared folder.
    prepare_pairs(parts, case.folder / "p", **how)


def damaged_pairs(case: Case) -> None:
    """A damaged file of prepared pairs: accepted only if the pairs are unchanged."""
    folder = case.copy("pairs")
    expected = open_prepared(case.samples / "pairs")
    case.damage(folder)
    found = open_prepared(folder)
    for name, part in found.parts.items():
        texts = [part.text(index) for index in range(len(part))]
        assert texts == [expected.parts[name].text(index) for index in range(len(part))], "texts differ"
    _check(found)

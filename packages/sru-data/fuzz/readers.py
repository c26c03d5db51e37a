"""Random files, well-formed or malformed, for every reader of sru-data."""

from __future__ import annotations

import gzip
import json
from typing import Any

import tokenizers
import torch
from cases import NUMBERS, TEXTS, Case, dump_json, hostile_value, mutated_bytes, mutated_tree
from containers import CONTAINERS
from hypothesis import strategies as st
from tokenizers import models

from sru_data import DataError
from sru_data.datasets import classification, dialogues, language_modelling
from sru_data.embeddings import embedding_matrix, read_embeddings
from sru_data.loaders import StreamLoader
from sru_data.records import read_records
from sru_data.texts import TextSource
from sru_data.token_files import open_prepared
from sru_data.token_files import prepare as prepare_corpus
from sru_data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    HuggingFaceTokenizer,
    SubwordTokenizer,
    WordTokenizer,
    load_tokenizer,
)
from sru_data.tokenizers.natural import naturalize
from sru_data.tokenizers.training import train_tokenizer

WORDS = st.sampled_from(
    ["a", "film", "the", "naïve", ".", "New York", "1.5", "", "\u200b", "\ufeffword", "<unk>"]
)
FIELDS = st.one_of(
    st.floats(width=32).map(str), st.sampled_from(["0.5", "-1e-3", "1", "1e39", "nan", "inf", "x", "", "1_0"])
)
DIALOGUES = [
    {"user": "hello", "bot": "hi"},
    {"conversation": [{"user": "a", "bot": "b"}, {"human": "c", "bot": "d"}]},
    {"messages": [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"instruction": "a", "input": "b", "output": "c"},
]
FRAMES = [(b"", b"\n", b"\n"), (b"", b"\r\n", b""), (b" [\n", b",\n", b"]\n\n"), (b"[", b", ", b"]")]
TEXT = st.lists(
    st.one_of(
        st.text(max_size=30), st.sampled_from(TEXTS[:-1]), st.sampled_from(["a film\n", "\r\n", "\x85"])
    ),
    max_size=8,
).map("".join)


def refuses(error: BaseException) -> bool:
    """Readers raise only DataError, which names the file; training a tokenizer may raise ValueError."""
    if isinstance(error, DataError):
        return "/case" in str(error)
    return isinstance(error, ValueError) and "okenizer" in str(error).partition(":")[0]


def prepare(folder: Any) -> None:
    """Save a tokenizer of each kind, and a prepared corpus."""
    texts = ["a gripping film", "dull", "funny , warm and smart", "a film too long by half"] * 20
    CharTokenizer.train(texts).save(folder / "characters")
    WordTokenizer.train(texts).save(folder / "words")
    WordTokenizer.train(texts, rules="english").save(folder / "english")
    ByteTokenizer().save(folder / "bytes")
    SubwordTokenizer.train(texts, vocab_size=40).save(folder / "subwords")
    for name, model in {
        "level": models.WordLevel({"[UNK]": 0, "a": 1}, "[UNK]"),
        "bpe": models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]),
        "unigram": models.Unigram([("<unk>", 0.0), ("a", -1.0), ("film", -2.0)], 0),
        "piece": models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}),
    }.items():
        tokenizers.Tokenizer(model).save(str(folder / name))
    (folder / "text.txt").write_text("\n".join(texts) * 5)
    corpus = language_modelling.from_files(folder / "text.txt")
    prepare_corpus(corpus, folder / "prepared", tokenizer=WordTokenizer.train(texts, line_ends=True))


def finish(case: Case, content: bytes) -> bytes:
    """Return a well-formed file unchanged, with a byte-order mark, or mutated."""
    ending = case.draw(st.sampled_from(["as it is", "as it is", "mark", "mutated"]), "ending")
    if ending == "mutated":
        return mutated_bytes(content, case.random())
    return b"\xef\xbb\xbf" + content if ending == "mark" else content


def embeddings(case: Case) -> None:
    """Text formats: accepted vectors are finite and of one width."""
    rows = case.draw(st.lists(st.tuples(WORDS, st.lists(FIELDS, min_size=2, max_size=3)), max_size=6), "rows")
    space = case.draw(st.sampled_from([" ", " ", " ", "  ", "\t"]), "space")
    lines = [space.join([word, *fields]) for word, fields in rows]
    if case.draw(st.booleans(), "header"):
        lines.insert(
            0, f"{case.draw(st.sampled_from([len(rows), 0, -1, 10**15]))} {case.draw(st.integers(0, 4))}"
        )
    _check_vectors(case, finish(case, "\n".join(lines).encode("utf-8", "surrogatepass")))


def word2vec(case: Case) -> None:
    """The binary format, with wrong headers."""
    width = case.draw(st.integers(1, 4))
    words = case.draw(st.lists(WORDS, max_size=5), "words")
    header = case.draw(st.sampled_from([(len(words), width), (10**12, width), (len(words), 10**9), (0, 0)]))
    chance = case.random()
    rows = b"".join(f"{word} ".encode() + chance.randbytes(4 * width) + b"\n" for word in words)
    _check_vectors(case, finish(case, b"%d %d\n" % header + rows))


def _check_vectors(case: Case, content: bytes) -> None:
    path = case.write("vectors", gzip.compress(content) if case.draw(st.booleans(), "gzip") else content)
    found = read_embeddings(path, {"a", "film", "the", "naïve", ".", "New York", "1.5"})
    assert len({vector.shape for vector in found.values()}) <= 1, "vectors of different widths"
    assert all(torch.isfinite(vector).all() for vector in found.values()), "a vector is not finite"
    weight = embedding_matrix(path, ["<pad>", "<unk>", "a", "film", "New York"]).weight
    assert torch.isfinite(weight).all(), "a weight is not finite"


def labelled_sentences(case: Case) -> None:
    """Sentence classification: accepted labels are in range."""
    labels = st.sampled_from(["0", "1", "1", "2", "-1", "٣", "01", "", "9" * 5000, "1.0"])
    rows = case.draw(st.lists(st.tuples(labels, TEXT), max_size=6), "rows")
    lines = "".join(f"{label} {text}\n" for label, text in rows)
    encoding = case.draw(st.sampled_from(["utf-8", "latin-1", "cp1252"]), "encoding")
    content = lines.encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")
    path = case.write("set.all", finish(case, content))
    examples = classification.read_examples(path, num_classes=2)
    assert all(0 <= label < 2 for _, label, _ in examples), "a label out of range"


def dialogue_files(case: Case) -> None:
    """Dialogues in every format, as lines or as an array, with some hostile fields."""
    chance = case.random()
    records = [
        chance.choice([*DIALOGUES, mutated_tree(chance.choice(DIALOGUES), chance, hostile_value)])
        for _ in range(4)
    ]
    between, begin, end = case.draw(
        st.sampled_from(
            [
                (b"\n", b"", b"\n"),
                (b"\n", b"", b""),
                (b"\r\n", b"", b"\n\n"),
                (b",\n", b" [\n", b"]\n"),
                (b",", b"[", b"]"),
            ]
        ),
        "frame",
    )
    content = finish(case, begin + between.join(map(dump_json, records)) + end)
    packed = case.draw(st.booleans(), "gzip")
    path = case.write(f"talk.jsonl{'.gz' if packed else ''}", gzip.compress(content) if packed else content)
    for dialogue in dialogues.read_dialogues([path] if case.draw(st.booleans(), "list") else path):
        assert dialogue, "a dialogue without turns"
        for user, bot in dialogue:
            assert bot.strip(), "an empty answer"
            (user or "").encode()
            bot.encode()


def json_arrays(case: Case) -> None:
    """The items of an array are those of a whole-file parser, wherever chunks end."""
    value = st.one_of(
        TEXT, st.integers(), st.lists(TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2)
    )
    items = case.draw(st.lists(st.dictionaries(TEXT, value, max_size=3), max_size=5), "items")
    indent = case.draw(st.sampled_from([None, 1, "\t"]), "indent")
    whole = json.dumps(items, indent=indent, ensure_ascii=case.draw(st.booleans(), "ascii"))
    content = whole.encode("utf-8", "surrogatepass")
    intact = case.draw(st.booleans(), "intact")
    path = case.write("x.json", content if intact else mutated_bytes(content, case.random()))
    records = list(read_records(path))
    if intact:
        assert [json.loads(record.content.decode("utf-8", "surrogatepass")) for record in records] == items
    assert [record.line for record in records] == sorted(record.line for record in records), (
        "line numbers decrease"
    )


def texts(case: Case) -> None:
    """Plain, compressed, archived and JSON lines: accepted files yield the whole text."""
    content = case.draw(TEXT, "text").encode("utf-8", "surrogatepass")
    name, stored, expected = case.draw(st.sampled_from(CONTAINERS), "container")(content, case)
    intact = case.draw(st.booleans(), "intact")
    path = case.write(name, stored if intact else mutated_bytes(stored, case.random()))
    source = TextSource.from_files([path])
    blocks = list(source.blocks())
    whole = b"".join(blocks)
    if intact and not expected.startswith(b"\xef\xbb\xbf"):
        assert whole == expected, f"read {whole[:50]!r} of {expected[:50]!r}"
    assert source.measure() >= len(whole) or name.endswith(".jsonl"), "the measured size is too small"
    assert source.fingerprint == TextSource.from_files([path]).fingerprint
    for block in blocks:
        block.decode()
    corpus = language_modelling.from_files(path)
    for unit in ("words", "characters", "bytes"):
        tokenizer = train_tokenizer(corpus.train, unit=unit)
        assert 0 not in tokenizer.encode(whole.decode("utf-8")), "text was encoded as padding"


def tokenizer_files(case: Case) -> None:
    """Mutated files of every tokenizer: accepted ones follow the protocol."""
    kinds = ["characters", "words", "english", "bytes", "subwords", "level", "bpe", "unigram", "piece"]
    path = case.copy(case.draw(st.sampled_from(kinds), "kind"))
    content, chance = path.read_bytes(), case.random()
    if content.startswith(b"{") and case.draw(st.booleans(), "as JSON"):
        path.write_bytes(finish(case, dump_json(mutated_tree(json.loads(content), chance, hostile_value))))
    else:
        path.write_bytes(finish(case, mutated_bytes(content, chance)))
    tokenizer = load_tokenizer(path)
    for text in ("a gripping film", "", "\n", "é\u200b𝄞", "<pad> <unk>", "zzz"):
        ids = tokenizer.encode(text)
        assert ids, f"{text!r} has no ids"
        assert all(0 < i < len(tokenizer) for i in ids), f"{text!r} has ids {ids[:9]} of {len(tokenizer)}"
        tokenizer.decode(ids)
    assert len(tokenizer.tokens) == len(tokenizer), "wrong number of tokens"
    again = case.folder / "again"
    tokenizer.save(again)
    assert load_tokenizer(again).encode("a film") == tokenizer.encode("a film"), (
        "saving changed the tokenizer"
    )


def english_words(case: Case) -> None:
    """Any text: both implementations split it alike, and splitting is idempotent."""
    parts = [
        "no",
        "mr",
        "can",
        "not",
        "n't",
        "'s",
        "u.s",
        "-lrb-",
        "http://",
        "a@b.co",
        "'70s",
        "1",
        "\u00e9\u0301",
    ]
    marks = list(".,'\"`-()/\\*:&@_!?[]\u2019\u201c\u2013\u2026 \n\u200b")
    text = "".join(case.draw(st.lists(st.sampled_from([*parts, *marks, *TEXTS]), max_size=20), "text"))
    tokenizer = WordTokenizer.train(["so"], rules="english", lowercase=case.draw(st.booleans(), "lowercase"))
    pieces = tokenizer.pieces(text)
    assert tokenizer.encode(text) == HuggingFaceTokenizer.encode(tokenizer, text), (
        "the tokenizers library splits differently"
    )
    assert tokenizer.pieces(" ".join(pieces)) == pieces, f"{pieces} were split again"
    assert naturalize(text) == naturalize(" ".join(text.split())), "white space changed natural text"


def token_files(case: Case) -> None:
    """A damaged file of a prepared corpus: accepted only if the ids are unchanged."""
    folder = case.copy("prepared")
    expected = open_prepared(case.samples / "prepared")
    case.damage(folder)
    found = open_prepared(folder)
    for split in ("train", "validation", "test"):
        one, other = getattr(found, split), getattr(expected, split)
        if one is None:
            continue
        assert torch.equal(one.tokens.int(), other.tokens.int()), f"ids of {split} differ"
        assert int(one.tokens.int().max()) < len(found.tokenizer), "an id outside the vocabulary"
        assert one.counts.tokens == len(one), "wrong counts"
    list(StreamLoader(found.train.tokens, batch_size=2, length=50))


def corpora(case: Case) -> None:
    """A folder prepared from random text is unchanged when reopened."""
    content = case.draw(TEXT, "text") * case.draw(st.sampled_from([1, 40]), "times")
    path = case.write("text.txt", content.encode("utf-8", "surrogatepass"))
    corpus = language_modelling.from_files(path)
    unit = case.draw(st.sampled_from(["words", "characters", "bytes", "subwords"]), "unit")
    size = case.draw(st.sampled_from([None, 300, *NUMBERS[:4]]), "vocab_size") if unit == "subwords" else None
    tokenizer = train_tokenizer(corpus.train, unit=unit, vocab_size=size)
    written = prepare_corpus(corpus, case.folder / "prepared", tokenizer=tokenizer)
    opened = open_prepared(case.folder / "prepared")
    assert torch.equal(written.train.tokens.int(), opened.train.tokens.int())


def bombs(case: Case) -> None:
    """A line of 2 GB in a file of 2 MB, and headers that announce as much."""
    piece = case.draw(st.sampled_from([b"x", b"x ", b"0.5 ", b"[", b'{"text": "', b"\0"]), "piece")
    head = case.draw(
        st.sampled_from([b"", b"film 0.5 ", b"1 500000000\n", b'{"text": "', b"1 ", b"[{"]), "head"
    )
    # gzip members can be concatenated, and a megabyte of a repeated piece compresses to a kilobyte.
    bomb = gzip.compress(head) + gzip.compress(piece * (1_000_000 // len(piece))) * 2000
    reader = case.draw(st.sampled_from(["embeddings", "text.jsonl.gz", "talk.json.gz"]), "reader")
    path = case.write(reader, bomb)
    if reader == "embeddings":
        read_embeddings(path, {"film"})
    elif reader == "talk.json.gz":
        dialogues.read_dialogues(path)
    else:
        next(TextSource.from_files([path]).blocks())

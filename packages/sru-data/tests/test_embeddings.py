from __future__ import annotations

import gzip
import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.embeddings import embedding_matrix, frequent_words, read_embeddings

VECTORS = {"the": [0.5, -1.25, 3.0], "café": [1e-3, 2.0, -0.125], ",": [0.0, 1.0, 2.0]}


def glove(vectors: Mapping[str, Sequence[float]]) -> bytes:
    return "".join(f"{word} {' '.join(map(repr, vector))}\n" for word, vector in vectors.items()).encode()


def fasttext(vectors: Mapping[str, Sequence[float]]) -> bytes:
    # fastText itself writes a space before each line end.
    width = len(next(iter(vectors.values())))
    return f"{len(vectors)} {width}\n".encode() + glove(vectors).replace(b"\n", b" \n")


def word2vec(vectors: Mapping[str, Sequence[float]], end: bytes = b"\n") -> bytes:
    width = len(next(iter(vectors.values())))
    records = (
        word.encode() + b" " + struct.pack(f"<{width}f", *vector) + end for word, vector in vectors.items()
    )
    return f"{len(vectors)} {width}\n".encode() + b"".join(records)


def word2vec_without_line_ends(vectors: Mapping[str, Sequence[float]]) -> bytes:
    return word2vec(vectors, end=b"")


FORMATS = [glove, fasttext, word2vec, word2vec_without_line_ends]


def write(folder: Path, content: bytes, name: str = "vectors") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def as_lists(vectors: Mapping[str, torch.Tensor]) -> dict[str, list[float]]:
    return {word: vector.tolist() for word, vector in vectors.items()}


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("encode", FORMATS)
def test_every_format_is_recognised_from_its_content(tmp_path, encode, compress) -> None:
    path = write(tmp_path, compress(encode(VECTORS)))
    found = read_embeddings(path, ["café", "the", "absent"])
    assert list(found) == ["the", "café"]
    assert all(vector.dtype == torch.float32 for vector in found.values())
    assert torch.equal(torch.stack(list(found.values())), torch.tensor([VECTORS["the"], VECTORS["café"]]))


WORDS = st.text(
    st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[float]]:
    width = draw(st.integers(8, 12))
    vectors = st.lists(FLOATS, min_size=width, max_size=width)
    # The first word is letters, so that no first line can be taken for a header.
    first = {"first": draw(vectors)}
    return first | draw(st.dictionaries(WORDS.filter(lambda word: word != "first"), vectors, max_size=6))


@pytest.mark.parametrize("encode", [glove, fasttext])
@given(table=tables())
def test_written_text_is_read_back(tmp_path_factory, encode, table) -> None:
    path = write(tmp_path_factory.mktemp("laws"), encode(table))
    assert as_lists(read_embeddings(path, list(table))) == table


@given(table=tables(), end=st.sampled_from([b"", b"\n"]))
def test_binary_vectors_of_any_bytes_are_read_back(tmp_path_factory, table, end) -> None:
    # Random vectors hold spaces and line ends among their bytes; control bytes distinguish them from text.
    table["first"][0] = 1.0
    path = write(tmp_path_factory.mktemp("laws"), word2vec(table, end=end))
    assert as_lists(read_embeddings(path, list(table))) == table


def test_a_binary_file_larger_than_the_read_buffer_is_read_whole(tmp_path) -> None:
    table = {f"word{i}": [float(i), -float(i)] * 100 for i in range(2000)}
    found = read_embeddings(write(tmp_path, word2vec(table)), list(table))
    assert as_lists(found) == table


@pytest.mark.parametrize("encode", [glove, fasttext])
def test_a_word_may_hold_spaces_in_text(tmp_path, encode) -> None:
    table = {"a": [1.0, 2.0], ". . .": [3.0, 4.0], "at name@domain.com": [5.0, 6.0]}
    assert as_lists(read_embeddings(write(tmp_path, encode(table)), list(table))) == table


@pytest.mark.parametrize("encode", [glove, fasttext])
def test_the_first_of_equal_words_counts_in_text(tmp_path, encode) -> None:
    content = encode({"a": [1.0, 2.0], "b": [5.0, 6.0], "c": [3.0, 4.0]}).replace(b"c ", b"a ")
    assert as_lists(read_embeddings(write(tmp_path, content), ["a", "b"])) == {
        "a": [1.0, 2.0],
        "b": [5.0, 6.0],
    }


def test_the_first_of_equal_words_counts_in_binary(tmp_path) -> None:
    content = word2vec({"a": [1.0, 2.0], "c": [3.0, 4.0]}).replace(b"c ", b"a ")
    assert as_lists(read_embeddings(write(tmp_path, content), ["a"])) == {"a": [1.0, 2.0]}


def test_only_words_in_use_are_parsed_and_kept(tmp_path) -> None:
    path = write(tmp_path, b"a 1 2\nb not numbers\nc 3 4\n")
    found = read_embeddings(path, ["a", "c"])
    assert as_lists(found) == {"a": [1.0, 2.0], "c": [3.0, 4.0]}
    assert [vector.untyped_storage().nbytes() for vector in found.values()] == [2 * 4, 2 * 4]


@pytest.mark.parametrize(
    ("content", "table"),
    [
        (b"a  1 2\nb \t 3  4 \n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"a\t1\t2\nb\t3\t4\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"2  2\na  1 2\nb 3 4\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"a 1 2\n\nb 3 4\n \n\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"2 2\na 1 2\nb 3 4\n\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"a 1 2\r\nb 3 4\r\n\r\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"a 1 2\nb 3 4\nroute 66 5 6\n", {"a": [1.0, 2.0], "b": [3.0, 4.0], "route 66": [5.0, 6.0]}),
        (b"route 66 5 6\na 1 2\nb 3 4\n", {"route 66": [5.0, 6.0], "a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"3 2\nroute 66 5 6\na 1 2\nb 3 4\n", {"route 66": [5.0, 6.0], "a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b". . . 4 5\na 1 2\n", {". . .": [4.0, 5.0], "a": [1.0, 2.0]}),
        (b"\xef\xbb\xbfa 1 2\nb 3 4\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"\xef\xbb\xbf2 2\na 1 2\nb 3 4\n", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        (b"\xef\xbb\xbf" + word2vec({"a": [1.0, 2.0]}), {"a": [1.0, 2.0]}),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_last_fields_are_the_numbers_with_any_separator(tmp_path, compress, content, table) -> None:
    assert as_lists(read_embeddings(write(tmp_path, compress(content)), list(table))) == table


@pytest.mark.parametrize("longer", [201, 1500])
def test_the_width_is_agreed_by_all_lines(tmp_path, longer) -> None:
    """The first 1,000 lines have two numbers, or a word that ends in one; those after them have three."""
    first = [f"word{number} 1 2" for number in range(600)] + [f"part {number} 1 2" for number in range(400)]
    path = write(tmp_path, "\n".join([*first, *("x 1 2 3" for _ in range(longer))]).encode())
    # 600 lines can only have two numbers, and 400 + longer could have three.
    message = (
        f"vectors: expected vectors of one width, got 2 numbers in .* 1,000 lines and 3 .* {1000 + longer:,};"
    )
    with pytest.raises(DataError, match=message):
        read_embeddings(path, ["word0"])


def test_words_that_end_in_numbers_are_words_as_long_as_they_are_few(tmp_path) -> None:
    lines = [*(f"word{number} 1 2" for number in range(1200)), *("part 7 1 2" for _ in range(1199))]
    path = write(tmp_path, "\n".join(lines).encode())
    assert as_lists(read_embeddings(path, ["word0", "part 7"])) == {"word0": [1.0, 2.0], "part 7": [1.0, 2.0]}
    path.write_bytes(b"2399 2\n" + "\n".join(["part 7 1 2"] * 2399).encode())
    assert as_lists(read_embeddings(path, ["part 7"])) == {"part 7": [1.0, 2.0]}, "a header needs no vote"


def test_no_word_found_gives_an_empty_dict(tmp_path) -> None:
    assert read_embeddings(write(tmp_path, glove(VECTORS)), ["absent"]) == {}


@pytest.mark.parametrize(
    ("content", "dim", "message"),
    [
        (b"a 1 2 3\nb 1 2\n", None, r"vectors:2: expected a word and 3 numbers, got a word and 2 fields"),
        (b"a 1 2 3\n", 4, r"vectors:1: expected a word and 4 numbers, got a word and 3 fields"),
        (b"a 1 2 3\n", 2, r"vectors:1: expected a word and 2 numbers, got a word and 3 fields"),
        (
            b"2 3\na 1 2 3\nb 1 2\n",
            None,
            r"vectors:3: expected a word and 3 numbers, got a word and 2 fields",
        ),
        (b"1 3\na 1 2\n", None, r"vectors:2: expected a word and 3 numbers, got a word and 2 fields"),
        (fasttext(VECTORS), 300, r"vectors:1: expected vectors of width 300, got a header with width 3"),
        (word2vec(VECTORS), 300, r"vectors:1: expected vectors of width 300, got a header with width 3"),
        (b"5 0\n", None, r"vectors:1: expected vectors of width 1 or more, got a header with width 0"),
        (b"a 1 2\nb 1 x\n", None, r"vectors:2: expected 2 numbers after the word 'b', got: .*'x'"),
        (b"b 3 4\na  1\n", None, r"vectors:2: expected 2 numbers after the word 'a', got: could not convert"),
        (
            b"b 3 4\na 1 nan\n",
            None,
            r"vectors:2: expected 2 numbers after the word 'a', got: one that is inf",
        ),
        (b"b -inf 4\n", None, r"vectors:1: expected 2 numbers after the word 'b', got: one that is infinite"),
        (b"b 1e39 4\n", None, r"vectors:1: expected 2 numbers after the word 'b', got: one that is infinite"),
        (
            word2vec({"a": [1.0, float("inf")]}),
            None,
            r"vectors: expected 2 numbers after the word 'a', got: one",
        ),
        (b"900000 65537\n", None, r"vectors:1: expected a header that matches the file, got one for 900,000"),
        (b"99999999 300\na", None, r"vectors:1: expected a header that matches the file, .* 300 in 14 bytes"),
        (b"a " + b"1" * (1 << 20), None, r"vectors:1: expected a line of at most 1,048,576 bytes"),
        ("a 1 2\n".encode("utf-16"), None, r"vectors: expected text in UTF-8, got UTF-16; convert"),
        (b"2 2\na 1 x\nb 1 2\n", None, r"vectors:2: expected 2 numbers after the word 'a', got: .*'x'"),
        (b"", None, r"vectors:1: expected a word and its numbers, or a header 'N D', got neither"),
        (
            b"not an embedding file\n",
            None,
            r"vectors:1: expected a word and its numbers.* is this an embedding",
        ),
    ],
)
def test_wrong_content_is_an_error_with_its_line(tmp_path, content, dim, message) -> None:
    with pytest.raises(DataError, match=message):
        read_embeddings(write(tmp_path, content), ["a", "b"], dim=dim)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            fasttext(VECTORS).rsplit(b"\n", 2)[0],
            r"expected 3 vectors of width 3 as the header says, got 2; .*damaged",
        ),
        (
            word2vec(VECTORS)[:-5],
            r"expected complete vectors of width 3 up to the end of the file, got a truncated one",
        ),
        (
            word2vec(VECTORS).replace(b"3 3\n", b"3 2\n"),
            r"expected complete vectors of width 2 up to the end of the file",
        ),
        (
            word2vec(VECTORS).replace(b"3 3\n", b"4 3\n"),
            r"expected 4 vectors of width 3 as the header says, got 3",
        ),
        (gzip.compress(glove(VECTORS), mtime=0)[:-12], r"expected a complete embedding file, got: .*"),
        (
            gzip.compress(glove(VECTORS) * 99, mtime=0)[:60] + b"\xff" * 60,
            r"expected a complete embedding file, got: .*",
        ),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, content, message) -> None:
    with pytest.raises(DataError, match=message):
        read_embeddings(write(tmp_path, content), list(VECTORS))


def test_numbers_too_far_apart_for_random_rows_are_an_error(tmp_path) -> None:
    path = write(tmp_path, b"a 3e38 -3e38\n")
    with pytest.raises(
        DataError, match=r"vectors: expected vectors with a finite spread, got numbers up to 3e"
    ):
        embedding_matrix(path, ["[PAD]", "a", "b"])


def test_a_word_without_an_end_is_an_error_and_takes_little_memory(tmp_path) -> None:
    path = write(tmp_path, gzip.compress(b"5 3\n\1" + b"x" * (64 << 20), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"expected complete vectors of width 3 up to the end of the file"):
        read_embeddings(path, ["x"])
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_missing_file_is_an_error(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"none: expected a complete embedding file, got: No such file or directory"
    ):
        read_embeddings(tmp_path / "none", ["a"])


def test_the_matrix_has_a_row_per_token(tmp_path) -> None:
    path = write(tmp_path, glove({"[PAD]": [9.0, 9.0, 9.0]} | VECTORS))
    matrix = embedding_matrix(path, ["[PAD]", "[UNK]", ",", "absent", "the"])
    assert matrix.found == 2
    assert matrix.weight.dtype == torch.float32
    assert matrix.weight[0].tolist() == [0, 0, 0]
    assert matrix.weight[[2, 4]].tolist() == [VECTORS[","], VECTORS["the"]]
    assert not matrix.weight[[1, 3]].eq(0).any()


def test_vectors_that_were_read_need_not_be_read_again(tmp_path) -> None:
    path = write(tmp_path, glove(VECTORS))
    tokens = ["[PAD]", "[UNK]", ",", "absent", "the"]
    vectors = read_embeddings(path, tokens)
    expected = embedding_matrix(path, tokens, seed=3)
    path.unlink()
    found = embedding_matrix(path, tokens, seed=3, vectors=vectors)
    assert found.found == expected.found
    assert torch.equal(found.weight, expected.weight)


def test_missing_rows_have_the_spread_of_the_file_and_depend_on_the_seed(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    known = {f"w{i}": row for i, row in enumerate((0.3 * torch.randn(50, 20, generator=generator)).tolist())}
    path = write(tmp_path, glove(known))
    tokens = ["[PAD]", *known, *(f"absent{i}" for i in range(500))]
    matrix = embedding_matrix(path, tokens, seed=1)
    missing = matrix.weight[51:]
    assert matrix.found == 50
    assert float(missing.std()) == pytest.approx(0.3, rel=0.1)
    assert abs(float(missing.mean())) < 0.02
    assert torch.equal(matrix.weight, embedding_matrix(path, tokens, seed=1).weight)
    assert not torch.equal(missing, embedding_matrix(path, tokens, seed=2).weight[51:])


def test_a_file_with_none_of_the_tokens_is_an_error(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"expected vectors for some of the 2 tokens, got none; do language and letter"
    ):
        embedding_matrix(write(tmp_path, glove(VECTORS)), ["[PAD]", "THE"])


def test_real_glove_has_the_words_of_real_sentences(real_data) -> None:
    (path,) = (real_data / "glove").glob("*.100d.*")
    matrix = embedding_matrix(path, ["[PAD]", "[UNK]", "the", "qqqqqqqq"], dim=100)
    assert (tuple(matrix.weight.shape), matrix.found) == ((4, 100), 1)
    assert matrix.weight[2, :2].tolist() == pytest.approx([-0.038194, -0.24487])


def test_an_endless_number_takes_no_longer_than_its_line(tmp_path) -> None:
    path = tmp_path / "vectors"
    # Would take hours if the number were split at each of its digits.
    path.write_bytes(b"the 1 2\nof " + b"5" * 2_000_000 + b"x 2\n")
    with pytest.raises(DataError, match=r"vectors:2: "):
        read_embeddings(path, ["the"])


@pytest.mark.parametrize("encode", FORMATS)
def test_the_first_words_are_the_frequent_ones(tmp_path, encode) -> None:
    table = {word: [float(i), 1.5] for i, word in enumerate(["the", ",", "caf\u00e9", "The", "of"])}
    path = write(tmp_path, encode(table))
    assert frequent_words(path) == frequent_words(path, 9) == list(table)
    assert frequent_words(path, 3) == ["the", ",", "caf\u00e9"]
    assert frequent_words(path, 0) == []


def test_frequent_words_come_once_and_are_text(tmp_path) -> None:
    path = write(tmp_path, b"the 1 2\nof 3 4\nthe 5 6\n\xff 7 8\nand 9 0\n")
    assert frequent_words(path) == ["the", "of", "and"]
    assert frequent_words(path, 3) == ["the", "of", "and"]


def test_frequent_words_of_a_damaged_file_are_an_error(tmp_path) -> None:
    path = write(tmp_path, b"the 1 2\nof 3 4\nand 5\n")
    assert frequent_words(path, 1) == ["the"]
    with pytest.raises(DataError, match=r"vectors:3: expected a word and 2 numbers, got a word and 1 fields"):
        frequent_words(path)


def test_other_spellings_of_a_word_are_found(tmp_path) -> None:
    table = {"(": [1.0], '"': [2.0], "/": [3.0], "Paris": [4.0], "PARIS": [5.0], "paris": [6.0]}
    table |= {"USA": [7.0], "Word": [8.0], "WORD": [9.0], "either/or": [10.0]}
    path = write(tmp_path, glove(table))
    words = ["-lrb-", "``", "''", "\\/", "paris", "usa", "word", r"either\/or", "Word", "OF", "absent"]
    found = as_lists(read_embeddings(path, words))
    assert found == {
        "-lrb-": [1.0],
        "``": [2.0],
        "''": [2.0],
        "\\/": [3.0],
        "paris": [6.0],
        "usa": [7.0],
        "word": [8.0],
        r"either\/or": [10.0],
        "Word": [8.0],
    }
    assert embedding_matrix(path, ["[PAD]", *words]).found == 9

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sru_data.token_files.counts import RunningCounts, TextCounts

TEXTS = st.text(st.sampled_from("ab \n\té€😀"), max_size=40)


def count(*blocks: bytes) -> TextCounts:
    running = RunningCounts()
    for block in blocks:
        running = running.add(block, tokens=3)
    return running.counts


@given(TEXTS.filter(bool))
def test_the_counts_of_a_text(text) -> None:
    assert count(text.encode()) == TextCounts(
        tokens=3,
        bytes=len(text.encode()),
        characters=len(text),
        words=len(text.split()),
        lines=len(text.removesuffix("\n").split("\n")),
    )


@given(TEXTS, st.data())
def test_blocks_may_be_cut_anywhere_even_within_a_character(text, data) -> None:
    content = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(content) - 1)), max_size=6)))
    blocks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True) if content[a:b]]
    whole = count(content) if content else TextCounts()
    assert count(*blocks) == TextCounts(
        tokens=3 * len(blocks),
        bytes=whole.bytes,
        characters=whole.characters,
        words=whole.words,
        lines=whole.lines,
    )


def test_by_example() -> None:
    assert count(b"two words\n", b"and th", b"ree more") == TextCounts(
        tokens=9, bytes=24, characters=24, words=5, lines=2
    )
    assert count(bytes(range(256))).characters == 192

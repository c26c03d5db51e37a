from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_apps.decoding.stopping import StopStrings

TEXT = st.text("ab\n", max_size=20)


def run(pieces, strings):
    stops = StopStrings(strings)
    out = "".join(map(stops.feed, pieces))
    return out + stops.finish(), stops.found


@given(text=TEXT, strings=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3), data=st.data())
def test_pieces_do_not_matter(text, strings, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert run(pieces, strings) == run(list(text), strings) == run([text], strings)
    out, found = run(pieces, strings)
    assert found == any(string in text for string in strings)
    assert not any(string in out for string in strings)
    assert text.startswith(out)
    assert found or out == text


def test_only_what_may_be_a_beginning_is_held_back():
    stops = StopStrings(["\n\n", "END"])
    assert stops.feed("one\n") == "one"
    assert stops.feed("two EN") == "\ntwo "
    assert stops.feed("X") == "ENX"
    assert stops.feed(" END of it") == " "
    assert stops.feed("more") == ""


def test_an_empty_string():
    with pytest.raises(ValueError, match="a stop string must hold at least one character, got an empty one"):
        StopStrings([""])

r"""Split English text into tokens with known offsets.

The text is not changed: every token is a substring of it, and only white space and invisible characters are
left out. The first row that matches applies:

    do|n't ca|n't                     letters before n't, and n't, with ' or ’
    's 'm 'd 're 've 'll              endings after a word, with ' or ’
    U.S. e.g.                         single letters with periods
    10|km 5|pm 3.5|bn                 a number before a unit
    1,000.50 3:30 1990s 5th           a number with , . : inside, and the letters after it
    O'Neill AT&T Amazon.com B12       letters and digits, also with ' & or the dot of a domain inside
    -- ... `` '' ***                  some marks, repeated
    - / ( " $ % .                     each other character, between letters or not

An ideograph is a token of its own. The time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from sru_data.annotation.protocol import Annotated

# Zero-width spaces, direction marks and byte-order marks separate tokens as white space does.
_GAP = "\\s\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Words are made of everything else: \w lacks accents and vowel signs that are separate characters.
_MARKS = (
    r"!\"#$%\&'()*+,\-./:;<=>?@\[\\\]\^_`{|}\~"
    "\x00-\x1f\x7f-\xa9\xab\xac\xae-\xb1\xb4\xb6-\xb8\xbb\xbf\xd7\xf7\u037e\u0387\u055a-\u055f\u0589\u058a"
    "\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b-\u061f\u066a-\u066d\u06d4\u0964\u0965\u0970"
    "\u2000-\u200b\u200e-\u206f\u20a0-\u20cf\u2116\u2122\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020"
    "\u3030\u303d\u30fb\ud800-\uf8ff\ufe10-\ufe1f\ufe30-\ufe6f\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40"
    "\uff5b-\uff65\uffe0-\uffff\U0001f000-\U0001faff"
)
_LETTER = rf"[^\s\d{_MARKS}{_IDEOGRAPHS}]"
_WORD = rf"[^\s{_MARKS}{_IDEOGRAPHS}]"


def _any_of(words: str) -> str:
    """Return a pattern for some words in either case."""
    letters = {c: f"[{c}{c.upper()}]" for c in "abcdefghijklmnopqrstuvwxyz"}
    return "|".join("".join(letters.get(c, c) for c in word) for word in words.split())


_UNITS = _any_of(
    "km m cm mm nm kg g mg lb lbs ft mi mph kmh ha hp hz khz mhz ghz kb mb gb tb kw mw gw v w am pm bc ad bn"
)
_DOMAINS = _any_of("com org net edu gov co uk de fr io tv info")
_APOSTROPHE = "['\u2019]"
_ENDING = rf"{_APOSTROPHE}(?:{_any_of('s m d re ve ll')})(?!{_WORD})"
_NOT = rf"[nN]{_APOSTROPHE}[tT](?!{_WORD})"
_JOINT = rf"(?:(?!{_ENDING}){_APOSTROPHE}|&|\.(?=(?:{_DOMAINS})(?!{_WORD})))"
_TOKENS = "|".join(
    (
        # A fast path for most words, which the patterns below would match too.
        r"[a-zA-Z]+(?=[ ,])",
        rf"{_LETTER}+(?={_NOT})",
        _NOT,
        _ENDING,
        rf"{_LETTER}(?:\.{_LETTER})+(?!{_WORD})\.?",
        rf"\d+(?:[.,:]\d+)*(?:(?=(?:{_UNITS})(?!{_WORD}))|{_WORD}*)",
        rf"{_WORD}+(?:{_JOINT}{_WORD}+)*",
        r"\.+|-+|`+|'+|\*+|=+|\~+|_+|.",
    )
)
_split = re.compile(f"(?![{_GAP}])({_TOKENS})", re.DOTALL).split


class PlainAnnotator:
    """Tokenizes by the rules of this module, without further features."""

    @property
    def description(self) -> Mapping[str, str]:
        """`{"features": "none"}`."""
        return {"features": "none"}

    def annotate(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Yield the tokens of each text, in order, reading the texts lazily.

        Args:
            texts: Any texts; a blank one has no tokens.
        """
        return map(annotate, texts)


def annotate(text: str) -> Annotated:
    """Return the tokens of one text.

    Args:
        text: Any text.
    """
    # Gaps and tokens alternate. The first and the last part are gaps, possibly empty.
    parts = _split(text)
    offsets = list(accumulate(map(len, parts)))
    return Annotated(parts[1::2], offsets[:-1:2], offsets[1::2])

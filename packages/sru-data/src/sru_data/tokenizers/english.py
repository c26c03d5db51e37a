r"""Split English text into words as in the Penn Treebank and the Stanford Sentiment Treebank.

First the text is rewritten; each row applies to the result of the rows above it:

    | in the text                               | becomes         | example                        |
    | ----------------------------------------- | --------------- | ------------------------------ |
    | soft hyphens, zero-width characters       | nothing         |                                |
    | Unicode                                   | NFC             | e + U+0301 -> é                |
    | curly quotes and apostrophes, ´           | `` '' and '     | “don’t” -> `` do n't ''        |
    | – between digits, ‐                       | -               | 1939–45 -> 1939-45             |
    | mr . mrs . ms . dr . jr . vs . etc . ...  | mr. ...         |                                |
    | other dashes, -- and longer               | --              | good—bad -> good -- bad        |
    | … and two or more periods                 | ...             | TERRIBLE.. -> terrible ...     |
    | ( and )                                   | -lrb- and -rrb- | (good) -> -lrb- good -rrb-     |
    | n 't                                      | n't             | does n 't -> does n't          |
    | n't 's 'm 'd 're 've 'll 't after a word  | its own word    | can't -> ca n't, it's -> it 's |
    | cannot                                    | can not         |                                |
    | "                                         | `` or ''        | "so-so" -> `` so-so ''         |
    | ' before a word                           | `               | 'so it goes' -> ` so it goes ' |
    | capitals, with `lowercase`                | small letters   | Terrible -> terrible           |

Then the following are words, and so is any other character that is not white space:

    -lrb- -rrb- -lsb- ...             web and mail addresses
    u.s. e.t. j.                      letters with periods
    mr. vs. etc.                      abbreviations; `no.` before a number; any word with its period before
                                      a separate mark (`so no. .`)
    n't 's 'em 'n' 'til '70s ol'      elisions
    k-19 o'neill s&m answers.com      letters and digits, also with - ' & _ \/ or the dot of a domain inside
    1,000.50 3:30 9/11                digits, also with . , : / inside
    `` '' -- ... ?! ***               these marks, and any number of * = ~ + _ # ^ | < >

Text that is already tokenized is therefore unchanged: `" ".join(pieces)` has the same pieces. The time is
linear in the length of the text.

Source: `tokenizer.sed` of the Penn Treebank (Robert MacIntyre, 1995), with the escapes of its parsed files.
"""

from __future__ import annotations

import re
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

# These patterns run in Python's `re` and in the library's Oniguruma, where \w, \b and (?i) mean different
# things. So all classes are spelled out, and letters are written in both cases.
_ASCII_MARKS = r"!\"#$%\&'()*+,\-./:;<=>?@\[\\\]\^_`{|}\~"
_OTHER_MARKS = (
    "\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u2010-\u2027"
    "\u2030-\u205e\u20a0-\u20bf\u2122\u2190-\u2bff\u3001-\u3003\u3008-\u3020\U0001f000-\U0001faff"
)
_W = rf"[^\s{_ASCII_MARKS}{_OTHER_MARKS}]"
_W_OR_PERIOD = _W.replace("./", "/")


def _any_of(words: str) -> str:
    """Return a pattern for some words in either case."""
    letters = {c: f"[{c}{c.upper()}]" for c in "abcdefghijklmnopqrstuvwxyz"}
    return "|".join("".join(letters.get(c, c) for c in word) for word in words.split())


_SUFFIXES = rf"(?:{_any_of('s m d re ve ll')}|(?<![nN]')[tT])(?!-?{_W})"
_ELIDED = rf"(?:{_any_of('s t m d re ve ll em n til tis twas cause')}|[0-9][0-9][sS]?)(?!{_W})"
_TITLES = "mr mrs ms dr vs etc jr sr bros"
_ABBREVIATIONS = "st inc co corp ltd prof rev gov gen sen lt capt sgt pa jan feb aug sept oct nov dec"
_PREFIXES = "anti pre post pro non mid semi self co"
_DOMAINS = "com org net edu gov co uk de fr io tv info"

_INVISIBLE = "[\u00ad\u200b-\u200d\u2060\ufe0e\ufe0f\ufeff]"
# (pattern, replacement); \K keeps the match before it, as in Oniguruma.
_BEYOND_ASCII = (
    ("[\u2018-\u201b\u2032\u00b4\x91\x92]", "'"),
    ("[\u201c\u201e\u201f\u00ab\x93]", " `` "),
    ("[\u201d\u2033\u00bb\x94]", " '' "),
    ("[\u2010\u2011]|(?<=[0-9])[\u2012\u2013\u2212\x96](?=[0-9])", "-"),
    ("[\u2012-\u2015\u2212\x96\x97]", " -- "),
    ("\u2026", " ... "),
)
_CUT_TITLES = ((rf"(?<!{_W})(?:{_any_of(_TITLES)})\K\s+(?=\.(?!\.))", ""),)
_RUNS = (("-{2,}", " -- "), (r"\.{2,}", " ... "))
_BRACKETS = ((r"\(", " -lrb- "), (r"\)", " -rrb- "))
_CANNOT = ((rf"(?<=[cC][aA][nN])(?<!{_W}[cC][aA][nN])(?=[nN][oO][tT](?!{_W}))", " "),)
_APOSTROPHES = (
    (rf"(?<=[nN])\s+(?='[tT](?!{_W}))", ""),
    (rf"(?<={_W})(?=[nN]'[tT](?:(?!{_W})|(?=[nN]'[tT])))", " "),
    (rf"(?<={_W_OR_PERIOD})(?='{_SUFFIXES})", " "),
)
_QUOTES = ((r"(?<![^\s\[{<\-/=`'])\"(?=[^\s\"])", " `` "), (r"(?<=\S)\"", " '' "))
# Separate quotes alternate between opening and closing ones.
_QUOTES_APART = ((r'"[^"]*\K"', "''"), ('"', "``"))
_SINGLE_QUOTES = ((rf"(?<!{_W})(?<!')'(?={_W})(?!{_ELIDED})", " ` "),)

_START = rf"(?<!{_W})(?<!['.])"
_JOINT = rf"(?:[\-'\&_]|\\/|(?<=[0-9])[.,:/](?=[0-9])|\.(?=(?:{_any_of(_DOMAINS)})(?!{_W})))"
_PIECE = "|".join(
    (
        # A fast path for most words, which the patterns below would match too.
        rf"{_W}{{2,}}(?!\S)",
        rf"-[lLrR][rRsScC][bB]-(?!{_W})",
        rf"(?<!{_W})(?:{_any_of('https?:// www[.]')})\S*[^\s{_ASCII_MARKS}]/?",
        r"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9._+\-]{0,63}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8}",
        rf"{_START}[A-Za-z](?:\.[A-Za-z])+(?!{_W})(?:\.(?:-{_W}+)*)?",
        rf"{_START}[A-HJ-Za-hj-z]\.(?!\.)(?!{_W})",
        rf"(?<!{_W})(?:{_any_of(_TITLES)})\.",
        rf"{_START}(?:(?:{_any_of(_ABBREVIATIONS)})\.(?!{_W})|[nN][oO]\.(?=\s*[0-9]))",
        rf"(?<!\S)(?:{_any_of(_PREFIXES)})-(?=\s)",
        rf"'[nN]'(?!{_W})|'{_ELIDED}|{_START}[oO][lL]'(?!{_W})",
        rf"{_W}+(?:{_JOINT}{_W}+)*(?:\.(?=\s+(?:\.\.\.|[.,;:?!])(?!\S)))?",
        r"``|''|--|\.\.\.|\?!\??|!\?|(?:\\[*/])+|\*+|=+|\~+|\++|_+|\#+|\^+|\|+|<+|>+|\S",
    )
)

_ALL_RULES = (
    *_BEYOND_ASCII,
    *_CUT_TITLES,
    *_RUNS,
    *_BRACKETS,
    *_APOSTROPHES,
    *_CANNOT,
    *_QUOTES,
    *_QUOTES_APART,
    *_SINGLE_QUOTES,
)


def normalizer(*, lowercase: bool) -> normalizers.Normalizer:
    """Return the rewriting step as a part of a `tokenizer.json`.

    Args:
        lowercase: Whether to lower-case text.
    """
    rules = [normalizers.Replace(tokenizers.Regex(pattern), content) for pattern, content in _ALL_RULES]
    invisible = normalizers.Replace(tokenizers.Regex(_INVISIBLE), "")
    lower = [normalizers.Lowercase()] if lowercase else []
    return normalizers.Sequence([invisible, normalizers.NFC(), *rules, *lower])


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the splitting of rewritten text as a part of a `tokenizer.json`."""
    return pre_tokenizers.Split(tokenizers.Regex(_PIECE), "removed", invert=True)


# Characters whose case, composition or white space may differ between Python and the library: those outside
# Latin, Greek, Cyrillic and marks, and those named in `words.py`.
_OTHER_FOR_PYTHON = re.compile(
    "[\x1c-\x1f\u03a3]|[^\x00-\u058f\u1e00-\u1eff\u2000-\u2bff\u3000-\u303f\ufe0e\ufe0f\ufeff\U0001f000-\U0001faff]"
)
_find_pieces = re.compile(_PIECE).findall


def _compiled(*rules: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    r"""Compile rules for Python, which lacks \K: the match before it is captured and kept."""
    kept = (pattern.rpartition(r"\K") for pattern, _ in rules)
    return [
        (re.compile(f"({before}){after}"), rf"\1{content}") if before else (re.compile(after), content)
        for (before, _, after), (_, content) in zip(kept, rules, strict=True)
    ]


_remove_invisible = re.compile(_INVISIBLE).sub
_beyond_ascii = _compiled(*_BEYOND_ASCII)
_by_mark = [
    (".", _compiled(*_CUT_TITLES)),
    ("--", _compiled(_RUNS[0])),
    ("..", _compiled(_RUNS[1])),
    ("(", _compiled(_BRACKETS[0])),
    (")", _compiled(_BRACKETS[1])),
    ("'", _compiled(*_APOSTROPHES)),
    ("", _compiled(*_CANNOT)),
    ('"', _compiled(*_QUOTES, *_QUOTES_APART)),
    ("'", _compiled(*_SINGLE_QUOTES)),
]


def pieces(text: str, *, lowercase: bool) -> list[str] | None:
    """Split a text into words, like the library but several times faster.

    Args:
        text: Any text.
        lowercase: Whether to lower-case it.

    Returns:
        The words; None if the text holds characters that Python and the library may treat differently.
    """
    if not text.isascii():
        if _OTHER_FOR_PYTHON.search(text):
            return None
        text = unicodedata.normalize("NFC", _remove_invisible("", text))
        for pattern, content in _beyond_ascii:
            text = pattern.sub(content, text)
    elif _OTHER_FOR_PYTHON.search(text):
        return None
    for mark, rules in _by_mark:
        if mark in text:
            for pattern, content in rules:
                text = pattern.sub(content, text)
    return _find_pieces(text.lower() if lowercase else text)

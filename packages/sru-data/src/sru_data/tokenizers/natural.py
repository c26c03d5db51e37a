r"""Convert tokenized English to text as people write it, to measure how well a model handles natural text.

    | tokenized                                  | natural                     |
    | ------------------------------------------ | --------------------------- |
    | -lrb- so -rrb-, -lsb- so -rsb-, \/, \*     | (so), [so], /, *            |
    | `` so '' or " so "                         | "so"                        |
    | ` so ' or ' so '                           | 'so'                        |
    | it 's, do n't, do n 't, can not, o 'hara   | it's, don't, cannot, o'hara |
    | the characters ' lives                     | the characters' lives       |
    | so , so ; so ... so % ? so / so            | so, so; so...so%? so/so     |
    | $ 5, # 1                                   | $5, #1                      |
    | so -- so                                   | so -- so                    |
    | i, i 'm, mr., u.s.                         | I, I'm, Mr., U.S.           |
    | so it goes . so , it goes !                | So it goes. So, it goes!    |

The quotes `"` and `'` open and close in turn; a `'` without a later one belongs to the word before it. Names
keep their case, since only the first word of a sentence is known to be capitalised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPED = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}
_SUFFIX = re.compile(r"n't|'(?:s|t|m|d|re|ve|ll|l|hara|neal|clock|etat)", re.IGNORECASE)
_QUOTES = {"``": '"', "''": '"', '"': '"', "`": "'", "'": "'"}
_CLOSING = re.compile(r"[.,;:!?%)\]}]+")
_OPENING = frozenset("([{$#")
_END = re.compile(r"[.!?]|[!?]+")
_TITLES = frozenset(("mr.", "mrs.", "ms.", "dr.", "jr.", "sr.", "st."))
_INITIALS = re.compile(r"(?!(?:i\.e|e\.g|a\.m|p\.m)\b)[a-z](?:\.[a-z])*\.|[a-z](?:\.[a-z])+")


def naturalize(text: str) -> str:
    """Write a tokenized text as people do: capitals, attached punctuation, contractions, plain brackets.

    Args:
        text: Words and marks with white space between them, as in the published sets.
    """
    words = [_unescaped(word) for word in text.split()]
    open_quotes: set[str] = set()
    written, is_attached, is_start = "", True, True
    for index, word in enumerate(words):
        if word == "." and index and words[index - 1][:-1].strip(".") and words[index - 1].endswith("."):
            # The period of an abbreviation also ends the sentence.
            is_start = True
            continue
        shown, to_left, to_right = _placed(words, index, open_quotes)
        if not (is_attached or to_left):
            written += " "
        is_suffix = to_left and shown[0].isalpha()
        written += shown if is_suffix else _cased(shown, is_start=is_start)
        is_attached = to_right
        if _END.fullmatch(word):
            is_start = True
        elif any(map(str.isalnum, word)):
            is_start = False
    return written


def _unescaped(word: str) -> str:
    return _ESCAPED.get(word.lower()) or word.replace("\\/", "/").replace("\\*", "*")


def _placed(words: Sequence[str], index: int, open_quotes: set[str]) -> tuple[str, bool, bool]:
    """Return how a word is written, and whether it is attached to the one before and the one after it."""
    word = words[index]
    before = words[index - 1] if index else ""
    after = words[index + 1] if index + 1 < len(words) else ""
    if word in _QUOTES:
        mark = _QUOTES[word]
        opens = word in ("`", "``")
        if word in ('"', "'"):
            opens = mark not in open_quotes and (word == '"' or _opens(words, index))
        (open_quotes.add if opens else open_quotes.discard)(mark)
        return mark, not opens, opens
    if word == "/":
        return word, True, True
    if word in _OPENING:
        return word, False, True
    has_suffix = _SUFFIX.fullmatch(word) or (word.lower() == "n" and after.lower() == "'t")
    is_second = before[-1:].isalnum() if has_suffix else (before.lower(), word.lower()) == ("can", "not")
    return word, bool(is_second or _CLOSING.fullmatch(word)), word == "..." and not index


def _opens(words: Sequence[str], index: int) -> bool:
    """Whether a separate apostrophe opens a quotation rather than marking a possessive."""
    is_possessive = index > 0 and words[index - 1][-1:].lower() in ("s", "x", "z", "n")
    return not is_possessive and "'" in words[index + 1 :]


def _cased(word: str, *, is_start: bool) -> str:
    if _INITIALS.fullmatch(word):
        return word.upper()
    if is_start or word in _TITLES or word.partition("'")[0] == "i":
        first = next((place for place, letter in enumerate(word) if letter.isalnum()), 0)
        return word[:first] + word[first : first + 1].upper() + word[first + 1 :]
    return word

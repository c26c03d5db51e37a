"""Back-off n-gram models, against probabilities computed by hand."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from sru_apps.decoding.arpa import NGramModel
from sru_data import DataError

TRIGRAMS = r"""
\data\
ngram 1=5
ngram 2=3
ngram 3=1

\1-grams:
-1.0	<unk>
-99	<s>	-0.5
-0.75	</s>
-0.5	a	-0.25
-0.625	b	-0.125

\2-grams:
-0.375	<s> a	-0.0625
-0.875	a b	0.25
-0.5	b </s>

\3-grams:
-0.03125	<s> a b

\end\
"""
# As in the file of AN4: a preamble that itself looks like a model, capitals, repeated spaces.
UNIGRAMS = r"""
p(wd2|wd1)= if(bigram exists) p_2(wd1,wd2)

Beginning of data mark: \data\
ngram 1=nr            # number of 1-grams

\1-grams:
p_1     wd_1 bo_wt_1
end of data mark: \end\

\data\
ngram 1=4
ngram 2=1

\1-grams:
-0.5000	<UNK>	0.0000
-0.2500	</s>	-99.0000
-99.0000	<s>	 0.0000
-0.7500	YES	 0.0000

\2-grams:
0.0000 <s> </s>
\end\
"""


def model(folder: Path, text: str = TRIGRAMS) -> NGramModel:
    path = folder / "words.lm"
    path.write_text(text)
    return NGramModel.read(path)


@pytest.mark.parametrize(
    ("sentence", "logs"),
    [
        # Listed trigram; then b(a b) + b(b) + log p(a), as neither "a b a" nor "b a" is listed; then
        # "b a </s>" and "a </s>": no trigram "b a", so b(a) + log p(</s>).
        (["a", "b", "a"], [-0.375, -0.03125, 0.25 - 0.125 - 0.5, -0.25 - 0.75]),
        # "<s> b": b(<s>) + log p(b); "<s> b </s>": no bigram "<s> b", so that of "b </s>".
        (["b"], [-0.5 - 0.625, -0.5]),
        # Unknown words are <unk>, which has no back-off weight.
        (["z", "b"], [-0.5 - 1.0, -0.625, -0.5]),
        ([], [-0.5 - 0.75]),
    ],
)
def test_every_word_has_the_probability_computed_by_hand(
    tmp_path: Path, sentence: list[str], logs: list[float]
) -> None:
    ngrams = model(tmp_path)
    context, found = ngrams.start(), []
    for word in sentence:
        log_prob, context = ngrams.score(context, word)
        found.append(log_prob)
        assert len(context) <= 2
    found.append(ngrams.end(context))
    assert found == pytest.approx([log * math.log(10) for log in logs], abs=1e-12)


def test_how_words_begin(tmp_path: Path) -> None:
    path = tmp_path / "words.lm"
    path.write_text("\\data\\\nngram 1=2\n\\1-grams:\n-0.3 no\n-0.3 nine\n\\end\\\n")
    ngrams = NGramModel.read(path)
    begun = {
        "": True,
        "n": True,
        "ni": True,
        "nine": True,
        "no": True,
        "na": False,
        "nines": False,
        "z": False,
    }
    assert {letters: ngrams.begins(letters) for letters in begun} == begun


def test_a_unigram_model_with_a_preamble(tmp_path: Path) -> None:
    ngrams = model(tmp_path, UNIGRAMS)
    yes, context = ngrams.score(ngrams.start(), "YES")
    assert yes / math.log(10) == pytest.approx(-0.75)
    assert ngrams.score(context, "yes")[0] / math.log(10) == pytest.approx(-0.5)
    assert ngrams.end(context) / math.log(10) == pytest.approx(-0.25)
    assert ngrams.end(ngrams.start()) == 0


def test_without_an_unknown_word_others_have_probability_zero(tmp_path: Path) -> None:
    text = "\\data\\\nngram 1=2\n\\1-grams:\n-0.3 </s>\n-0.3 a\n\\end\\\n"
    path = tmp_path / "words.lm.gz"
    path.write_bytes(gzip.compress(text.encode()))
    ngrams = NGramModel.read(path)
    assert ngrams.start() == ()
    assert ngrams.score((), "b") == (-99 * math.log(10), ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\\n", "", r"words.lm: expected an n-gram model in ARPA format, got no line \\data\\"),
        ("ngram 2=3", "ngrams 2=3", r"words.lm:4: expected ngram ORDER=COUNT, got 'ngrams 2=3'"),
        ("ngram 2=3", "ngram 2=4", r"words.lm:19: expected 4 2-grams before this line, got 3"),
        ("\\3-grams:", "\\4-grams:", r"words.lm:19: expected \\3-grams:, got \\4-grams:"),
        ("\\end\\", "", r"words.lm: expected \\end\\ at its end, got none; the file is truncated"),
        (
            "-0.875\ta b\t0.25",
            "-0.875\ta",
            r"words.lm:16: expected log10 p, 2 words and optionally a back-off",
        ),
        ("-0.875\ta b\t0.25", "-0.875\ta b c d", r"words.lm:16: expected log10 p, 2 words and optionally"),
        ("-0.875\ta", "minus\ta", r"words.lm:16: expected the logarithm of a number, got 'minus'"),
        ("-0.875\ta", "nan\ta", r"words.lm:16: expected the logarithm of a number, got 'nan'"),
        ("a b\t0.25", "a c\t0.25", r"words.lm:16: expected only words listed in the 1-grams, got 'c'"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert TRIGRAMS.count(old) == 1
    with pytest.raises(DataError, match=message):
        model(tmp_path, TRIGRAMS.replace(old, new))

"""BLEU and chrF equal those of sacrebleu."""

from __future__ import annotations

import sys

import pytest

from sru_apps.tasks.translate.metrics import TranslationScorer, import_sacrebleu
from sru_apps.train.errors import UserError

HYPOTHESES = ["the cat sat on the mat .", "a Dog barks"]
REFERENCES = [
    ("the cat sat on a mat .", "a cat is on the mat ."),
    ("a dog barks loudly", "the dog is barking"),
]


def test_scores_use_all_sentences_and_all_references() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    scorer = TranslationScorer(tokenizer="none", lowercase=True)
    found = scorer.corpus(HYPOTHESES, REFERENCES)
    columns = [list(column) for column in zip(*REFERENCES, strict=True)]
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, columns, tokenize="none", lowercase=True, force=True)
    lower = [[text.lower() for text in column] for column in columns]
    chrf = sacrebleu.corpus_chrf([text.lower() for text in HYPOTHESES], lower)
    assert found == (pytest.approx(bleu.score), pytest.approx(chrf.score))
    one = scorer.corpus(HYPOTHESES, [references[:1] for references in REFERENCES])
    assert one.bleu < found.bleu
    assert scorer.corpus([references[0] for references in REFERENCES], REFERENCES) == pytest.approx(
        (100, 100)
    )


def test_signatures() -> None:
    pytest.importorskip("sacrebleu")
    scorer = TranslationScorer(tokenizer="none", lowercase=True)
    scorer.corpus(HYPOTHESES, REFERENCES)
    bleu, chrf = scorer.signatures
    assert bleu.startswith("nrefs:2|case:lc|eff:no|tok:none|smooth:exp|version:")
    assert chrf.startswith("nrefs:2|case:lc|eff:yes|nc:6|nw:0|space:no|version:")
    other = TranslationScorer()
    other.corpus(HYPOTHESES, [references[:1] for references in REFERENCES])
    assert other.signatures[0].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")


def test_an_empty_reference_next_to_others_is_missing() -> None:
    pytest.importorskip("sacrebleu")
    scorer = TranslationScorer(tokenizer="none")
    # The empty reference would be the closest in length to the second hypothesis.
    hypotheses = ["a b c d e", "a"]
    found = scorer.corpus(hypotheses, [("a b c d e", "a b c d f"), ("a g h i j", "")])
    assert scorer.signatures[0].startswith("nrefs:var|")
    assert found.bleu < scorer.corpus(hypotheses, [("a b c d e", "a b c d f"), ("a g h i j", "a")]).bleu
    assert scorer.sentence("a", ("a b c d e", "")).bleu == scorer.sentence("a", ("a b c d e",)).bleu


def test_a_sentence_too_short_for_four_grams_has_a_score() -> None:
    pytest.importorskip("sacrebleu")
    assert TranslationScorer().sentence("a dog", ["a dog"]).bleu == pytest.approx(100)


def test_missing_sacrebleu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UserError, match=r"run `pip install 'sru-apps\[translate\]'`"):
        import_sacrebleu()

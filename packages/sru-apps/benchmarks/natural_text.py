"""Accuracy of sentence classifiers on natural text, since their test sets are published in tokenized form.

    python natural_text.py runs/classify/sst2/a runs/classify/mr/a --out docs/benchmarks

evaluates each model twice on its test set: as published, with spaces around each mark (`tokenized`), and as
converted by `sru_data.tokenizers.natural`, with capitals, attached punctuation and contractions (`natural`).
Both go through the model's own tokenizer. It prints a table or, with `--out`, writes natural-text.json and
natural-text.md. For a model without its run folder, name the set, as in `sst2=exported/model`.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

import sru_apps
from sru_apps.decoding.unknown import UnknownParts
from sru_apps.tasks.classify.predict import Classifier
from sru_data.datasets import classification
from sru_data.datasets.classification import Example
from sru_data.loaders.buckets import pad_sequences
from sru_data.tokenizers.natural import naturalize

# The benchmarks of sru-nn contain the helpers that record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from record import described, machine, save

BATCH_SIZE = 128
HEAD = """# Natural text

The published test sets have spaces around each mark: `it is n't so -lrb- good -rrb- .` People write
`It isn't so (good).` Here each model is measured on its test set as published (tokenized) and as people write
(natural): with capitals, attached punctuation, contractions, plain brackets and quotes, made by
`sru_data.tokenizers.natural`. Names keep the case they have in the set.

- **spaces**: words are split only at spaces, and the vocabulary is the words of the data, at commit
  c747d21
- **english**: words are split by English rules (the default), and the vocabulary is the words of the training
  text and the most frequent ones of the vectors: 50,000 by default, the larger one with
  `--data.embedding_words all`

One run per row with seed 0, so rows also differ by the noise between runs; the columns of a row are from one
model. To reproduce it:

    for set in sst2 mr cr trec; do
        sru classify fit --recipe $set --embeddings $GLOVE --name english
    done
    python packages/sru-apps/benchmarks/natural_text.py runs/classify/*/english --out docs/benchmarks
""".splitlines()


@torch.inference_mode()
def evaluate(model: Classifier, examples: Sequence[Example]) -> dict[str, float]:
    """Return accuracy and the share of unknown words, in percent."""
    ids = [model.tokenizer.encode(example.text) for example in examples]
    parts = UnknownParts(model.tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts.report(zip([example.text for example in examples], ids, strict=True))
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    correct = 0
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        batch = pad_sequences([ids[row] for row in rows], batch_first=False)
        labels = torch.tensor([examples[row].label for row in rows])
        correct += int((model.network(batch.ids, batch.mask).argmax(-1) == labels).sum())
    return {"accuracy": 100 * correct / len(ids), "unknown": 100 * parts.unknown / parts.tokens}


def evaluate_model(given: str, data_dir: str | None) -> dict[str, Any]:
    """Evaluate one model, given as a path or as NAME=PATH."""
    name, _, path = given.rpartition("=")
    folder = Path(path)
    config = next(
        (file for file in (folder / "config.yaml", folder.parent / "config.yaml") if file.is_file()), None
    )
    settings = yaml.safe_load(config.read_text()) if config else {}
    data = settings.get("data", {})
    name = name or data.get("name")
    if name is None:
        raise SystemExit(f"{given}: not a run folder of a published set; name the set, as in sst2={given}")
    seed = settings.get("seed", 0)
    test = classification.load(name, data_dir=data_dir, fold=data.get("fold", 0), seed=seed).test
    model = sru_apps.load(folder)
    natural = [example._replace(text=naturalize(example.text)) for example in test]
    is_english = len(model.tokenizer.encode("so,so")) > 1
    return {
        "set": name,
        "model": str(folder),
        "rules": "english" if is_english else "spaces",
        "vocabulary": len(model.tokenizer),
        "seed": seed,
        "texts": len(test),
        "tokenized": evaluate(model, test),
        "natural": evaluate(model, natural),
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Format the rows as a Markdown table."""
    lines = [
        "| set | rules | vocabulary | accuracy, tokenized | natural | difference | unknown words, tokenized "
        "| natural |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        tokenized, natural = row["tokenized"], row["natural"]
        lines.append(
            f"| {row['set']} | {row['rules']} | {row['vocabulary']:,} | {tokenized['accuracy']:.2f} % | "
            f"{natural['accuracy']:.2f} % | {natural['accuracy'] - tokenized['accuracy']:+.2f} | "
            f"{tokenized['unknown']:.2f} % | {natural['unknown']:.2f} % |"
        )
    return lines


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="run folders, or NAME=PATH for exported models")
    parser.add_argument("--data-dir", help="folder with the data; default: $SRU_DATA, else downloaded")
    parser.add_argument("--out", type=Path, help="folder for natural-text.json and natural-text.md")
    options = parser.parse_args()
    facts = machine("cpu")
    rows = [evaluate_model(model, options.data_dir) for model in options.models]
    page = [*HEAD, "", f"{described(facts)}", "", *table(rows)]
    if options.out is None:
        print("\n".join(page))
    else:
        save(options.out, "natural-text", {"machine": facts, "rows": rows}, page)


if __name__ == "__main__":
    main()

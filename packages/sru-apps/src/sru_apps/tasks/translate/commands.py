"""`sru translate translate`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from sru_apps.decoding.limits import PositiveCount, Seed, TokenCount
from sru_apps.decoding.sampling import Sampling
from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.doubts import Doubts
from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.translate.decoding import Search
from sru_apps.tasks.translate.predict import Translation, Translator
from sru_apps.train.errors import UserError, building
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import input_lines, on_one_line, use_utf8
from sru_data.atomic import atomic_write
from sru_data.reading import MAX_SENTENCE_BYTES
from sru_data.tables import Row, Table, open_table

_SAMPLING = ("temperature", "top_k", "top_p", "repetition_penalty")
_SEARCH = ("beam", "length_penalty", "alpha")


def translate(task: Task, args: Sequence[str]) -> int:
    """Print translations of sentences from the arguments, from files or standard input."""
    options = parse_options(
        "sru translate translate",
        "Translate sentences, one line per sentence, in order; an empty sentence gets an empty line. With "
        "--n-best, one row per translation: the number of the sentence, the score and the translation. A "
        "table (CSV, TSV, JSON lines, Parquet) is copied row by row, with the additional columns "
        "translation, score and note. The score is the log-probability divided by the length penalty.",
        [
            ("sentences", list, [], "Sentences; default: standard input, one per line."),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            (
                "--file",
                list,
                None,
                "Translate this file: a text file with one sentence per line, plain or compressed, or a CSV, "
                "TSV, JSON lines or Parquet file. May be repeated, or be a pattern such as 'mail/*.txt'.",
            ),
            ("--text-column", str, "text", "The column with the sentences."),
            ("--out", str | None, None, "Write the translations of --file here; default: standard output."),
            (
                "--beam",
                PositiveInt | None,
                None,
                "The beam size; 1 is greedy; default: the model's.",
            ),
            ("--n-best", PositiveInt, 1, "Translations per sentence, the best first."),
            (
                "--length-penalty",
                Literal["average", "gnmt", "none"] | None,
                None,
                "What divides log-probabilities: |y|^ALPHA, ((5 + |y|) / 6)^ALPHA, or nothing; default: the "
                "model's.",
            ),
            ("--alpha", float | None, None, "The exponent of the length penalty; default: the model's."),
            ("--min-length", TokenCount, 0, "The minimum number of tokens of a translation."),
            (
                "--max-length",
                PositiveCount | None,
                None,
                "The maximum number of tokens of a translation, which is then cut off with a warning; "
                "default: twice the tokens of the sentence plus 20.",
            ),
            ("--prefix", str | None, None, "The beginning of every translation."),
            ("--forbid-unknown", bool, False, "Never choose the unknown token."),
            (
                "--replace-unknown",
                bool,
                False,
                "Replace an unknown word with the word of the sentence that it attends to most.",
            ),
            ("--sample", bool, False, "Sample translations instead of searching for the best."),
            ("--temperature", float | None, None, "For --sample: below 1 favours likely tokens; default: 1."),
            (
                "--top-k",
                PositiveInt | None,
                None,
                "For --sample: choose among this many of the most likely tokens.",
            ),
            (
                "--top-p",
                float | None,
                None,
                "For --sample: choose among the most likely tokens of this total probability.",
            ),
            (
                "--repetition-penalty",
                float | None,
                None,
                "For --sample: above 1 makes repetition less likely.",
            ),
            (
                "--seed",
                Seed,
                0,
                "For --sample: the seed of each sentence; its further samples use SEED + 1, ...",
            ),
            (
                "--attention-picture",
                str | None,
                None,
                "Plot the attention of the translation of a single sentence to this PNG file.",
            ),
            ("--json", bool, False, "Print one JSON object per sentence, with all its translations."),
        ],
        args,
    )
    use_utf8()
    _check_files(options)
    how = _search_of(options)
    if options.file:
        with building():
            table = open_table(options.file)
        return _translate_table(task, table, how, options)
    return _translate_lines(task, how, options)


def _check_files(options: Namespace) -> None:
    if options.sentences and options.file:
        raise UserError("give sentences either as arguments or in --file, not both", status=2)
    if options.out is not None and (not options.file or options.json):
        what = "--json prints" if options.json else "translations of arguments and standard input are printed"
        raise UserError(f"--out is for the translations of --file, but {what}; leave it out", status=2)
    if options.attention_picture is not None and len(options.sentences) != 1:
        raise UserError("--attention-picture is for one sentence; give it as an argument", status=2)


def _search_of(options: Namespace) -> Search:
    """Return the search options, before the model is loaded, so that a wrong value is reported at once."""
    drawing = {name: options[name] for name in _SAMPLING if options[name] is not None}
    if drawing and not options.sample:
        raise UserError(
            f"{_option(next(iter(drawing)))} is for sampling; add --sample, or leave it out", status=2
        )
    searching = {name: options[name] for name in _SEARCH if options[name] is not None}
    if searching and options.sample:
        name = _option(next(iter(searching)))
        raise UserError(f"{name} is for the search, not for --sample; leave one of them out", status=2)
    with building():
        return Search(
            **searching,
            n_best=options.n_best,
            min_length=options.min_length,
            max_length=options.max_length,
            forbid_unknown=options.forbid_unknown,
            sampling=Sampling(**drawing) if options.sample else None,
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class _Translating:
    """A model with the options of the command, which reports doubtful translations."""

    def __init__(self, task: Task, how: Search, options: Namespace) -> None:
        self.model: Translator = load_trained(task, Path(options.model))
        self.unknown, self.doubts = UnknownParts(self.model.tokenizer.source.text), Doubts("sentences")
        self._how, self._options = how, options
        # Reject options that the model does not support before reading any sentence.
        with building():
            self([], self.unknown.count)

    def __call__(self, texts: Iterable[str], report: Any) -> Iterator[list[Translation]]:
        """Translate sentences, as `Translator.stream` does."""
        return self.model.stream(
            texts,
            self._how,
            prefix=self._options.prefix or "",
            seed=self._options.seed,
            replace_unknown=self._options.replace_unknown,
            keep_alignment=self._options.attention_picture is not None,
            report=report,
        )


def _translate_lines(task: Task, how: Search, options: Namespace) -> int:
    given, count = options.sentences, 0
    with nullcontext([given]) if given else input_lines(limit=MAX_SENTENCE_BYTES) as groups:
        translating = _Translating(task, how, options)
        for lines in groups:
            texts = [line.strip() for line in lines]
            found = translating(texts, translating.unknown.report)
            for text, translations in zip(texts, found, strict=True):
                count += 1
                translating.doubts.see(translations[0].note, f"{'sentence' if given else 'line'} {count}")
                if options.attention_picture is not None:
                    _draw(Path(options.attention_picture), translations[0])
                print(_shown(count, text, translations, options))
            sys.stdout.flush()
    translating.doubts.end()
    if not count:
        raise UserError("no sentences: give some as arguments, in --file, or one per line on standard input")
    return 0


def _draw(path: Path, translation: Translation) -> None:
    # Imported here, since matplotlib is slow to import.
    from sru_apps.tasks.translate.pictures import draw_attention

    if translation.alignment is None:
        raise UserError("there is no attention to plot: the sentence has no translation")
    draw_attention(path, translation.alignment)


def _translate_table(task: Task, table: Table, how: Search, options: Namespace) -> int:
    table.check_column(options.text_column, option="--text-column")
    translating = _Translating(task, how, options)
    asked: deque[Row] = deque()

    def texts() -> Iterator[str]:
        for row in table.rows([options.text_column]):
            asked.append(row)
            yield row.values[0].strip()

    def found() -> Iterator[tuple[str, list[Translation]]]:
        for translations in translating(texts(), translating.unknown.count):
            row = asked.popleft()
            translating.doubts.see(translations[0].note, row.place)
            yield row.values[0], translations

    out = None if options.out is None else Path(options.out)
    if options.json or table.kind == "text":
        shown = (_shown(number, text, rows, options) for number, (text, rows) in enumerate(found(), 1))
        _write(shown, out, table)
    else:
        names = ["translation", "score", "note", *(["translations"] if options.n_best > 1 else [])]
        added = (_columns(translations) for _, translations in found())
        table.copy_with(sys.stdout.buffer if out is None else out, added, columns=names)
    translating.doubts.end()
    if out is not None:
        print(f"{translating.doubts.rows:,} sentences in {out}")
    if translating.unknown.unknown:
        print(f"sru translate translate: {translating.unknown.summary()}", file=sys.stderr)
    return 0


def _write(lines: Iterable[str], out: Path | None, table: Table) -> None:
    """Print lines, or write them to a file atomically."""
    if out is None:
        for line in lines:
            print(line)
        return
    if any(out.exists() and out.samefile(file) for file in table.files):
        raise UserError(f"--out must be another file than those of --file, got {out}", status=2)
    with atomic_write(out) as file:
        for line in lines:
            file.write(f"{line}\n".encode())


def _shown(number: int, text: str, translations: Sequence[Translation], options: Namespace) -> str:
    """Return the output for a sentence: a line, a row per translation, or a JSON object."""
    if options.json:
        return dump_json({"source": text, "translations": _fields(translations)})
    if options.n_best == 1:
        return on_one_line(translations[0].text)
    return "\n".join(
        f"{number}\t{'' if score is None else f'{score:.4f}'}\t{on_one_line(written)}"
        for written, score, *_ in translations
    )


def _fields(translations: Sequence[Translation]) -> list[dict[str, Any]]:
    """Return translations as JSON objects; a sentence without words has none."""
    names = ("text", "score", "log_prob", "note")
    return [
        {name: getattr(translation, name) for name in names}
        for translation in translations
        if translation.score is not None or translation.note is not None
    ]


def _columns(translations: Sequence[Translation]) -> Mapping[str, object]:
    text, score, _, note, _ = translations[0]
    return {"translation": text, "score": score, "note": note, "translations": _fields(translations)}

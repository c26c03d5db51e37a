"""Questions about passages for Lightning: prepared once, mapped into memory, batched by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from sru_data.datasets.squad import SOURCES
from sru_data.question_files import (
    Example,
    PreparedQuestions,
    QuestionFile,
    open_prepared,
    prepare,
)
from torch import Tensor

from sru_apps.ranges import check_at_least
from sru_apps.tasks.squad.batches import Batch, WordTable, make_batch
from sru_apps.tasks.squad.vocabulary import SPECIAL, Vocabulary, make_vocabulary
from sru_apps.train.console import preparation_bar
from sru_apps.train.data import BatchData
from sru_apps.train.errors import UserError
from sru_apps.train.own_files import Files, name_of_files
from sru_data import DataError
from sru_data.embeddings import EmbeddingMatrix
from sru_data.errors import shortened
from sru_data.paths import matching_files
from sru_data.tokenizers import WordTokenizer

DatasetName = Literal["squad1", "squad2"]
_MAX_CONTEXT = 1000
"""Words of a passage that are read in validation and test; `max_context` can raise it."""
_WHAT = {
    "description": "words",
    "tags": "parts of speech",
    "entities": "kinds of named entities",
}
"""What a checkpoint must agree on with its data, and how to call it."""


class SquadData(BatchData[Example, Batch]):
    """SQuAD, or files of your own in its form, as batches of passages of similar lengths.

    The files are cut into words once, by `prepare` or by the first training, and then mapped into memory.
    SQuAD's own test set is not public: figures are those of the official development set, which is the
    validation set here, and there is a test only with `test_file`.

    The limits of length concern training alone. In validation and test every passage is read whole and every
    question is counted, so the figures are those of the official evaluation.

    Args:
        name: A published set: squad1 (SQuAD 1.1) or squad2 (SQuAD 2.0, with unanswerable questions).
        train_file: Files of your own instead, in the form of SQuAD's JSON, plain or compressed; one path, a
            list, or a pattern such as 'questions/*.json.gz'.
        validation_file: Others for validation.
        test_file: Others for the test; possible with `name` too.
        data_dir: Folder with the published sets; default: $SRU_DATA, else the data are downloaded.
        prepared_dir: Folder of the prepared questions; default: one in the cache. One that `sru squad
            prepare` has filled needs neither `name` nor files.
        features: Linguistic features of words (part of speech, named entity, lemma): spacy, or none.
        spacy_model: The spaCy pipeline that finds them.
        lowercase: Look words up in lower case; vectors of cased words, such as GloVe 840B, want false.
        embeddings: Pretrained word vectors: GloVe text, fastText `.vec` or word2vec `.bin`, plain or `.gz`.
        embedding_size: Length of the word vectors; default: that of the pretrained ones, else 100.
        embedding_words: Keep the vectors of this many words, from the beginning of the file, for texts to
            come, or of `all`; the words of the data are kept in any case.
        tune_words: Train the vectors of this many words, the most frequent of the training questions, or
            of `all`; the other pretrained ones stay as they are.
        min_count: A word without a pretrained vector is known if it occurs this often in training.
        max_context: Train on passages of at most this many words.
        max_question: Train on questions of at most this many words.
        subset: Train on the first questions alone, this many.
        batch_size: Questions per batch.
        evaluation_batch_size: The same in validation and test; default: `batch_size`.
        processes: Processes that prepare the questions; default: one per core.
        seed: Seed of the order of the batches, and of vectors for words without a pretrained one.

    Attributes:
        prepared: The prepared questions.
        tokenizer: Words to numbers.
        fixed_vectors: How many of the last words have vectors that are kept as they are.
        pretrained: The vectors to start from, if a file was named.
        tags: The parts of speech by number, none without features.
        entities: The kinds of named entities by number, none without features.

    Raises:
        ValueError: A size is less than 1.
        UserError: There is no data, or two.
    """

    tokenizer: WordTokenizer | None = None
    pretrained: EmbeddingMatrix | None = None
    fixed_vectors = 0

    def __init__(
        self,
        name: DatasetName | None = None,
        train_file: Files | None = None,
        validation_file: Files | None = None,
        test_file: Files | None = None,
        data_dir: str | None = None,
        prepared_dir: str | None = None,
        features: Literal["none", "spacy"] = "none",
        spacy_model: str = "en_core_web_sm",
        lowercase: bool = True,
        embeddings: str | None = None,
        embedding_size: int | None = None,
        embedding_words: int | Literal["all"] = 50_000,
        tune_words: int | Literal["all"] = 1000,
        min_count: int = 5,
        max_context: int = 400,
        max_question: int = 60,
        subset: int | None = None,
        batch_size: int = 32,
        evaluation_batch_size: int | None = None,
        processes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            embedding_size=embedding_size,
            min_count=min_count,
            max_context=max_context,
            max_question=max_question,
            subset=subset,
            batch_size=batch_size,
            evaluation_batch_size=evaluation_batch_size,
            processes=processes,
        )
        words = {"embedding_words": embedding_words, "tune_words": tune_words}
        check_at_least(0, **{option: count for option, count in words.items() if count != "all"})
        self.save_hyperparameters(logger=False)
        _check_source(self.hparams)
        self.group = name or name_of_files(train_file or prepared_dir or "")
        self.embedding_size = 100 if embedding_size is None else embedding_size
        self._expected: dict[str, Any] = {}

    def prepare_data(self) -> None:
        """Cut the files into words where that is not done yet, in one process while others wait.

        Raises:
            DataError: A file is missing or damaged, or the folder holds other questions.
        """
        if hasattr(self, "prepared"):
            return
        options = self.hparams
        if options["name"] is None and options["train_file"] is None:
            self.prepared = open_prepared(options["prepared_dir"])
        else:
            self.prepared = _prepare(self.group, options)
        self.dataset = self.prepared.name
        self.has_test = "test" in self.prepared.parts

    def setup(self, stage: str) -> None:
        """Open the prepared questions and choose the words.

        Raises:
            DataError: The embedding file is missing or damaged, or no question is left to train on.
            UserError: No vocabulary can be made.
        """
        if self.parts:
            return
        self.prepare_data()
        prepared = self.prepared
        self.tags, self.entities = list(prepared.tags), list(prepared.entities)
        self.description = dict(prepared.description)
        self.num_features = 4 if prepared.lemmas else 3
        self.no_answer = self.hparams["name"] == "squad2"
        if self.tokenizer is None:
            self._take(make_vocabulary(prepared, self.hparams))
        assert self.tokenizer is not None
        self.table = WordTable(
            WordTable.of(prepared.words, self.tokenizer).rows, prepared.lower.to(torch.int64)
        )
        self._check()
        self.parts = {**prepared.parts, "train": self._selected(prepared.parts["train"])}

    def _take(self, vocabulary: Vocabulary) -> None:
        self.tokenizer, self.fixed_vectors, self.pretrained = vocabulary
        if self.pretrained is not None:
            self.embedding_size = self.pretrained.weight.shape[1]

    def _selected(self, questions: QuestionFile) -> Selection:
        options = self.hparams
        kept = questions.context_lengths <= options["max_context"]
        kept &= questions.question_lengths <= options["max_question"]
        numbers = kept.nonzero().squeeze(1)[: options["subset"]]
        if not len(numbers):
            raise DataError(
                f"{self.dataset}: no passage has at most {options['max_context']} words and a question of at "
                f"most {options['max_question']}; raise --data.max_context or --data.max_question"
            )
        return Selection(questions, numbers)

    def _check(self) -> None:
        """Refuse data that a checkpoint's numbers mean something else for."""
        for what, theirs in self._expected.items():
            if (ours := getattr(self, what)) != theirs:
                raise DataError(
                    f"the {_WHAT[what]} of {self.dataset} in {self.prepared.folder} differ from those this "
                    f"checkpoint was trained with: expected {shortened(str(theirs), 200)}, got "
                    f"{shortened(str(ours), 200)}; use the --data options of the training"
                )

    def opening(self) -> str:
        """Count the questions, the words with a pretrained vector, and the padding."""
        train: Any = self.parts["train"]
        of = len(self.prepared.parts["train"])
        lines = [
            f"{self.dataset}: {len(train):,} questions for training"
            + (f" (of {of:,})" if len(train) < of else "")
            + f", {len(self.parts['validation']):,} for validation"
        ]
        assert self.tokenizer is not None
        words = len(self.tokenizer) - SPECIAL
        if self.pretrained is not None:
            lines.append(
                f"{self.pretrained.found:,} of {words:,} words have a vector in {self.hparams['embeddings']}, "
                f"and {words + SPECIAL - self.fixed_vectors:,} vectors are trained"
            )
        else:
            lines.append(f"{words:,} words, all with vectors to learn")
        return "\n".join(lines)

    def padding(self) -> float:
        """Return the share of padding in the passages of an epoch."""
        lengths = self.lengths(self.parts["train"])
        batches = [lengths[batch] for batch in self.train_dataloader().sampler]
        return 1 - int(lengths.sum()) / sum(len(batch) * int(batch.max()) for batch in batches)

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the vocabulary of a trained model, with as many fixed vectors."""
        super().take_tokenizer(tokenizer, config)
        self.fixed_vectors = config["fixed_vectors"]

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer, and what the other numbers mean."""
        state = {**super().state_dict(), "fixed_vectors": self.fixed_vectors}
        return {**state, **{what: getattr(self, what) for what in _WHAT}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a checkpoint's tokenizer.

        Raises:
            DataError: The data gave others: the numbers would mean other words or features.
        """
        self._expected = {what: state_dict[what] for what in _WHAT}
        if self.parts:
            self._check()
        super().load_state_dict(state_dict)
        self.fixed_vectors = state_dict["fixed_vectors"]

    def lengths(self, items: Any) -> Tensor:
        """The number of words of each passage."""
        return items.context_lengths.to(torch.int64)  # type: ignore[no-any-return]

    def length(self, item: Example) -> int:
        """The number of words of the passage."""
        return len(item.context.words)

    def collate(self, items: Sequence[Example]) -> Batch:
        """Pad questions and passages into a batch."""
        return make_batch(items, self.table)


def _check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no data, or two."""
    name, train, prepared = options["name"], options["train_file"], options["prepared_dir"]
    for option in ("train_file", "validation_file", "test_file"):
        if options[option] == []:
            raise UserError(f"--data.{option} must name a file, got an empty list")
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file name data; leave one of them out")
    if train is not None and options["validation_file"] is None:
        raise UserError("train_file needs others to validate on; give --data.validation_file too")
    if train is None and options["validation_file"] is not None:
        raise UserError("validation_file needs a train_file; give --data.train_file too")
    if name is None and train is None and options["test_file"] is not None:
        raise UserError("test_file needs a name or a train_file; give one of them too")
    if name is None and train is None and prepared is None:
        raise UserError(
            f"no data chosen; give --recipe, --data.name ({', '.join(SOURCES)}), or --data.train_file and "
            "--data.validation_file"
        )


def find_files(options: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Find, or download, the files of each part.

    Args:
        options: The options `--data.*`, which name data.

    Raises:
        DataError: A file is missing.
    """
    files: dict[str, list[Path]] = {}
    if options["name"] is not None:
        source = SOURCES[options["name"]]
        files = {part: getattr(source, part).find(options["data_dir"])[0] for part in ("train", "validation")}
    given = {part: options[f"{part}_file"] for part in ("train", "validation", "test")}
    return files | {part: matching_files(paths) for part, paths in given.items() if paths is not None}


def prepared_folder(files: Any, **k: Any) -> Path:
    import hashlib
    from sru_data.download import cache_dir

    key = hashlib.sha256(
        repr([sorted(k.items()), [Path(p).read_bytes() for fs in files.values() for p in fs]]).encode()
    ).hexdigest()[:16]
    return cache_dir() / "prepared" / f"{k['name']}-{k['features']}-{key}"


def _prepare(name: str, options: Mapping[str, Any]) -> PreparedQuestions:
    files = find_files(options)
    how = {"features": options["features"], "spacy_model": options["spacy_model"]}
    how["max_context_tokens"] = max(_MAX_CONTEXT, options["max_context"])
    folder = options["prepared_dir"] or prepared_folder(files, name=name, **how)
    with preparation_bar(name, unit="questions") as report:
        return prepare(
            files,
            Path(folder),
            name=name,
            **how,
            processes=options["processes"],
            progress=lambda progress: report(progress.stage, progress.questions, progress.total),
        )


class Selection(Sequence[Example]):
    """Some of the questions of a part.

    Args:
        questions: All of them.
        numbers: (N,) int64, which ones.
    """

    def __init__(self, questions: QuestionFile, numbers: Tensor) -> None:
        self.questions, self.numbers = questions, numbers

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Return a question."""
        return self.questions[int(self.numbers[index])]

    @property
    def context_lengths(self) -> Tensor:
        """(N,) int64, the words of the passages."""
        return self.questions.context_lengths[self.numbers]

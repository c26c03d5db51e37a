"""Questions about passages for Lightning: prepared once, mapped into memory, batched by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sru_apps.ranges import check_at_least
from sru_apps.tasks.squad.batches import Batch, WordTable, make_batch
from sru_apps.tasks.squad.source import (
    DatasetName,
    Selection,
    check_source,
    hold_out,
    prepare_questions,
    report_lines,
    settled_options,
)
from sru_apps.tasks.squad.vocabulary import Vocabulary, describe, make_vocabulary
from sru_apps.train.data import BatchData, BatchLoader
from sru_apps.train.errors import UserError
from sru_apps.train.own_files import Files, name_of_files
from sru_apps.train.prepared_folder import check_settled
from sru_data import DataError
from sru_data.embeddings import EmbeddingMatrix
from sru_data.errors import shortened
from sru_data.question_files import Example, QuestionFile
from sru_data.tokenizers import WordTokenizer

_MEANINGS = {
    "description": "words",
    "tags": "parts of speech",
    "entities": "kinds of named entities",
}
"""The tables, besides the vocabulary, that define the ids in the data, and their names in messages."""


class SquadData(BatchData[Example, Batch]):
    """SQuAD, or your own files in its format, as batches of passages of similar lengths.

    The files are tokenized once, by `prepare` or by the first training, and then mapped into memory. SQuAD's
    test set is not public: validation is the official development set, and there is a test set only with
    `test_file`.

    The length limits apply to training only. Validation and test count every question, as the official
    evaluation does; they read the first 1,000 words of a passage, or `max_context` if that is more. All of
    SQuAD's passages are shorter.

    Args:
        name: A published set: squad1 (SQuAD 1.1) or squad2 (SQuAD 2.0, with unanswerable questions).
        train_file: Your own training questions instead, as JSON in SQuAD's format, plain or compressed; one
            path, a list, or a pattern such as 'questions/*.json.gz'.
        validation_file: Validation questions in the same format; default: the questions about a random tenth
            of the passages of `train_file`.
        test_file: Test questions in the same format; allowed with `name` too.
        data_dir: Folder with the published sets; default: $SRU_DATA; if unset, the data is downloaded.
        prepared_dir: Folder of the prepared questions; default: one in the cache. With a folder written by
            `sru squad prepare`, `name` and files are not needed.
        features: Linguistic features (lemmas, parts of speech, named entities): spacy, or none.
        spacy_model: The spaCy model for `features`, a package or a path; default: en_core_web_sm.
        lowercase: Lower-case words before looking them up; cased vectors, such as GloVe 840B, need false.
        embeddings: Pretrained word vectors: GloVe text, fastText `.vec` or word2vec `.bin`, plain or `.gz`.
        embedding_size: Length of the word vectors; default: that of the pretrained vectors, or 100.
        embedding_words: Also keep the vectors of the first N words of the file, or of `all`, for passages
            that the model will read later; words of the data always keep theirs.
        tune_words: Tune the pretrained vectors of the N most frequent words of the training questions, or
            of `all`; the others stay fixed.
        min_count: Learn a vector for a word without a pretrained one if it occurs this often in training.
        max_context: Train on passages of at most this many words.
        max_question: Train on questions of at most this many words.
        subset: Train on the first N questions only.
        batch_size: Questions per batch.
        evaluation_batch_size: Questions per batch in validation and test; default: `batch_size`.
        processes: Processes that prepare the questions; default: one per core with spacy, else one.
        seed: Seed of what is held out, of the order of the batches, and of vectors for words without a
            pretrained one.

    Attributes:
        prepared: The prepared questions.
        tokenizer: Converts words to ids.
        fixed_vectors: The number of words at the end whose vectors stay fixed.
        pretrained: The vectors to start from, if a file was named.
        tags: The parts of speech by id; empty without features.
        entities: The kinds of named entities by id; empty without features.

    Raises:
        ValueError: A size is less than 1.
        UserError: No questions are named, or two sets are.
    """

    tokenizer: WordTokenizer | None = None
    pretrained: EmbeddingMatrix | None = None
    fixed_vectors = 0
    _chosen = False
    """Whether the vocabulary was chosen here rather than taken from another model."""

    def __init__(
        self,
        name: DatasetName | None = None,
        train_file: Files | None = None,
        validation_file: Files | None = None,
        test_file: Files | None = None,
        data_dir: str | None = None,
        prepared_dir: str | None = None,
        features: Literal["none", "spacy"] = "none",
        spacy_model: str | None = None,
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
        check_source(self.hparams)
        self.group = name or name_of_files(train_file or prepared_dir or "")
        self.embedding_size = 100 if embedding_size is None else embedding_size
        self._expected: dict[str, Any] = {}

    def prepare_data(self) -> None:
        """Tokenize the texts if that is not done yet, in one process while others wait.

        Raises:
            DataError: A file is missing or damaged, or the folder holds other questions.
        """
        if hasattr(self, "prepared"):
            return
        self.prepared = prepare_questions(self.group, self.hparams)
        if self.hparams["name"] is None and self.hparams["train_file"] is None:
            check_settled(self, self.prepared.folder, settled_options(self.prepared, self.hparams))
        self.dataset = self.prepared.name
        self.has_test = "test" in self.prepared.parts

    def setup(self, stage: str) -> None:
        """Open the prepared questions and choose the vocabulary.

        Raises:
            DataError: The embedding file is missing or damaged, no question is left to train on, or the
                checkpoint whose state was loaded had other features.
            UserError: No vocabulary can be built.
        """
        if self.parts:
            return
        self.prepare_data()
        prepared, options = self.prepared, self.hparams
        self.description = dict(prepared.description)
        self.tags, self.entities = prepared.tags, prepared.entities
        self._check()
        self.num_features = 4 if prepared.lemmas else 3
        self.no_answer = prepared.report["train"].impossible > 0
        if self.tokenizer is None:
            self.tokenizer, self.fixed_vectors, self.pretrained = make_vocabulary(prepared, options)
            self._chosen = True
            if self.pretrained is not None:
                self.embedding_size = self.pretrained.weight.shape[1]
        self._table = WordTable.of(prepared.words, self.tokenizer, lower=prepared.lower)
        questions = prepared.parts["train"]
        numbers, parts = torch.arange(len(questions)), dict[str, Any](prepared.parts)
        if "validation" not in parts:
            numbers, held_out = hold_out(questions, seed=options["seed"])
            parts["validation"] = Selection(questions, held_out)
        self.parts = {**parts, "train": self._short(questions, numbers)}

    def _short(self, questions: QuestionFile, numbers: Tensor) -> Selection:
        """Select the questions to train on."""
        options, of = self.hparams, len(numbers)
        kept = questions.context_lengths[numbers] <= options["max_context"]
        kept &= questions.question_lengths[numbers] <= options["max_question"]
        numbers = numbers[kept]
        if not len(numbers):
            raise DataError(
                f"{self.dataset}: expected questions of at most {options['max_question']} words on passages "
                f"of at most {options['max_context']}, got none; raise --data.max_question or "
                "--data.max_context"
            )
        self._too_long = of - len(numbers)
        return Selection(questions, numbers[: options["subset"]])

    def _check(self) -> None:
        """Refuse data whose ids have other meanings than in the checkpoint."""
        for name, theirs in self._expected.items():
            if (ours := getattr(self, name)) != theirs:
                raise DataError(
                    f"the {_MEANINGS[name]} of {self.dataset} in {self.prepared.folder} differ from those "
                    f"this checkpoint was trained with: expected {shortened(str(theirs), 200)}, got "
                    f"{shortened(str(ours), 200)}; prepare the same files with the same --data options"
                )

    def opening(self) -> str:
        """Count the questions, the words with a pretrained vector, and those without any."""
        assert self.tokenizer is not None
        parts: dict[str, Any] = self.parts
        others = [f", {len(parts[part]):,} for {part}" for part in parts if part != "train"]
        held_out = "" if "validation" in self.prepared.parts else " (a tenth of the passages, held out)"
        lines = [f"{self.dataset}: {len(parts['train']):,} questions for training{''.join(others)}{held_out}"]
        if self._too_long:
            limits = f"{self.hparams['max_question']} words, or about passages of over"
            limits += f" {self.hparams['max_context']} words"
            lines.append(f"{self._too_long:,} training questions left out: of over {limits}")
        if self._chosen:
            vocabulary = Vocabulary(self.tokenizer, self.fixed_vectors, self.pretrained)
            lines += describe(vocabulary, self.prepared, self._table.rows, self.hparams)
        return "\n".join(lines)

    def report(self) -> str:
        """Describe the prepared questions, for `sru squad prepare`."""
        return "\n".join(
            [
                *report_lines(self.prepared),
                self.opening(),
                f"Padding in training: {100 * self.padding():.2f} % of the passages of an epoch",
                f"Prepared questions: {self.prepared.folder}",
            ]
        )

    def padding(self) -> float:
        """Return the share of padding among the words of passages in an epoch of training."""
        train: Any = self.parts["train"]
        lengths = train.context_lengths
        batches = [lengths[batch] for batch in self._loader("train", (0, 1)).sampler]
        return 1 - int(lengths.sum()) / sum(len(batch) * int(batch.max()) for batch in batches)

    def test_dataloader(self) -> BatchLoader[Example, Batch]:
        """All test data.

        Raises:
            UserError: There is no test data.
        """
        if not self.has_test:
            raise UserError(
                f"{self.dataset} has no test questions (SQuAD's are not public); give some with --test-file, "
                "or use `sru squad validate`, which uses the development set"
            )
        return super().test_dataloader()

    def lengths(self, items: Any) -> Tensor:
        """Keys that sort by the length of the passage, then by that of the question."""
        longest = int(items.question_lengths.max()) + 1
        return items.context_lengths * longest + items.question_lengths  # type: ignore[no-any-return]

    def length(self, item: Example) -> int:
        """The number of words of the passage."""
        return len(item.context.words)

    def collate(self, items: Sequence[Example]) -> Batch:
        """Pad questions and passages into a batch."""
        return make_batch(items, self._table)

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the vocabulary of a trained model, with as many fixed vectors."""
        super().take_tokenizer(tokenizer, config)
        self.fixed_vectors = config["fixed_vectors"]

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer, and the meaning of the other ids."""
        state = {**super().state_dict(), "fixed_vectors": self.fixed_vectors}
        return {**state, **{name: getattr(self, name) for name in _MEANINGS}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's tokenizer.

        Raises:
            DataError: The data produced a different one, or other features, so the ids would not match.
        """
        self._expected = {name: state_dict[name] for name in _MEANINGS}
        if self.parts:
            self._check()
        super().load_state_dict(state_dict)
        self.fixed_vectors = state_dict["fixed_vectors"]

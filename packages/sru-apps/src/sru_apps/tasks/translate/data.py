"""The Lightning data module for parallel text: prepared once, memory-mapped, batched by tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from sru_apps.ranges import check_at_least
from sru_apps.tasks.translate.batches import Batch, make_batch
from sru_apps.tasks.translate.metrics import BleuTokenizer, TranslationScorer
from sru_apps.tasks.translate.source import (
    MAX_LENGTH,
    PARTS,
    DatasetName,
    check_source,
    hold_out,
    is_table,
    prepare_pairs,
    settled_options,
)
from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.data import BatchData, BatchLoader
from sru_apps.train.errors import UserError
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_apps.train.own_files import Files, name_of_files
from sru_apps.train.prepared_folder import check_settled
from sru_data import DataError
from sru_data.loaders import LengthBatchSampler
from sru_data.pair_files import Example, PreparedPairs


class TranslationData(BatchData[Example, Batch]):
    """A published set of parallel sentences, or your own files, in batches of pairs of similar lengths.

    Vocabularies are learned and sentences encoded once, by `prepare` or by the first training; the ids are
    then memory-mapped.

    Args:
        name: A published set and its direction: multi30k-en-de, multi30k-de-en, and likewise for iwslt14 and
            wmt14, which are read from the data folder.
        train_file: Your own sentences instead, plain or compressed: the source side of parallel text, one
            sentence per line, with `train_target_file`; or a table (TSV, CSV, JSON lines or Parquet) with a
            column for each side. One path, a list, or a pattern.
        train_target_file: The translations, line by line.
        validation_file: The same for validation; default: one random pair in twenty of `train_file`, at most
            2,000.
        validation_target_file: The translations, line by line; further files are additional references.
        test_file: The same for the test; allowed with `name` too.
        test_target_file: As `validation_target_file`.
        source_column: The column of tables with the source.
        target_column: The column that holds the translation; further columns hold additional references,
            which are not used in training.
        test_set: Another test set of the published data, such as test_2017_flickr.
        data_dir: Folder with the published sets; default: $SRU_DATA; if unset, the data is downloaded.
        prepared_dir: Folder of the prepared pairs; default: one in the cache. With a folder written by
            `sru translate prepare`, `name` and files are not needed.
        unit: What a token is: subwords, words (separated by spaces) or characters; default: subwords.
        vocab_size: Maximum size of the vocabulary; default: 8,000 subwords, otherwise no limit.
        subword_model: How subwords are learned: unigram or bpe.
        min_count: Treat words and characters that occur less often as unknown.
        pretokenizer: Split sentences into words by the rules of Moses for their languages, before they are
            cut into tokens: moses or none. Sentences already split this way are left unchanged.
            `translate` then takes raw text and returns raw text; default: moses for multi30k and iwslt14,
            otherwise none.
        source_language: The language of the source, such as en; only for `pretokenizer`.
        target_language: The language of the translations.
        lowercase: Lower-case the sentences, here and when translations are compared with references; default:
            only for multi30k and iwslt14.
        joint: Learn one vocabulary for both languages.
        max_length: Train on sentences of at most this many tokens; default: 256.
        max_tokens: Tokens per batch including padding, on the side that has more.
        evaluation_batch_size: Sentences per batch in validation and test.
        bleu_tokenizer: The tokenizer of sacrebleu: 13a, intl, zh, char, or none for text that is already
            tokenized.
        seed: Seed of the held-out pairs and of the order of the batches.

    Attributes:
        prepared: The prepared pairs.
        tokenizer: The tokenizers of both languages.

    Raises:
        ValueError: A size is out of its range, or an option has an unknown value.
        UserError: No sentences are named, or two sets of sentences.
    """

    prepared: PreparedPairs
    tokenizer: TokenizerPair | None = None

    def __init__(
        self,
        name: DatasetName | None = None,
        train_file: Files | None = None,
        train_target_file: Files | None = None,
        validation_file: Files | None = None,
        validation_target_file: Files | None = None,
        test_file: Files | None = None,
        test_target_file: Files | None = None,
        source_column: str = "source",
        target_column: list[str] | str = "target",
        test_set: str | None = None,
        data_dir: str | None = None,
        prepared_dir: str | None = None,
        unit: Literal["subwords", "words", "characters"] | None = None,
        vocab_size: int | None = None,
        subword_model: Literal["unigram", "bpe"] = "unigram",
        min_count: int = 1,
        pretokenizer: Literal["moses", "none"] | None = None,
        source_language: str | None = None,
        target_language: str | None = None,
        lowercase: bool | None = None,
        joint: bool = False,
        max_length: int | None = None,
        max_tokens: int = 4096,
        evaluation_batch_size: int = 64,
        bleu_tokenizer: BleuTokenizer = "13a",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            vocab_size=vocab_size,
            min_count=min_count,
            max_length=max_length,
            evaluation_batch_size=evaluation_batch_size,
        )
        # A prepared folder has its own maximum length.
        longest = max_length or (None if name is None and train_file is None else MAX_LENGTH)
        if longest is not None and max_tokens <= longest:
            raise ValueError(
                f"max_tokens must be more than max_length ({longest}), since a sentence has an end "
                f"token, got {max_tokens}"
            )
        self.save_hyperparameters(logger=False)
        check_source(self.hparams)
        self.group = name or name_of_files(train_file or prepared_dir or "")
        self._adopted = False

    def prepare_data(self) -> None:
        """Prepare the sentences if needed, in one process while others wait.

        Raises:
            DataError: A file is missing or damaged, or the folder contains other pairs.
        """
        if hasattr(self, "prepared"):
            return
        self.prepared = prepare_pairs(
            self.group,
            self.hparams,
            tokenizer=self.tokenizer,
            adopted=self._adopted,
            evaluates=self.evaluates,
        )
        if self.hparams["name"] is None and self.hparams["train_file"] is None:
            check_settled(self, self.prepared.folder, settled_options(self.prepared))
        self.dataset = self.prepared.name
        self.has_test = "test" in self.prepared.parts

    def setup(self, stage: str) -> None:
        """Open the prepared pairs.

        Raises:
            DataError: They were prepared with another vocabulary than the loaded checkpoint's, or there is no
                pair to hold out.
        """
        if self.parts:
            return
        self.prepare_data()
        found = TokenizerPair(self.prepared.source_tokenizer, self.prepared.target_tokenizer)
        if self.tokenizer is None:
            self.tokenizer = found
        elif dump_tokenizer(found) != dump_tokenizer(self.tokenizer):
            raise DataError(
                f"the vocabulary of {self.dataset} in {self.prepared.folder} differs from that of the model "
                f"({len(found):,} and {len(self.tokenizer):,} tokens); use the files and the options that "
                "it was trained with"
            )
        self.unit = self.tokenizer.unit
        parts: dict[str, Any] = dict(self.prepared.parts)
        if "validation" not in parts:
            parts["train"], parts["validation"] = hold_out(parts["train"], seed=self.hparams["seed"])
        self.parts = parts

    def opening(self) -> str:
        """Summarize the pairs and the vocabulary, and which pairs are left out."""
        assert self.tokenizer is not None
        parts: dict[str, Any] = self.parts
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in parts.items())
        pair = self.tokenizer
        tokens = f"{len(pair.target):,}" if pair.joint else f"{len(pair.source):,} and {len(pair.target):,}"
        lines = [f"{self.dataset}: pairs: {sizes}; {tokens} {self.unit}{' of both' if pair.joint else ''}"]
        for name, report in self.prepared.report.items():
            for reason, count in report.dropped.items():
                left_out = f"{count:,} of {report.read:,} {name} pairs left out"
                lines.append(f"{left_out}: {reason}, such as {report.examples[reason]}")
        return "\n".join(lines)

    def report(self) -> str:
        """Describe the prepared pairs, for `sru translate prepare`."""
        return f"{self.opening()}\nPrepared pairs: {self.prepared.folder}"

    def train_dataloader(self) -> BatchLoader[Example, Batch]:
        """The training batches of this process.

        Raises:
            DataError: A sentence is longer than a batch, as in a folder prepared with another `max_length`.
        """
        train: Any = self.parts["train"]
        source, target = train.lengths.unbind(1)
        lengths, most = self.lengths(train), self.hparams["max_tokens"]
        if (longest := int(lengths.max())) > most:
            raise DataError.at(
                self.prepared.folder,
                None,
                f"expected training sentences of at most {most:,} tokens (max_tokens), including the end "
                f"token, got one of {longest:,}; raise --max-tokens, or prepare the pairs with a "
                "smaller --max-length",
            )
        sampler = LengthBatchSampler(
            lengths,
            max_tokens=most,
            seed=self.hparams["seed"],
            ties=source - target,
        )
        return BatchLoader(train, sampler, self.collate, rank=self.rank)

    def test_dataloader(self) -> BatchLoader[Example, Batch]:
        """All test data.

        Raises:
            UserError: There is no test data.
        """
        if not self.has_test:
            raise UserError(f"{self.dataset} has no test sentences; give some with --test-file")
        return super().test_dataloader()

    def lengths(self, items: Any) -> Tensor:
        """The tokens of the longer side, counting the end marker of the target."""
        source, target = items.lengths.unbind(1)
        return source.maximum(target + 1)  # type: ignore[no-any-return]

    def length(self, item: Example) -> int:
        """The tokens of the longer side of a pair."""
        return max(len(item.source), len(item.target) + 1)

    def collate(self, items: Sequence[Example]) -> Batch:
        """Pad pairs into a batch."""
        assert self.tokenizer is not None
        return make_batch(items, self.tokenizer)

    def count(self, batch: Batch) -> int:
        """The number of target tokens in a batch."""
        return batch.tokens

    def scorer(self) -> TranslationScorer:
        """Return the scorer of translations.

        Raises:
            UserError: sacrebleu is not installed.
        """
        assert self.tokenizer is not None
        return TranslationScorer(
            tokenizer=self.hparams["bleu_tokenizer"], lowercase=self.tokenizer.target.form.lowercase
        )

    def translation(self, ids: Sequence[int]) -> str:
        """Return the translation that the ids of the target spell, as it is scored.

        It is tokenized like the training data if sacrebleu does not tokenize it (`bleu_tokenizer` none).
        """
        assert self.tokenizer is not None
        text = self.tokenizer.decode(ids)
        return text if self.hparams["bleu_tokenizer"] == "none" else self.tokenizer.target.form.undo(text)

    def references(self, targets: Iterable[str]) -> list[str]:
        """Return the reference translations of a sentence, as they are scored."""
        assert self.tokenizer is not None
        form = self.tokenizer.target.form
        return list(map(form.apply if self.hparams["bleu_tokenizer"] == "none" else form.undo, targets))

    @classmethod
    def changed(cls, options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data options to evaluate a trained model with; a table contains both sides."""
        found = super().changed(options, changes)
        for part in PARTS:
            file, target = f"{part}_file", f"{part}_target_file"
            if file in changes and target not in changes and is_table(changes[file]):
                found[target] = None
        return found

    def parse_tokenizer(self, content: str) -> TokenizerPair:
        """Parse both vocabularies."""
        found: TokenizerPair = parse_tokenizer(content, TokenizerPair.read)
        return found

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the vocabularies of a trained model."""
        super().take_tokenizer(tokenizer, config)
        self._adopted = True

    def state_dict(self) -> dict[str, Any]:
        """Return the vocabularies, and whether they come from another model."""
        return {**super().state_dict(), "adopted": self._adopted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's vocabularies.

        Raises:
            DataError: The data has other vocabularies.
        """
        super().load_state_dict(state_dict)
        self._adopted = state_dict["adopted"]

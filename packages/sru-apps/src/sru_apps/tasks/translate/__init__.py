"""Translation of sentences: recurrent encoder-decoders with attention, and the Transformer with SRU."""

from sru_apps.task import DATA_DIR, Command, Task, moved_files
from sru_apps.tasks.translate.metrics import BleuTokenizer

_FILES = tuple(f"{part}{side}_file" for part in ("train", "validation", "test") for side in ("", "_target"))

TASK = Task(
    name="translate",
    description="Translation: train on parallel text, translate, score translations.\n"
    "Start with: sru translate fit --recipe multi30k-en-de-sru",
    data="sru_apps.tasks.translate.data:TranslationData",
    module="sru_apps.tasks.translate.module:TranslationModule",
    predictor="sru_apps.tasks.translate.predict:Translator",
    figures=("bleu",),
    mode="max",
    usage=("--recipe NAME", "--train-file FILE"),
    examples=(
        "--recipe multi30k-en-de-sru",
        "--recipe multi30k-de-en-sru --decoder lstm --name lstm",
        "--train-file train.en --train-target-file train.de --vocab-size 8000 --name first",
    ),
    common=(
        *("data.train_file", "data.train_target_file", "data.data_dir", "data.unit", "data.vocab_size"),
        *("data.max_tokens", "model.system", "model.decoder", "model.hidden_size", "model.num_layers"),
    ),
    defaults={"trainer.max_epochs": 30, "trainer.gradient_clip_val": 5.0},
    movable=frozenset({"data_dir", "prepared_dir", "evaluation_batch_size", "bleu_tokenizer", *_FILES}),
    evaluation=(
        ("--batch-size", "data.evaluation_batch_size", int, "Sentences per batch; default: as in training."),
        ("--beam", "model.beam", int, "The beam size; 1 is greedy."),
        ("--test-set", "data.test_set", str, "Another test set of the published data."),
        ("--bleu-tokenizer", "data.bleu_tokenizer", BleuTokenizer, "The tokenizer of sacrebleu."),
        ("--source-column", "data.source_column", str, "The column of tables with the source."),
        (
            "--target-column",
            "data.target_column",
            list[str] | str,
            "The column with the translation; further columns hold additional references.",
        ),
        DATA_DIR,
        ("--prepared-dir", "data.prepared_dir", str, "Folder of the prepared pairs, if it has moved."),
        *moved_files(_FILES),
    ),
    report="sru_apps.tasks.translate.figures:write",
    generic=("prepare", "fit", "validate", "test", "table"),
    commands={
        "translate": Command(
            "translate sentences from a file, standard input or the command line",
            "sru_apps.tasks.translate.commands:translate",
        ),
        "score": Command("log-probability of given translations", "sru_apps.tasks.translate.scoring:score"),
        "export": Command(
            "export the encoder and a decoder step as ONNX", "sru_apps.tasks.translate.export:export"
        ),
    },
)

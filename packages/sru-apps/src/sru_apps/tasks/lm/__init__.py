"""Language modelling: predict the next symbol of a text."""

from sru_apps.task import DATA_DIR, Command, Task

_COMMANDS = "sru_apps.tasks.lm.commands"
_AS_IN_TRAINING = "default: as in training."

TASK = Task(
    name="lm",
    description="Language modelling of words, characters, bytes or subwords.\n"
    "Start with: sru lm fit --recipe quick",
    data="sru_apps.tasks.lm.data:LanguageModelData",
    module="sru_apps.tasks.lm.module:LanguageModelModule",
    predictor="sru_apps.tasks.lm.predict:TrainedLanguageModel",
    figures=("perplexity", "bits_per_character", "bits_per_byte"),
    mode="min",
    usage=("--recipe NAME", "--train-file FILE"),
    examples=("--recipe quick", "--train-file book.txt --unit characters --encoder srupp --name book"),
    common=(
        *("data.train_file", "data.text_field", "data.data_dir"),
        *("data.unit", "data.vocab_size", "data.batch_size", "data.length"),
        *("model.hidden_size", "model.num_layers"),
    ),
    defaults={"trainer.max_epochs": 10, "trainer.gradient_clip_val": 1.0},
    movable=frozenset(
        {"data_dir", "prepared_dir", "train_file", "validation_file", "test_file", "tokenizer"}
        | {"evaluation_batch_size", "evaluation_length", "window", "stride"}
    ),
    evaluation=(
        ("--window", "data.window", int, "Steps of a window; the text is then read in overlapping windows."),
        ("--stride", "data.stride", int, "Steps between windows; default: half a window."),
        (
            "--batch-size",
            "data.evaluation_batch_size",
            int,
            f"Streams, or windows at a time; {_AS_IN_TRAINING}",
        ),
        ("--length", "data.evaluation_length", int, f"Steps of a segment; {_AS_IN_TRAINING}"),
        (
            "--memory-length",
            "model.memory_length",
            int,
            f"srupp: number of earlier positions that a position attends to; {_AS_IN_TRAINING}",
        ),
        DATA_DIR,
        ("--prepared-dir", "data.prepared_dir", str, "Folder with the token files, if it has moved."),
    ),
    generic=("prepare", "fit", "validate", "test", "table"),
    commands={
        "generate": Command("continue a prompt", f"{_COMMANDS}:generate"),
        "score": Command("perplexity and bits of each line of a file", f"{_COMMANDS}:score"),
    },
)

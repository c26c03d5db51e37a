"""Reading comprehension: find the answer to a question in a passage (SQuAD)."""

from sru_apps.task import DATA_DIR, Command, Task, moved_files

_FILES = ("train_file", "validation_file", "test_file")

TASK = Task(
    name="squad",
    description="Reading comprehension: find the answer to a question in a passage (SQuAD).\n"
    "Start with: sru squad fit --recipe small",
    data="sru_apps.tasks.squad.data:SquadData",
    module="sru_apps.tasks.squad.module:SquadModule",
    predictor="sru_apps.tasks.squad.predict:QuestionAnswerer",
    figures=("f1", "exact_match"),
    mode="max",
    usage=("--recipe NAME", "--train-file FILE"),
    examples=(
        "--recipe small",
        "--recipe squad-cpu --embeddings glove.6B.100d.txt.gz --encoder lstm",
        "--train-file questions.json --embeddings glove.6B.100d.txt.gz --name first",
    ),
    common=(
        *("data.train_file", "data.data_dir", "data.embeddings", "data.features", "data.subset"),
        *("data.batch_size", "model.reader", "model.hidden_size", "model.num_layers"),
    ),
    defaults={"trainer.max_epochs": 20, "trainer.gradient_clip_val": 10.0},
    movable=frozenset(
        {"data_dir", "prepared_dir", "embeddings", "processes", "evaluation_batch_size", *_FILES}
    ),
    evaluation=(
        (
            "--batch-size",
            "data.evaluation_batch_size",
            int,
            "Questions per batch; default: as in training.",
        ),
        DATA_DIR,
        ("--prepared-dir", "data.prepared_dir", str, "Folder of the prepared questions, if it has moved."),
        *moved_files(_FILES),
    ),
    report="sru_apps.tasks.squad.figures:write",
    generic=("prepare", "fit", "validate", "test", "table"),
    commands={
        "predict": Command(
            "answer questions about a passage, or those of a file",
            "sru_apps.tasks.squad.commands:predict",
        ),
        "ask": Command("ask questions about a passage at a prompt", "sru_apps.tasks.squad.ask:ask"),
        "score": Command(
            "exact match and F1 of predictions in the official format",
            "sru_apps.tasks.squad.scoring:score",
        ),
    },
)

"""Sentence classification with recurrent encoders and the convolutional network of Kim (2014)."""

from sru_apps.task import DATA_DIR, Command, Task, moved_files

_FILES = ("train_file", "validation_file", "test_file")

TASK = Task(
    name="classify",
    description="Sentence classification on your own files, MR, CR, SUBJ, MPQA, TREC, SST-1 or SST-2.\n"
    "Start with: sru classify fit --recipe sst2, or --train-file FILE",
    data="sru_apps.tasks.classify.data:SentenceData",
    module="sru_apps.tasks.classify.module:ClassifierModule",
    predictor="sru_apps.tasks.classify.predict:Classifier",
    figures=("accuracy", "micro_f1", "exact_match"),
    mode="max",
    usage=("--train-file FILE", "--recipe NAME"),
    examples=(
        "--train-file mail.csv --text-column body --label-column folder",
        "--recipe sst2",
        "--recipe trec --encoder lstm --embeddings glove.6B.100d.txt.gz --epochs 20",
    ),
    common=(
        *("data.train_file", "data.text_column", "data.label_column", "data.data_dir", "data.embeddings"),
        *("data.batch_size", "model.hidden_size", "model.num_layers"),
    ),
    defaults={"optimizer.weight_decay": 1e-4, "optimizer.decay_all": True, "trainer.max_epochs": 12},
    movable=frozenset({"data_dir", "embeddings", "tokenizer", "evaluation_batch_size", *_FILES}),
    evaluation=(
        (
            "--batch-size",
            "data.evaluation_batch_size",
            int,
            "Sentences per batch; default: as in training.",
        ),
        DATA_DIR,
        *moved_files(_FILES),
    ),
    report="sru_apps.tasks.classify.figures:write",
    report_options=(
        (
            "--calibrate",
            bool,
            False,
            "Fit a temperature on the validation set; `predict` then divides the scores by it.",
        ),
    ),
    commands={
        "predict": Command("label your own sentences", "sru_apps.tasks.classify.commands:predict"),
        "crossval": Command(
            "train and test on each of ten folds, with the options of fit",
            "sru_apps.tasks.classify.crossval:crossval",
            "sru_apps.train.help:fit",
            recipes=("cr", "mpqa", "mr", "subj"),
        ),
    },
)

"""Sentence classification with recurrent encoders and the convolutional network of Kim (2014)."""

from sru_apps.task import Command, Task

_FILES = ("train_file", "validation_file", "test_file")

TASK = Task(
    name="classify",
    description="Sentence classification on your own files, MR, CR, SUBJ, MPQA, TREC, SST-1 or SST-2.\n"
    "Start with: sru classify fit --recipe sst2, or --data.train_file FILE",
    data="sru_apps.tasks.classify.data:SentenceData",
    module="sru_apps.tasks.classify.module:ClassifierModule",
    predictor="sru_apps.tasks.classify.predict:Classifier",
    figures=("accuracy", "micro_f1", "exact_match"),
    mode="max",
    defaults={"optimizer.weight_decay": 1e-4, "optimizer.decay_all": True, "trainer.max_epochs": 12},
    movable=frozenset({"data_dir", "embeddings", "tokenizer", *_FILES}),
    evaluation=(
        (
            "--data-dir",
            "data.data_dir",
            str,
            "Folder with the data; default: as in training, else $SRU_DATA.",
        ),
        *(
            (
                f"--{name.replace('_', '-')}",
                f"data.{name}",
                list[str] | str,
                f"Where the files of --data.{name} are now; default: as in training.",
            )
            for name in _FILES
        ),
    ),
    commands={
        "table": Command(
            "mean and spread of finished runs: seeds or folds", "sru_apps.tasks.classify.commands:table"
        ),
        "predict": Command(
            "label and probability of your own sentences", "sru_apps.tasks.classify.commands:predict"
        ),
    },
)

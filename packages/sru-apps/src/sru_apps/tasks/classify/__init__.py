"""Sentence classification with recurrent encoders and the convolutional network of Kim (2014)."""

from sru_apps.task import Command, Task

TASK = Task(
    name="classify",
    description="Sentence classification on MR, CR, SUBJ, MPQA, TREC, SST-1 and SST-2.\n"
    "Start with: sru classify fit --recipe sst2",
    data="sru_apps.tasks.classify.data:SentenceData",
    module="sru_apps.tasks.classify.module:ClassifierModule",
    figures=("accuracy",),
    mode="max",
    usage=("--recipe NAME", "--data.name NAME"),
    examples=("--recipe sst2", "--recipe trec --encoder lstm --epochs 20 --name trec-lstm"),
    common=("data.data_dir", "data.embeddings", "model.hidden_size", "model.num_layers"),
    missing="no data set chosen; give --recipe ({recipes}) or --data.name",
    defaults={"optimizer.weight_decay": 1e-4, "optimizer.decay_all": True, "trainer.max_epochs": 12},
    movable=frozenset({"data_dir", "embeddings"}),
    evaluation=(
        (
            "--data-dir",
            "data.data_dir",
            str,
            "Folder with the data; default: as in training, else $SRU_DATA.",
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

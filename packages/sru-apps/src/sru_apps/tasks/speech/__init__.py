"""Speech recognition by connectionist temporal classification, and classification of clips."""

from sru_apps.task import DATA_DIR, Command, Task, moved_files

_FILES = ("train_file", "validation_file", "test_file")

TASK = Task(
    name="speech",
    description="Speech recognition (CTC), also streaming, and classification of clips.\n"
    "Start with: sru speech fit --recipe an4-sru",
    data="sru_apps.tasks.speech.data:SpeechData",
    module="sru_apps.tasks.speech.module:SpeechModule",
    predictor="sru_apps.tasks.speech.predict:Transcriber",
    figures=("wer", "per", "error_rate"),
    mode="min",
    usage=("--recipe NAME", "--train-file FILE"),
    examples=(
        "--recipe an4-sru",
        "--recipe fsdd --held-out theo --encoder lstm",
        "--train-file manifest.jsonl --subsampling 4 --bidirectional false --name first",
    ),
    common=(
        *("data.train_file", "data.data_dir", "data.task", "data.features", "data.subsampling"),
        *("data.batch_size", "model.hidden_size", "model.num_layers", "model.bidirectional"),
    ),
    defaults={"trainer.max_epochs": 40, "trainer.gradient_clip_val": 5.0},
    movable=frozenset({"data_dir", "prepared_dir", "lm", "evaluation_batch_size", *_FILES}),
    evaluation=(
        ("--batch-size", "data.evaluation_batch_size", int, "Utterances per batch; default: as in training."),
        ("--beam", "model.beam", int, "The beam size; 1 takes the most probable path."),
        ("--lm", "data.lm", str, "A word n-gram model in ARPA format, for decoding."),
        ("--lm-weight", "model.lm_weight", float, "The weight of the language model."),
        ("--word-bonus", "model.word_bonus", float, "Bonus for each word of a hypothesis."),
        ("--lm-unknown", "model.lm_unknown", float, "Score added for each word outside its vocabulary."),
        DATA_DIR,
        ("--prepared-dir", "data.prepared_dir", str, "Folder of the prepared features, if it has moved."),
        *moved_files(_FILES),
    ),
    report="sru_apps.tasks.speech.figures:write",
    generic=("prepare", "fit", "validate", "test", "table"),
    commands={
        "transcribe": Command(
            "transcribe audio files, standard input or a microphone",
            "sru_apps.tasks.speech.commands:transcribe",
        ),
    },
)

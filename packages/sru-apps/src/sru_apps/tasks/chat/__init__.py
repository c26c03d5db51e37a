"""Chat: answer what a user says, trained on dialogues."""

from sru_apps.task import Command, Task

TASK = Task(
    name="chat",
    description='A small chat model, trained on your dialogues, as JSON lines: with a field "bot",\n'
    "or in the format of OpenAI, ShareGPT or Alpaca.\n"
    "Start with: sru chat fit --recipe small --train-file talk.jsonl",
    data="sru_apps.tasks.chat.data:ChatData",
    module="sru_apps.tasks.chat.module:ChatModule",
    predictor="sru_apps.tasks.chat.model:TrainedChatModel",
    figures=("perplexity",),
    mode="min",
    usage=("--train-file FILE", "--recipe NAME --train-file FILE"),
    examples=(
        "--train-file talk.jsonl",
        "--recipe small --train-file talk.jsonl --epochs 5 --name first",
    ),
    common=(
        *("data.train_file", "data.validation_file", "data.unit", "data.batch_size"),
        *("model.hidden_size", "model.num_layers"),
    ),
    missing="no dialogues chosen; give --data.train_file, JSON lines with a field 'bot'",
    defaults={"model.encoder": "gated-linear", "trainer.max_epochs": 10, "trainer.gradient_clip_val": 1.0},
    movable=frozenset({"train_file", "validation_file", "tokenizer", "evaluation_batch_size"}),
    evaluation=(
        ("--batch-size", "data.evaluation_batch_size", int, "Dialogues per batch; default: as in training."),
    ),
    generic=("fit", "validate", "table"),
    commands={
        "reply": Command("answer a message, or talk line by line", "sru_apps.tasks.chat.commands:reply")
    },
)

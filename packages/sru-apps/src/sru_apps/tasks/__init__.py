"""The table of the tasks of `sru`. Importing it imports no task."""

from sru_apps.task import Command

TASKS = {
    "classify": Command(
        "sentence classification, on your own files or published sets", "sru_apps.tasks.classify:TASK"
    ),
    "lm": Command("language modelling: train, evaluate, generate, score", "sru_apps.tasks.lm:TASK"),
    "squad": Command(
        "reading comprehension: find the answer to a question in a passage", "sru_apps.tasks.squad:TASK"
    ),
    "translate": Command(
        "translation: train on parallel text, translate, score", "sru_apps.tasks.translate:TASK"
    ),
    "chat": Command("a small chat model, trained on your dialogues", "sru_apps.tasks.chat:TASK"),
    "speech": Command(
        "speech recognition, also streaming, and classification of clips", "sru_apps.tasks.speech:TASK"
    ),
    "demo": Command(
        "train a small character language model, with no data set to download",
        "sru_apps.tasks.demo.commands:demo",
    ),
}

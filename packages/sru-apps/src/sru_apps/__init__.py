"""Published tasks for fast recurrent networks as trainers that run from one command, `sru`."""

from sru_data.moved import redirect

__version__ = "0.1.0"

redirect(
    {
        "sru_apps.encoders": "sru_apps.nn",
        "sru_apps.dropout": "sru_apps.nn.dropout",
        "sru_apps.training": "sru_apps.train",
        "sru_apps.training.optimizers": "sru_apps.train.optimizers",
        "sru_apps.classification": "sru_apps.tasks.classify",
        "sru_apps.classification.model": "sru_apps.tasks.classify.model",
        "sru_apps.language_modelling": "sru_apps.tasks.lm",
        "sru_apps.language_modelling.config": "sru_apps.tasks.lm.model",
        "sru_apps.language_modelling.model": "sru_apps.tasks.lm.model",
        "sru_apps.language_modelling.module": "sru_apps.tasks.lm.module",
        "sru_apps.language_modelling.generate": "sru_apps.decoding.continuation",
        "sru_apps.language_modelling.sampling": "sru_apps.decoding.sampling",
        "sru_apps.chat": "sru_apps.tasks.chat",
        "sru_apps.chat.load": "sru_apps.tasks.chat.model",
        "sru_apps.chat.reply": "sru_apps.tasks.chat.model",
        "sru_apps.demo": "sru_apps.tasks.demo.commands",
    }
)

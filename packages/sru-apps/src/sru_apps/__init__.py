"""Published tasks for fast recurrent networks as trainers that run from one command, `sru`."""

__version__ = "0.1.0"

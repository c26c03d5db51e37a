"""One trainer for all tasks: command line, run folder, callbacks, checkpoints, export."""

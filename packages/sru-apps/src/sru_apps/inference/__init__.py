"""Trained models in use: from files to answers, without the trainer, whose imports take seconds."""

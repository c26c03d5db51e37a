"""Generating text: sampling, stopping, and text that streams as it becomes certain."""

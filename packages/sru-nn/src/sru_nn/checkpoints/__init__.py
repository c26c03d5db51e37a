"""Saved weights: the layouts of each version of `sru`, their description and their conversion."""

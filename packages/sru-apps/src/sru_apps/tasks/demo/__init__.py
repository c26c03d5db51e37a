"""A demonstration that needs no data set."""

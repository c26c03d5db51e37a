"""Published data sets, one module per family; `sources` says how their files are found or downloaded."""

"""Published data sets, one module per family; `sources` finds or downloads their files."""

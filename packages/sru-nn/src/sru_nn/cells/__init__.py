"""One folder per cell: the oracle, the operator, the module and everything specific to the cell."""

"""One folder per cell: the oracle, the operator, the module and what only this cell has."""

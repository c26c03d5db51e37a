"""The compiled kernels as PyTorch operators: one file per recurrence."""

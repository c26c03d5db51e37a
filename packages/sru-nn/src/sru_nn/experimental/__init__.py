"""Features that may change or go without notice."""

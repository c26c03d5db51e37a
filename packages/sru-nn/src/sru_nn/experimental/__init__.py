"""Features that may change or be removed without notice."""

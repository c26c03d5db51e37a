"""What keeps a file from being converted."""


class ConversionError(Exception):
    """What keeps a file from being converted, in a sentence that says what to do."""

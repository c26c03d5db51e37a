"""Language modelling: predict the next symbol of a text."""

"""Sentence classification with recurrent encoders and the convolutional network of Kim (2014)."""

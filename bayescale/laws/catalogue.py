"""Importing this registers every built-in law."""

from bayescale.laws import architecture, downstream, hyperparameters, one_variable, repetition, size_and_data  # noqa: F401

"""Importing this registers every built-in law."""

from bayescale.laws import one_variable, size_and_data  # noqa: F401

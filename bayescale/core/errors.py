"""Every exception that bayescale raises on purpose, in one tree; each is also the builtin kind it resembles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class BayescaleError(Exception):
    """Root of the tree: ``except BayescaleError`` catches whatever the package refuses."""


class DataError(BayescaleError, ValueError):
    """A table cannot be used as it is; ``faults`` lists everything that is wrong with it, not only the first thing."""

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join([message, *(f"  - {fault}" for fault in self.faults)]))


class SpecError(BayescaleError, ValueError):
    """A model, rule or request does not make sense, or does not fit the table it is used with."""


class NotIdentifiedError(SpecError):
    """The table says nothing about the quantity asked for (a covariate that never varies, say)."""


class ConvergenceError(BayescaleError, RuntimeError):
    """The chains do not agree; ``fit`` holds the draws all the same, so that nothing is lost."""

    def __init__(self, message: str, fit: Any = None) -> None:
        self.fit = fit
        super().__init__(message)


class DownloadError(BayescaleError, OSError):
    """A remote table could not be fetched, or what came is not what was expected."""


class SavedFileError(BayescaleError, OSError):
    """A file is not a fit that this package saved, is damaged, or cannot be written."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> str:
    """Say that ``name`` is no valid ``kind``, which one was probably meant, and which there are."""
    names = sorted(valid)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{guess} Valid: {', '.join(names) or '(none)'}."

"""Where curves meet, and where they are least: many draws at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

#: Points of a log grid for every factor of ten, and in all.
PER_DECADE, FEWEST, MOST = 24, 48, 480

#: Halvings of a bracket: one of a grid step ends below the spacing of float64.
HALVINGS = 50
#: Golden-section steps, each 0.618 of the one before: 50 nats of a whole iso-cost line end at 1e-8.
SECTIONS = 46

_GOLDEN = (np.sqrt(5.0) - 1) / 2


def log_grid(low: float, high: float) -> Array:
    """Scales from ``low`` to ``high``, even in the logarithm."""
    number = int(np.clip(np.ceil(PER_DECADE * np.log10(high / low)), FEWEST, MOST)) + 1
    return np.geomspace(low, high, number)


def first_change(signs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the first grid point, in each row, whose sign is not that of the point before; -1 where there is none.

    Parameters
    ----------
    signs : int array (draw, grid)
        -1, 0 or 1. From 0 to 0 is no change: two curves that are one do not cross.
    """
    changed = (signs[:, 1:] != signs[:, :-1]) & (signs[:, 1:] * signs[:, :-1] <= 0)
    return np.where(changed.any(axis=1), changed.argmax(axis=1) + 1, -1)


def bisect(function: Function, low: Array, high: Array) -> Array:
    """Roots of an elementwise function between scales ``low`` and ``high`` that bracket them, by halving in the logarithm.

    Parameters
    ----------
    function : callable
        Takes and returns arrays of the shape of ``low``.
    low, high : array
        Positive.
    """
    low, high = np.log(low), np.log(high)
    negative = function(np.exp(low)) < 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = (function(np.exp(middle)) < 0) == negative
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(np.exp((low + high) / 2))


def least(function: Function, low: Array, high: Array) -> Array:
    """Where an elementwise function with one minimum between ``low`` and ``high`` is least, by golden section."""
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_inner, at_outer = function(inner), function(outer)
    for _ in range(SECTIONS):
        left = at_inner < at_outer
        low, high = np.where(left, low, inner), np.where(left, outer, high)
        new = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        value = function(new)
        inner, outer = np.where(left, new, outer), np.where(left, inner, new)
        at_inner, at_outer = np.where(left, value, at_outer), np.where(left, at_inner, value)
    return np.asarray((low + high) / 2)

"""Where curves meet, and where they are least: many draws at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bayescale.core.targets import Target

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

#: Points of a log grid for every factor of ten, and in all.
PER_DECADE, FEWEST, MOST = 24, 48, 480

#: Halvings of a bracket: one of a grid step ends below the spacing of float64.
HALVINGS = 50
#: Golden-section steps, each 0.618 of the one before: the 50 nats of a whole line of equal cost end at 4e-6.
SECTIONS = 34

_GOLDEN = (np.sqrt(5.0) - 1) / 2


def log_grid(low: float, high: float) -> Array:
    """Scales from ``low`` to ``high``, even in the logarithm."""
    number = int(np.clip(np.ceil(PER_DECADE * np.log10(high / low)), FEWEST, MOST)) + 1
    return np.geomspace(low, high, number)


def first_change(values: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The grid points, in each row, between which the sign first turns to the other; -1, -1 where it never does.

    Parameters
    ----------
    values : array (draw, grid)
        Points where a value is 0 (or not a number) are passed over: two curves that are one for a while do not cross.

    Returns
    -------
    before, after : int array (draw,)
    """
    signs = np.sign(np.nan_to_num(values))
    columns = np.arange(signs.shape[1])
    last = np.maximum.accumulate(np.where(signs != 0, columns, 0), axis=1)[:, :-1]
    turned = np.take_along_axis(signs, last, axis=1) * signs[:, 1:] < 0
    after = np.where(turned.any(axis=1), turned.argmax(axis=1) + 1, -1)
    before = np.where(after > 0, np.take_along_axis(last, np.maximum(after - 1, 0)[:, None], axis=1)[:, 0], -1)
    return before, after


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


class Line(Protocol):
    """Many draws of a curve."""

    def __call__(self, scale: Array, /) -> Array:
        """Values (draw, scale) at scales of shape (1, scale) or (draw, scale)."""

    def take(self, draws: NDArray[np.int64]) -> Self:
        """Some of the draws."""


def first_met(curve: Line, goal: Target, grid: Array) -> Array:
    """The smallest scale at which each draw of a curve meets a target, shape (draw,); the end of the grid where that does."""
    met = goal.met(curve(grid))
    first = np.where(met.any(axis=1), met.argmax(axis=1), -1)
    found = np.where(first == 0, grid[0], np.inf)
    inside = np.flatnonzero(first > 0)
    if inside.size:
        few, step = curve.take(inside), first[inside]
        found[inside] = bisect(lambda s: few(s[:, None])[:, 0] - goal.value, grid[step - 1], grid[step])
    return found

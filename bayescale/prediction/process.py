"""Draws of a drifting slope beyond where it is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayescale.models import kalman
from bayescale.models.kalman import Drift, State

Array = NDArray[np.float64]


def draw(state: State, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw ``(delta, w)`` of a state."""
    level_sd = np.sqrt(np.maximum(state.vll, 0.0))
    a, b = rng.standard_normal((2, *np.shape(state.level)))
    with np.errstate(divide="ignore", invalid="ignore"):  # a level that is known, at the end of the runs
        share = np.where(state.vll > 0, state.vlw / level_sd, 0.0)
    left = np.sqrt(np.maximum(state.vww - share**2, 0.0))
    return state.level + level_sd * a, state.slope + share * a + left * b


def ahead(drift: Drift, state: tuple[Array, Array], top: float, u: Array, out: Array, rng: np.random.Generator) -> None:
    """Go on from the end of the runs, where the state is known, through the points beyond it; others of ``out`` are left."""
    at = top
    for i in np.argsort(u, kind="stable"):
        if u[i] < top:
            continue
        f, r, qll, qlw, qww = kalman.transition(np, drift, u[i] - at)
        level, slope = state
        state = draw(State(level + f * slope, r * slope, qll, qlw, qww), rng)
        out[..., i], at = state[0], u[i]


def around(drift: Drift, top: float, u: Array, rng: np.random.Generator) -> Array:
    """A curve of which nothing is known but that its drift is nought at ``top``; shape (chain, draw, point)."""
    start = kalman.begin(drift)
    state = draw(State(0 * start.level, start.slope, 0 * start.vll, 0 * start.vlw, start.vww), rng)
    out = np.empty((*drift.rate.shape, len(u)))
    # The process looks the same in both directions: below the reference it is its own mirror image.
    ahead(drift, state, top, u, out, rng)
    below = np.empty_like(out)
    ahead(drift, (state[0], -state[1]), -top, -u, below, rng)
    out[..., u < top] = below[..., u < top]
    return out

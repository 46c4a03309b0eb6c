"""State-space form of a drifting slope: the filter, for JAX inside a model and for NumPy when it predicts.

The state of a curve at log scale ``u`` is ``(delta, w)``, the discrepancy and its slope. Moments are kept as five arrays,
``m = (level, slope)`` and ``P = (level-level, level-slope, slope-slope)``, so that everything broadcasts over draws.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

#: Variance of the level before anything of a curve is seen, in squared log units: nothing is known of it.
DIFFUSE = 100.0


class State(NamedTuple):
    """Moments of ``(delta, w)``."""

    level: Any
    slope: Any
    vll: Any
    vlw: Any
    vww: Any


class Drift(NamedTuple):
    """``dw = -rate w du + scale dB``."""

    rate: Any
    scale: Any


def begin(drift: Drift) -> State:
    """At the start of a curve: level unknown, slope from the stationary distribution."""
    zero = 0.0 * drift.rate
    return State(zero, zero, zero + DIFFUSE, zero, drift.scale**2 / (2 * drift.rate))


def transition(xp: Any, drift: Drift, du: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Over a step of log scale: ``F`` and ``R`` (level gains ``F w``, slope keeps ``R``) and the covariance that comes in.

    Returns
    -------
    tuple
        ``F, R, qll, qlw, qww``; by series where ``rate du`` is small and the closed form would cancel.
    """
    k, s2 = drift.rate, drift.scale**2
    x = k * du
    small = x < 0.05
    safe = xp.where(small, 1.0, x)
    r = xp.exp(-x)
    f = xp.where(small, 1 - x / 2 + x**2 / 6 - x**3 / 24, (1 - xp.exp(-safe)) / safe) * du
    # closed forms over du^3, du^2, du, as functions of x
    e1, e2 = xp.exp(-safe), xp.exp(-2 * safe)
    ll = xp.where(small, 1 / 3 - x / 4 + 7 * x**2 / 60 - x**3 / 24, (safe - 2 * (1 - e1) + (1 - e2) / 2) / safe**3)
    lw = xp.where(small, 0.5 - x / 2 + 7 * x**2 / 24 - x**3 / 8, (1 - e1) ** 2 / (2 * safe**2))
    ww = xp.where(small, 1 - x + 2 * x**2 / 3 - x**3 / 3, (1 - e2) / (2 * safe))
    return f, r, s2 * ll * du**3, s2 * lw * du**2, s2 * ww * du


def move(xp: Any, state: State, drift: Drift, du: Any) -> State:
    """The state a step of log scale further on."""
    f, r, qll, qlw, qww = transition(xp, drift, du)
    return State(
        state.level + f * state.slope,
        r * state.slope,
        state.vll + 2 * f * state.vlw + f**2 * state.vww + qll,
        r * (state.vlw + f * state.vww) + qlw,
        r**2 * state.vww + qww,
    )


def update(state: State, residual: Any, variance: Any) -> tuple[State, Any]:
    """Take in ``residual = level + e``, ``e ~ Normal(0, variance)``; the new state and the variance of the prediction."""
    total = state.vll + variance
    gap = residual - state.level
    gl, gw = state.vll / total, state.vlw / total
    return (
        State(
            state.level + gl * gap,
            state.slope + gw * gap,
            # The Joseph form of the level's variance: it stays positive when the noise is much less than what is known.
            variance * gl,
            state.vlw * variance / total,
            state.vww - gw * state.vlw,
        ),
        total,
    )


def gain(xp: Any, state: State, drift: Drift, du: Any) -> tuple[State, tuple[Any, Any, Any, Any]]:
    """The state a step on, and by how much what is then found moves the state before: ``P A' (A P A' + Q)^-1``, row by row."""
    f, r, *_ = transition(xp, drift, du)
    ahead = move(xp, state, drift, du)
    pll, plw, pwl, pww = state.vll + f * state.vlw, r * state.vlw, state.vlw + f * state.vww, r * state.vww
    det = ahead.vll * ahead.vww - ahead.vlw**2
    det = xp.where(det > 0, det, np.inf)
    return ahead, (
        (pll * ahead.vww - plw * ahead.vlw) / det,
        (plw * ahead.vll - pll * ahead.vlw) / det,
        (pwl * ahead.vww - pww * ahead.vlw) / det,
        (pww * ahead.vll - pwl * ahead.vlw) / det,
    )


def smooth(xp: Any, state: State, drift: Drift, du: Any, then: State) -> State:
    """A filtered state, given what all later runs say of the state a step on (Rauch, Tung and Striebel)."""
    ahead, (ll, lw, wl, ww) = gain(xp, state, drift, du)
    dl, dw = then.level - ahead.level, then.slope - ahead.slope
    a, b, c = then.vll - ahead.vll, then.vlw - ahead.vlw, then.vww - ahead.vww
    found = State(
        state.level + ll * dl + lw * dw,
        state.slope + wl * dl + ww * dw,
        state.vll + ll**2 * a + 2 * ll * lw * b + lw**2 * c,
        state.vlw + ll * wl * a + (ll * ww + lw * wl) * b + lw * ww * c,
        state.vww + wl**2 * a + 2 * wl * ww * b + ww**2 * c,
    )
    # Runs at one scale share a state.
    return State(*(xp.where(du > 0, new, same) for new, same in zip(found, then, strict=True)))


def log_normal_density(xp: Any, gap: Any, variance: Any) -> Any:
    """Logarithm of the normal density."""
    return -(gap**2 / variance + xp.log(2 * np.pi * variance)) / 2

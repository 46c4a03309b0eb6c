"""Likelihood of a running minimum: the rows are the best so far of noisy evaluations, of which the next one is not the best.

At a row the noisy curve has expectation ``f`` (log scale) and noise ``tau``; since the row before there were ``K``
evaluations. A new minimum ``M`` has density ``K phi(z) (1 - Phi(z))^(K-1) / tau`` with ``z = (M - f) / tau``, a tie
probability ``(1 - Phi(z))^K``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bayescale.models import kalman
from bayescale.models.kalman import State

#: Evaluations that count are those in which the curve falls by less than about two thirds of the noise.
_CUT = 1.5

#: Newton steps to the mode of a level.
STEPS = 3

#: Beyond so many standard deviations the tail of the normal distribution is its asymptote.
_FAR = 20.0


def effective(xp: Any, gap: Any, fall: Any, tau: Any) -> Any:
    """Evaluations among which the minimum is sought, when the curve falls by ``fall`` over ``gap`` of them."""
    per = _CUT * xp.maximum(fall, 0.0) / (gap * tau) + 1e-6
    return 1 - xp.expm1(-per * (gap - 1)) / per


def log_survival(xp: Any, erfc: Any, z: Any) -> Any:
    """``log(1 - Phi(z))``: several times faster than a general ``log_ndtr``, which is most of what a likelihood costs."""
    near = xp.minimum(z, _FAR)
    far = xp.maximum(z, _FAR)
    tail = -(far**2) / 2 - xp.log(far) - np.log(2 * np.pi) / 2 - 1 / far**2
    return xp.where(z < _FAR, xp.log(erfc(near / np.sqrt(2)) / 2), tail)


def log_likelihood(xp: Any, erfc: Any, z: Any, tau: Any, count: Any, tie: Any) -> Any:
    """Of one row; broadcasts."""
    new = xp.log(count) - (z**2 + np.log(2 * np.pi)) / 2 - xp.log(tau)
    return xp.where(tie, 0.0, new) + xp.where(tie, count, count - 1) * log_survival(xp, erfc, z)


def derivatives(xp: Any, erfc: Any, z: Any, tau: Any, count: Any, tie: Any) -> tuple[Any, Any]:
    """First and second derivative of :func:`log_likelihood` by ``f``; the second is negative: the likelihood is log-concave."""
    hazard = xp.exp(-(z**2 + np.log(2 * np.pi)) / 2 - log_survival(xp, erfc, z))
    seen, more = xp.where(tie, 0.0, 1.0), xp.where(tie, count, count - 1)
    return (seen * z + more * hazard) / tau, -(seen + more * hazard * (hazard - z)) / tau**2


def update(xp: Any, erfc: Any, settle: Callable[..., Any], state: State, row: tuple[Any, Any, Any, Any]) -> tuple[State, Any]:
    """Take in a minimum by Laplace's approximation at the mode of the level; the new state and the log density of the row.

    Parameters
    ----------
    settle : callable (step, start)
        Runs a step from a start until it settles.
    row : tuple
        Residual, noise, number of evaluations, whether it is a tie.
    """
    residual, tau, count, tie = row

    def bends(level: Any) -> tuple[Any, Any]:
        return derivatives(xp, erfc, (residual - level) / tau, tau, count, tie)

    def step(level: Any) -> Any:
        slope, bend = bends(level)
        return level + (slope - (level - state.level) / state.vll) / (1 / state.vll - bend)

    # A minimum of so many lies about that far below what they scatter about.
    start = kalman.update(state, residual + tau * xp.sqrt(2 * xp.log(count)), tau**2)[0].level
    level = settle(step, start)
    variance = 1 / (1 / state.vll - bends(level)[1])
    pull, gain = (level - state.level) / state.vll, state.vlw / state.vll
    taken = State(
        level,
        state.slope + state.vlw * pull,
        variance,
        gain * variance,
        state.vww - gain * state.vlw + gain**2 * variance,
    )
    density = log_likelihood(xp, erfc, (residual - level) / tau, tau, count, tie)
    return taken, density - (level - state.level) * pull / 2 + xp.log(variance / state.vll) / 2

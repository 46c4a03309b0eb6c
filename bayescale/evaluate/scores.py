"""Scores of forecasts that are draws, against what came: CRPS, interval scores, log score, PIT, coverage, errors.

Draws have shape (draw, point), outcomes shape (point,); a score has one number a point. All are pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scoringrules as sr
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

#: Probabilities of the central intervals that are scored.
LEVELS = (0.5, 0.8, 0.9, 0.95)

#: Points that are scored at once, which bounds the memory.
BLOCK = 256

#: Tails of the log score's one wide kernel.
TAIL_DF = 4.0

#: Draws nearer to each other than this are one number with rounding.
NARROWEST = 1e-9


def percent(prob: float) -> int:
    """A probability as the names of columns say it: 0.9 is 90."""
    return round(100 * prob)


def interval(draws: Array, prob: float) -> tuple[Array, Array]:
    """Lower and upper end of the central interval, shape (point,) each, in the unit of the draws."""
    lower, upper = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    return lower, upper


def crps(draws: Array, outcomes: Array) -> Array:
    """Continuous ranked probability score :cite:p:`gneiting2007`, in the unit of the draws; the lower the better.

    ``E|X - y| - E|X - X'| / 2`` of the distribution that the draws are, by its quantile decomposition: never negative, and
    unmoved by a few draws that are far out.
    """
    found: Array = sr.crps_ensemble(outcomes, draws.T, estimator="qd", backend="numpy")
    return found


def weighted_interval_score(draws: Array, outcomes: Array, levels: tuple[float, ...] = LEVELS) -> Array:
    """Mean of the interval scores and of the median's error :cite:p:`bracher2021`; the lower the better.

    ``(|y - median| / 2 + sum_k (alpha_k / 2) IS_k) / (K + 1/2)``, with ``alpha_k`` one less the probability of interval k.
    """
    # The library's own weighted score takes the median itself for its error (0.11, NumPy), so the sum is made here.
    total = 0.5 * np.abs(outcomes - np.median(draws, axis=0))
    for prob in levels:
        alpha = 1 - prob
        total = total + alpha / 2 * sr.interval_score(outcomes, *interval(draws, prob), alpha, backend="numpy")
    return np.asarray(total / (len(levels) + 0.5))


def log_score(draws: Array, outcomes: Array) -> Array:
    """Log density of the outcome, per unit of the draws; the higher the better.

    A normal kernel on each draw, of Silverman's width, and a Student-t of the draws' own median and spread that weighs as much
    as one draw more: the kernels alone would give an outcome beyond the last draw no density at all.
    """
    number = len(draws)
    low, median, high = np.quantile(draws, [0.25, 0.5, 0.75], axis=0)
    # Draws that are all alike, or infinite, have no density of their own: the wide kernel is what is left then.
    with np.errstate(over="ignore", divide="ignore", under="ignore", invalid="ignore"):
        spread = np.fmin(np.std(draws, axis=0), (high - low) / 1.349)
        spread = np.maximum(spread, NARROWEST * np.maximum(1.0, np.abs(median)))
        kernels = -sr.logs_ensemble(outcomes, draws.T, bw=1.06 * spread * number**-0.2, backend="numpy")
    wide = stats.t.logpdf(outcomes, TAIL_DF, loc=median, scale=spread)
    return np.asarray(np.logaddexp(kernels + np.log(number), wide) - np.log(number + 1))


def pit(draws: Array, outcomes: Array) -> Array:
    """Probability integral transform: share of the draws below the outcome, of equal ones the half; uniform if calibrated."""
    return np.asarray((draws < outcomes).mean(axis=0) + 0.5 * (draws == outcomes).mean(axis=0))


def covered(lower: Array, upper: Array, outcomes: Array) -> NDArray[np.bool_]:
    """Whether each outcome lies in its interval, ends included; the mean of these is the coverage."""
    return np.asarray((lower <= outcomes) & (outcomes <= upper))


def rmsle(forecasts: Array, outcomes: Array) -> float:
    """Root mean squared logarithmic error of point forecasts; NaN where one of the logarithms does not exist."""
    with np.errstate(divide="ignore", invalid="ignore"):  # told as NaN
        return float(np.sqrt(np.mean((np.log(forecasts) - np.log(outcomes)) ** 2)))


def relative_error(forecasts: Array, outcomes: Array) -> Array:
    """``|forecast / outcome - 1|``."""
    with np.errstate(divide="ignore", invalid="ignore"):  # an outcome of nought is infinitely far off
        return np.asarray(np.abs(forecasts - outcomes) / np.abs(outcomes))


def score(draws: Array, outcomes: Array, *, log: bool = True) -> pd.DataFrame:
    """Everything above, one row a point.

    Parameters
    ----------
    draws : ndarray, shape (draw, point)
        Of new runs, in the unit of the response.
    outcomes : ndarray, shape (point,)
        What came.
    log : bool
        Score on the logarithm of the response, which is then above 0: a loss of 4 and one of 2 count alike, and heavy tails
        of the logarithm have no mean without it.

    Returns
    -------
    DataFrame
        ``observed``, ``median``, ``lower_50``, ``upper_50``, … ``upper_95`` in the unit of the response; ``pit``; ``crps``,
        ``wis``, ``width_90`` in log units (``log=False``: in the unit of the response); ``log_score``, the log density of the
        response itself, whatever ``log``; ``relative_error`` of the median.
    """
    blocks = [slice(i, i + BLOCK) for i in range(0, len(outcomes), BLOCK)]
    return pd.concat([_block(draws[:, b], outcomes[b], log) for b in blocks], ignore_index=True)


def to_scale(values: Array, *, log: bool) -> Array:
    """Values on the scale on which they are scored; those beyond all numbers become the largest there is."""
    most, least = np.finfo(np.float64).max / 4, np.finfo(np.float64).tiny
    return np.asarray(np.log(np.clip(values, least, most)) if log else np.clip(values, -most, most))


def _block(draws: Array, outcomes: Array, log: bool) -> pd.DataFrame:
    x, y = to_scale(draws, log=log), to_scale(outcomes, log=log)
    out = {"observed": outcomes, "median": np.median(x, axis=0)}
    for prob in LEVELS:
        out[f"lower_{percent(prob)}"], out[f"upper_{percent(prob)}"] = interval(x, prob)
    width = out["upper_90"] - out["lower_90"]
    if log:
        out |= {name: np.exp(values) for name, values in out.items() if name != "observed"}
    out |= {"pit": pit(x, y), "crps": crps(x, y), "wis": weighted_interval_score(x, y)}
    # The density of log y becomes that of y.
    out["log_score"] = log_score(x, y) - (y if log else 0.0)
    return pd.DataFrame({**out, "relative_error": relative_error(out["median"], outcomes), "width_90": width})


def conformal_factor(misses: Sequence[float] | Array, prob: float = 0.9) -> float:
    """Factor of the intervals' width after which a new outcome is inside with probability ``prob``, if it is like the old.

    Parameters
    ----------
    misses : sequence of float
        ``|y - median|`` over half the width of the interval of probability ``prob``.

    Returns
    -------
    float
        The ``ceil((n + 1) prob)``-th smallest :cite:p:`lei2018`; 1 where n is too small for there to be one.

    Examples
    --------
    >>> conformal_factor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.4])
    1.4
    >>> conformal_factor([0.1, 1.4])
    1.0
    """
    rank = math.ceil((len(misses) + 1) * prob - NARROWEST)
    return 1.0 if rank > len(misses) else float(np.sort(misses)[rank - 1])


def relative_misses(scores: pd.DataFrame, *, log: bool) -> Array:
    """``|y - median|`` over half the width of the 90 % interval, of a table that :func:`score` made; shape (point,)."""
    observed, median = (to_scale(scores[name].to_numpy(), log=log) for name in ("observed", "median"))
    return np.asarray(np.abs(observed - median) / np.maximum(scores["width_90"].to_numpy() / 2, NARROWEST))


def stretched(draws: Array, factor: float, *, log: bool) -> Array:
    """Draws (draw, point) moved away from their median by a factor, on the scale on which they are scored."""
    x = to_scale(draws, log=log)
    median = np.median(x, axis=0)
    with np.errstate(over="ignore"):  # a tail beyond the largest float is infinite
        moved = median + factor * (x - median)
        return np.asarray(np.exp(moved) if log else moved)

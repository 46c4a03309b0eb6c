"""Scores of a mixture of forecasts, from what the backtests of its parts hold of each forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp, ndtr, ndtri

from bayescale.core.errors import SpecError
from bayescale.core.names import ROW
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.scores import LEVELS, Array, percent, rmsle, to_scale

#: Halvings of a bracket, which end below the spacing of float64 in a log response.
HALVINGS = 50

#: So much worse than the best (in log density), a forecast has no weight that float64 could tell from nought.
WORST = 700.0
#: Stands for the log density of what is impossible.
LEAST = -1e6

#: The probability of the interval whose coverage and width are reported.
PROB = 0.9

_TAILS = np.array([(1 - p) / 2 for p in sorted(LEVELS, reverse=True)])
#: Normal quantiles of the forecasts' quantiles that a backtest holds, in ascending order.
_KNOTS = ndtri(np.concatenate([_TAILS, [0.5], 1 - _TAILS[::-1]]))


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of the same runs by several candidates.

    Parameters
    ----------
    names : tuple of str
    observed : array (forecast,)
        What came.
    densities : array (forecast, candidate)
        Log predictive densities of it, per unit of the response.
    pit : array (forecast, candidate)
        Predictive probability below it.
    quantiles : array (forecast, candidate, 9)
        Of 2.5, 5, 10, 25, 50, 75, 90, 95 and 97.5 %, on the scale of the noise.
    keys : DataFrame
        What was cut, and where: the columns ``cutoff`` and ``row``, and that of the groups where they were cut alone.
    log : bool
        The scale is that of the logarithm.
    size : float
        Number of independent forecasts that say as much (:attr:`Backtest.effective_n`).
    """

    names: tuple[str, ...]
    observed: Array
    densities: Array
    pit: Array
    quantiles: Array
    keys: pd.DataFrame
    log: bool
    size: float

    def __len__(self) -> int:
        return len(self.observed)


def together(backtests: Mapping[str, Backtest]) -> Forecasts:
    """The forecasts of several backtests, side by side.

    Raises
    ------
    SpecError
        When they are not of the same runs from the same cut-offs.
    """
    first = next(iter(backtests.values()))
    columns = [*([first.by] if first.by else []), "cutoff", ROW]
    tables = {}
    for name, one in backtests.items():
        if one.by != first.by or one.along != first.along:
            raise SpecError(
                f"the backtest of {name!r} was cut along {one.along} by {one.by}, another {first.along} by {first.by}"
            )
        tables[name] = one.points.set_index(columns).sort_index()
    base = next(iter(tables.values()))
    for name, table in tables.items():
        if not table.index.equals(base.index) or not np.array_equal(table["observed"], base["observed"]):
            told = f"{len(table)} forecasts of other runs or cut-offs than the {len(base)}"
            raise SpecError(f"the backtest of {name!r} holds {told} of {next(iter(tables))!r}: make them on one table")
    log = all(one.log for one in backtests.values())
    ends = [f"lower_{percent(p)}" for p in sorted(LEVELS, reverse=True)]
    held = [*ends, "median", *(name.replace("lower", "upper") for name in reversed(ends))]

    def side_by_side(column: Any) -> Array:
        return np.stack([table[column].to_numpy(np.float64) for table in tables.values()], axis=1)

    # A forecast without a density (draws that are not finite) is as bad as one can be.
    densities = np.nan_to_num(side_by_side("log_score"), nan=LEAST, neginf=LEAST)
    quantiles = to_scale(side_by_side(held), log=log)
    return Forecasts(
        names=tuple(tables),
        observed=base["observed"].to_numpy(np.float64),
        densities=np.maximum(densities, densities.max(axis=1, keepdims=True) - WORST),
        pit=side_by_side("pit"),
        quantiles=quantiles,
        keys=base.index.to_frame(index=False),
        log=log,
        size=first.effective_n,
    )


def score_mixture(found: Forecasts, weights: Array) -> pd.DataFrame:
    """Scores of the mixture, a row a forecast.

    Log density and PIT are exact, ``log sum_k w_k p_k(y)`` and ``sum_k w_k F_k(y)``. The median and the interval are those of a
    mixture whose parts pass through the quantiles that their backtests hold, and are normal between and beyond them.

    Parameters
    ----------
    weights : array (candidate,) or (forecast, candidate)

    Returns
    -------
    DataFrame
        ``log_score``; ``median`` in the unit of the response; ``covered``, whether the 90 % interval holds what came;
        ``width_90``, its width, in log units (in the unit of the response where the noise is on that scale).
    """
    w = np.broadcast_to(weights, found.densities.shape)
    with np.errstate(divide="ignore"):  # a member of no weight adds nothing
        score = logsumexp(found.densities + np.log(w), axis=1)
    low, median, high = (_quantile(found.quantiles, w, p) for p in ((1 - PROB) / 2, 0.5, (1 + PROB) / 2))
    below = (w * found.pit).sum(axis=1)
    middle = np.exp(median) if found.log else median
    inside = np.abs(2 * below - 1) <= PROB
    return pd.DataFrame({"log_score": score, "median": middle, "covered": inside, "width_90": high - low})


def means(found: Forecasts, scores: pd.DataFrame) -> dict[str, float]:
    """A row of the evidence: scores averaged over the forecasts."""
    return {
        "log_score": float(scores["log_score"].mean()),
        "rmsle": rmsle(scores["median"].to_numpy(), found.observed),
        "coverage_90": float(scores["covered"].mean()),
        "width_90": float(scores["width_90"].mean()),
    }


def _quantile(quantiles: Array, weights: Array, prob: float) -> Array:
    """Quantile of each mixture, shape (forecast,): it lies between those of its parts, and is found by halving."""
    at = int(np.argmin(np.abs(_KNOTS - ndtri(prob))))
    used = np.where(weights > 0, quantiles[..., at], np.nan)
    low, high = np.nanmin(used, axis=1), np.nanmax(used, axis=1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = (weights * ndtr(_normal(quantiles, middle))).sum(axis=1) < prob
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)


def _normal(quantiles: Array, at: Array) -> Array:
    """Normal quantile, in each part, of the probability below ``at``; shape (forecast, candidate)."""
    place = np.clip((quantiles <= at[:, None, None]).sum(axis=-1), 1, quantiles.shape[-1] - 1)
    left, right = (np.take_along_axis(quantiles, (place - i)[..., None], axis=-1)[..., 0] for i in (1, 0))
    # Quantiles that are one number with rounding: the step between them is steep, not infinite.
    width = np.maximum(right - left, np.finfo(np.float64).tiny)
    share = np.clip((at[:, None] - left) / width, -1e6, 1e6)
    return np.asarray(_KNOTS[place - 1] + share * (_KNOTS[place] - _KNOTS[place - 1]))

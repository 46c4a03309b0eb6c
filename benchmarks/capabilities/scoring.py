"""Scores of forecast accuracies: the same points for every method, a row a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm, truncnorm

from bayescale.evaluate.factors import clustered_error
from benchmarks.capabilities.protocols import Block
from benchmarks.extrapolation.scoring import LEVELS, SCORED, log_density

Array = np.ndarray

_EIGHTY = 2 * norm.ppf(0.9)

#: The least standard deviation of a forecast: no accuracy is reported more finely.
LEAST = 1e-4

SCORES = ("sq. error", "MAE", "log score", "by quantiles", *(f"cov {level}" for level in LEVELS), "width 90")


@dataclass(frozen=True, eq=False)
class Normal:
    """A forecast as a normal cut off at 0 and 1; its centre, before the cut, is the point forecast."""

    center: Array
    sd: Array

    @property
    def points(self) -> tuple[Array, Array]:
        """Point forecasts for the squared and for the absolute error."""
        point = np.clip(self.center, 0, 1)
        return point, point

    def _law(self) -> truncnorm:
        sd = np.maximum(self.sd, LEAST)
        return truncnorm(-self.center / sd, (1 - self.center) / sd, loc=self.center, scale=sd)

    def quantiles(self, at: Array) -> Array:
        """Quantiles, shape (level, row)."""
        return np.asarray(self._law().ppf(np.asarray(at)[:, None]))

    def log_density(self, truth: Array) -> Array:
        """Log density of the accuracies."""
        return np.asarray(self._law().logpdf(truth))


@dataclass(frozen=True, eq=False)
class Draws:
    """A forecast as draws, shape (draw, row): points are their mean and median, the density is a kernel's."""

    draws: Array

    @property
    def points(self) -> tuple[Array, Array]:
        """Point forecasts for the squared and for the absolute error."""
        return self.draws.mean(axis=0), np.median(self.draws, axis=0)

    def quantiles(self, at: Array) -> Array:
        """Quantiles, shape (level, row)."""
        return np.quantile(self.draws, at, axis=0)

    def log_density(self, truth: Array) -> Array:
        """Log density of the accuracies."""
        draws = self.draws
        if len(draws) > SCORED:
            draws = draws[np.linspace(0, len(draws) - 1, SCORED).astype(int)]
        return log_density(draws, truth)


Forecast = Normal | Draws


def score(block: Block, forecast: Forecast) -> pd.DataFrame:
    """Scores of every cell of a block.

    The squared error is of the accuracy rescaled from chance to 1, the absolute one in points (per cent); densities are of the
    accuracy as given, "by quantiles" by the normal, cut off at 0 and 1, of the median and the 80 % interval; the width is in
    points.
    """
    truth = block.truth
    for_square, for_absolute = forecast.points
    out = block.test[["family", "model", "series"]].assign(block=block.name, fold=block.fold)
    out["sq. error"] = ((truth - for_square) / (1 - block.test.chance.to_numpy())) ** 2
    out["MAE"] = 100 * np.abs(truth - for_absolute)
    out["log score"] = forecast.log_density(truth)
    low, middle, high = forecast.quantiles(np.array([0.1, 0.5, 0.9]))
    out["by quantiles"] = Normal(middle, (high - low) / _EIGHTY).log_density(truth)
    for level in LEVELS:
        lower, upper = forecast.quantiles(np.array([0.5 - level / 200, 0.5 + level / 200]))
        out[f"cov {level}"] = 100.0 * ((lower <= truth) & (truth <= upper))
    out["width 90"] = 100 * (upper - lower)
    return out


def means(points: pd.DataFrame, by: str) -> pd.DataFrame:
    """Means over cells of each method, a line for each value of ``by`` and one for all cells."""
    lines = points.groupby([by, "method"], sort=False)[list(SCORES)].mean()
    lines = lines.sort_index(level=by, sort_remaining=False, kind="stable")
    pooled = points.groupby("method", sort=False)[list(SCORES)].mean()
    return pd.concat([lines, pd.concat({"pooled over cells": pooled}, names=[by])])


def differences(points: pd.DataFrame) -> pd.DataFrame:
    """How far each method's log score lies above that of the best, in the mean over cells, with its standard error by model."""
    cell = points.groupby("method").cumcount()
    wide = points.assign(cell=cell).pivot(index="cell", columns="method", values="log score")
    units = points.model[points.method == points.method.iloc[0]].to_numpy()
    apart = wide.sub(wide[wide.mean().idxmax()], axis=0)
    errors = [clustered_error(apart[name].to_numpy(), units) for name in apart]
    return pd.DataFrame({"log score": wide.mean(), "difference": apart.mean(), "s.e.": errors})


def printed(table: pd.DataFrame) -> str:
    """A table as text."""
    forms = {"sq. error": "{:.1e}", "MAE": "{:.2f}", "log score": "{:.2f}", "by quantiles": "{:.2f}", "width 90": "{:.1f}"}
    return table.to_string(formatters={name: forms.get(name, "{:.0f}").format for name in SCORES})

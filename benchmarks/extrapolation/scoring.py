"""Scores of a forecast that is given as draws: the same estimators for every method."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from scipy.stats import norm

Array = np.ndarray

#: Levels of the central intervals, per cent.
LEVELS = (50, 80, 90)

#: Draws that are scored, and points at once.
SCORED, POINTS = 2000, 64

_EIGHTY = 2 * norm.ppf(0.9)

SCORES = ("RMSLE", "log density", "by quantiles", *(f"cov {level}" for level in LEVELS), "width 90")


def log_density(draws: Array, truth: Array) -> Array:
    """Log density of ``truth``, shape (point,), under draws (draw, point): a normal kernel, Silverman's robust bandwidth.

    The estimator of ``scoringrules.logs_ensemble``, in logs throughout: far from all draws it is low and not minus infinity.
    """
    quartiles = np.quantile(draws, [0.25, 0.75], axis=0)
    spread = np.minimum(draws.std(axis=0), (quartiles[1] - quartiles[0]) / 1.34)
    width = np.maximum(1.06 * spread * len(draws) ** -0.2, 1e-12)
    found = [
        logsumexp(-0.5 * ((truth[i] - draws[:, i]) / width[i]) ** 2, axis=0)
        for i in (slice(j, j + POINTS) for j in range(0, len(truth), POINTS))
    ]
    return np.concatenate(found) - np.log(len(draws) * width * np.sqrt(2 * np.pi))


def score(draws: Array, truth: Array) -> dict[str, float]:
    """Scores of one curve from draws of y, shape (draw, point), and what happened.

    RMSLE is of the median; densities are of y as given, by a kernel in log y, and ("by quantiles") by the normal with the
    median and 80 % interval of the draws; coverage is in per cent; the width of the 90 % interval is in log units. Beyond all
    draws the kernel's tail falls faster than any forecast's: there the second density is the fairer one.
    """
    if len(draws) > SCORED:
        draws = draws[np.linspace(0, len(draws) - 1, SCORED).astype(int)]
    logs, seen = np.log(draws), np.log(truth)
    out = {
        "RMSLE": float(np.sqrt(np.mean((np.median(logs, axis=0) - seen) ** 2))),
        "log density": float(np.mean(log_density(logs, seen) - seen)),
    }
    low, middle, high = np.quantile(logs, [0.1, 0.5, 0.9], axis=0)
    out["by quantiles"] = float(np.mean(norm.logpdf(seen, middle, np.maximum((high - low) / _EIGHTY, 1e-12)) - seen))
    for level in LEVELS:
        lower, upper = np.quantile(logs, [0.5 - level / 200, 0.5 + level / 200], axis=0)
        out[f"cov {level}"] = float(100 * np.mean((lower <= seen) & (seen <= upper)))
    out["width 90"] = float(np.mean(upper - lower))
    return out


def groups(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The scored curves: image classification, the rest, all."""
    images = curves.domain == "IC"
    return {"IC": curves[images], "rest": curves[~images], "all": curves}


def tables(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Means over curves, one table a group, one row a method; ``curves`` has a row a method and curve."""
    return {name: rows.groupby("method", sort=False)[list(SCORES)].mean() for name, rows in groups(curves).items() if len(rows)}


def printed(table: pd.DataFrame) -> str:
    """A table as text."""
    digits = {"RMSLE": 4, "log density": 2, "by quantiles": 2, "width 90": 3}
    return table.to_string(formatters={name: f"{{:.{digits.get(name, 0)}f}}".format for name in SCORES})

"""How a law may be off, as a smooth function of its covariates: what a plan of runs doubts although the posterior does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]

#: The factor has at most so many rows, and fewer where none of the variance is left at any point.
MOST_ROWS, LEFT = 400, 1e-4


def misfit_factor(
    points: pd.DataFrame, size: float, known: pd.DataFrame | None = None, noise: float = 0.0, *, first: int = 0
) -> Array:
    """Factor of the covariance of a smooth misfit at points: rows whose products, summed, are the covariance.

    Parameters
    ----------
    points : DataFrame, shape (points, covariates)
        Numbers; a covariate that is above 0 everywhere counts by its logarithm.
    size : float
        Standard deviation of the misfit at every point, on the scale of the noise.
    known : DataFrame, optional
        Runs that were made, of the same covariates: near them the misfit is known, to within their noise.
    noise : float
        Variance of such a run about the law and its misfit.
    first : int
        So many of the last points are told exactly, up to half of the rows.

    Returns
    -------
    array (rank, points)

    Notes
    -----
    A Gaussian process with covariance ``size^2 exp(-d^2 / 2)``, with ``d`` the distance in standard deviations of each
    covariate over points and runs. The factor is a Cholesky factor that takes the point of the largest variance left first. Of
    thousands of points that differ in many covariates at once it leaves a part of the variance out.

    Examples
    --------
    >>> table = pd.DataFrame({"params": [1e8, 1e9, 1e9, 1e10]})
    >>> rows = misfit_factor(table, 0.05)
    >>> np.round(np.sqrt(np.diag(rows.T @ rows)), 4).tolist(), round(float(rows[:, 1] @ rows[:, 2]) / 0.05**2, 3)
    ([0.05, 0.05, 0.05, 0.05], 1.0)
    >>> after = misfit_factor(table, 0.05, known=table.iloc[:1], noise=1e-6)
    >>> (np.diag(after.T @ after) < np.diag(rows.T @ rows)).tolist()
    [True, True, True, True]
    """
    both = points if known is None else pd.concat([points, known[list(points)]], ignore_index=True)
    z = np.stack([_scaled(both[name].to_numpy(dtype=float)) for name in points], axis=1)
    rows = size * _factor(z, np.arange(len(points) - first, len(points)))
    if known is None:
        return rows
    here, there = rows[:, : len(points)], rows[:, len(points) :]
    # The rows are a linear model with unit normal weights; what the runs leave of the weights is (I + there there' / noise)^-1.
    left = np.eye(len(rows)) + there @ there.T / max(noise, (1e-3 * size) ** 2)
    told: Array = linalg.solve_triangular(linalg.cholesky(left, lower=True), here, lower=True)
    return told


def _factor(z: Array, first: NDArray[np.int64]) -> Array:
    """Rows (rank, point) of a pivoted Cholesky factor of the kernel; the kernel itself, point by point, is never held."""
    rows = np.empty((min(MOST_ROWS, len(z)), len(z)))
    left = np.ones(len(z))
    for i in range(len(rows)):
        some = first[left[first] >= LEFT] if i < MOST_ROWS // 2 else first[:0]
        pivot = int(some[left[some].argmax()]) if len(some) else int(left.argmax())
        if left[pivot] < LEFT:
            return rows[:i]
        kernel = np.exp(-((z - z[pivot]) ** 2).sum(axis=1) / 2)
        rows[i] = (kernel - rows[:i, pivot] @ rows[:i]) / np.sqrt(left[pivot])
        left = np.maximum(left - rows[i] ** 2, 0.0)
    return rows


def _scaled(values: Array) -> Array:
    """A covariate in standard deviations; nought where it does not vary."""
    if (values > 0).all():
        values = np.log(values)
    sd = float(values.std())
    out: Array = (values - values.mean()) / sd if sd > 0 else 0 * values
    return out

"""What a law leaves out, along one axis: a path of the discrepancy for every draw, the same wherever the curve is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.infer.fit import Fit
from bayescale.prediction.discrepancy import discrepancy_draws
from bayescale.prediction.points import columns_to_forecast, complete

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Departure:
    """The discrepancy on a grid, straight in between.

    Parameters
    ----------
    grid : array (scale,)
        Logarithm of the scales, at even distances.
    values : array (draw, scale)
        On the scale of the noise.
    """

    grid: Array
    values: Array

    def __call__(self, scale: Array) -> Array:
        """At scales of shape (1, scale) or (draw, scale); beyond the grid as at its end."""
        last = len(self.grid) - 1
        place = np.clip((np.log(scale) - self.grid[0]) / (self.grid[1] - self.grid[0]), 0, last)
        below = np.minimum(place.astype(int), last - 1)
        share = place - below
        rows = np.arange(len(self.values))[:, None]
        between: Array = (1 - share) * self.values[rows, below] + share * self.values[rows, below + 1]
        return between

    def take(self, draws: NDArray[np.int64]) -> Departure:
        """Of some of the draws, or of all in another order."""
        return Departure(self.grid, self.values[draws])


def departure(
    fit: Fit, along: str, scales: Array, fixed: dict[str, Array], place: pd.DataFrame, rng: np.random.Generator
) -> Departure:
    """Draws of the discrepancy of a fit along an axis, effects of single runs left out.

    Parameters
    ----------
    scales : array (scale,)
        At even distances in the logarithm.
    fixed : dict of covariate to array
        How other covariates move along the axis; arrays broadcast against ``scales``.
    place : DataFrame of one row
        Labels of the groups.
    """
    known = {name: np.broadcast_to(values, scales.shape) for name, values in fixed.items()} | {along: scales}
    columns = complete(known, columns_to_forecast(fit))
    labels = {str(name): place[name].iloc[0] for name in place if name not in columns}
    table = pd.DataFrame({**labels, **columns})
    values = discrepancy_draws(fit, table, rng, effects=False)
    return Departure(np.log(scales), values.reshape(-1, len(scales)))

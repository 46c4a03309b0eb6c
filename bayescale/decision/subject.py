"""What a check of a fit looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.findings import Finding
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.decision.thresholds import Thresholds
from bayescale.evaluate.backtest_result import Backtest
from bayescale.infer.fit import Fit
from bayescale.models.noise import to_noise_scale
from bayescale.prediction.predict import predict


@dataclass(frozen=True, eq=False)
class Subject:
    """A fit, the points to forecast from it, and the thresholds in force.

    Parameters
    ----------
    fit : Fit
    at : DataFrame or None
        Points to forecast, one a row: the covariates of the law, and labels of groups.
    thresholds : Thresholds
    backtest : Backtest or None
    """

    fit: Fit
    at: pd.DataFrame | None
    thresholds: Thresholds
    backtest: Backtest | None = None

    @cached_property
    def forecast(self) -> xr.DataArray | None:
        """Draws of the law's mean at the points, on the scale of the noise; dims (chain, draw, point)."""
        if self.at is None:
            return None
        drawn = predict(self.fit, self.at, kind="mean")[self.fit.response].transpose(CHAIN, DRAW, POINT)
        values = np.asarray(to_noise_scale(self.fit.model.noise, drawn.to_numpy()))
        return xr.DataArray(values, dims=(CHAIN, DRAW, POINT), name="forecast")

    @cached_property
    def parameters(self) -> int:
        """Values of the law's parameters and of the noise's, those of every group counted."""
        names = [
            name for name in (*self.fit.model.law.params, *self.fit.model.noise.priors, "nu") if name in self.fit.posterior
        ]
        return sum(self.fit.posterior[name].isel(chain=0, draw=0).size for name in names)


#: Looks at a subject and tells what it found; it raises only for requests that make no sense.
Check = Callable[[Subject], Iterator[Finding]]

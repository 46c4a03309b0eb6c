"""``fit_cost``: what a run costs, learnt from runs whose compute was recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.runs import SIX_ND, Runs
from bayescale.data.schema import UNITS
from bayescale.prediction.cost import read_columns
from bayescale.prediction.parameters import generator
from bayescale.prediction.points import At, as_frame

Array = NDArray[np.float64]

#: Columns that hold recorded compute, the first that is there is taken.
RECORDED = ("compute", "flops")
FEWEST = 3
#: Share of draws that may fall with scale, where a question needs that they rise.
MOST_FALLING = 0.05

#: Prior: slopes about 1 (as 6·params·tokens says) with so many noise standard deviations; the noise variance is
#: InverseGamma(SHAPE, SPREAD), a median of 12 %.
SLOPE, WIDTH = 1.0, 10.0
SHAPE, SPREAD = 1.0, 0.01


@dataclass(frozen=True, eq=False, repr=False)
class FittedCost:
    """What runs cost, with its own posterior: ``log cost = a + b log params + c log tokens + noise``.

    :func:`fit_cost` makes it. Like a :class:`Cost` it is called with points (the median of the posterior), and gives draws.

    Parameters
    ----------
    column, unit : str
        What was recorded, and its unit.
    coefficients : array (draw, 3)
        Level at the centre, slopes of log params and log tokens.
    sigma : array (draw,)
        Standard deviation of the noise in log cost.
    center : (float, float)
        Mean of log params and of log tokens over the runs.
    runs : int
        How many runs it was learnt from.
    """

    column: str
    unit: str
    coefficients: Array
    sigma: Array
    center: tuple[float, float]
    runs: int

    def __call__(self, at: At) -> Array:
        """Median cost of new runs, shape (point,), in ``unit``."""
        return np.asarray(np.exp(np.median(self._logs(at), axis=0)))

    def draws(self, at: At, *, seed: int = 0) -> xr.DataArray:
        """Posterior predictive draws of what new runs cost, dims (chain, draw, point), in ``unit``; noise included."""
        logs = self._logs(at)
        noise = self.sigma[:, None] * generator(seed, 0).standard_normal(logs.shape)
        return xr.DataArray(np.exp(logs + noise)[None], dims=(CHAIN, DRAW, POINT), attrs={"units": self.unit}, name="cost")

    def resampled(self, number: int, rng: np.random.Generator, rises: NDArray[np.bool_], with_what: str) -> Array:
        """Coefficients (number, 3), draws taken at random, to go with as many draws of a fit.

        Parameters
        ----------
        rises : bool array (draw,)
            In which draws a budget says what it buys: of the others none is taken, for no cost falls with scale.
        with_what : str
            What it rises with.

        Raises
        ------
        SpecError
            When more than a twentieth of the draws fall: the runs do not tell what a run costs.
        """
        if (falling := int((~rises).sum())) > MOST_FALLING * len(rises):
            raise SpecError(
                f"the fitted cost ({self.said}) falls with {with_what} in {falling} of {len(rises)} draws: it takes runs that "
                "tell what each costs"
            )
        return self.coefficients[np.flatnonzero(rises)[rng.integers(int(rises.sum()), size=number)]]

    def logs(self, coefficients: Array, params: Array, tokens: Array) -> Array:
        """Log cost without noise by each row of coefficients (draw, 3), at sizes and data (scale,) or (draw, scale)."""
        level, size, data = (column[:, None] for column in coefficients.T)
        return np.asarray(level + size * (np.log(params) - self.center[0]) + data * (np.log(tokens) - self.center[1]))

    @property
    def said(self) -> str:
        """The cost in a few words."""
        return f"{self.column} of {self.runs} runs"

    def __repr__(self) -> str:
        low, middle, high = np.quantile(self.coefficients[:, 1:], [0.05, 0.5, 0.95], axis=0)
        slopes = [
            f"{n}^{m:.2f} ({a:.2f} to {b:.2f})" for n, m, a, b in zip(("params", "tokens"), middle, low, high, strict=True)
        ]
        told = f"{self.column} of {self.runs} runs ~ {' · '.join(slopes)}, noise {np.median(self.sigma):.1%}, in {self.unit}"
        return f"FittedCost({told})"

    def _logs(self, at: At) -> Array:
        read = read_columns(as_frame(at), ("params", "tokens"))
        return self.logs(self.coefficients, read["params"], read["tokens"])


def fit_cost(
    data: pd.DataFrame | Runs, *, column: str | None = None, unit: str | None = None, draws: int = 2000, seed: int = 0
) -> FittedCost:
    """Learn what runs cost from recorded compute.

    ``log cost = a + b (log params - m) + c (log tokens - n) + sigma z``, a Bayesian linear regression with the conjugate
    normal-inverse-gamma prior :cite:p:`gelman2013`: ``a`` flat, ``b`` and ``c`` Normal(1, 10 sigma) (6·params·tokens has 1 and
    1, and records that follow a rule closely have slopes near those), ``sigma^2`` InverseGamma(1, 0.01). The posterior is in
    closed form; its draws are independent.

    Parameters
    ----------
    data : DataFrame or Runs
        One run a row with params and tokens, and what it cost. No response is needed.
    column : str, optional
        What was recorded; by default ``compute``, else ``flops``. Any unit: FLOP, accelerator-hours, money.
    unit : str, optional
        Its unit; by default that of the column.
    draws : int
        How many draws to hold.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    FittedCost

    Raises
    ------
    DataError
        When there are fewer than three runs, a cost is negative or missing, or the FLOP were derived and not recorded.
    SpecError
        When ``column``, ``draws`` or ``seed`` is none.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> params, tokens = np.geomspace(1e8, 1e10, 20), 20 * np.geomspace(1e8, 1e10, 20) * np.tile([0.5, 1, 2, 4], 5)
    >>> hours = 6 * params * tokens / 1e18 * np.exp(0.05 * np.random.default_rng(0).standard_normal(20))
    >>> cost = bs.fit_cost(pd.DataFrame({"params": params, "tokens": tokens, "compute": hours}), unit="accelerator-hours")
    >>> cost.draws({"params": 7e10, "tokens": 1.4e12}).sizes["draw"]
    2000
    """
    rng = generator(seed, 8)
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 2:
        raise SpecError(f"draws is a number of at least 2, got {draws!r}")
    frame = data.table if isinstance(data, Runs) else data
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"data is a DataFrame or Runs, one run a row; got {type(data).__name__}")
    word = _recorded(data, frame, column)
    read = read_columns(frame.reset_index(drop=True), ("params", "tokens"))
    paid = read_columns(frame.reset_index(drop=True)[[word]], (word,))[word]
    if len(paid) < FEWEST:
        raise DataError(f"a cost is learnt from at least {FEWEST} runs, got {len(paid)}")
    logs = np.log(np.stack([read["params"], read["tokens"]], axis=1))
    center, y = logs.mean(axis=0), np.log(paid)
    coefficients, sigma = _posterior(logs - center, y, int(draws), rng)
    measured = unit or (data.units.get(word, "") if isinstance(data, Runs) else "") or UNITS.get(word, word)
    return FittedCost(word, measured, coefficients, sigma, (float(center[0]), float(center[1])), len(y))


def _posterior(x: Array, y: Array, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draws of coefficients (draw, 3) and of the noise (draw,) of a regression on centred columns."""
    design = np.column_stack([np.ones(len(y)), x])
    prior, mean = np.diag([0.0, WIDTH**-2, WIDTH**-2]), np.array([0.0, SLOPE, SLOPE])
    precision = design.T @ design + prior
    center = np.linalg.solve(precision, design.T @ y + prior @ mean)
    residual, shift = y - design @ center, center - mean
    shape = SHAPE + (len(y) - 1) / 2  # the flat level takes one half
    scale = SPREAD + (residual @ residual + shift @ prior @ shift) / 2
    variance = scale / rng.gamma(shape, size=draws)
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    scattered = rng.standard_normal((draws, 3)) @ factor.T
    return center + np.sqrt(variance)[:, None] * scattered, np.sqrt(variance)


def _recorded(data: pd.DataFrame | Runs, frame: pd.DataFrame, column: str | None) -> str:
    """The column that holds what runs cost."""
    if column is not None and column not in frame:
        raise SpecError("column: " + unknown("column", str(column), map(str, frame)))
    word = column or next((name for name in RECORDED if name in frame), None)
    if word is None:
        raise DataError(f"no cost was recorded: expected a column {' or '.join(RECORDED)}. Given: {', '.join(map(str, frame))}")
    if word == "flops" and isinstance(data, Runs) and data.conventions.get("flops") == SIX_ND:
        raise DataError("flops were derived as 6·params·tokens, not recorded: there is nothing to learn. Cost() is that form")
    return word

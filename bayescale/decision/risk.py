"""``risk``: how bad the bad draws are, for readers who pay for the tail and not for the mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.core.targets import higher_is_better
from bayescale.decision.meeting import response_draws

Array = NDArray[np.float64]


def risk(draws: xr.Dataset, *, tail: float = 0.1, response: str | None = None) -> pd.DataFrame:
    """The bad end of a forecast: its quantile, and the mean beyond it.

    Bad is high for a loss, low for an accuracy (by the name of the response). With tail probability ``q`` the quantile is the
    value that a run is worse than with probability ``q`` (value at risk), and the expected shortfall is the mean of the worst
    share ``q`` of the draws :cite:p:`rockafellar2000`: of a draw that the edge of the tail cuts, the part inside counts.

    Parameters
    ----------
    draws : Dataset
        Of :func:`predict`, dims (chain, draw, point).
    tail : float
        Share of the draws that is bad, between 0 and 0.5.
    response : str, optional
        Which variable; by default the only one.

    Returns
    -------
    DataFrame
        One row a point, in the unit of the response: ``median``, ``quantile``, ``quantile_mcse``, ``expected_shortfall``,
        ``shortfall_mcse``.

    Raises
    ------
    SpecError
        When ``tail`` is no such share, or the draws are of several responses.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import bayescale as bs
    >>> z = np.random.default_rng(0).normal(2.0, 0.1, (4, 1000, 1))
    >>> found = bs.risk(xr.Dataset({"loss": (("chain", "draw", "point"), z)}))
    >>> found[["quantile", "expected_shortfall"]].round(2).values.tolist()  # 2 + 1.28 and 1.75 standard deviations
    [[2.13, 2.18]]
    """
    if isinstance(tail, bool) or not isinstance(tail, int | float | np.number) or not 0 < tail <= 0.5:
        raise SpecError(f"tail is a share of the draws above 0 and at most 0.5, got {tail!r}")
    if response is None:
        variables = draws.data_vars if isinstance(draws, xr.Dataset) else {}
        names = [str(n) for n, v in variables.items() if {CHAIN, DRAW} <= set(v.dims)]
        if len(names) > 1:
            raise SpecError(f"the draws are of several responses, say which: response={names[0]!r} (or {', '.join(names[1:])})")
        response = names[0] if names else ""
    values = response_draws(draws, response)
    sign = -1.0 if higher_is_better(response) else 1.0
    rows = []
    for point in range(values.shape[-1]):
        here = np.where(np.isfinite(values[..., point]), sign * values[..., point], np.inf)
        quantile = float(np.quantile(here, 1 - tail, method="inverted_cdf"))
        # A tail without a finite draw is infinite throughout, and so is its mean.
        beyond = np.maximum(here - quantile, 0.0) / tail if np.isfinite(quantile) else np.zeros_like(here)
        rows.append(
            {
                "median": sign * float(np.median(here)),
                "quantile": sign * quantile,
                "quantile_mcse": _mcse(here, "quantile", 1 - tail),
                # Rockafellar and Uryasev's form, which is least at the quantile: its error moves this only in second order.
                "expected_shortfall": sign * (quantile + float(beyond.mean())),
                "shortfall_mcse": _mcse(beyond, "mean", None),
            }
        )
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name=POINT))


def _mcse(values: Array, method: str, prob: float | None) -> float:
    from arviz_stats.base import array_stats  # costs a second to import

    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return 0.0 if np.isfinite(values).all() else float("inf")
    return float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method=method, prob=prob))

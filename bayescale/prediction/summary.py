"""``summarize``: draws as a table, with the Monte Carlo error of what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW

Array = NDArray[np.float64]

#: Level of the index that tells several variables apart.
QUANTITY = "quantity"

#: Shares of draws without a finite value: what it is that they lack, and how they are marked.
_ABSENT: dict[str, Any] = {"p_never": np.isposinf, "p_none": np.isnan}


def summarize(draws: xr.Dataset | xr.DataArray, *, prob: float = 0.9) -> pd.DataFrame:
    """One row a point: mean, median, standard deviation, credible interval, Monte Carlo error.

    Parameters
    ----------
    draws : Dataset or DataArray
        Of ``predict``, ``compute_optimal``, ``crossover``, ``scale_for`` or ``classical``: dims (chain, draw, …).
    prob : float
        Probability of the credible interval, with equal tails.

    Returns
    -------
    DataFrame
        Indexed by ``point`` (or what else the draws run over), and by ``quantity`` first where there are several variables or
        no points. Coordinates of the points come first, then ``mean``, ``median``, ``sd``, ``lower``, ``upper``, all in the
        unit of the variable, and ``mcse``, the Monte Carlo error of the mean. ``p_never``: share of infinite draws (a target
        that is never met), which quantiles take as beyond everything. ``p_none``: share of draws without a value, left out
        of the quantiles. Mean, standard deviation and ``mcse`` are over the finite draws.

    Raises
    ------
    SpecError
        When ``prob`` is not between 0 and 1, or there are no draws.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> draws = np.random.default_rng(0).normal(2.0, 0.1, (4, 500, 1))
    >>> made = xr.Dataset({"loss": (("chain", "draw", "point"), draws)}, coords={"params": ("point", [7e10])})
    >>> summarize(made).round(2)[["params", "mean", "lower", "upper"]].values.tolist()
    [[70000000000.0, 2.0, 1.84, 2.16]]
    """
    if isinstance(prob, bool) or not isinstance(prob, int | float | np.number) or not 0 < prob < 1:
        raise SpecError(f"prob lies between 0 and 1, both excluded; got {prob!r}")
    data = draws.to_dataset(name=draws.name or "value") if isinstance(draws, xr.DataArray) else draws
    names = [name for name, v in data.data_vars.items() if CHAIN in v.dims and DRAW in v.dims]
    if not names:
        raise SpecError(f"no variable with dims (chain, draw): {', '.join(map(str, data.data_vars)) or 'the dataset is empty'}")
    dims = list(dict.fromkeys(d for name in names for d in data[name].dims if d not in (CHAIN, DRAW)))
    told = {
        share: test for share, test in _ABSENT.items() if share in data or any(test(data[n].to_numpy()).any() for n in names)
    }
    tables = []
    for name in names:
        variable = data[name].transpose(CHAIN, DRAW, ...)
        values = variable.to_numpy().reshape(variable.sizes[CHAIN], variable.sizes[DRAW], -1).astype(np.float64)
        table = _labels(variable, dims, len(names) > 1 or not dims)
        tables.append(pd.concat([table, _statistics(values, float(prob), told)], axis=1))
    keys = [QUANTITY] * (len(names) > 1 or not dims) + [str(d) for d in dims]
    return pd.concat(tables, ignore_index=True).set_index(keys)


def _labels(variable: xr.DataArray, dims: list[Any], named: bool) -> pd.DataFrame:
    """What tells the rows of a variable apart, and the coordinates beside it."""
    own = variable.dims[2:]
    rows = int(np.prod([variable.sizes[d] for d in own]))
    index = np.indices([variable.sizes[d] for d in own]).reshape(len(own), rows)
    out: dict[str, Any] = {QUANTITY: [str(variable.name)] * rows} if named else {}
    for dim in dims:
        place = index[own.index(dim)] if dim in own else None
        labels = variable.coords[dim].to_numpy() if dim in variable.coords else np.arange(variable.sizes.get(dim, 0))
        out[str(dim)] = [""] * rows if place is None else labels[place]
    for name, coord in variable.coords.items():
        if name not in variable.dims and set(coord.dims) <= set(own):
            out[str(name)] = coord.to_numpy()[tuple(index[own.index(d)] for d in coord.dims)] if coord.dims else coord.item()
    return pd.DataFrame(out, index=range(rows))


def _statistics(values: Array, prob: float, told: dict[str, Any]) -> pd.DataFrame:
    """Statistics of draws (chain, draw, row)."""
    chains, draws, rows = values.shape
    finite = np.isfinite(values)
    whole = finite.all(axis=(0, 1))
    out = np.full((6, rows), np.nan)
    out[[1, 3, 4]] = intervals(values, prob)
    if whole.any():
        kept = values[:, :, whole].reshape(chains * draws, -1)
        with np.errstate(over="ignore"):  # new runs with heavy tails: a deviation beyond all numbers is infinite
            out[0, whole], out[2, whole] = kept.mean(axis=0), kept.std(axis=0, ddof=1 if len(kept) > 1 else 0)
        out[5, whole] = _mcse(values[:, :, whole])
    for row in np.flatnonzero(~whole):
        there = values[:, :, row][finite[:, :, row]]
        if len(there):
            out[0, row], out[2, row] = there.mean(), there.std(ddof=1 if len(there) > 1 else 0)
            # The chains are of unequal length now: taken as one, in their order.
            out[5, row] = _mcse(there.reshape(1, -1, 1))[0]
    columns = dict(zip(("mean", "median", "sd", "lower", "upper", "mcse"), out, strict=True))
    return pd.DataFrame(columns | {share: test(values).mean(axis=(0, 1)) for share, test in told.items()})


def intervals(values: Array, prob: float) -> Array:
    """Median, lower and upper end of the interval of draws (chain, draw, row), shape (3, row)."""
    shares = [0.5, (1 - prob) / 2, (1 + prob) / 2]
    flat = values.reshape(-1, values.shape[-1])
    whole = np.isfinite(flat).all(axis=0)
    out = np.full((3, flat.shape[1]), np.nan)
    if whole.any():
        out[:, whole] = np.quantile(flat[:, whole], shares, axis=0)
    for row in np.flatnonzero(~whole):
        out[:, row] = _quantiles(flat[:, row], shares)
    return out


def _mcse(values: Array) -> Array:
    """Monte Carlo error of the mean of draws (chain, draw, row) by ArviZ :cite:p:`vehtari2021`; 0 where all are equal."""
    from arviz_stats.base import array_stats  # costs a second to import

    out = np.zeros(values.shape[2])
    varies = np.ptp(values, axis=(0, 1)) > 0
    if varies.any():
        stacked = np.moveaxis(values[:, :, varies], 2, 0)
        out[varies] = array_stats.mcse(stacked, chain_axis=1, draw_axis=2, method="mean")
    return out


def _quantiles(values: Array, tails: list[float]) -> Array:
    """Quantiles of draws of which some are infinite, and some, left out, are not there."""
    there = values[~np.isnan(values)]
    if not len(there):
        return np.full(len(tails), np.nan)
    upper = np.quantile(there, tails, method="higher")
    with np.errstate(invalid="ignore"):  # infinity less infinity
        between = np.quantile(there, tails)
    return np.where(np.isfinite(upper), between, upper)

"""``off_optimum``: what runs pay for a size and a number of tokens that are not the best for their cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.names import CHAIN, DRAW, EPOCHS, POINT
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN
from bayescale.infer.fit import Fit
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.equal_cost import (
    CostFunction,
    Held,
    charge_of,
    check_cost,
    law_at,
    optimal_size_and_data,
    passes,
    require_size_and_data,
)
from bayescale.prediction.mixing import Labels, mixed_draws
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.points import LINKED, At, Fitted, columns_of, coordinates_of, read_points

Array = NDArray[np.float64]

#: A run is compared with optimal ones down to this part of its cost.
SMALLEST = 1e-6
#: Costs at which optimal runs are computed first, and steps by which the one of equal response is found between two of them.
KNOTS, STEPS = 13, 7


def off_optimum(fit: Fitted, at: At, *, cost: CostFunction | Cost | FittedCost | None = None, seed: int = 0) -> xr.Dataset:
    """The price of being off the optimum, for stated sizes and data.

    Asked of the law, without noise and discrepancy.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    at : DataFrame or dict
        Runs, with ``params`` and ``tokens``, or what they follow from, and what the law takes beside them. Each is compared
        with runs that have the same of these; one of several epochs with runs on as many unique tokens.
    cost : Cost, FittedCost or callable, optional
        As of :func:`compute_optimal`; by default 6·params·tokens.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        The response of the law at the runs, dims (chain, draw, point); ``optimum``, the least that the same cost buys;
        ``excess``, the difference; ``overpaid`` (at least 1), the cost over that of an optimal run of the same response (1.2: a
        sixth of the money was lost); ``params_ratio``, size over that of the optimum. NaN in draws without an optimum, whose
        share is ``p_none`` (point).

    Raises
    ------
    NotIdentifiedError, DataError, SpecError
        As of :func:`compute_optimal`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> params = np.repeat(np.geomspace(1e8, 1e10, 6), 5)
    >>> tokens = 20 * params * np.tile(np.geomspace(0.3, 3.0, 5), 6)
    >>> noise = np.exp(0.01 * np.random.default_rng(20).standard_normal(30))
    >>> loss = (1.82 + 482.0 * params**-0.348 + 2085.4 * tokens**-0.366) * noise
    >>> fitted = bs.fit(bs.ScalingModel("chinchilla"), pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    >>> found = bs.off_optimum(fitted, {"params": 1.75e11, "tokens": 3e11})  # GPT-3
    >>> bool((found["overpaid"] >= 1).all())
    True
    """
    check_cost(cost)
    out = mixed_draws(fit, seed, lambda one, labels: _paid(one, labels, at, cost, seed))
    out["p_none"] = out["overpaid"].isnull().mean((CHAIN, DRAW))
    return out


def _paid(fit: Fit, labels: Labels, at: At, cost: CostFunction | Cost | FittedCost | None, seed: int) -> xr.Dataset:
    require_size_and_data(fit, beside=True)
    epochs = fit.binding.axes.get(EPOCHS)
    beside = tuple(column for column in columns_of(fit) if column not in LINKED)
    table = read_points(fit, at, labels, ("params", "tokens", *beside))
    drawn = parameter_draws(fit, table, generator(seed, 0))
    shape = next(iter(drawn.values())).shape
    charge = charge_of(cost, shape[0] * shape[1], seed)
    names = (fit.response, "optimum", "excess", "overpaid", "params_ratio")
    found = {name: np.empty(shape) for name in names}
    for point in range(len(table)):
        here = {name: values[..., point].reshape(-1, 1) for name, values in drawn.items()}
        one = np.ones((shape[0] * shape[1], 1))
        params, tokens = (one * float(table[name].iloc[point]) for name in ("params", "tokens"))
        budget = FLOP_PER_PARAM_TOKEN * params * tokens if charge is None else charge(params, tokens) * one
        held: dict[str, Held] = {name: one * float(table[name].iloc[point]) for name in beside}
        reached = law_at(fit, {"params": params, "tokens": tokens, **held}, here)
        if epochs:
            held[epochs] = passes(float(table["tokens"].iloc[point]) / float(table[epochs].iloc[point]))
        best = optimal_size_and_data(fit, here, budget, charge, scan=bool(held), held=held)
        least = law_at(fit, {"params": best[0], "tokens": best[1], **held}, here)
        values = reached, least, reached - least, _overpaid(fit, here, budget, reached, charge, held), params / best[0]
        for name, value in zip(names, values, strict=True):
            found[name][..., point] = np.where(np.isnan(least) & (name != fit.response), np.nan, value).reshape(shape[:2])
    coords = coordinates_of(table, fit.response) | {d: fit.posterior.coords[d] for d in (CHAIN, DRAW)}
    out = xr.Dataset({n: ((CHAIN, DRAW, POINT), v) for n, v in found.items()}, coords=coords)
    return out.assign_attrs(seed=int(seed), law=fit.model.law.name, response=fit.response)


def _overpaid(
    fit: Fit,
    parameters: dict[str, Array],
    budget: Array,
    reached: Array,
    charge: CostFunction | None,
    held: Mapping[str, Held],
) -> Array:
    """The cost over that of an optimal run of the same response, shape (draw, 1)."""

    def behind(cost: Array) -> Array:
        params, tokens = optimal_size_and_data(fit, parameters, cost, charge, held=held)
        return np.asarray(law_at(fit, {"params": params, "tokens": tokens, **held}, parameters) - reached)

    grid = np.linspace(np.log(SMALLEST), 0.0, KNOTS)
    least = behind(budget * np.exp(grid))
    ahead = np.nan_to_num(least, nan=1.0) <= 0
    # An optimal run of the whole cost is never behind; rounding may put one that is no better a trifle there.
    ahead[:, -1] = True
    first = np.maximum(np.argmax(ahead, axis=1), 1)[:, None]
    low, high = grid[first - 1], grid[first]
    at_low, at_high = np.take_along_axis(least, first - 1, axis=1), np.take_along_axis(least, first, axis=1)
    side, middle = np.zeros(low.shape), high
    for _ in range(STEPS):
        # Regula falsi, by which log cost of a power law above a floor is found in a few steps (the Illinois variant: an end
        # that stays twice counts half, so that both ends move).
        with np.errstate(invalid="ignore", divide="ignore"):  # no optimum, or ends that are one: told as NaN
            middle = np.clip(high - at_high * (high - low) / (at_high - at_low), low, high)
        middle = np.where(np.isfinite(middle), middle, high)
        value = behind(budget * np.exp(middle))
        up = value > 0
        at_high = np.where(up, np.where(side == 1, at_high / 2, at_high), value)
        at_low = np.where(up, value, np.where(side == -1, at_low / 2, at_low))
        low, high, side = np.where(up, middle, low), np.where(up, high, middle), np.where(up, 1, -1)
    return np.asarray(np.exp(-middle))

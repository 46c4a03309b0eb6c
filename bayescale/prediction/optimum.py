"""``compute_optimal``: the size, the data and whatever else a law has, that a budget of compute buys best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import DataError, SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.schema import FEWEST_PARAMS, FLOP_PER_PARAM_TOKEN, TOKENS_PER_PARAM
from bayescale.infer.fit import Fit
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.equal_cost import (
    LARGEST,
    CostFunction,
    Held,
    charge_of,
    charged,
    check_cost,
    has_closed_form,
    law_at,
    optimal_size_and_data,
    require_size_and_data,
    resolved,
    tokens_for,
)
from bayescale.prediction.knobs import optimal_with_knobs, split_knobs
from bayescale.prediction.mixing import Labels, mixed_draws
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.points import LINKED, Fitted, coordinates_of, read_points
from bayescale.prediction.roots import bisect

Array = NDArray[np.float64]

#: Data are used up where this part of the budget reaches the response to within so small a share of it.
TENTH, ALIKE = 0.1, 1e-4

#: Step in log size by which the slope of a law along a line of equal cost is told.
STEP = 1e-3


def compute_optimal(
    fit: Fitted,
    flops: float | Sequence[float],
    *,
    cost: CostFunction | Cost | FittedCost | None = None,
    max_tokens: float | None = None,
    unique_tokens: float | None = None,
    at: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Params and tokens of least loss for given budgets, and the best of what a law takes beside them.

    For ``chinchilla``, with ``G = (alpha A / (beta B))^(1/(alpha+beta))``: ``N* = G (C/6)^(beta/(alpha+beta))`` and
    ``D* = (C/6) / N*`` :cite:p:`hoffmann2022`; for other laws of size and data, and under a stated cost, the minimum along
    the line of equal cost. What a law takes beside these, such as a learning rate or a batch, is chosen too, where it costs no
    compute and has a best value within ten times the fitted runs; or it is held, by ``at``.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    flops : float or sequence of float
        Budgets, FLOP (or the unit of ``cost``).
    cost : Cost, FittedCost or callable, optional
        ``Cost(inference_tokens=1e13)`` for a budget that pays for serving too; a fitted cost goes in with its own draws; a
        function is ``cost(params, tokens)`` on arrays of one shape. By default 6·params·tokens.
    max_tokens : float, optional
        Tokens that there are: where the optimum would take more, all of them, and the rest of the budget for size. A law of one
        pass over the data is not asked about a second.
    unique_tokens : float, optional
        Unique tokens that there are, of a law that takes ``epochs``: a run may go over them as often as it pays, ``epochs =
        tokens / unique_tokens``, at least 1. Without it epochs are 1, or as ``at`` holds them. Where a law says that neither
        size nor more passes help any more, many runs are alike, and the one given says little: ``p_saturated``.
    at : mapping, optional
        Group labels, one for all budgets or a list of one each; a covariate beside size and data and the number it is held at.
    seed : int
        The same seed gives the same draws (of unseen groups).

    Returns
    -------
    Dataset
        ``params``, ``tokens``, ``tokens_per_param``, the response (of the law, without noise), and what the law takes beside
        these, dims (chain, draw, point); NaN in draws without an optimum inside, whose share is ``p_none`` (point).
        Coordinate ``flops`` along ``point``: the budget, in the unit of the cost. For ``chinchilla`` (of an ensemble, where
        every law is it) also ``allocation_exponent``, ``a = beta/(alpha+beta)`` of ``N* = G (C/6)^a``. With ``max_tokens``,
        ``p_capped`` (point): the share of draws that would take more. With ``unique_tokens``, ``p_saturated`` (point): the
        share of draws in which a tenth of the budget reaches a response within 1e-4 of this.

    Raises
    ------
    NotIdentifiedError
        When the law has no size or no data, or the fitted table tells nothing of one of them; when in no draw there is a best
        of what the law takes beside them.
    SpecError, DataError
        When the budget, the cost or ``at`` makes no sense; when a budget buys nothing.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> params = np.repeat(np.geomspace(1e8, 1e10, 6), 5)
    >>> tokens = 20 * params * np.tile(np.geomspace(0.3, 3.0, 5), 6)
    >>> noise = np.exp(0.01 * np.random.default_rng(20).standard_normal(30))
    >>> loss = (1.82 + 482.0 * params**-0.348 + 2085.4 * tokens**-0.366) * noise
    >>> fitted = bs.fit(bs.ScalingModel("chinchilla"), pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    >>> sorted(bs.compute_optimal(fitted, 5.76e23).data_vars)
    ['allocation_exponent', 'loss', 'p_none', 'params', 'tokens', 'tokens_per_param']
    """
    check_cost(cost)
    for name, number in (("max_tokens", max_tokens), ("unique_tokens", unique_tokens)):
        counts = isinstance(number, int | float | np.number) and not isinstance(number, bool)
        if number is not None and not (counts and 0 < number < np.inf):
            raise SpecError(f"{name} is a positive number of tokens, got {number!r}")

    limits = max_tokens, unique_tokens

    def optima(budgets: Any, *, refuse: bool) -> xr.Dataset:
        def ask(one: Fit, labels: Labels) -> xr.Dataset:
            return _optima(one, labels, budgets, cost, *limits, at, seed, refuse=refuse)

        return mixed_draws(fit, seed, ask)

    out = optima(flops, refuse=True)
    out["p_none"] = out["params"].isnull().mean((CHAIN, DRAW))
    if unique_tokens is not None:
        # A tenth that buys nothing has no response, and reaches less.
        less = optima((TENTH * np.asarray(flops, dtype=float))[()], refuse=False)
        with_all, with_less = (found[str(out.attrs["response"])].drop_vars("flops") for found in (out, less))
        out["p_saturated"] = (abs(with_less - with_all) <= ALIKE * abs(with_all)).mean((CHAIN, DRAW))
    if max_tokens is not None:
        out["p_capped"] = (out["tokens"] >= max_tokens * (1 - 1e-9)).mean((CHAIN, DRAW))
    return out


def _optima(
    fit: Fit,
    labels: Labels,
    flops: float | Sequence[float],
    cost: CostFunction | Cost | FittedCost | None,
    max_tokens: float | None,
    unique_tokens: float | None,
    at: Mapping[str, Any] | None,
    seed: int,
    *,
    refuse: bool,
) -> xr.Dataset:
    fixed, at, free = split_knobs(fit, at, unique_tokens)
    require_size_and_data(fit, beside=True)
    if free and max_tokens is not None:
        raise SpecError(f"max_tokens is for laws of size and data: hold {', '.join(free)} by `at`")
    table = _budgets(fit, flops, at, labels)
    drawn = parameter_draws(fit, table, generator(seed, 0))
    shape = next(iter(drawn.values())).shape
    charge = charge_of(cost, shape[0] * shape[1], seed)
    found = {name: np.empty(shape) for name in ("params", "tokens", *fixed, *free, fit.response)}
    for point, budget in enumerate(table["flops"]):
        here = {name: values[..., point].reshape(-1, 1) for name, values in drawn.items()}
        if refuse:
            _refuse_nothing(budget, charge)
        if fixed or free:
            best = optimal_with_knobs(fit, here, np.array([[budget]]), fixed, free, charge)
        else:
            params, tokens = optimal_size_and_data(fit, here, np.array([[budget]]), charge, scan=True)
            best = {"params": params, "tokens": tokens}
        run: dict[str, Held] = {**best, **fixed}
        if max_tokens is not None:
            run = _capped(fit, here, run, float(budget), float(max_tokens), charge)
        for name, values in {**resolved(run), fit.response: law_at(fit, run, here)}.items():
            found[name][..., point] = np.broadcast_to(values, (shape[0] * shape[1], 1)).reshape(shape[:2])
    found[TOKENS_PER_PARAM] = found["tokens"] / found["params"]
    if has_closed_form(fit) and charge is None and max_tokens is None:
        found["allocation_exponent"] = drawn["beta"] / (drawn["alpha"] + drawn["beta"])
    order = ("params", "tokens", TOKENS_PER_PARAM, *fixed, *free, fit.response, "allocation_exponent")
    coords = coordinates_of(table, fit.response) | {d: fit.posterior.coords[d] for d in (CHAIN, DRAW)}
    out = xr.Dataset({n: ((CHAIN, DRAW, POINT), found[n]) for n in order if n in found}, coords=coords)
    said = cost.said if isinstance(cost, Cost | FittedCost) else str(getattr(cost, "__name__", "stated"))
    said = "6·params·tokens" if cost is None else said
    return out.assign_attrs(cost=said, seed=int(seed), law=fit.model.law.name, response=fit.response)


def _refuse_nothing(budget: float, cost: CostFunction | None) -> None:
    """Refuse a budget that does not pay for the smallest model on a single token."""
    one = np.array([[FEWEST_PARAMS]])
    least_cost = FLOP_PER_PARAM_TOKEN * FEWEST_PARAMS if cost is None else float(charged(cost, one, np.ones((1, 1))).min())
    if budget < least_cost:
        said = f"a model of {FEWEST_PARAMS:g} parameters on a single token costs {least_cost:.3g}"
        raise SpecError(f"a budget of {budget:.3g} buys nothing: {said}. Is it in another unit?")


def _capped(
    fit: Fit,
    parameters: Mapping[str, Array],
    found: Mapping[str, Held],
    budget: float,
    most: float,
    cost: CostFunction | None,
) -> dict[str, Held]:
    """The optimum where no more than so many tokens can be had; a law has one minimum along the line of equal cost."""
    params, tokens = (np.asarray(found[name]) for name in ("params", "tokens"))
    full = np.full(params.shape, most)
    if cost is None:
        size = budget / (FLOP_PER_PARAM_TOKEN * full)
    else:
        ones = np.ones(params.shape)
        size = bisect(lambda n: charged(cost, n, full) - budget, ones, LARGEST * ones)
        size = np.where(charged(cost, ones, full) < budget, size, np.nan)
    # Without an optimum inside, the loss falls all the way to one end: to that of more data, or to that of more size.
    there = tokens_for(cost, size * np.exp(STEP), np.full(params.shape, budget))
    here = law_at(fit, {**found, "params": size, "tokens": full}, parameters)
    falls = here < law_at(fit, {**found, "params": size * np.exp(STEP), "tokens": there}, parameters)
    over = (tokens > most) | (np.isnan(tokens) & falls)
    capped = {"params": np.where(over, size, params), "tokens": np.where(over & np.isfinite(size), full, tokens)}
    return {**found, **capped}


def _budgets(fit: Fit, flops: Any, at: Mapping[str, Any] | None, labels: Mapping[str, str]) -> pd.DataFrame:
    """One row a budget, with its labels."""
    given = dict(at or {})
    fixed = [name for name in given if name in LINKED]
    if fixed:
        raise SpecError(f"`at` holds group labels; {', '.join(fixed)} follow from the budget")
    if np.ndim(flops) == 0 and any(np.ndim(v) > 0 for v in given.values()):
        flops = [flops] * max(len(v) for v in given.values() if np.ndim(v) > 0)
    if np.ndim(flops) > 1 or not np.size(flops):
        raise DataError(f"flops is a budget or a list of them, got {flops!r}")
    return read_points(fit, {**given, "flops": flops}, labels, ("flops",))

"""``compute_optimal``: the size and the data that a budget of compute buys best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import BayescaleError, DataError, NotIdentifiedError, SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.schema import FEWEST_PARAMS, FLOP_PER_PARAM_TOKEN, TOKENS_PER_PARAM
from bayescale.infer.fit import Fit
from bayescale.laws.base import get_law
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.mixing import Labels, mixed_draws
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.points import LINKED, Fitted, columns_of, complete, coordinates_of, read_points
from bayescale.prediction.roots import bisect, least
from bayescale.prediction.values import law_values

Array = NDArray[np.float64]
#: Training FLOP of a run from its params and tokens, arrays of one shape; increasing in both.
CostFunction = Callable[[Array, Array], Array]

#: Sizes that are looked at along an iso-cost line before the minimum is refined.
SCAN = 160
#: The largest number of parameters or tokens looked at under a stated cost.
LARGEST = 1e24
#: A minimum so near (in log) to a single parameter or a single token is none.
EDGE = 1e-3
#: Tokens that stray less than this (in log) from a power of params tell nothing apart.
IN_STEP = 0.02
#: Step in log size by which the slope of a law along a line of equal cost is told.
STEP = 1e-3


def compute_optimal(
    fit: Fitted,
    flops: float | Sequence[float],
    *,
    cost: CostFunction | Cost | FittedCost | None = None,
    max_tokens: float | None = None,
    at: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Params and tokens of least loss for given budgets.

    For ``chinchilla``, with ``G = (alpha A / (beta B))^(1/(alpha+beta))``: ``N* = G (C/6)^(beta/(alpha+beta))`` and
    ``D* = (C/6) / N*`` :cite:p:`hoffmann2022`; for other laws of size and data, and under a stated cost, the minimum along
    the line of equal cost.

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
    at : mapping, optional
        Group labels, one for all budgets or a list of one each.
    seed : int
        The same seed gives the same draws (of unseen groups).

    Returns
    -------
    Dataset
        ``params``, ``tokens``, ``tokens_per_param``, the response (of the law, without noise), dims (chain, draw, point); NaN
        in draws without an optimum of finite size and data, whose share is ``p_none`` (point). Coordinate ``flops`` along
        ``point``: the budget, in the unit of the cost. For ``chinchilla`` (of an ensemble, where every law is it) also
        ``allocation_exponent``, ``a = beta/(alpha+beta)`` of ``N* = G (C/6)^a``. With ``max_tokens``, ``p_capped`` (point): the
        share of draws that would take more.

    Raises
    ------
    NotIdentifiedError
        When the law has no size or no data, or the fitted table tells nothing of one of them.
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
    if max_tokens is not None and (isinstance(max_tokens, bool) or not 0 < max_tokens < np.inf):
        raise SpecError(f"max_tokens is a positive number of tokens, got {max_tokens!r}")
    out = mixed_draws(fit, seed, lambda one, labels: _optima(one, labels, flops, cost, max_tokens, at, seed))
    out["p_none"] = out["params"].isnull().mean((CHAIN, DRAW))
    if max_tokens is not None:
        out["p_capped"] = (out["tokens"] >= max_tokens * (1 - 1e-9)).mean((CHAIN, DRAW))
    return out


def _optima(
    fit: Fit,
    labels: Labels,
    flops: float | Sequence[float],
    cost: CostFunction | Cost | FittedCost | None,
    max_tokens: float | None,
    at: Mapping[str, Any] | None,
    seed: int,
) -> xr.Dataset:
    require_size_and_data(fit)
    table = _budgets(fit, flops, at, labels)
    drawn = parameter_draws(fit, table, generator(seed, 0))
    shape = next(iter(drawn.values())).shape
    charge = charge_of(cost, shape[0] * shape[1], seed)
    found = {name: np.empty(shape) for name in ("params", "tokens", fit.response)}
    for point, budget in enumerate(table["flops"]):
        here = {name: values[..., point].reshape(-1, 1) for name, values in drawn.items()}
        _refuse_nothing(budget, charge)
        params, tokens = optimal_size_and_data(fit, here, np.array([[budget]]), charge, scan=True)
        if max_tokens is not None:
            params, tokens = _capped(fit, here, (params, tokens), float(budget), float(max_tokens), charge)
        mean = law_at(fit, {"params": params, "tokens": tokens}, here)
        for name, values in (("params", params), ("tokens", tokens), (fit.response, mean)):
            found[name][..., point] = values.reshape(shape[:2])
    found[TOKENS_PER_PARAM] = found["tokens"] / found["params"]
    if has_closed_form(fit) and charge is None and max_tokens is None:
        found["allocation_exponent"] = drawn["beta"] / (drawn["alpha"] + drawn["beta"])
    order = ("params", "tokens", TOKENS_PER_PARAM, fit.response, "allocation_exponent")
    coords = coordinates_of(table, fit.response) | {d: fit.posterior.coords[d] for d in (CHAIN, DRAW)}
    out = xr.Dataset({n: ((CHAIN, DRAW, POINT), found[n]) for n in order if n in found}, coords=coords)
    said = cost.said if isinstance(cost, Cost | FittedCost) else str(getattr(cost, "__name__", "stated"))
    said = "6·params·tokens" if cost is None else said
    return out.assign_attrs(cost=said, seed=int(seed), law=fit.model.law.name, response=fit.response)


def law_at(fit: Fit, covariates: Mapping[str, Array], parameters: Mapping[str, Array]) -> Array:
    """The law where some covariates are known and the rest follows from them; arrays broadcast."""
    binding = fit.binding
    columns = complete(covariates, columns_of(fit))
    return law_values(fit.model.law, {c: columns[binding.axes[c]] / binding.reference[c] for c in binding.axes}, parameters)


def has_closed_form(fit: Fit) -> bool:
    """Whether the law is the built-in ``chinchilla``, read from params and tokens."""
    named = fit.model.law.name == "chinchilla" and fit.model.law == get_law("chinchilla")
    return named and columns_of(fit) == ("params", "tokens")


def optimal_size_and_data(
    fit: Fit, parameters: Mapping[str, Array], budget: Array, cost: CostFunction | None = None, *, scan: bool = False
) -> tuple[Array, Array]:
    """Params and tokens of least response, NaN where there is no such.

    Parameters
    ----------
    parameters : mapping of parameter to array (draw, 1)
    budget : array (1, scale) or (draw, scale)
    scan : bool
        Look along the whole line of equal cost first, so that of several minima the least is found; one budget only.

    Returns
    -------
    params, tokens : array (draw, scale)
    """
    shape = np.broadcast_shapes(next(iter(parameters.values())).shape, budget.shape)
    if has_closed_form(fit) and cost is None:
        A, B, alpha, beta = (parameters[name] for name in ("A", "B", "alpha", "beta"))
        size, data = (fit.binding.reference[c] for c in ("params", "tokens"))
        # In ratios to the reference run, in which the parameters are stated.
        product = budget / (FLOP_PER_PARAM_TOKEN * size * data)
        params = size * (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * product ** (beta / (alpha + beta))
        return np.broadcast_to(params, shape), np.broadcast_to(budget / (FLOP_PER_PARAM_TOKEN * params), shape)
    budget = np.broadcast_to(budget, shape)
    ends = np.log(_largest_params(cost, budget))
    low, high = np.zeros(shape), ends

    def mean(log_params: Array) -> Array:
        params = np.exp(log_params)
        tokens = _tokens(cost, params, np.broadcast_to(budget, params.shape))
        values = law_at(fit, {"params": params, "tokens": tokens}, parameters)
        return np.where(np.isnan(values), np.inf, values)

    if scan:
        grid = low + (high - low) * np.linspace(0, 1, SCAN)
        best = np.argmin(mean(grid), axis=1)[:, None]
        low, high = (np.take_along_axis(grid, np.clip(best + i, 0, SCAN - 1), axis=1) for i in (-1, 1))
    found = least(mean, low, high)
    inside = (found > EDGE) & (found < ends - EDGE)
    params = np.where(inside, np.exp(found), np.nan)
    return params, _tokens(cost, params, budget)


def _tokens(cost: CostFunction | None, params: Array, budget: Array) -> Array:
    """Tokens that a budget buys at a size; NaN where it does not pay for one."""
    if cost is None:
        return budget / (FLOP_PER_PARAM_TOKEN * params)
    ones = np.ones(np.shape(params))
    found = bisect(lambda tokens: _charge(cost, params, tokens) - budget, ones, LARGEST * ones)
    return np.where(_charge(cost, params, ones) < budget, found, np.nan)


def _largest_params(cost: CostFunction | None, budget: Array) -> Array:
    """Size at which a budget buys a single token."""
    if cost is None:
        return budget / FLOP_PER_PARAM_TOKEN
    ones = np.ones(budget.shape)
    return bisect(lambda params: _charge(cost, params, ones) - budget, ones, LARGEST * ones)


def _charge(cost: CostFunction, params: Array, tokens: Array) -> Array:
    return np.asarray(cost(params, tokens), dtype=np.float64)


def charge_of(cost: CostFunction | Cost | FittedCost | None, number: int, seed: int) -> CostFunction | None:
    """A cost as a function of params and tokens, arrays (draw, scale); None where it is 6·params·tokens.

    Parameters
    ----------
    number : int
        Draws of the fit, each of which is paired with one of a fitted cost.
    """
    if isinstance(cost, Cost):
        return None if cost == Cost() else cost.at_size
    if not isinstance(cost, FittedCost):
        return cost
    level, size, data = (column[:, None] for column in cost.resampled(number, seed).T)
    if min(size.min(), data.min()) <= 0:
        share = float(((size <= 0) | (data <= 0)).mean())
        raise SpecError(
            f"the fitted cost falls with size or data in {share:.0%} of its draws: it takes runs that tell them apart"
        )

    def charge(params: Array, tokens: Array) -> Array:
        logs = size * (np.log(params) - cost.center[0]) + data * (np.log(tokens) - cost.center[1])
        return np.asarray(np.exp(level + logs))

    return charge


def _refuse_nothing(budget: float, cost: CostFunction | None) -> None:
    """Refuse a budget that does not pay for the smallest model on a single token."""
    one = np.array([[FEWEST_PARAMS]])
    least_cost = FLOP_PER_PARAM_TOKEN * FEWEST_PARAMS if cost is None else float(_charge(cost, one, np.ones((1, 1))).min())
    if budget < least_cost:
        said = f"a model of {FEWEST_PARAMS:g} parameters on a single token costs {least_cost:.3g}"
        raise SpecError(f"a budget of {budget:.3g} buys nothing: {said}. Is it in another unit?")


def _capped(
    fit: Fit,
    parameters: Mapping[str, Array],
    found: tuple[Array, Array],
    budget: float,
    most: float,
    cost: CostFunction | None,
) -> tuple[Array, Array]:
    """The optimum where no more than so many tokens can be had; a law has one minimum along the line of equal cost."""
    params, tokens = found
    full = np.full(params.shape, most)
    if cost is None:
        size = budget / (FLOP_PER_PARAM_TOKEN * full)
    else:
        ones = np.ones(params.shape)
        size = bisect(lambda n: _charge(cost, n, full) - budget, ones, LARGEST * ones)
        size = np.where(_charge(cost, ones, full) < budget, size, np.nan)
    # Without an optimum inside, the loss falls all the way to one end: to that of more data, or to that of more size.
    there = _tokens(cost, size * np.exp(STEP), np.full(params.shape, budget))
    here = law_at(fit, {"params": size, "tokens": full}, parameters)
    falls = here < law_at(fit, {"params": size * np.exp(STEP), "tokens": there}, parameters)
    over = (tokens > most) | (np.isnan(tokens) & falls)
    return np.where(over, size, params), np.where(over & np.isfinite(size), full, tokens)


def check_cost(cost: CostFunction | Cost | FittedCost | None) -> None:
    """Refuse a cost that does not take arrays, or does not rise with both size and data.

    Raises
    ------
    SpecError
    """
    if cost is None or isinstance(cost, FittedCost):
        return
    form = "`cost` is a function of params and tokens (arrays) to FLOP, positive and increasing in both"
    if isinstance(cost, Cost):
        cost = cost.at_size
    if not callable(cost):
        raise SpecError(f"{form}; got {type(cost).__name__}")
    params, tokens = np.array([[1e8, 1e9], [1e8, 1e9]]), np.array([[1e9, 1e9], [1e10, 1e10]])
    try:
        got = _charge(cost, params, tokens)
    except BayescaleError:
        raise
    except Exception as error:
        raise SpecError(f"{form}; called with arrays, it raised {type(error).__name__}: {error}") from error
    if got.shape != (2, 2) or not ((got > 0).all() and (np.diff(got, axis=0) > 0).all() and (np.diff(got, axis=1) > 0).all()):
        raise SpecError(f"{form}; for params 1e8, 1e9 and tokens 1e9, 1e10 it gave {got.tolist()}")


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


def require_size_and_data(fit: Fit) -> None:
    """Refuse a fit that says nothing of how size and data trade off.

    Raises
    ------
    NotIdentifiedError
        When the law, or the fitted table, lacks one of the two, or one of them never varies.
    """
    columns, table = set(columns_of(fit)), fit.data.table
    logs = {name: np.log(table[name].to_numpy(float)) for name in LINKED if name in table}
    for name in ("tokens", "params"):
        if name in logs and np.ptp(logs[name]) < IN_STEP:
            raise NotIdentifiedError(
                f"not identified: {name} do not vary in the fitted table (all {len(table)} runs have "
                f"{np.exp(logs[name][0]):.3g}), so it says nothing of what more or fewer {name} would do. Fit runs with "
                f"different {name}"
            )
    if len(columns) < 2 or not columns <= set(LINKED):
        lacking = [name for name in ("tokens", "params") if name not in columns]
        raise NotIdentifiedError(
            f"not identified: the law {fit.model.law.name!r}, read from {', '.join(columns_of(fit))}, "
            + (f"has no {lacking[0]}" if lacking else "takes more than size and data")
            + "; a trade-off between size and data takes a law of these two, such as 'chinchilla'"
        )
    known = {name: np.exp(logs[name]) for name in columns}
    logs = {name: np.log(values) for name, values in complete(known, ("params", "tokens")).items()}
    slope, start = np.polyfit(logs["params"], logs["tokens"], 1)
    if np.std(logs["tokens"] - slope * logs["params"] - start) < IN_STEP:
        raise NotIdentifiedError(
            f"not identified: tokens do not vary apart from params in the fitted table (tokens = {np.exp(start):.3g} * "
            f"params^{slope:.3g} in every run), so it cannot tell the effect of one from the other. Fit runs of equal params "
            "with different tokens"
        )

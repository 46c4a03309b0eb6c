"""The line of equal cost: what a budget buys at each size, and where along it a law is least."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bayescale.core.errors import BayescaleError, NotIdentifiedError, SpecError
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN
from bayescale.infer.fit import Fit
from bayescale.laws.base import get_law
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.parameters import generator
from bayescale.prediction.points import LINKED, columns_of, complete
from bayescale.prediction.roots import bisect, least
from bayescale.prediction.values import law_values

Array = NDArray[np.float64]
#: Training FLOP of a run from its params and tokens, arrays of one shape; increasing in both.
CostFunction = Callable[[Array, Array], Array]

#: What a law takes beside size and data: values (draw, 1), or what follows from the tokens, of their shape.
Held = Array | Callable[[Array], Array]

#: Sizes that are looked at along an iso-cost line before the minimum is refined.
SCAN = 160
#: The largest number of parameters or tokens looked at under a stated cost.
LARGEST = 1e24
#: A minimum so near (in log) to a single parameter or a single token is none.
EDGE = 1e-3
#: Tokens that stray less than this (in log) from a power of params tell nothing apart.
IN_STEP = 0.02


def law_at(fit: Fit, covariates: Mapping[str, Held], parameters: Mapping[str, Array]) -> Array:
    """The law where some covariates are known and the rest follows from them; arrays broadcast."""
    binding = fit.binding
    columns = complete(resolved(covariates), columns_of(fit))
    return law_values(fit.model.law, {c: columns[binding.axes[c]] / binding.reference[c] for c in binding.axes}, parameters)


def resolved(covariates: Mapping[str, Held]) -> dict[str, Array]:
    """Covariates as arrays, those that follow from the tokens told from the tokens among them."""
    return {n: v(np.asarray(covariates["tokens"])) if callable(v) else v for n, v in covariates.items()}


def passes(unique_tokens: Array | float) -> Callable[[Array], Array]:
    """Epochs as they follow from the tokens of a run where so many are unique: at least one."""
    return lambda tokens: np.maximum(tokens / unique_tokens, 1.0)


def has_closed_form(fit: Fit) -> bool:
    """Whether the law is the built-in ``chinchilla``, read from params and tokens."""
    named = fit.model.law.name == "chinchilla" and fit.model.law == get_law("chinchilla")
    return named and columns_of(fit) == ("params", "tokens")


def optimal_size_and_data(
    fit: Fit,
    parameters: Mapping[str, Array],
    budget: Array,
    cost: CostFunction | None = None,
    *,
    scan: bool = False,
    held: Mapping[str, Held] | None = None,
) -> tuple[Array, Array]:
    """Params and tokens of least response, NaN where there is no such.

    Parameters
    ----------
    parameters : mapping of parameter to array (draw, 1)
    budget : array (1, scale) or (draw, scale)
    scan : bool
        Look along the whole line of equal cost first, so that of several minima the least is found; one budget only.
    held : mapping of covariate to array (draw, 1) or function, optional
        What the law takes beside size and data; a function is one of the tokens.

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
        tokens = tokens_for(cost, params, np.broadcast_to(budget, params.shape))
        values = law_at(fit, {"params": params, "tokens": tokens, **(held or {})}, parameters)
        return np.where(np.isnan(values), np.inf, values)

    if scan:
        grid = low + (high - low) * np.linspace(0, 1, SCAN)
        best = np.argmin(mean(grid), axis=1)[:, None]
        low, high = (np.take_along_axis(grid, np.clip(best + i, 0, SCAN - 1), axis=1) for i in (-1, 1))
    found = least(mean, low, high)
    inside = (found > EDGE) & (found < ends - EDGE)
    params = np.where(inside, np.exp(found), np.nan)
    return params, tokens_for(cost, params, budget)


def tokens_for(cost: CostFunction | None, params: Array, budget: Array) -> Array:
    """Tokens that a budget buys at a size; NaN where it does not pay for one."""
    if cost is None:
        return budget / (FLOP_PER_PARAM_TOKEN * params)
    ones = np.ones(np.shape(params))
    found = bisect(lambda tokens: charged(cost, params, tokens) - budget, ones, LARGEST * ones)
    return np.where(charged(cost, params, ones) < budget, found, np.nan)


def _largest_params(cost: CostFunction | None, budget: Array) -> Array:
    """Size at which a budget buys a single token."""
    if cost is None:
        return budget / FLOP_PER_PARAM_TOKEN
    ones = np.ones(budget.shape)
    return bisect(lambda params: charged(cost, params, ones) - budget, ones, LARGEST * ones)


def charged(cost: CostFunction, params: Array, tokens: Array) -> Array:
    """What runs cost, in double precision."""
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
    coefficients = cost.resampled(number, generator(seed, 9), (cost.coefficients[:, 1:] > 0).all(axis=1), "size or data")

    def charge(params: Array, tokens: Array) -> Array:
        return np.asarray(np.exp(cost.logs(coefficients, params, tokens)))

    return charge


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
        got = charged(cost, params, tokens)
    except BayescaleError:
        raise
    except Exception as error:
        raise SpecError(f"{form}; called with arrays, it raised {type(error).__name__}: {error}") from error
    if got.shape != (2, 2) or not ((got > 0).all() and (np.diff(got, axis=0) > 0).all() and (np.diff(got, axis=1) > 0).all()):
        raise SpecError(f"{form}; for params 1e8, 1e9 and tokens 1e9, 1e10 it gave {got.tolist()}")


def require_size_and_data(fit: Fit, *, beside: bool = False) -> None:
    """Refuse a fit that says nothing of how size and data trade off.

    Parameters
    ----------
    beside : bool
        Whether the law may take more than size and data.

    Raises
    ------
    NotIdentifiedError
        When the law, or the fitted table, lacks one of the two, or one of them never varies.
    """
    columns, table = set(columns_of(fit)), fit.data.table
    if beside:
        columns &= set(LINKED)
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

"""``check_allocation``: whether a compute-optimal size is to be relied on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import DataError
from bayescale.core.findings import Finding, Review, Status
from bayescale.core.names import CHAIN, DRAW, EPOCHS
from bayescale.data.runs import Runs
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.equal_cost import CostFunction
from bayescale.prediction.isoflop import BUDGET, isoflop_profiles
from bayescale.prediction.mixing import fits_of, labels_of, selected_rows, source
from bayescale.prediction.optimum import compute_optimal
from bayescale.prediction.points import Fitted

#: Share of draws without an interior optimum from which on that is worth a look, and from which on there is none to speak of.
FEW, HALF = 0.05, 0.5
#: Posterior tail probability below which law and profiles disagree.
DISAGREE = 0.05
#: A budget of the profiles is compared where so many of its draws have an optimum.
KNOWN = 0.5

_DIRECTION = ("smaller", "larger")


def check_allocation(
    fit: Fitted,
    flops: float | Sequence[float],
    *,
    cost: CostFunction | Cost | FittedCost | None = None,
    at: Mapping[str, float | str] | None = None,
    max_tokens: float | None = None,
    unique_tokens: float | None = None,
    profiles: xr.Dataset | None = None,
    seed: int = 0,
) -> Review:
    """Judge a compute-optimal allocation: is there one, is it where runs were made, and do iso-FLOP profiles agree.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    flops : float or sequence of float
        Budgets, as of :func:`compute_optimal`.
    cost : Cost, FittedCost or callable, optional
        As of :func:`compute_optimal`.
    at : mapping, optional
        Group labels, as of ``fit.select(...)``; covariates beside size and data, such as the number of experts, and the number
        that each is held at.
    max_tokens, unique_tokens : float, optional
        As of :func:`compute_optimal`.
    profiles : Dataset, optional
        Of :func:`isoflop_profiles`; by default made from the fitted runs (of the selected group). They are compared with the
        law at their own budgets, by 6·params·tokens.
    seed : int
        The same seed gives the same findings.

    Returns
    -------
    Review
        ``unique data``, where they are used up before the budget is. ``interior optimum``: the share of draws without an
        optimum of finite size and data. ``inside the runs``: how far beyond the fitted sizes and tokens, and what is held, it
        lies. ``iso-FLOP profiles``: the posterior probability, of the tail on which they part, that law and profiles put the
        optimum alike: at the budget where the two part most, Bonferroni's bound over budgets.

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
    >>> [(found.check, str(found.status)) for found in bs.check_allocation(fitted, 1e25)]
    [('interior optimum', 'PASS'), ('inside the runs', 'REVIEW'), ('iso-FLOP profiles', 'NOT_ASSESSED')]
    """
    fit, at = _selected(fit, at or {})
    optimum = compute_optimal(fit, flops, cost=cost, at=at, max_tokens=max_tokens, unique_tokens=unique_tokens, seed=seed)
    unit = cost.unit if isinstance(cost, Cost | FittedCost) else "FLOP"
    findings = [
        *_used_up(optimum, unit),
        *_interior(optimum, unit),
        *_inside(fit, optimum, at, unit),
        _profiles(fit, profiles, at, seed),
    ]
    return Review(tuple(findings))


def _selected(fit: Fitted, at: Mapping[str, float | str]) -> tuple[Fitted, Mapping[str, float | str]]:
    """The fit as seen by the group that ``at`` names, and what is left of ``at``; as they are where no run is of that group."""
    data, chosen = fits_of(fit)[0].data, labels_of(fit)
    labels = {name: str(value) for name, value in at.items() if name in data.groups}
    against = any(chosen.get(name, label) != label for name, label in labels.items())  # which compute_optimal refuses
    if not labels or against or not selected_rows(data.table, chosen | labels).any():
        return fit, at
    return source(fit).select(**chosen | labels), {name: value for name, value in at.items() if name not in labels}


def _used_up(optimum: xr.Dataset, unit: str) -> Iterator[Finding]:
    if "p_saturated" in optimum and (used := optimum["p_saturated"].to_numpy()).max() > HALF:
        worst = int(np.argmax(used))
        budget = float(optimum["flops"].to_numpy()[worst])
        told = f"the data are used up: in {used[worst]:.0%} of the draws a tenth of {budget:.3g} {unit} reaches as much"
        advice = (
            "Size and epochs there are no more than one of many that are alike: look at a smaller budget, or find more data."
        )
        yield Finding("unique data", Status.REVIEW, told, float(used[worst]), HALF, advice)


def _interior(optimum: xr.Dataset, unit: str) -> Iterator[Finding]:
    share = optimum["p_none"].to_numpy()
    worst = int(np.argmax(share))
    budget, value = float(optimum["flops"].to_numpy()[worst]), float(share[worst])
    name, told = "interior optimum", f"{value:.0%} of the draws have no optimum of finite size and data at {budget:.3g} {unit}"
    if value < FEW:
        yield Finding(name, Status.PASS, told, value, FEW)
    else:
        advice = "Run sizes on both sides of the optimum at one budget; until then, keep the allocation that was measured."
        status = Status.FAIL if value > HALF else Status.REVIEW
        yield Finding(name, status, f"no interior optimum: {told}", value, FEW if value <= HALF else HALF, advice)


def _inside(fit: Fitted, optimum: xr.Dataset, at: Mapping[str, float | str], unit: str) -> Iterator[Finding]:
    name, table, worst = "inside the runs", _rows(fit), (1.0, "")
    beside = [fits_of(fit)[0].binding.axes.get(EPOCHS, "")]  # which follow from the unique tokens where these are few
    if (optimum["p_none"] == 1).any():
        yield Finding(name, Status.NOT_ASSESSED, "not assessed: at a budget no draw has an optimum")
        return
    for point, budget in enumerate(optimum["flops"].to_numpy()):
        beyond = {}
        for column in dict.fromkeys(("params", "tokens", *at, *beside)):
            if column in table and column in optimum.data_vars:
                there = float(optimum[column].isel(point=point).median(skipna=True))
                low, high = float(table[column].min()), float(table[column].max())
                if there > high:
                    beyond[f"{column} {there / high:.2g} times the largest fitted"] = there / high
                elif there < low:
                    beyond[f"{column} {low / there:.2g} times below the smallest fitted"] = low / there
        if beyond and max(beyond.values()) > worst[0]:
            said = f"the optimum at {float(budget):.3g} {unit} lies outside what was run: {', '.join(beyond)}"
            worst = (max(beyond.values()), said)
    if worst[1]:
        advice = "Its interval rests on the law: look at a backtest of the law at larger scales, or run nearer to it."
        yield Finding(name, Status.REVIEW, worst[1], worst[0], 1.0, advice)
    else:
        yield Finding(name, Status.PASS, "the optimum lies among the sizes and tokens that were run", 1.0, 1.0)


def _profiles(fit: Fitted, profiles: xr.Dataset | None, at: Mapping[str, float | str] | None, seed: int) -> Finding:
    """Whether the law puts the optimum where the runs of each budget have it."""
    name = "iso-FLOP profiles"
    if profiles is None:
        try:
            profiles = isoflop_profiles(_rows(fit), response=fits_of(fit)[0].response, seed=seed)
        except DataError as error:
            return Finding(name, Status.NOT_ASSESSED, f"not assessed: {str(error).splitlines()[0]}")
    known = np.flatnonzero(profiles["p_none"].to_numpy() < KNOWN)
    if not len(known):
        advice = "Run sizes on both sides of the optimum at one budget."
        return Finding(name, Status.REVIEW, "no interior optimum: the profile of no budget has its least inside", advice=advice)
    profiles = profiles.isel({BUDGET: known})
    budgets = profiles["flops"].to_numpy()
    by_law = np.log(compute_optimal(fit, list(budgets), at=at, seed=seed)["params"].transpose(CHAIN, DRAW, ...).to_numpy())
    by_runs = np.log(profiles["params"].transpose(CHAIN, DRAW, ...).to_numpy())
    tails, ratios = [], []
    for i in range(len(budgets)):
        law, runs = (v[..., i].reshape(-1) for v in (by_law, by_runs))
        law, runs = law[np.isfinite(law)], runs[np.isfinite(runs)]
        if not len(law):
            continue
        larger = float(np.mean(np.searchsorted(np.sort(runs), law) / len(runs)))
        tails.append(2 * min(larger, 1 - larger))
        ratios.append(float(np.exp(np.median(law) - np.median(runs))))
    if not tails:
        return Finding(name, Status.NOT_ASSESSED, "not assessed: the law has no optimum at the budgets of the profiles")
    value, ratio = min(1.0, len(tails) * min(tails)), ratios[int(np.argmin(tails))]
    budget = float(budgets[int(np.argmin(tails))])
    told = (
        f"at {budget:.3g} FLOP the optimum of the law is {ratio:.2g} times that of the runs' profile, over {len(tails)} budgets"
    )
    if value >= DISAGREE:
        return Finding(name, Status.PASS, f"law and profiles agree: {told}", value, DISAGREE)
    advice = "One of the two is wrong about the optimum: try another law, and look at the profile of that budget."
    return Finding(name, Status.REVIEW, f"law and profiles disagree: {told} ({_DIRECTION[ratio > 1]})", value, DISAGREE, advice)


def _rows(fit: Fitted) -> pd.DataFrame:
    """The fitted runs, of the selected group."""
    data: Runs = fits_of(fit)[0].data
    return data.table[selected_rows(data.table, labels_of(fit))]

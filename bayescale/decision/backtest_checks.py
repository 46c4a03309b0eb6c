"""Checks of a backtest: whether the intervals of forecasts like this one covered what came."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from bayescale.core.findings import Finding, Status
from bayescale.evaluate.backtest_result import Backtest, name_of
from bayescale.models.capability import CapabilityModel
from bayescale.models.scaling import ScalingModel

NAME, REACH = "calibration", "backtest reach"

#: Probability of the intervals whose coverage is judged.
NOMINAL = 0.9

#: Probability, if the intervals were right, of a coverage so low, below which it is a REVIEW or a FAIL. Backtests are small,
#: and forecasts that are too sure are what this package is there to catch: hence not the 0.01 and 1e-4 of fitted runs.
REVIEW_BELOW, FAIL_BELOW = 0.1, 0.005

#: A coverage below this is no PASS, even where chance may have made it.
LOWEST_PASS = 0.8


def check_backtest(backtest: Backtest | None, *, model: ScalingModel | CapabilityModel | None = None) -> list[Finding]:
    """What a backtest says about the forecasts of a model.

    Parameters
    ----------
    backtest : Backtest, optional
        Without one, calibration is not assessed.
    model : ScalingModel or CapabilityModel, optional
        The model under review, if it is to be compared with the one that was backtested.

    Returns
    -------
    list of Finding
        Coverage of the 90 % intervals: the lower tail of the binomial distribution of ``backtest.effective_n`` forecasts, FAIL
        below 0.005, REVIEW below 0.1; else NOT_ASSESSED where there are too few to tell (they cover under 80 %, which chance
        may have made; or none of them covering would be no FAIL). REVIEW where fits of the backtest missed the convergence
        rule, or it is of another model.
    """
    if backtest is None:
        advice = "Hold the largest runs back, forecast them, and count how many of the intervals cover: backtest(model, data)."
        return [Finding(NAME, Status.NOT_ASSESSED, "not assessed, since no backtest was given", advice=advice)]
    return [check_coverage(backtest), *check_fits(backtest), *check_model(backtest, model)]


def check_reach(backtest: Backtest, runs: pd.DataFrame, at: pd.DataFrame) -> list[Finding]:
    """Whether the backtest looked as far beyond its fitted runs as the forecast lies beyond these: REVIEW where it did not."""
    along = backtest.along
    if along not in runs or along not in at:
        return []
    asked = float(at[along].max() / runs[along].max())
    if math.isnan(asked):  # of models of capability, size or data may not be known
        return []
    reached = math.exp(float(backtest.points["distance"].max()))
    said = (
        f"the forecast lies {asked:.3g} times beyond the largest fitted {along}, the backtest looked up to {reached:.3g} times"
    )
    if asked <= max(reached, 1.0):
        return [Finding(REACH, Status.PASS, said, asked, reached)]
    advice = (
        "Its coverage says nothing of what lies farther: lower cut-offs look farther, a larger run brings the forecast nearer."
    )
    return [Finding(REACH, Status.REVIEW, said, asked, reached, advice)]


def shortfall(coverage: float, number: float, nominal: float = NOMINAL) -> float:
    """Binomial probability of a coverage so low or lower; of numbers that are not whole, by its incomplete beta function.

    >>> round(shortfall(0.5, 2), 4)
    0.19
    """
    hits = coverage * number
    return 1.0 if coverage >= 1 else float(stats.beta.cdf(1 - nominal, number - hits, hits + 1))


def check_coverage(backtest: Backtest, average: float | None = None) -> Finding:
    """Whether the 90 % intervals covered what came; ``average`` is the coverage of a mixture of such forecasts instead."""
    number, coverage = backtest.effective_n, backtest.coverage(NOMINAL) if average is None else average
    whose = "" if average is None else " of the average"
    chance = shortfall(coverage, number)
    units = backtest.points[backtest.by or "cutoff"].nunique()
    what = f"{units} {'group' if backtest.by else 'cut-off'}{'s' * (units != 1)}"
    said = (
        f"the {NOMINAL:.0%} intervals{whose} of the backtest cover {coverage:.0%} of {len(backtest.points)} forecasts "
        f"({backtest.runs} {backtest.what}, {what}: worth {number:.1f} independent ones)"
    )
    if chance < REVIEW_BELOW:
        failed = chance < FAIL_BELOW
        line = FAIL_BELOW if failed else REVIEW_BELOW
        said = f"forecasts like this one were too sure of themselves: {said}, probability {chance:.1g} if they were right"
        other = "(a discrepancy), try another law" if backtest.what == "runs" else "(another noise), try fewer or more factors"
        look = "look at backtest.summary('distance') for how far its forecasts hold."
        advice = f"Widen what the model does not know {other}, or {look}"
        return Finding(NAME, Status.FAIL if failed else Status.REVIEW, said, chance, line, advice)
    if coverage < LOWEST_PASS or shortfall(0.0, number) >= FAIL_BELOW:
        said = f"too few forecasts to tell calibration: {said}"
        return Finding(NAME, Status.NOT_ASSESSED, said, chance, REVIEW_BELOW, "Add cut-offs, groups or runs above them.")
    return Finding(NAME, Status.PASS, said, chance, REVIEW_BELOW)


def check_fits(backtest: Backtest) -> list[Finding]:
    """Fits of a backtest that missed the convergence rule."""
    fits = backtest.fits
    missed = int((~fits["converged"]).sum())
    if not missed:
        return []
    said = f"{missed} of {len(fits)} fits of the backtest missed the convergence rule; their forecasts count as they stand"
    return [Finding(NAME, Status.REVIEW, said, float(missed), 0.0, "Give it a sampler with more draws.")]


def check_model(backtest: Backtest, model: ScalingModel | CapabilityModel | None) -> list[Finding]:
    """Whether the backtest is of the model under review."""
    if model is None or model == backtest.model:
        return []
    names = f"{backtest.name} there, {name_of(model)} here"
    laws = isinstance(model, ScalingModel)
    where = "law, pooling, noise, discrepancy or priors" if laws else "factors, noise or what has effects"
    said = f"the backtest is of another model than the fit ({names}; they differ in {where})"
    return [Finding(NAME, Status.REVIEW, said, advice="Backtest the model of the fit: backtest(fit.model, data).")]

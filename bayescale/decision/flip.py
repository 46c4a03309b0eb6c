"""``flip``: what would have to be true for the verdict to be another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.targets import Target
from bayescale.decision.decide import as_rule
from bayescale.decision.meeting import Meeting, meeting
from bayescale.decision.rules import AllOf, Threshold, read_targets, said
from bayescale.decision.utility import Utility, worth

Array = NDArray[np.float64]
COLUMNS = ["what", "now", "to_flip", "change", "sentence"]


@dataclass(frozen=True)
class _Row:
    what: str
    now: float
    to_flip: float
    sentence: str


def flip(draws: xr.Dataset, rule: str | Sequence[str] | Threshold | AllOf | Utility) -> pd.DataFrame:
    """What would have to be true for the draws to say the other thing.

    Of a target: the value at which its probability stands at the rule's line (a quantile of the draws), the shift of all draws
    that would bring it there, and the line that is reached now. Of several, one at a time, the others held. Of a utility:
    the probability of success, the worth of success and the cost of the run at which GO and NO_GO are worth the same. The
    review is not looked at: it turns a GO into a HOLD whatever the numbers.

    Parameters
    ----------
    draws : Dataset
        As of :func:`decide`.
    rule : Threshold, AllOf, Utility or str
        As of :func:`decide`.

    Returns
    -------
    DataFrame
        One row a quantity: ``what``, its value ``now``, the value ``to_flip`` (NaN where none does it), the ``change`` from
        one to the other, and a ``sentence`` that says it.

    Raises
    ------
    SpecError
        As of :func:`decide`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import bayescale as bs
    >>> z = np.random.default_rng(0).normal(1.9, 0.1, (4, 1000, 1))
    >>> found = bs.flip(xr.Dataset({"loss": (("chain", "draw", "point"), z)}), "loss<=2.0").set_index("what")
    >>> found.loc["target loss", "sentence"]
    'the verdict flips where the target is loss <= 2.029 instead of loss <= 2'
    >>> print(round(found.loc["median loss", "change"], 3))
    -0.029
    """
    rule = as_rule(rule)
    if isinstance(rule, Utility):
        rows = list(_of_utility(draws, rule))
    else:
        rows = list(_of_targets(meeting(draws, read_targets(rule)), read_targets(rule), rule.probability))
    return pd.DataFrame([(r.what, r.now, r.to_flip, r.to_flip - r.now, r.sentence) for r in rows], columns=COLUMNS)


def _of_targets(found: Meeting, targets: Sequence[Target], line: float) -> Iterator[_Row]:
    for i, target in enumerate(targets):
        others = np.ones(found.met.shape, dtype=bool)
        for j, other in enumerate(targets):
            if j != i:
                others &= np.isfinite(found.worst[j]) & other.met(found.worst[j])
        middle, value = _median(found.worst[i]), _value_at(found.worst[i], others, target, line)
        name = f"target {target.response}"
        if not isfinite(value):
            why = f"the other targets alone are met in {others.mean():.4g} of the draws"
            if len(targets) == 1:
                why = "too many draws are not finite"
            told = f"no value of {said(target)} flips the verdict: {why}"
            yield _Row(name, target.value, nan, told)
            continue
        moved = f"{target.response} {target.op} {_apart(value, target.value)}"
        yield _Row(name, target.value, value, f"the verdict flips where the target is {moved} instead of {said(target)}")
        shift = target.value - value
        way = "higher" if shift > 0 else "lower"
        of = "the median" if found.points == 1 else "the median of the point furthest from it"
        told = f"the verdict flips where {of} is {middle + shift:.4g} instead of {middle:.4g} ({abs(shift):.3g} {way})"
        yield _Row(f"median {target.response}", middle, middle + shift, told)
    way = "above" if found.probability >= line else "below"
    gap = f"{abs(found.probability - line):.4g} {way} the line"
    if 0.5 < found.probability < 1:
        told = f"the probability of {found.probability:.4g} is {gap}: a line of {found.probability:.4g} flips the verdict"
        yield _Row("probability asked for", line, found.probability, told)
        return
    told = f"the probability of {found.probability:.4g} is {gap}: no line that a rule may ask for flips the verdict"
    yield _Row("probability asked for", line, nan, told)


def _apart(value: float, other: float) -> str:
    """A value with four digits, or as many as it takes to tell it from the other."""
    for digits in range(4, 17):
        text = f"{value:.{digits}g}"
        if abs(float(text) - value) <= 0.01 * abs(value - other):
            return text
    return repr(value)


def _value_at(worst: Array, others: NDArray[np.bool_], target: Target, line: float) -> float:
    """Value of a target that is met, together with the others, with the probability of the line; NaN where none is."""
    far = inf if "<" in target.op else -inf
    values = np.where(others & np.isfinite(worst), worst, far).reshape(-1)
    # No interpolation: between a finite and an infinite draw there is nothing to interpolate.
    sign = 1 if "<" in target.op else -1
    found = sign * float(np.quantile(sign * values, line, method="inverted_cdf"))
    return found if isfinite(found) else nan


def _of_utility(draws: xr.Dataset, rule: Utility) -> Iterator[_Row]:
    found = worth(draws, rule)
    unit = f" {rule.unit}" if rule.unit else ""
    if rule.target is not None:
        line, goal = rule.break_even(found.cost), AllOf(rule.target).target
        there = line if 0 <= line <= 1 else nan
        told = f"GO and NO_GO are worth the same where P({goal}) is {line:.4g} instead of {found.probability:.4g}"
        if not isfinite(there):
            told = f"no P({goal}) flips the verdict: it would have to be {line:.4g}"
        yield _Row("probability", found.probability, there, told)
        if 0 < line < 1:
            asked = tuple(rule.target)
            for row in _of_targets(meeting(draws, asked), asked, line):
                if row.what != "probability asked for":
                    yield row
        value = rule.value - found.expected / found.probability if found.probability > 0 else nan
        told = f"GO and NO_GO are worth the same where success is worth {value:.4g}{unit} instead of {rule.value:.4g}"
        if not isfinite(value):
            told = "no worth of success flips the verdict: no draw meets it"
        yield _Row("value", rule.value, value, told)
    cost = found.cost + found.expected
    told = f"GO and NO_GO are worth the same where the run costs {cost:.4g}{unit} instead of {found.cost:.4g}"
    if cost < 0:
        cost, told = nan, "no cost flips the verdict: GO is worth less even for nothing"
    yield _Row("cost", found.cost, cost, told)


def _median(values: Array) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if there.size else nan

"""``Utility``: a rule that weighs what success is worth against what the run, and being wrong, cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.core.targets import Target
from bayescale.decision.meeting import Meeting, meeting
from bayescale.decision.rules import AllOf, Threshold, read_targets
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost

Array = NDArray[np.float64]
#: Utility of GO in each draw, an array or DataArray (chain, draw), from the draws of ``predict``.
UtilityFunction = Callable[[xr.Dataset], Any]


@dataclass(frozen=True)
class Utility:
    """GO when it is worth more than NO_GO, in expectation over the draws.

    With a target, GO is worth ``value`` in draws that meet it and ``-wrong`` in the others, less the cost of the run; NO_GO is
    worth ``no_go``, less ``missed`` in draws that would have met it. So GO pays from the probability
    ``(cost + wrong + no_go) / (value + wrong + missed)`` on.

    Parameters
    ----------
    target : str, sequence of str, Threshold or AllOf, optional
        What success is. The probability of a rule is not looked at.
    value : float
        What success is worth.
    cost : float, Cost or FittedCost
        Of the run: a number, or a cost in the same ``unit``, which is asked at the points of the draws (of several, the sum).
    wrong : float
        What a GO that misses the target costs beyond the run.
    missed : float
        What a NO_GO costs where the target would have been met.
    no_go : float
        What is had without the run.
    unit : str
        Of all of these; by default that of the cost.
    function : callable, optional
        Instead of a target and ``value``: takes the draws and returns the utility of GO in each, shape (chain, draw), before
        the cost of the run.

    Raises
    ------
    SpecError
        Naming everything that makes no sense: a negative cost, a success that is worth nothing, two units.

    Examples
    --------
    >>> import bayescale as bs
    >>> rule = bs.Utility("loss<=2.0", value=5e6, cost=1e6, wrong=1e6, unit="USD")
    >>> print(rule)
    expected utility: loss <= 2 is worth 5e+06 USD, the run costs 1e+06, a wrong GO 1e+06
    >>> round(rule.break_even(1e6), 3)
    0.333
    """

    target: Any = None
    value: float = 0.0
    cost: float | Cost | FittedCost = 0.0
    wrong: float = 0.0
    missed: float = 0.0
    no_go: float = 0.0
    unit: str = ""
    function: UtilityFunction | None = None

    def __post_init__(self) -> None:
        faults = []
        if (self.target is None) == (self.function is None):
            faults.append("say what success is: a target with its value, or a function of the draws (one of the two)")
        if self.target is not None:
            object.__setattr__(self, "target", _as_targets(self.target))
        for name, lowest in (("value", -math.inf), ("wrong", 0.0), ("missed", 0.0), ("no_go", -math.inf)):
            number = getattr(self, name)
            if not _number(number) or number < lowest:
                faults.append(f"{name} is a number{' of at least 0' if lowest == 0 else ''}, got {number!r}")
        if isinstance(self.cost, Cost | FittedCost):
            if self.unit and self.unit != self.cost.unit:
                faults.append(f"the cost is in {self.cost.unit}, and the utility in {self.unit}: convert one")
        elif not _number(self.cost) or self.cost < 0:
            faults.append(f"cost is a number of at least 0, or a Cost, got {self.cost!r}")
        if self.function is not None and not callable(self.function):
            faults.append(f"function takes draws and returns utilities (chain, draw), got {type(self.function).__name__}")
        if self.function is not None and any((self.value, self.wrong, self.missed)):
            faults.append("value, wrong and missed go with a target: a function says what each draw is worth")
        if not faults and self.function is None and self.value + self.wrong + self.missed <= 0:
            faults.append("success is worth nothing more than a miss: value + wrong + missed must be above 0")
        if faults:
            raise SpecError("utility: " + "; ".join(faults))
        if isinstance(self.cost, Cost | FittedCost):
            object.__setattr__(self, "unit", self.cost.unit)

    @property
    def response(self) -> str:
        """Names of the responses that the target is about."""
        return " and ".join(dict.fromkeys(t.response for t in self.target or ()))

    def break_even(self, cost: float) -> float:
        """Probability of success from which on GO pays, where there is a target."""
        return (cost + self.wrong + self.no_go) / (self.value + self.wrong + self.missed)

    def __str__(self) -> str:
        if self.function is not None:
            return f"expected utility by {getattr(self.function, '__name__', 'a function')}"
        costs = self.cost.said if isinstance(self.cost, Cost | FittedCost) else f"{self.cost:.6g}"
        goal = AllOf(self.target).target
        told = [f"{goal} is worth {self.value:.6g}{' ' + self.unit if self.unit else ''}", f"the run costs {costs}"]
        told += [f"a wrong GO {self.wrong:.6g}"] if self.wrong else []
        told += [f"a missed success {self.missed:.6g}"] if self.missed else []
        told += [f"NO_GO is worth {self.no_go:.6g}"] if self.no_go else []
        return "expected utility: " + ", ".join(told)


@dataclass(frozen=True, eq=False)
class Worth:
    """What GO is worth more than NO_GO.

    Parameters
    ----------
    expected, mcse : float
        Over the draws, and the Monte Carlo error of that.
    probability, probability_mcse : float
        Of success; without a target, that GO is worth more.
    cost : float
        Expected cost of the run.
    met : Meeting or None
    """

    expected: float
    mcse: float
    probability: float
    probability_mcse: float
    cost: float
    met: Meeting | None


def worth(draws: xr.Dataset, rule: Utility, seed: int = 0) -> Worth:
    """Expected utility of GO less that of NO_GO.

    Raises
    ------
    SpecError
        When the draws are not of the rule's responses, or the function returns something else than utilities.
    """
    cost, cost_error = run_cost(draws, rule.cost, seed)
    if rule.target is not None:
        met = meeting(draws, rule.target)
        gain = rule.value + rule.wrong + rule.missed
        expected = gain * met.probability - rule.wrong - rule.no_go - cost
        # Where all draws agree the error of the probability is bounded, not nought, and so is this.
        return Worth(expected, math.hypot(gain * met.mcse, cost_error), met.probability, met.mcse, cost, met)
    values = _utilities(draws, rule) - rule.no_go - cost
    better = Meeting(values > 0, values[None], 1)
    return Worth(float(values.mean()), math.hypot(_mcse(values), cost_error), better.probability, better.mcse, cost, None)


def run_cost(draws: xr.Dataset, cost: float | Cost | FittedCost, seed: int = 0) -> tuple[float, float]:
    """Expected cost of the runs at the points of draws, and the Monte Carlo error of that."""
    if not isinstance(cost, Cost | FittedCost):
        return float(cost), 0.0
    columns = {str(n): c.to_numpy() for n, c in draws.coords.items() if c.dims == (POINT,) and n != POINT}
    if not columns:
        raise SpecError("the draws name no runs to price: they lack the coordinates (params, tokens) that predict gives them")
    total = cost.draws(pd.DataFrame(columns), seed=seed).sum(POINT).to_numpy()
    spread = total.std(ddof=1) / math.sqrt(total.size) if total.size > 1 else 0.0
    return float(total.mean()), float(spread)


def _utilities(draws: xr.Dataset, rule: Utility) -> Array:
    assert rule.function is not None
    if not isinstance(draws, xr.Dataset):
        raise SpecError(f"draws are the Dataset that predict returns, got {type(draws).__name__}")
    found = rule.function(draws)
    if isinstance(found, xr.DataArray):
        found = found.transpose(CHAIN, DRAW, ...).to_numpy() if {CHAIN, DRAW} <= set(found.dims) else found.to_numpy()
    try:
        values = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise SpecError(f"the function of a utility returns numbers (chain, draw), got {type(found).__name__}") from None
    shape = (draws.sizes.get(CHAIN, 0), draws.sizes.get(DRAW, 0))
    if values.shape == (*shape, 1):
        values = values[..., 0]
    if values.shape != shape:
        raise SpecError(f"the function of a utility returns one number a draw, shape {shape}; got {values.shape}")
    if not np.isfinite(values).all():
        lost = int((~np.isfinite(values)).sum())
        raise SpecError(f"the utility of {lost} of {values.size} draws is not finite: say what such a draw is worth")
    return values


def _mcse(values: Array) -> float:
    from arviz_stats.base import array_stats  # costs a second to import

    if np.ptp(values) == 0:
        return 0.0
    return float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean"))


def _as_targets(target: Any) -> tuple[Target, ...]:
    if isinstance(target, Threshold | AllOf):
        return read_targets(target)
    several = target if isinstance(target, Sequence) and not isinstance(target, str | Target) else [target]
    return read_targets(AllOf(several))


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))

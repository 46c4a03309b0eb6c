"""Curves along what they cost: a scale of params, tokens or flops, paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.prediction.cost import SIX_ND, Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.paths import Curve, Mixture, Traced, read_range
from bayescale.prediction.points import LINKED, complete

Array = NDArray[np.float64]
Price = Cost | FittedCost

#: The axis that is paid for, as ``along`` names it.
COST = "cost"
#: Scales at which a cost is computed for every factor of ten, and how far beyond the searched range.
PER_DECADE, BEYOND = 200, 1e6


#: By how much the logarithm of a scale at the end of a grid may miss the end itself.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Priced:
    """A curve whose axis is what a run costs.

    Parameters
    ----------
    curve : Curve or Mixture
    scales, costs : array (knot,)
        Logarithms of scales along the curve's own axis, and of what they cost; both increasing.
    """

    curve: Curve | Mixture
    scales: Array
    costs: Array

    def __call__(self, cost: Array) -> Array:
        """Response without noise, shape (draw, cost)."""
        return self.curve(self.scale(np.atleast_2d(cost)))

    def scale(self, cost: Array) -> Array:
        """What a cost buys along the curve's own axis; NaN beyond the scales whose costs are known."""
        asked = np.log(cost)
        inside = (asked >= self.costs[0] - ROUNDING) & (asked <= self.costs[-1] + ROUNDING)
        return np.where(inside, np.exp(np.interp(asked, self.costs, self.scales)), np.nan)

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.curve.draws

    def take(self, draws: NDArray[np.int64]) -> Priced:
        """The curve of some of the draws, or of all in another order."""
        return replace(self, curve=self.curve.take(draws))

    def departing(self, low: float, high: float, rng: np.random.Generator) -> Priced:
        """The curve with a path of the discrepancy between two costs, where the model has one."""
        ends = self.scale(np.array([low, high]))
        return replace(self, curve=self.curve.departing(float(ends[0]), float(ends[1]), rng))


def priced(traced: Traced, cost: Price) -> tuple[Priced, tuple[float, float]]:
    """The one curve of a trace along its cost, and what the searched part of its axis costs.

    Raises
    ------
    SpecError
        When the cost needs what the path does not say, or does not rise along it.
    """
    (curve,) = traced.curves
    low, high = read_range(None, traced.ways)
    ends = np.log10([low / BEYOND, high * BEYOND])
    scales = np.logspace(ends[0], ends[1], int(PER_DECADE * (ends[1] - ends[0])) + 1)
    part = curve
    while isinstance(part, Mixture):
        part = part.parts[0]
    costs = _cost_along(part, scales, cost)
    if not (np.all(costs > 0) and np.all(np.diff(costs) > 0)):
        raise SpecError(
            f"the cost ({cost.said}) does not rise along {part.along}: it says nothing of which scale a budget buys"
        )
    made = Priced(curve, np.log(scales), np.log(costs))
    paid = np.exp(np.interp(np.log([low, high]), made.scales, made.costs))
    return made, (float(paid[0]), float(paid[1]))


def _cost_along(curve: Curve, scales: Array, cost: Price) -> Array:
    known: Mapping[str, Array] = {curve.along: scales, **{n: np.full(len(scales), v) for n, v in curve.fixed.items()}}
    columns = complete(known, LINKED)
    by_flops = isinstance(cost, Cost) and (cost.form == "flops" or (cost.form == SIX_ND and not cost.inference_tokens))
    if by_flops and "flops" in columns:
        assert isinstance(cost, Cost)
        return cost.price * columns["flops"]
    if curve.optimal:
        raise SpecError(
            f"along the compute-optimal path sizes differ from draw to draw, and the cost ({cost.said}) depends on them: name "
            "a path such as {'tokens_per_param': 20}, or a cost by FLOP"
        )
    if {"params", "tokens"} <= set(columns) and (isinstance(cost, FittedCost) or cost.form == SIX_ND):
        return cost.at_size(columns["params"], columns["tokens"])  # sizes that are never run, which a table would not hold
    return cost(pd.DataFrame(columns))

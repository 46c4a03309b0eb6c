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
class Declared:
    """What scales cost by a declared cost, the same in every draw.

    Parameters
    ----------
    scales, costs : array (knot,)
        Logarithms of scales along an axis, and of what they cost; both increasing.
    """

    scales: Array
    costs: Array

    def cost(self, scale: Array) -> Array:
        """What scales (scale,) cost."""
        return np.asarray(np.exp(np.interp(np.log(scale), self.scales, self.costs)))

    def scale(self, cost: Array) -> Array:
        """What costs (draw or 1, cost) buy; NaN beyond the scales whose costs are known."""
        asked = np.log(cost)
        inside = (asked >= self.costs[0] - ROUNDING) & (asked <= self.costs[-1] + ROUNDING)
        return np.where(inside, np.exp(np.interp(asked, self.costs, self.scales)), np.nan)

    def take(self, draws: NDArray[np.int64]) -> Declared:
        """As it is in some of the draws."""
        return self


@dataclass(frozen=True, eq=False)
class Learnt:
    """What scales cost by a fitted cost, in each of its draws: on a path it is a power of the scale.

    Parameters
    ----------
    level, slope : array (draw,)
        Of the log cost in the log scale.
    middle : (float, float)
        Their posterior means, the same whatever draws are taken.
    """

    level: Array
    slope: Array
    middle: tuple[float, float]

    def cost(self, scale: Array) -> Array:
        """What scales (scale,) cost, by the posterior mean of the logarithm."""
        level, slope = self.middle
        return np.asarray(np.exp(level + slope * np.log(scale)))

    def scale(self, cost: Array) -> Array:
        """What costs (draw or 1, cost) buy in each draw, however far they lie from what was recorded."""
        return np.asarray(np.exp((np.log(cost) - self.level[:, None]) / self.slope[:, None]))

    def take(self, draws: NDArray[np.int64]) -> Learnt:
        """As it is in some of the draws."""
        return replace(self, level=self.level[draws], slope=self.slope[draws])


@dataclass(frozen=True, eq=False)
class Priced:
    """A curve whose axis is what a run costs.

    Parameters
    ----------
    curve : Curve or Mixture
    charge : Declared or Learnt
        What scales along the curve's own axis cost.
    """

    curve: Curve | Mixture
    charge: Declared | Learnt

    def __call__(self, cost: Array) -> Array:
        """Response without noise, shape (draw, cost)."""
        return self.curve(self.charge.scale(np.atleast_2d(cost)))

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.curve.draws

    def take(self, draws: NDArray[np.int64]) -> Priced:
        """The curve of some of the draws."""
        return Priced(self.curve.take(draws), self.charge.take(draws))

    def departing(self, low: float, high: float, rng: np.random.Generator) -> Priced:
        """The curve with a path of the discrepancy between two costs, where the model has one."""
        # All draws but the outermost of a fitted cost, which would leave the others a coarse path.
        first, last = self.charge.scale(np.array([[low, high]])).T
        ends = float(np.quantile(first, 0.01)), float(np.quantile(last, 0.99))
        return replace(self, curve=self.curve.departing(*ends, rng))


AnyCurve = Curve | Mixture | Priced


def reordered(curve: AnyCurve, order: NDArray[np.int64]) -> AnyCurve:
    """A curve with its draws in another order, or some of them.

    Draws of a cost stay where they are: methods that pay alike pay the same in each draw, whichever draws of their laws meet.
    """
    if not isinstance(curve, Priced):
        return curve.take(order)
    return Priced(curve.curve.take(order), curve.charge.take(np.arange(len(order))))


def priced(traced: Traced, cost: Price, rng: np.random.Generator) -> tuple[Priced, tuple[float, float]]:
    """The one curve of a trace along its cost, and what the searched part of its axis costs.

    Raises
    ------
    SpecError
        When the cost needs what the path does not say, or does not rise along it.
    """
    (curve,) = traced.curves
    low, high = read_range(None, traced.ways)
    part = curve
    while isinstance(part, Mixture):
        part = part.parts[0]
    charge: Declared | Learnt
    if isinstance(cost, FittedCost):
        charge = _learnt(part, low, high, cost, curve.draws, rng)
    else:
        charge = _declared(part, low, high, cost)
    paid = charge.cost(np.array([low, high]))
    return Priced(curve, charge), (float(paid[0]), float(paid[1]))


def _declared(curve: Curve, low: float, high: float, cost: Cost) -> Declared:
    ends = np.log10([low / BEYOND, high * BEYOND])
    scales = np.logspace(ends[0], ends[1], int(PER_DECADE * (ends[1] - ends[0])) + 1)
    columns = _columns(curve, scales)
    if "flops" in columns and (cost.form == "flops" or (cost.form == SIX_ND and not cost.inference_tokens)):
        costs = cost.price * columns["flops"]
    else:
        _refuse_optimal(curve, cost)
        sized = cost.form == SIX_ND and {"params", "tokens"} <= set(columns)
        # Sizes that are never run, which a table would not hold.
        costs = cost.at_size(columns["params"], columns["tokens"]) if sized else cost(pd.DataFrame(columns))
    if not (np.all(costs > 0) and np.all(np.diff(costs) > 0)):
        raise SpecError(
            f"the cost ({cost.said}) does not rise along {curve.along}: it says nothing of which scale a budget buys"
        )
    return Declared(np.log(scales), np.log(costs))


def _learnt(curve: Curve, low: float, high: float, cost: FittedCost, draws: int, rng: np.random.Generator) -> Learnt:
    _refuse_optimal(curve, cost)
    columns = _columns(curve, np.array([low, high]))
    if missing := sorted({"params", "tokens"} - set(columns)):
        raise SpecError(f"the cost ({cost.said}) is one of params and tokens: say {' and '.join(missing)}, by path or at")

    def power(coefficients: Array) -> tuple[Array, Array]:
        logs = cost.logs(coefficients, columns["params"], columns["tokens"])
        slope = (logs[:, 1] - logs[:, 0]) / np.log(high / low)
        return logs[:, 0] - slope * np.log(low), slope

    coefficients = cost.resampled(draws, rng, power(cost.coefficients)[1] > 0, curve.along)
    level, slope = power(cost.coefficients.mean(axis=0, keepdims=True))
    return Learnt(*power(coefficients), middle=(float(level[0]), float(slope[0])))


def _columns(curve: Curve, scales: Array) -> Mapping[str, Array]:
    """The covariates along a path."""
    return complete({curve.along: scales, **{n: np.full(len(scales), v) for n, v in curve.fixed.items()}}, LINKED)


def _refuse_optimal(curve: Curve, cost: Price) -> None:
    if curve.optimal:
        raise SpecError(
            f"along the compute-optimal path sizes differ from draw to draw, and the cost ({cost.said}) depends on them: name "
            "a path such as {'tokens_per_param': 20}, or a cost by FLOP"
        )

"""Methods to compare: each one curve along one axis, or along what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayescale.core.errors import SpecError
from bayescale.infer.fit import Fit
from bayescale.prediction.mixing import axis_of
from bayescale.prediction.parameters import generator
from bayescale.prediction.paths import Path, Way, checked_range, read_range, trace
from bayescale.prediction.points import At, Fitted
from bayescale.prediction.pricing import COST, AnyCurve, Price, priced

#: One cost for all methods, or one each in their order.
Costs = Price | Sequence[Price]


@dataclass(frozen=True, eq=False)
class Method:
    """One method on the axis of a comparison.

    Parameters
    ----------
    curve : curve
    chains : mapping
        Coordinates of its chains and draws.
    ways : tuple of (Fit, Way)
        Of every fit behind it.
    paid : (float, float), optional
        What the part of its own axis costs that is searched by default; None where the axis is not a cost.
    """

    curve: AnyCurve
    chains: Mapping[str, Any]
    ways: tuple[tuple[Fit, Way], ...]
    paid: tuple[float, float] | None = None

    def departing(self, low: float, high: float, rng: np.random.Generator) -> Method:
        """With a path of the discrepancy, where the model has one."""
        return replace(self, curve=self.curve.departing(low, high, rng))


def traced_along(
    methods: Sequence[Fitted],
    along: str,
    path: Path | None,
    at: At | None,
    cost: Costs | None,
    seed: int,
) -> list[Method]:
    """The curve of each method.

    Raises
    ------
    SpecError
        When ``along="cost"`` and there is no cost, or the other way round; when ``at`` is more than one point.
    """
    prices = read_costs(cost, along, len(methods))
    apart = list(dict.fromkeys(map(id, prices)))  # methods with one cost pay by the same draws of it
    out = []
    for asked, price in zip(methods, prices, strict=True):
        traced = trace(asked, along if price is None else axis_of(asked), path, at, seed)
        if (number := len(traced.curves)) > 1:
            raise SpecError(f"`at` is one point for a crossover, got {number}")
        if price is not None:
            curve, paid = priced(traced, price, generator(seed, 80 + apart.index(id(price))))
            out.append(Method(curve, traced.chains, traced.ways, paid))
        else:
            out.append(Method(traced.curves[0], traced.chains, traced.ways))
    return out


def common_range(methods: Sequence[Method], within: tuple[float, float] | None) -> tuple[float, float]:
    """The part of the axis that is searched: what is stated, or all that is searched for any of the methods."""
    if within is not None:
        return checked_range(within)
    paid = [m.paid for m in methods if m.paid is not None]
    if paid:
        return min(low for low, _ in paid), max(high for _, high in paid)
    return read_range(None, [way for m in methods for way in m.ways])


def read_costs(cost: Costs | None, along: str, number: int) -> Sequence[Price | None]:
    """The cost of each method, None where the axis is not what they cost."""
    if (cost is None) == (along == COST):
        said = "along='cost' needs cost=Cost(...)" if cost is None else f"a cost goes with along='cost', not along {along!r}"
        raise SpecError(said)
    if cost is None:
        return [None] * number
    prices = list(cost) if isinstance(cost, Sequence) else [cost] * number
    if len(prices) != number or not all(isinstance(p, Price) for p in prices):
        raise SpecError(f"cost is a Cost, or one for each of the {number} methods in their order; got {cost!r}")
    if len(units := {p.unit for p in prices}) > 1:
        raise SpecError(f"the costs are in {' and '.join(sorted(units))}: state them in one unit")
    return prices

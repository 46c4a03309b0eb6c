"""What it is worth to learn more before deciding, in the units of the decision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, owens_t

from bayescale.core.names import POINT
from bayescale.decision.rules import AllOf, Threshold
from bayescale.decision.utility import Utility
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.points import At

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stakes:
    """What a GO earns more than a NO_GO: ``win`` where the target is met, ``-lose`` where it is missed.

    Parameters
    ----------
    win, lose : float
        In the unit in which the value of information is stated. Where either is not above 0 the decision does not turn on the
        target, and no information about it is worth anything.
    """

    win: float
    lose: float

    @property
    def line(self) -> float:
        """Probability of meeting the target from which on a GO pays."""
        return self.lose / (self.win + self.lose)


def stakes_of(rule: Threshold | AllOf | Utility, at: At) -> Stakes:
    """What is at stake in a rule at a point.

    Parameters
    ----------
    rule : Threshold, AllOf or Utility
        Of a threshold with probability ``p``: ``1 - p`` and ``p``, with which a GO pays from ``p`` on.
    at : DataFrame or dict
        The run that is decided about, which a :class:`Cost` of a utility prices.
    """
    if not isinstance(rule, Utility):
        return Stakes(1 - rule.probability, rule.probability)
    cost = rule.cost
    paid = float(cost.draws(at).sum(POINT).mean()) if isinstance(cost, Cost | FittedCost) else float(cost)
    return Stakes(rule.value + rule.missed - paid - rule.no_go, rule.wrong + paid + rule.no_go)


def value_of_information(stakes: Stakes, limit: float, center: float, before: float, after: Array) -> Array:
    """Expected gain of deciding after an experiment rather than now, with a normal outcome that must not exceed a limit.

    Parameters
    ----------
    stakes : Stakes
    limit : float
        The target is met where the outcome is at most this.
    center, before : float
        Mean and standard deviation of the outcome now.
    after : array
        Standard deviations of the outcome that experiments would leave.

    Returns
    -------
    array of the shape of ``after``
        In the unit of the stakes; at least 0, and at most what knowing the outcome itself would be worth.

    Notes
    -----
    Before the experiment its posterior mean is itself normal about ``center``, with variance ``before^2 - after^2``, and a go
    pays where that mean is at most ``limit - after z``, ``z`` the quantile of the least probability that pays. So the expected
    gain is a bivariate normal probability less a univariate one :cite:p:`raiffa1961`, computed by Owen's function.

    Examples
    --------
    >>> even = Stakes(win=1.0, lose=1.0)
    >>> value_of_information(even, limit=0.0, center=0.0, before=1.0, after=np.array([1.0, 0.5, 0.0])).round(3)
    array([0.   , 0.333, 0.5  ])
    """
    after = np.clip(np.asarray(after, dtype=float), 0.0, before)
    if not before > 0 or not math.isfinite(limit) or not (stakes.win > 0 and stakes.lose > 0):
        return np.zeros_like(after)
    total, line = stakes.win + stakes.lose, stakes.line
    learnt = np.sqrt(np.maximum(before**2 - after**2, 0.0))
    h = (limit - center) / before
    with np.errstate(divide="ignore", invalid="ignore"):  # where nothing is learnt, which counts as 0 below
        k = (limit - ndtri(line) * after - center) / learnt
        later = both_below(h, k, learnt / before) - line * ndtr(k)
    now = max(float(ndtr(h)) - line, 0.0)
    found: Array = np.where(learnt > 0, total * np.maximum(later - now, 0.0), 0.0)
    return found


def both_below(h: float, k: Array, rho: Array) -> Array:
    """P(X <= h, Y <= k) of two standard normals with correlation ``rho``, from 0 to 1 :cite:p:`owen1956`."""
    rho = np.minimum(rho, 1 - 1e-15)
    tiny = np.finfo(float).tiny
    h_, k_ = (np.where(v == 0, tiny, v) for v in (np.asarray(h, dtype=float), k))
    root = np.sqrt(1 - rho**2)
    with np.errstate(over="ignore"):  # correlation of 1: Owen's T takes infinity
        a, b = (k_ - rho * h_) / (h_ * root), (h_ - rho * k_) / (k_ * root)
    apart = np.where(h_ * k_ < 0, 0.5, 0.0)
    found: Array = 0.5 * (ndtr(h_) + ndtr(k_)) - owens_t(h_, a) - owens_t(k_, b) - apart
    return found

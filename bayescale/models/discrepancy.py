"""What a law does not say: a local exponent that drifts and reverts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpyro
import numpyro.distributions as dist

from bayescale.core.errors import SpecError
from bayescale.laws.param import Param

#: The population of 46 learning curves' training parts (benchmarks/extrapolation/hyperpriors.py): reverting within two to three
#: units of log scale, drifting by some 30 % of the law's own slope.
_RATE = Param.positive(0.39, 0.68, doc="how fast the drift reverts, per unit of log scale")
_SIZE = Param.positive(0.29, 0.7, doc="size of the drift, as a share of the law's mean slope")

#: A curve that spans less than this in log scale tells its mean slope badly.
LEAST_SPAN = 0.5


@dataclass(frozen=True)
class SlopeDrift:
    """A discrepancy ``log y = log f + delta(x) + e`` whose slope drifts and reverts: an integrated Ornstein-Uhlenbeck process.

    ``d delta / du = w``, ``dw = -rate w du + size S dB`` with ``u`` the logarithm of the axis, and ``S`` the mean slope of the
    law itself over the curve, ``|log f(first) - log f(last)| / (u_last - u_first)``. ``delta`` is zero at the largest scale
    of a curve, about which the law is stated; within the runs it is what they leave open, beyond them it grows and bends back.

    Parameters
    ----------
    along : str, optional
        Column of the axis; by default the axis of a law of one variable, else ``flops``.
    rate, size : Param, optional
        Priors, positive; by default ``LogNormal(log 0.39, 0.68)`` a unit of log scale and ``LogNormal(log 0.29, 0.7)``.

    Notes
    -----
    Each curve (a group of the finest pooling) has a drift of its own; ``rate`` and ``size`` are shared. The path is integrated
    out by a Kalman filter, in time linear in the number of runs.
    """

    along: str | None = None
    rate: Param | None = None
    size: Param | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "size"):
            prior = getattr(self, name)
            if prior is not None and (not isinstance(prior, Param) or prior.link != "log"):
                raise SpecError(f"the prior of a drift's {name} is a Param.positive(median, log_sd), got {prior!r}")

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each hyperparameter, by the name of its site."""
        return {"drift_rate": self.rate or _RATE, "drift_size": self.size or _SIZE}

    def sample(self, priors: dict[str, Any]) -> tuple[Any, Any]:
        """Sample the rate and the relative size of the drift."""
        rate, size = (numpyro.sample(n, dist.LogNormal(priors[n].loc, priors[n].scale)) for n in self.priors)
        return rate, size


def mean_slope(xp: Any, fall: Any, span: Any) -> Any:
    """Size of a law's mean slope over a curve, from its fall in log and the curve's span in log scale."""
    return xp.sqrt(fall**2 + 1e-12) / xp.maximum(span, LEAST_SPAN)

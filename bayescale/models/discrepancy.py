"""What a law does not say: a local exponent that drifts and reverts, a smooth misfit along a second axis, effects of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpyro
import numpyro.distributions as dist

from bayescale.core.errors import SpecError
from bayescale.data.schema import TOKENS_PER_PARAM
from bayescale.laws.param import Param

#: The population of 46 learning curves' training parts (benchmarks/extrapolation/hyperpriors.py): reverting within two to three
#: units of log scale, drifting by some 30 % of the law's own slope.
_RATE = Param.positive(0.39, 0.68, doc="how fast the drift reverts, per unit of log scale")
_SIZE = Param.positive(0.29, 0.7, doc="size of the drift, as a share of the law's mean slope")

_MISFIT = Param.positive(0.005, 0.5, doc="misfit along the second axis, in log units")
_EFFECT = Param.positive(0.005, 1.0, doc="what sets a run apart at all its checkpoints, in log units")

#: A curve that spans less than this in log scale tells its mean slope badly.
LEAST_SPAN = 0.5


def _positive(owner: str, priors: dict[str, Param | None]) -> None:
    for name, prior in priors.items():
        if prior is not None and (not isinstance(prior, Param) or prior.link != "log"):
            raise SpecError(f"the prior of {owner}'s {name} is a Param.positive(median, log_sd), got {prior!r}")


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
    growth : Param, optional
        Prior of ``h``, positive: within the runs the drift is ``exp(h |u - u_last|)`` times as large, for tables whose
        smallest runs obey the law least. By default there is none.

    Notes
    -----
    Each curve (a group of the finest pooling) has a drift of its own; ``rate``, ``size`` and ``growth`` are shared. The path is
    integrated out: under normal noise by a Kalman filter, in time linear in the number of runs; with ``growth``, other parts or
    Student-t noise as slopes at a few equally spaced scales, linear between them.
    """

    along: str | None = None
    rate: Param | None = None
    size: Param | None = None
    growth: Param | None = None

    def __post_init__(self) -> None:
        _positive("a drift", {"rate": self.rate, "size": self.size, "growth": self.growth})

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each hyperparameter, by the name of its site."""
        growth = {"drift_growth": self.growth} if self.growth else {}
        return {"drift_rate": self.rate or _RATE, "drift_size": self.size or _SIZE} | growth


@dataclass(frozen=True)
class SmoothMisfit:
    """A discrepancy that is a smooth function of a second axis, and may change with scale: ``delta = u(r) + v(r) z / span``.

    ``r`` is the logarithm of the axis, 0 to 1 over the fitted runs, ``z`` the log scale of the drift's axis, 0 at the largest
    run; ``u`` and ``v`` are Gaussian processes with a squared-exponential kernel of length 0.35, ``u`` on average 0 over the
    reference runs. Beyond the fitted ratios both revert to their mean, with the variance that they have there.

    Parameters
    ----------
    along : str
        Column of the axis: by default tokens per parameter, which laws of size and data that disagree disagree about.
    size : Param, optional
        Prior of the standard deviation of ``u``, in log units; by default ``LogNormal(log 0.005, 0.5)``.
    tilt : Param, optional
        Prior of that of ``v``. By default there is none.
    """

    along: str = TOKENS_PER_PARAM
    size: Param | None = None
    tilt: Param | None = None

    def __post_init__(self) -> None:
        _positive("a misfit", {"size": self.size, "tilt": self.tilt})

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each hyperparameter, by the name of its site."""
        tilt = {"misfit_tilt": self.tilt} if self.tilt else {}
        return {"misfit_size": self.size or _MISFIT} | tilt


@dataclass(frozen=True)
class RunEffect:
    """A discrepancy that the rows of one run share, ``Normal(0, effect_size^2)``: for tables of checkpoints.

    A run that was fitted keeps its effect in forecasts, a new one draws its own. Effects of several columns add up:
    ``(RunEffect(), RunEffect(by="evaluation"))`` where runs were also scored on one of a few evaluation samples.

    Parameters
    ----------
    by : str
        Column that says which run a row is of, or which seed, machine or evaluation sample it shares with others. The size is
        reported as ``effect_size``, of another column than ``run`` as ``effect_size_<column>``.
    size : Param, optional
        Prior of the standard deviation, in log units; by default ``LogNormal(log 0.005, 1)``.
    """

    by: str = "run"
    size: Param | None = None

    def __post_init__(self) -> None:
        _positive("a run effect", {"size": self.size})
        if not isinstance(self.by, str) or not self.by:
            raise SpecError(f"a run effect is by the name of a column, got {self.by!r}")

    @property
    def site(self) -> str:
        """Name of the standard deviation."""
        return "effect_size" if self.by == "run" else f"effect_size_{self.by}"

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each hyperparameter, by the name of its site."""
        return {self.site: self.size or _EFFECT}


Discrepancy = SlopeDrift | SmoothMisfit | RunEffect


def parts_of(discrepancy: object) -> tuple[Discrepancy, ...]:
    """The parts of a discrepancy: none, one, or several that add up.

    Raises
    ------
    SpecError
        When something else is among them, or a kind comes twice: effects, when by one column.
    """
    given = () if discrepancy is None else discrepancy if isinstance(discrepancy, tuple | list) else (discrepancy,)
    wrong = [type(part).__name__ for part in given if not isinstance(part, Discrepancy)]
    if wrong:
        raise SpecError(f"discrepancy is a SlopeDrift, a SmoothMisfit, a RunEffect or a tuple of them, got {', '.join(wrong)}")
    kinds = [f"RunEffect(by={part.by!r})" if isinstance(part, RunEffect) else type(part).__name__ for part in given]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise SpecError(f"discrepancy: {', '.join(twice)} is there more than once")

    def place(part: Discrepancy) -> tuple[int, str]:
        return [SlopeDrift, SmoothMisfit, RunEffect].index(type(part)), part.by if isinstance(part, RunEffect) else ""

    return tuple(sorted(given, key=place))


def sample_sizes(parts: tuple[Discrepancy, ...], priors: dict[str, Any]) -> dict[str, Any]:
    """Sample the hyperparameters of all parts, by the name of their sites."""
    names = [name for part in parts for name in part.priors]
    return {n: numpyro.sample(n, dist.LogNormal(priors[n].loc, priors[n].scale)) for n in names}


def mean_slope(xp: Any, fall: Any, span: Any) -> Any:
    """Size of a law's mean slope over a curve, from its fall in log and the curve's span in log scale."""
    return xp.sqrt(fall**2 + 1e-12) / xp.maximum(span, LEAST_SPAN)

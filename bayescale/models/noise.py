"""How runs scatter about the law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from bayescale.core.errors import SpecError
from bayescale.laws.param import Param

Scale = Literal["log", "plain"]

#: A tenth to ten times one per cent of the response covers digitised figures (0.4 %) and single seeds (1 to 3 %).
_LOG_SIGMA = Param.positive(0.01, 1.0, doc="noise, as a fraction of the response")
#: Points of one learning curve scatter by 0.8 %, within a factor of 2.7 (benchmarks/extrapolation/hyperpriors.py).
CURVE_SIGMA = Param.positive(0.0076, 1.0, doc="noise of a point of a curve, as a fraction of the response")
_TAILS = Param.positive(13.0, 0.8, doc="degrees of freedom")
_PLAIN_SIGMA = Param.positive(0.02, 1.5, unit="response", doc="noise, in units of the response")


def _check(on: str, sigma: Param | None) -> None:
    if on not in ("log", "plain"):
        raise SpecError(f"noise is on the 'log' or the 'plain' scale of the response, got {on!r}")
    if sigma is not None and sigma.link != "log":
        raise SpecError("the prior of sigma is a Param.positive(median, log_sd)")


@dataclass(frozen=True)
class StudentT:
    """Student-t errors: ``log y = log f + e`` (or ``y = f + e``), ``e ~ t(nu, 0, sqrt(sigma^2 + se^2))``.

    Parameters
    ----------
    on : {"log", "plain"}
        Scale on which errors add; ``"plain"`` for a response that may be negative.
    sigma : Param, optional
        Prior of the scale: by default 1 % of the response within a factor of e.
    df : float, optional
        Fixed degrees of freedom; by default estimated, ``nu ~ LogNormal(log 13, 0.8)``: the quantiles of the
        Gamma(2, 0.1) of :cite:t:`juarez2010`, and, unlike it, drawn without a rejection loop, which takes seconds to compile.
    """

    on: Scale = "log"
    sigma: Param | None = None
    df: float | None = None

    def __post_init__(self) -> None:
        _check(self.on, self.sigma)
        if self.df is not None and not self.df > 0:
            raise SpecError(f"degrees of freedom are positive, got {self.df}")

    @property
    def prior(self) -> Param:
        """Prior of the scale."""
        return self.sigma or (_LOG_SIGMA if self.on == "log" else _PLAIN_SIGMA)

    def tails(self) -> Any:
        """Sample (or give) the degrees of freedom; outside the plate of runs, which share them."""
        return _sample_tails() if self.df is None else self.df

    def errors(self, loc: Any, sigma: Any, tails: Any) -> Any:
        """Distribution of the response about ``loc``, both on the noise's own scale."""
        return dist.StudentT(tails, loc, sigma)

    def draw(self, rng: np.random.Generator, sigma: Any, nu: Any) -> Any:
        """Errors of new runs on the noise's own scale; ``nu`` broadcasts against ``sigma``."""
        tails: Any = self.df if nu is None else nu
        return sigma * rng.standard_t(np.broadcast_to(tails, np.broadcast_shapes(np.shape(sigma), np.shape(tails))))


@dataclass(frozen=True)
class Gaussian:
    """Normal errors: ``log y = log f + e`` (or ``y = f + e``), ``e ~ Normal(0, sqrt(sigma^2 + se^2))``.

    Parameters
    ----------
    on : {"log", "plain"}
        Scale on which errors add; ``"plain"`` for a response that may be negative.
    sigma : Param, optional
        Prior of the scale: by default 1 % of the response within a factor of e.
    """

    on: Scale = "log"
    sigma: Param | None = None

    def __post_init__(self) -> None:
        _check(self.on, self.sigma)

    @property
    def prior(self) -> Param:
        """Prior of the scale."""
        return self.sigma or (_LOG_SIGMA if self.on == "log" else _PLAIN_SIGMA)

    def tails(self) -> Any:
        """A normal has no tails to estimate."""
        return None

    def errors(self, loc: Any, sigma: Any, tails: Any) -> Any:
        """Distribution of the response about ``loc``, both on the noise's own scale."""
        return dist.Normal(loc, sigma)

    def draw(self, rng: np.random.Generator, sigma: Any, nu: Any) -> Any:
        """Errors of new runs on the noise's own scale (``nu`` is not used: a normal has none)."""
        return sigma * rng.standard_normal(np.shape(sigma))


@dataclass(frozen=True)
class BestSoFar:
    """The runs of a curve are the best so far of noisy evaluations; what is forecast is a raw evaluation.

    ``log y = log f + e``, ``e ~ Normal(0, sigma^2)`` for every evaluation; a row is the minimum of all until then. Between two
    rows there were as many evaluations as the smallest step of the axis fits between them, each independent.

    Parameters
    ----------
    sigma : Param, optional
        Prior of the scale: by default 0.8 % of the response within a factor of 2.7.
    raw : float
        A new evaluation scatters by so many times the noise that the minima let infer: successive evaluations are alike, and
        the minima show only the part in which they are not.
    """

    sigma: Param | None = None
    raw: float = 1.4

    def __post_init__(self) -> None:
        _check(self.on, self.sigma)
        if not self.raw >= 1:
            raise SpecError(f"a raw evaluation scatters at least as much as a minimum: raw is at least 1, got {self.raw}")

    @property
    def on(self) -> Scale:
        """The noise adds to the logarithm."""
        return "log"

    @property
    def prior(self) -> Param:
        """Prior of the scale."""
        return self.sigma or CURVE_SIGMA

    def tails(self) -> Any:
        """A normal has no tails to estimate."""
        return None

    def draw(self, rng: np.random.Generator, sigma: Any, nu: Any) -> Any:
        """Errors of new evaluations on the logarithm."""
        return self.raw * sigma * rng.standard_normal(np.shape(sigma))


def _sample_tails() -> Any:
    return numpyro.sample("nu", dist.LogNormal(_TAILS.loc, _TAILS.scale))


Noise = StudentT | Gaussian | BestSoFar


def observe(noise: StudentT | Gaussian, response: str, loc: Any, sigma: Any, tails: Any, y: Any) -> None:
    """Sample the site of the response, as given: on the log scale its likelihood has the Jacobian of the logarithm."""
    errors = noise.errors(loc, sigma, tails)
    if noise.on == "log":
        errors = dist.TransformedDistribution(errors, dist.transforms.ExpTransform())
    numpyro.sample(response, errors, obs=y)


def to_noise_scale(noise: Noise, value: Any) -> Any:
    """The response on the scale on which the noise adds (arrays of JAX or NumPy)."""
    if noise.on == "plain":
        return value
    return (np if isinstance(value, np.ndarray | float) else jnp).log(value)


def from_noise_scale(noise: Noise, value: np.ndarray) -> np.ndarray:
    """Back from the scale on which the noise adds; a tail beyond the largest float is infinite."""
    with np.errstate(over="ignore"):
        return value if noise.on == "plain" else np.exp(value)

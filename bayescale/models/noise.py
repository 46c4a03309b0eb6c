"""How runs scatter about the law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import ndtri

from bayescale.core.errors import SpecError
from bayescale.laws.param import Param

Scale = Literal["log", "plain"]

#: A tenth to ten times one per cent of the response covers digitised figures (0.4 %) and single seeds (1 to 3 %).
_LOG_SIGMA = Param.positive(0.01, 1.0, doc="noise, as a fraction of the response")
#: Points of one learning curve scatter by 0.8 %, within a factor of 2.7 (benchmarks/extrapolation/hyperpriors.py).
CURVE_SIGMA = Param.positive(0.0076, 1.0, doc="noise of a point of a curve, as a fraction of the response")
_TAILS = Param.positive(13.0, 0.8, doc="degrees of freedom")
_PLAIN_SIGMA = Param.positive(0.02, 1.5, unit="response", doc="noise, in units of the response")


#: How the prior of each is made, by the link that it has.
_MADE_BY = {
    "log": "Param.positive(median, log_sd)",
    "identity": "Param.real(mean, sd)",
    "logit": "Param.fraction(median, logit_sd)",
}


def _check(on: str, sigma: Param | None, trend: object = None, memory: object = None, rounding: object = None) -> None:
    if on not in ("log", "plain"):
        raise SpecError(f"noise is on the 'log' or the 'plain' scale of the response, got {on!r}")
    for name, prior, link in (("sigma", sigma, "log"), ("trend", trend, "identity"), ("memory", memory, "logit")):
        if prior is not None and (not isinstance(prior, Param) or prior.link != link):
            raise SpecError(f"the prior of {name} is a {_MADE_BY[link]}, got {prior!r}")
    if rounding is not None and not (_is_number(rounding) and 0 < float(rounding) < np.inf):
        raise SpecError(
            f"rounding is the step to which responses were rounded, a number above 0 such as 0.01, got {rounding!r}"
        )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _priors(sigma: Param, trend: Param | None, memory: Param | None) -> dict[str, Param]:
    more = {"noise_trend": trend, "noise_memory": memory}
    return {"sigma": sigma} | {name: prior for name, prior in more.items() if prior is not None}


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
    trend : Param, optional
        Prior of ``h``, of either sign (``Param.real(0, 0.1)``), with which the scale of a row is ``sigma (x / x_ref)^-h``:
        noise that falls (or rises) along the axis of the drift, else that of a law of one variable, else ``flops``. ``x_ref``
        is the geometric mean of the reference runs, where the scale is ``sigma``. By default it is the same at all scales.
    memory : Param, optional
        Prior of ``rho``, between 0 and 1 (``Param.fraction(0.5, 1)``), with which the errors of consecutive rows of one ``run``
        (of one curve where the table has no such column), ordered along the same axis, are correlated:
        ``e_i / s_i = rho e_{i-1} / s_{i-1} + sqrt(1 - rho^2) w_i``, ``s`` the scale of a row and ``w`` of the stated tails.
        Forecasts are of runs of their own, with errors of scale ``s``: what the last checkpoint is remembered for is forgotten
        a few checkpoints on. By default rows are independent.
    rounding : float, optional
        The responses were rounded to a multiple of this: adds ``rounding^2 / 12`` to the variance of each fitted row, which is
        Sheppard's correction :cite:p:`sheppard1898`, and nothing to forecasts.
    """

    on: Scale = "log"
    sigma: Param | None = None
    df: float | None = None
    trend: Param | None = None
    memory: Param | None = None
    rounding: float | None = None

    def __post_init__(self) -> None:
        _check(self.on, self.sigma, self.trend, self.memory, self.rounding)
        if self.df is not None and not self.df > 0:
            raise SpecError(f"degrees of freedom are positive, got {self.df}")

    @property
    def prior(self) -> Param:
        """Prior of the scale."""
        return self.sigma or (_LOG_SIGMA if self.on == "log" else _PLAIN_SIGMA)

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each parameter but the tails, by the name that it is reported under."""
        return _priors(self.prior, self.trend, self.memory)

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
    trend : Param, optional
        Prior of ``h``, of either sign (``Param.real(0, 0.1)``), with which the scale of a row is ``sigma (x / x_ref)^-h``:
        noise that falls (or rises) along the axis of the drift, else that of a law of one variable, else ``flops``. ``x_ref``
        is the geometric mean of the reference runs, where the scale is ``sigma``. By default it is the same at all scales.
    memory : Param, optional
        Prior of ``rho``, between 0 and 1 (``Param.fraction(0.5, 1)``), with which the errors of consecutive rows of one ``run``
        (of one curve where the table has no such column), ordered along the same axis, are correlated:
        ``e_i / s_i = rho e_{i-1} / s_{i-1} + sqrt(1 - rho^2) w_i``, ``s`` the scale of a row and ``w`` of a normal.
        Forecasts are of runs of their own, with errors of scale ``s``: what the last checkpoint is remembered for is forgotten
        a few checkpoints on. By default rows are independent.
    rounding : float, optional
        The responses were rounded to a multiple of this: adds ``rounding^2 / 12`` to the variance of each fitted row, which is
        Sheppard's correction :cite:p:`sheppard1898`, and nothing to forecasts.
    """

    on: Scale = "log"
    sigma: Param | None = None
    trend: Param | None = None
    memory: Param | None = None
    rounding: float | None = None

    def __post_init__(self) -> None:
        _check(self.on, self.sigma, self.trend, self.memory, self.rounding)

    @property
    def prior(self) -> Param:
        """Prior of the scale."""
        return self.sigma or (_LOG_SIGMA if self.on == "log" else _PLAIN_SIGMA)

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each parameter but the tails, by the name that it is reported under."""
        return _priors(self.prior, self.trend, self.memory)

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

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each parameter, by the name that it is reported under."""
        return {"sigma": self.prior}

    def tails(self) -> Any:
        """A normal has no tails to estimate."""
        return None

    def draw(self, rng: np.random.Generator, sigma: Any, nu: Any) -> Any:
        """Errors of new evaluations on the logarithm."""
        return self.raw * sigma * rng.standard_normal(np.shape(sigma))


@dataclass(frozen=True)
class BestOf:
    """A row is the best of a sweep: the lowest of as many runs as were tried there, say at several learning rates.

    ``log y = log f + min(e_1, ..., e_K)``, ``e_k ~ Normal(0, sigma^2 + se^2)``: with ``z`` a row's distance from the law in
    units of that scale ``s``, its density is ``K phi(z) (1 - Phi(z))^(K-1) / s``, of the lowest order statistic. The law is
    what a single run is expected to reach, and a forecast is of a single new run; where ``at`` has a column of tries, it is of
    the best of so many.

    Parameters
    ----------
    tries : str or number
        The column that says how many runs a row is the best of, or one number for all of them; at least 1.
    sigma : Param, optional
        Prior of the scale of a single run: by default 1 % of the response within a factor of e.
    """

    tries: str | float = "tries"
    sigma: Param | None = None

    def __post_init__(self) -> None:
        _check(self.on, self.sigma)
        named = isinstance(self.tries, str) and bool(self.tries)
        if not named and not (_is_number(self.tries) and 1 <= float(self.tries) < np.inf):
            raise SpecError(f"tries is the name of a column, or a number of at least 1, got {self.tries!r}")

    @property
    def on(self) -> Scale:
        """The noise adds to the logarithm."""
        return "log"

    @property
    def column(self) -> str:
        """The column of tries, of the runs where it names one, and of the points of a forecast."""
        return self.tries if isinstance(self.tries, str) else "tries"

    @property
    def prior(self) -> Param:
        """Prior of the scale."""
        return self.sigma or _LOG_SIGMA

    @property
    def priors(self) -> dict[str, Param]:
        """Prior of each parameter, by the name that it is reported under."""
        return {"sigma": self.prior}

    def tails(self) -> Any:
        """A normal has no tails to estimate."""
        return None

    def draw(self, rng: np.random.Generator, sigma: Any, nu: Any, tries: Any = 1.0) -> Any:
        """Errors of the best of ``tries`` new runs each, on the logarithm: quantiles of the lowest of so many normals."""
        below = -np.expm1(np.log1p(-rng.uniform(size=np.shape(sigma))) / tries)
        # A uniform draw of 0 would be infinitely low.
        return sigma * ndtri(np.maximum(below, np.finfo(float).tiny))


def _sample_tails() -> Any:
    return numpyro.sample("nu", dist.LogNormal(_TAILS.loc, _TAILS.scale))


Noise = StudentT | Gaussian | BestSoFar | BestOf

#: Rows that are the lowest of several.
Minima = BestSoFar | BestOf


def sample_scale(noise: Noise, priors: Mapping[str, Any], log_ratio: Any) -> tuple[Any, Any]:
    """Sample the scale of the noise at each row, before known errors add to it, and its memory (None where it has none).

    Parameters
    ----------
    log_ratio : float array (run,), optional
        Logarithm of the axis over its reference; None where the noise does not change along it.
    """
    sigma = numpyro.sample("sigma", dist.LogNormal(priors["sigma"].loc, priors["sigma"].scale))
    if "noise_trend" in noise.priors:
        trend = numpyro.sample("noise_trend", dist.Normal(priors["noise_trend"].loc, priors["noise_trend"].scale))
        sigma = sigma * jnp.exp(-trend * log_ratio)
    if "noise_memory" not in noise.priors:
        return sigma, None
    # On its own scale, where no memory is so close to 1 that its logit is lost.
    prior = priors["noise_memory"]
    latent = numpyro.sample("noise_memory_latent", dist.Normal(prior.loc, prior.scale))
    return sigma, numpyro.deterministic("noise_memory", 1 / (1 + jnp.exp(-latent)))


def draw_errors(noise: Noise, rng: np.random.Generator, sigma: Any, nu: Any, tries: Any) -> Any:
    """Errors of new rows on the noise's own scale; ``tries`` is how many each is the best of, where it is a minimum."""
    if isinstance(noise, BestOf):
        return noise.draw(rng, sigma, nu, 1.0 if tries is None else tries)
    return noise.draw(rng, sigma, nu)


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
    with np.errstate(over="ignore"):  # infinite, as the docstring says
        return value if noise.on == "plain" else np.exp(value)

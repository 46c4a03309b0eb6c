"""Laws of one variable, called ``x``: a size, an amount of data, or compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from bayescale.laws.base import law
from bayescale.laws.param import Param
from bayescale.laws.saturation import saturating_share

#: Unit of levels that are stated in multiples of the fitted rows' median response.
RESPONSE = "response"


@law(
    cite="hestness2017",
    response="loss",
    A=Param.positive(1.0, 0.5, unit=RESPONSE, doc="response at the reference run", decays={"x": "alpha"}, above=()),
    alpha=Param.positive(0.2, 0.8, doc="exponent of x"),
)
def power_law(x: Any, *, A: Any, alpha: Any) -> Any:
    """Power law without a floor.

    ``y = A x^-alpha`` :cite:p:`hestness2017,kaplan2020`. ``A`` in multiples of the median response, ``alpha``
    dimensionless. Where there is a floor after all, the exponent comes out too small :cite:p:`alabdulmohsin2022`.
    The paper's constant at x = 1 is ``A x0^alpha``; Kaplan's scale is ``x_c = x0 A^(1/alpha)``.
    """
    return A * x**-alpha


@law(
    cite="henighan2020",
    response="loss",
    E=Param.positive(0.6, 0.5, unit=RESPONSE, doc="floor (irreducible loss)"),
    A=Param.positive(0.4, 0.7, unit=RESPONSE, doc="reducible loss at the reference run", decays={"x": "alpha"}, above=("E",)),
    alpha=Param.positive(0.3, 0.6, doc="exponent of x"),
)
def power_law_offset(x: Any, *, E: Any, A: Any, alpha: Any) -> Any:
    """Power law above a floor.

    ``y = E + A x^-alpha`` :cite:p:`henighan2020`. ``E`` and ``A`` in multiples of the median response, ``alpha``
    dimensionless. Data that do not bend cannot tell a small floor and exponent from a large floor and exponent: pool the
    floor over runs with one evaluation set.
    """
    return E + A * x**-alpha


@law(
    cite="zhai2022",
    response="error",
    E=Param.positive(0.4, 0.6, unit=RESPONSE, doc="floor (error of unlimited scale)"),
    A=Param.positive(0.6, 0.6, unit=RESPONSE, doc="reducible error at the reference run", decays={"x": "alpha"}, above=("E",)),
    alpha=Param.positive(0.35, 0.5, doc="exponent of x"),
    d=Param.positive(0.03, 1.5, doc="scale, as a ratio to the reference, below which nothing is learnt", group_sd=0.5),
)
def double_saturating(x: Any, *, E: Any, A: Any, alpha: Any, d: Any) -> Any:
    """Power law between a floor and the level of a model without training.

    ``y = E + A (x + d)^-alpha`` :cite:p:`zhai2022` (there c, a, b, d). ``E`` and ``A`` in multiples of the median
    response; ``d`` a ratio to the reference run, so the paper's is ``d x0`` and its amplitude ``A x0^alpha``. At x = 0 the
    response is ``E + A d^-alpha``. ``d`` is known from runs of scale near it alone; without them it stays at its prior.
    """
    return E + A * jnp.exp(-alpha * jnp.log(x + d))


@law(
    cite="alabdulmohsin2022",
    response="error",
    E=Param.positive(0.3, 0.7, unit=RESPONSE, doc="floor (error of unlimited scale)"),
    R=Param.positive(1.5, 0.5, unit=RESPONSE, doc="range: the level of guessing less the floor, so y_0 = E + R"),
    A=Param.positive(
        0.7, 1.0, doc="odds-like position between floor and guessing, at the reference run", decays={"x": "alpha"}, group_sd=0.5
    ),
    alpha=Param.positive(0.4, 0.7, doc="exponent of x"),
    a=Param.positive(1.0, 0.7, doc="how the curve leaves the level of guessing: 0 a power law, 1 a logistic in log x"),
)
def m4_saturating(x: Any, *, E: Any, R: Any, A: Any, alpha: Any, a: Any) -> Any:
    """Curve that leaves the level of guessing slowly and ends as a power law above a floor (M4).

    ``u / (1 - u)^a = A x^-alpha`` with ``u = (y - E)/R`` in (0, 1) :cite:p:`alabdulmohsin2022`. ``E``, ``R`` in multiples of
    the median response, the others dimensionless. In the paper's letters ``(y - y_inf)/(y_0 - y)^a = B x^-c`` with
    ``y_inf = E``, ``y_0 = E + R``, ``c = alpha`` and ``B = A R^(1-a) x0^alpha``: written with the range in place of
    ``y_0``, the levels cannot cross, and ``A`` has no unit. ``a = 1``: ``u = t/(1 + t)``, ``t = A x^-alpha``; ``a = 0``:
    ``u = t`` up to the level of guessing. The root is exact and its derivative implicit.
    """
    return E + R * saturating_share(jnp.log(A) - alpha * jnp.log(x), a)


def log_breaks(log_x: Any, breaks: Iterable[tuple[Any, Any, Any]]) -> Any:
    """Log of the product of smooth breaks, ``-sum_i c_i f_i softplus((log x - log d_i)/f_i)`` :cite:p:`caballero2023`.

    Parameters
    ----------
    log_x : array
        Log ratio to the reference run.
    breaks : iterable of (c, d, f)
        Of each break: the change of the log-log slope, the ratio to the reference where it lies, its width in log x.
    """
    return -sum(c * f * jax.nn.softplus((log_x - jnp.log(d)) / f) for c, d, f in breaks)


@law(
    cite="caballero2023",
    response="loss",
    E=Param.positive(0.4, 0.6, unit=RESPONSE, doc="limit (irreducible loss)"),
    # No `decays`: beyond the break A does not multiply x^-c0 alone, so the constant at x = 1 is not A x0^c0.
    A=Param.positive(0.6, 0.6, unit=RESPONSE, doc="reducible loss at the reference run"),
    c0=Param.real(0.2, 0.15, doc="exponent of x before the break", group_sd=0.1),
    c1=Param.real(0.15, 0.25, doc="change of the exponent at the break", group_sd=0.1),
    d=Param.positive(1.0, 2.5, doc="where the break lies, as a ratio to the reference run", group_sd=0.5),
    f=Param.positive(0.5, 0.7, doc="width of the break in log x; small is sharp"),
)
def bnsl(x: Any, *, E: Any, A: Any, c0: Any, c1: Any, d: Any, f: Any) -> Any:
    """Smoothly broken power law with one break: double descent, inverse scaling, late take-off.

    ``y = E + A x^-c0 [(1 + (x/d)^(1/f)) / (1 + d^(-1/f))]^(-c1 f)`` :cite:p:`caballero2023`. ``E`` and ``A`` in multiples of
    the median response; ``d`` a ratio to the reference run; the others dimensionless. The bracket is 1 at the reference, so
    that ``A`` is the reducible response there; the paper's (a, b, c_0, c_1, d_1, f_1) are ``a = E``, ``d_1 = d x0`` and
    ``b = A x0^c0 (1 + d^(-1/f))^(c1 f)``. Slope of log(y - E) against log x: ``-c0`` before, ``-(c0 + c1)`` after. With
    ``0 < -c0/c1 < 1`` it turns at ``log x = log d + f logit(-c0/c1)``. With less than a decade on both sides of the break
    ``c1`` and ``f`` are confounded. For a metric that rises, fit the error.
    """
    log_x, here = jnp.log(x), ((c1, d, f),)
    return E + A * jnp.exp(-c0 * log_x + log_breaks(log_x, here) - log_breaks(0.0, here))


@law(
    cite="caballero2023",
    response="error",
    level=Param.positive(1.0, 1.0, unit=RESPONSE, doc="response at the reference run", scales=True),
    floor=Param.fraction(0.66, 1.35, doc="share of the level that no scale removes"),
    bend=Param.real(-4.3, 1.9, doc="log scale, from the reference run, at which the plateau ends", group_sd=1.0),
    width=Param.positive(0.54, 0.56, doc="width of the bend, in log scale"),
    alpha=Param.positive(0.46, 0.6, doc="exponent beyond the bend", slope_along="x"),
)
def bent_power_law(x: Any, *, level: Any, floor: Any, bend: Any, width: Any, alpha: Any) -> Any:
    """Learning curve: a plateau, a power law, a floor.

    ``y = level [floor + (1 - floor) h(x) / h(1)]`` with ``h(x) = [1 + (x e^-bend)^(1/width)]^(-alpha width)``: the broken
    law of :cite:t:`caballero2023` with one break, from slope 0 to ``-alpha``, stated by its value at the reference run.
    ``level`` in multiples of the median response, the others dimensionless. The priors but that of ``level`` are the population
    of 46 learning curves' training parts (``benchmarks/extrapolation/hyperpriors.py``).
    """
    u = jnp.log(x)
    fall = jax.nn.softplus((u - bend) / width) - jax.nn.softplus(-bend / width)
    return level * (floor + (1 - floor) * jnp.exp(-alpha * width * fall))

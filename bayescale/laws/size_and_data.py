"""Laws of model size and training data."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bayescale.laws.base import law
from bayescale.laws.param import Param

NATS, RESPONSE = "nats/token", "response"


@law(
    cite="hoffmann2022",
    response="loss",
    E=Param.positive(1.8, 0.3, unit=NATS, doc="irreducible loss"),
    A=Param.positive(
        0.4, 0.7, unit=NATS, doc="loss from finite size, at the reference run", decays={"params": "alpha"}, above=("E", "B")
    ),
    B=Param.positive(
        0.4, 0.7, unit=NATS, doc="loss from finite data, at the reference run", decays={"tokens": "beta"}, above=("E",)
    ),
    alpha=Param.positive(0.35, 0.4, doc="exponent of params"),
    beta=Param.positive(0.35, 0.4, doc="exponent of tokens"),
)
def chinchilla(params: Any, tokens: Any, *, E: Any, A: Any, B: Any, alpha: Any, beta: Any) -> Any:
    """Loss of a dense transformer from its size and data, each as a ratio to the reference run.

    ``L(N, D) = E + A N^-alpha + B D^-beta`` :cite:p:`hoffmann2022`. ``E``, ``A``, ``B`` in nats a token, exponents
    dimensionless; the classical constants are ``A N0^alpha`` and ``B D0^beta``. Where tokens span less than two decades,
    ``E``, ``B`` and ``beta`` are hard to tell apart.
    """
    return E + A * params**-alpha + B * tokens**-beta


@law(
    cite="kaplan2020",
    response="loss",
    A=Param.positive(2.5, 0.4, unit=NATS, doc="loss at the reference size with unlimited data", decays={"params": "alpha"}),
    B=Param.positive(2.2, 0.4, unit=NATS, doc="loss at the reference data with unlimited size", decays={"tokens": "beta"}),
    alpha=Param.positive(0.1, 0.6, doc="exponent of params"),
    beta=Param.positive(0.1, 0.6, doc="exponent of tokens"),
)
def kaplan_nd(params: Any, tokens: Any, *, A: Any, B: Any, alpha: Any, beta: Any) -> Any:
    """Loss from size and data without a floor; whichever is scarce decides.

    ``L(N, D) = [(A N^-alpha)^(1/beta) + (B D^-beta)^(1/beta)]^beta`` :cite:p:`kaplan2020`: the paper's
    ``[(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D`` with ``alpha = alpha_N``, ``beta = alpha_D``,
    ``A = (N_c/N0)^alpha_N`` and ``B = (D_c/D0)^alpha_D`` in nats a token. The paper counts non-embedding parameters, and
    distinct tokens of runs stopped early. Computed in logs: 1/beta is about ten.
    """
    return jnp.exp(_power_mean(A, B, params, tokens, alpha, beta, beta))


@law(
    cite="videau2026",
    response="loss",
    E=Param.positive(1.8, 0.3, unit=NATS, doc="irreducible loss"),
    A=Param.positive(0.4, 0.7, unit=NATS, doc="loss from finite size alone, at the reference run", decays={"params": "alpha"}),
    B=Param.positive(0.4, 0.7, unit=NATS, doc="loss from finite data alone, at the reference run", decays={"tokens": "beta"}),
    alpha=Param.positive(0.35, 0.4, doc="exponent of params"),
    beta=Param.positive(0.35, 0.4, doc="exponent of tokens"),
    q=Param.positive(0.8, 0.5, doc="how size and data combine: 1 adds them, towards 0 the scarcer alone decides"),
)
def nd_bridge(params: Any, tokens: Any, *, E: Any, A: Any, B: Any, alpha: Any, beta: Any, q: Any) -> Any:
    """Law that holds Chinchilla's and Kaplan's as special cases, to compare them.

    ``L(N, D) = E + [(A N^-alpha)^(1/q) + (B D^-beta)^(1/q)]^q``. ``E``, ``A``, ``B`` in nats a token, the others
    dimensionless. ``q = 1`` is :cite:t:`hoffmann2022`; ``E = 0``, ``q = beta`` is :cite:t:`kaplan2020`. ``q`` is weakly
    identified without runs of very unequal size and data. Computed in logs.
    """
    return E + jnp.exp(_power_mean(A, B, params, tokens, alpha, beta, q))


@law(
    cite="videau2026",
    response="loss",
    level=Param.positive(1.0, 0.5, unit=RESPONSE, doc="response at the reference run", scales=True),
    floor=Param.fraction(0.67, 1.0, doc="share of the level that no scale removes"),
    share=Param.fraction(0.5, 1.5, doc="share of size in what is left, that of data being the rest, when they add up"),
    q=Param.positive(0.74, 0.4, doc="how size and data combine: 1 adds them, towards 0 the scarcer alone decides"),
    alpha=Param.positive(0.33, 0.25, doc="exponent of params", slope_along="params"),
    beta=Param.positive(0.33, 0.25, doc="exponent of tokens", slope_along="tokens"),
)
def coupled_power_law(params: Any, tokens: Any, *, level: Any, floor: Any, share: Any, q: Any, alpha: Any, beta: Any) -> Any:
    """Law of size and data that couples them, in any unit: ``nd_bridge``, stated by its level and shares at the reference run.

    ``y = level [floor + (1 - floor) (share N^(-alpha/q) + (1 - share) D^(-beta/q))^q]`` :cite:p:`videau2026`. ``level`` in
    multiples of the median response, the others dimensionless. It is ``nd_bridge`` with ``E = level floor``,
    ``A = level (1 - floor) share^q`` and ``B = level (1 - floor) (1 - share)^q``.
    """
    size = jnp.log(share) - alpha * jnp.log(params) / q
    data = jnp.log1p(-share) - beta * jnp.log(tokens) / q
    return level * (floor + (1 - floor) * jnp.exp(q * jnp.logaddexp(size, data)))


@law(
    cite="muennighoff2023",
    response="loss",
    absolute=("epochs",),
    level=Param.positive(1.0, 0.5, unit=RESPONSE, doc="response at the reference run, were its tokens all new", scales=True),
    floor=Param.fraction(0.67, 1.0, doc="share of the level that no scale removes"),
    share=Param.fraction(0.5, 1.5, doc="share of size in what is left, that of data being the rest, when they add up"),
    q=Param.positive(0.74, 0.4, doc="how size and data combine: 1 adds them, towards 0 the scarcer alone decides"),
    alpha=Param.positive(0.33, 0.25, doc="exponent of params", slope_along="params"),
    beta=Param.positive(0.33, 0.25, doc="exponent of tokens", slope_along="tokens"),
    lasting=Param.positive(15.0, 0.7, doc="epochs in which repeating the data loses most of its worth"),
)
def repeated_power_law(
    params: Any, tokens: Any, epochs: Any, *, level: Any, floor: Any, share: Any, q: Any, alpha: Any, beta: Any, lasting: Any
) -> Any:
    """Law of size and repeated data: ``coupled_power_law`` of the tokens that the repeated ones are worth.

    ``D' = U + U R [1 - exp(-(epochs - 1) / R)]`` with ``U = tokens / epochs`` unique tokens and ``R`` the ``lasting`` epochs
    :cite:p:`muennighoff2023`; what too many parameters lose, their second term, is left out. ``epochs`` is taken as it is, at
    least 1. ``level`` in multiples of the median response, the others dimensionless.
    """
    worth = (1 - lasting * jnp.expm1(-(epochs - 1) / lasting)) / epochs
    return coupled_power_law(params, tokens * worth, level=level, floor=floor, share=share, q=q, alpha=alpha, beta=beta)


def _power_mean(A: Any, B: Any, params: Any, tokens: Any, alpha: Any, beta: Any, q: Any) -> Any:
    """``q log[(A N^-alpha)^(1/q) + (B D^-beta)^(1/q)]``."""
    size = jnp.log(A) - alpha * jnp.log(params)
    data = jnp.log(B) - beta * jnp.log(tokens)
    return q * jnp.logaddexp(size / q, data / q)


@law(
    cite="gadre2024",
    response="loss",
    E=Param.positive(1.8, 0.3, unit=NATS, doc="irreducible loss"),
    # No `decays` for A: it multiplies flops^-eta, but tokens_per_param^+eta, which `decays` cannot say.
    A=Param.positive(0.4, 0.7, unit=NATS, doc="loss from finite size, at the reference run"),
    B=Param.positive(
        0.4,
        0.7,
        unit=NATS,
        doc="loss from finite data, at the reference run",
        decays={"flops": "eta", "tokens_per_param": "eta"},
    ),
    eta=Param.positive(0.175, 0.4, doc="exponent of flops; half of chinchilla's alpha = beta"),
)
def gadre_overtrain(flops: Any, tokens_per_param: Any, *, E: Any, A: Any, B: Any, eta: Any) -> Any:
    """Loss from compute and over-training, for runs with far more tokens than is compute-optimal.

    ``L(C, M) = E + (A M^eta + B M^-eta) C^-eta`` with ``M = D/N`` :cite:p:`gadre2024`. ``E``, ``A``, ``B`` in nats a token;
    the paper's ``a = A C0^eta M0^-eta`` and ``b = B C0^eta M0^eta``. It is ``chinchilla`` with ``alpha = beta = 2 eta``. The
    loss is least at ``M = M0 (B/A)^(1/(2 eta))`` and flat about it.
    """
    return E + (A * tokens_per_param**eta + B * tokens_per_param**-eta) * flops**-eta

"""Laws of data that are seen more than once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bayescale.laws.base import law
from bayescale.laws.param import Param

NATS = "nats/token"

#: Width, in log size, of the bend at the size that the unique data can feed: the paper's minimum has a kink there.
BEND = 0.1


@law(
    cite="muennighoff2023",
    response="loss",
    absolute=("epochs",),
    E=Param.positive(1.8, 0.3, unit=NATS, doc="irreducible loss"),
    A=Param.positive(0.4, 0.7, unit=NATS, doc="loss from finite size, at the reference run, were its data all new"),
    B=Param.positive(0.4, 0.7, unit=NATS, doc="loss from finite data, at the reference run, were they all new"),
    alpha=Param.positive(0.35, 0.4, doc="exponent of params"),
    beta=Param.positive(0.35, 0.4, doc="exponent of tokens"),
    lasting=Param.positive(15.0, 0.7, doc="epochs in which repeating the data loses most of its worth"),
    excess=Param.positive(5.0, 0.7, doc="sizes beyond what the data can feed in which more size loses most of its worth"),
)
def data_constrained(
    params: Any, tokens: Any, epochs: Any, *, E: Any, A: Any, B: Any, alpha: Any, beta: Any, lasting: Any, excess: Any
) -> Any:
    """Loss where data are repeated and the size may exceed what they can feed.

    ``L = E + A N'^-alpha + B D'^-beta`` :cite:p:`muennighoff2023`. Repeated tokens are worth less, ``D' = U + U R [1 -
    exp(-(epochs - 1) / R)]`` with ``U = tokens / epochs`` and ``R`` the ``lasting`` epochs (their R_D*); so is size beyond
    the ``N_u`` that is compute-optimal for ``U``, ``N' = N_u + N_u R [1 - exp(-(N / N_u - 1) / R)]`` with ``R`` the
    ``excess`` (R_N*). ``N_u = min(N, G U^(beta/alpha))``, ``G = (alpha A / (beta B))^(1/alpha)``, the minimum rounded over
    a tenth in log size. ``epochs`` is taken as it is, at least 1. ``E``, ``A``, ``B`` in nats a token, the others
    dimensionless; the classical constants are ``A N0^alpha`` and ``B D0^beta``. Without runs of many epochs ``lasting``
    stays at its prior, and ``excess`` without large models on few data.
    """
    log_unique = jnp.log(tokens) - jnp.log(epochs)
    log_fed = (jnp.log(alpha * A) - jnp.log(beta * B) + beta * log_unique) / alpha
    log_params = jnp.log(params)
    # Beyond e^30 sizes more nothing changes but the gradient, which would be 0 times infinity.
    over = jnp.minimum(BEND * jax.nn.softplus((log_params - log_fed) / BEND), 30.0)
    size = log_params - over + jnp.log1p(-excess * jnp.expm1(-jnp.expm1(over) / excess))
    data = log_unique + jnp.log1p(-lasting * jnp.expm1(-(epochs - 1) / lasting))
    return E + A * jnp.exp(-alpha * size) + B * jnp.exp(-beta * data)

"""The root that the M4 law is defined by, exact and differentiable."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

#: Newton needs ten steps at most for a from 0.001 to 1000; the loop ends when all elements have settled.
MAX_STEPS = 40


def saturating_share(t: Any, a: Any) -> Any:
    """Solve ``log u - a log(1 - u) = t`` for ``u`` in (0, 1) :cite:p:`alabdulmohsin2022`.

    Parameters
    ----------
    t : array
        Log of the right side; broadcasts with ``a``.
    a : array
        Exponent, at least 0. ``a = 1``: ``u = expit(t)``. ``a = 0``: ``u = exp(t)``, held at 1 from ``t = 0`` on.

    Returns
    -------
    array
        ``u``, differentiable to any order: ``du/dt = 1 / (1/u + a/(1-u))``.
    """
    return jax.nn.sigmoid(_root(t, a))


@jax.custom_jvp
def _root(t: Any, a: Any) -> Any:
    """``z = logit u``, the root of ``g(z) = z + (a - 1) softplus(z) = t``.

    ``g`` rises with slope ``(1 - u) + a u`` and is convex for a > 1, concave for a < 1. The asymptotes ``g = z`` and
    ``g = a z`` lie on one side of it, so from the nearer one Newton runs to the root from one side and cannot overshoot;
    for a = 1 the start is the root. ``z`` is held where the sigmoid still has a slope in the arithmetic used.
    """
    kind = jnp.result_type(t, a, float)
    t, a = jnp.asarray(t, kind), jnp.asarray(a, kind)
    tiny, eps = np.finfo(kind).tiny, np.finfo(kind).eps
    far, enough = -0.9 * np.log(tiny), 8 * eps
    start = jnp.clip(jnp.where(t > 0, t / jnp.maximum(a, tiny), t), -far, far)

    def step(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        count, z, _ = state
        gap = t - z - (a - 1) * jax.nn.softplus(z)
        new = jnp.clip(z + gap / (jax.nn.sigmoid(-z) + a * jax.nn.sigmoid(z)), -far, far)
        return count + 1, new, jnp.any(jnp.abs(new - z) > enough * (1 + jnp.abs(z)))

    def go_on(state: tuple[Any, Any, Any]) -> Any:
        return (state[0] < MAX_STEPS) & state[2]

    first = (jnp.asarray(0), start + jnp.zeros_like(a), jnp.asarray(True))
    return lax.while_loop(go_on, step, first)[1]


@_root.defjvp
def _root_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """Implicit differentiation: ``(dt - softplus(z) da) / g'(z)``."""
    (t, a), (dt, da) = primals, tangents
    z = _root(t, a)
    return z, (dt - jax.nn.softplus(z) * da) / (jax.nn.sigmoid(-z) + a * jax.nn.sigmoid(z))

"""Laws of how a model is trained: learning rate and batch."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bayescale.laws.base import law
from bayescale.laws.param import Param
from bayescale.laws.size_and_data import coupled_power_law


@law(
    cite="li2025",
    response="loss",
    absolute=("learning_rate",),
    level=Param.positive(1.0, 0.5, unit="response", doc="response at the reference size and data, best trained", scales=True),
    floor=Param.fraction(0.67, 1.0, doc="share of the level that no scale removes"),
    share=Param.fraction(0.5, 1.5, doc="share of size in what is left, that of data being the rest, when they add up"),
    q=Param.positive(0.74, 0.6, doc="how size and data combine: 1 adds them, towards 0 the scarcer alone decides"),
    alpha=Param.positive(0.33, 0.25, doc="exponent of params", slope_along="params"),
    beta=Param.positive(0.33, 0.25, doc="exponent of tokens", slope_along="tokens"),
    rate=Param.positive(0.002, 1.0, doc="best learning rate at the reference size, data and batch"),
    rate_params=Param.real(-0.6, 0.3, doc="exponent with which the best learning rate goes with params", group_sd=0.1),
    rate_tokens=Param.real(0.25, 0.25, doc="exponent with which it goes with tokens", group_sd=0.1),
    rate_batch=Param.real(0.3, 0.3, doc="exponent with which it goes with the batch", group_sd=0.1),
    best_batch=Param.positive(1.0, 1.0, doc="best batch at the reference data, as a ratio to the reference"),
    batch_tokens=Param.real(0.55, 0.2, doc="exponent with which the best batch goes with tokens", group_sd=0.1),
    rate_cost=Param.positive(0.01, 1.0, doc="share of the response lost a unit of log learning rate, squared, off the best"),
    rate_skew=Param.positive(0.5, 0.7, doc="how much faster the loss rises above the best learning rate than below it"),
    batch_cost=Param.positive(0.005, 1.0, doc="share lost a unit of log batch, squared, off the best, at the best rate for it"),
)
def learning_rate_batch(
    params: Any,
    tokens: Any,
    learning_rate: Any,
    batch: Any,
    *,
    level: Any,
    floor: Any,
    share: Any,
    q: Any,
    alpha: Any,
    beta: Any,
    rate: Any,
    rate_params: Any,
    rate_tokens: Any,
    rate_batch: Any,
    best_batch: Any,
    batch_tokens: Any,
    rate_cost: Any,
    rate_skew: Any,
    batch_cost: Any,
) -> Any:
    """Loss over size, data, learning rate and batch: a bowl in the logarithms of the last two that moves with the first two.

    ``y = c(N, D) (1 + rate_cost w + batch_cost v^2)`` with ``c`` the ``coupled_power_law`` of size and data, ``v = log B -
    log best_batch - batch_tokens log D``, ``u = log lr - log rate - rate_params log N - rate_tokens log D - rate_batch v``
    and ``w = 2 (e^(s u) - 1 - s u) / s^2``, ``s`` the ``rate_skew``: ``u^2`` near the best learning rate, steeper above.
    That the best learning rate and batch are powers of size and data is :cite:t:`li2025`'s; the bowl about them is ours.
    ``learning_rate`` is taken as it is; ``level`` in multiples of the median response, the others dimensionless.
    """
    log_params, log_tokens = jnp.log(params), jnp.log(tokens)
    v = jnp.log(batch) - jnp.log(best_batch) - batch_tokens * log_tokens
    best = jnp.log(rate) + rate_params * log_params + rate_tokens * log_tokens + rate_batch * v
    # Prior draws may lie so far off that the exponential overflows; no run that anybody keeps is a hundred times too costly.
    s = jnp.minimum(rate_skew * (jnp.log(learning_rate) - best), 20.0)
    bowl = 2 * (jnp.expm1(s) - s) / rate_skew**2
    base = coupled_power_law(params, tokens, level=level, floor=floor, share=share, q=q, alpha=alpha, beta=beta)
    return base * (1 + rate_cost * bowl + batch_cost * v**2)

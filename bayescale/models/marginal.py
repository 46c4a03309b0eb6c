"""The runs' joint density with the drift integrated out, by a filter along each curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc

from bayescale.models import running_minimum
from bayescale.models.kalman import Drift, State, begin, log_normal_density, move, update
from bayescale.models.design import Path


def log_marginal(path: Path, y: Any, law: Any, sd: Any, drift: Drift | None, *, minimum: bool) -> Any:
    """Log density of the responses of every curve.

    Parameters
    ----------
    path : Path
    y, law, sd : array (run,)
        Response, law and standard deviation of the noise of each row, on the scale on which noise adds.
    drift : Drift
        Rate (scalar) and scale (curve,) of the discrepancy; None when there is none.
    minimum : bool
        The rows are running minima.
    """
    o = path.order
    y, law, sd = y[o], law[o], sd[o]
    counts = jnp.ones_like(y)
    if minimum:
        fall = jnp.where(path.first, 0.0, jnp.roll(law, 1) - law)
        counts = jnp.where(path.first, 1.0, running_minimum.effective(jnp, path.gap, fall, sd))
    if drift is None:
        z = (y - law) / sd
        terms = running_minimum.log_likelihood(jnp, erfc, z, sd, counts, path.tie)
        return jnp.sum(jnp.where(path.seen, terms, 0.0))

    def one(state: State, row: Any) -> tuple[State, Any]:
        (step, first, last, seen, tie), (r, s, count, scale) = row
        here = Drift(drift.rate, scale)
        state = _where(first, begin(here), move(jnp, state, here, step))
        taken, density = _minimum(state, r, s, count, tie) if minimum else _normal(state, r, s)
        state = _where(seen, taken, state)
        # The drift is nought at the end of the curve, about which the law is stated.
        ending = log_normal_density(jnp, state.level, state.vll)
        return state, jnp.where(seen, density, 0.0) + jnp.where(last, ending, 0.0)

    start = begin(Drift(drift.rate, drift.scale[0]))
    flags = path.step, path.first, path.last, path.seen, path.tie
    _, terms = jax.lax.scan(one, start, (flags, (y - law, sd, counts, drift.scale[path.curve])))
    unseen = move(jnp, begin(drift), drift, path.span)
    return jnp.sum(terms) - jnp.sum(log_normal_density(jnp, 0.0, unseen.vll))


def _where(condition: Any, yes: State, no: State) -> State:
    return State(*(jnp.where(condition, a, b) for a, b in zip(yes, no, strict=True)))


def _normal(state: State, r: Any, s: Any) -> tuple[State, Any]:
    taken, total = update(state, r, s**2)
    return taken, log_normal_density(jnp, r - state.level, total)


def _minimum(state: State, r: Any, s: Any, count: Any, tie: Any) -> tuple[State, Any]:
    def settle(step: Callable[[Any], Any], start: Any) -> Any:
        # The last step alone is differentiated: at the mode that gives the derivative of the mode itself.
        start = jax.lax.stop_gradient(start)
        return step(jax.lax.stop_gradient(jax.lax.fori_loop(0, running_minimum.STEPS, lambda _, at: step(at), start)))

    return running_minimum.update(jnp, erfc, settle, state, (r, s, count, tie))

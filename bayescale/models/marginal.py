"""The runs' joint density with the drift integrated out, by a filter along each curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc

from bayescale.models import running_minimum
from bayescale.models.design import Path
from bayescale.models.kalman import Drift, State, begin, log_normal_density, move, smooth, update


class _Rows(NamedTuple):
    """What the filter sees of each row, in the order of the path."""

    step: Any
    first: Any
    last: Any
    seen: Any
    tie: Any
    residual: Any
    sd: Any
    count: Any
    scale: Any


def _rows(path: Path, y: Any, law: Any, sd: Any, scale: Any, minimum: bool, tries: Any) -> _Rows:
    o, tie = path.order, path.tie
    y, law, sd = y[o], law[o], sd[o]
    count = jnp.ones_like(y)
    if tries is not None:
        count, tie = tries[o], jnp.zeros_like(tie)
    elif minimum:
        fall = jnp.where(path.first, 0.0, jnp.roll(law, 1) - law)
        count = jnp.where(path.first, 1.0, running_minimum.effective(jnp, path.gap, fall, sd))
    return _Rows(path.step, path.first, path.last, path.seen, tie, y - law, sd, count, scale[path.curve])


def log_marginal(path: Path, y: Any, law: Any, sd: Any, drift: Drift | None, *, minimum: bool, tries: Any = None) -> Any:
    """Log density of the responses of every curve, the drift integrated out.

    Parameters
    ----------
    path : Path
    y, law, sd : array (run,)
        Response, law and standard deviation of the noise of each row, on the scale on which noise adds.
    drift : Drift
        Rate (scalar) and scale (curve,) of the discrepancy; None when there is none.
    minimum : bool
        The rows are minima: running ones, or each of so many ``tries`` of its own.
    tries : array (run,), optional
    """
    if drift is None:
        rows = _rows(path, y, law, sd, jnp.zeros(path.span.shape), minimum, tries)
        return jnp.sum(jnp.where(rows.seen, _alone(rows), 0.0))
    _, terms = _filter(_rows(path, y, law, sd, drift.scale, minimum, tries), drift, minimum)
    unseen = move(jnp, begin(drift), drift, path.span)
    return jnp.sum(terms) - jnp.sum(log_normal_density(jnp, 0.0, unseen.vll))


def each_run(
    path: Path, y: Any, law: Any, sd: Any, drift: Drift | None, *, minimum: bool, tries: Any = None
) -> tuple[Any, Any, Any]:
    """What is known of each row, given the law: three arrays (run,).

    The log density of its response given all other rows, and the mean and the standard deviation of the drift there given all
    rows. The first is what is left of the smoothed level when the row's own evidence is taken out of it :cite:p:`burkner2021`.
    Parameters as for :func:`log_marginal`.
    """
    scale = jnp.zeros(path.span.shape) if drift is None else drift.scale
    rows = _rows(path, y, law, sd, scale, minimum, tries)
    nothing = jnp.zeros_like(y)
    found = (_alone(rows), nothing, nothing) if drift is None else _given_the_others(rows, drift, minimum)
    density, level, spread = (nothing.at[path.order].set(jnp.where(rows.seen, values, 0.0)) for values in found)
    return density, level, spread


def _alone(rows: _Rows) -> Any:
    """Running minima about a law that is the truth: each depends on the one before alone."""
    return running_minimum.log_likelihood(jnp, erfc, rows.residual / rows.sd, rows.sd, rows.count, rows.tie)


def _filter(rows: _Rows, drift: Drift, minimum: bool) -> tuple[tuple[State, Any], Any]:
    """States after each row with the evidence it gave, and the log density of the row given those before it."""

    def one(state: State, row: _Rows) -> tuple[State, Any]:
        here = Drift(drift.rate, row.scale)
        state = _where(row.first, begin(here), move(jnp, state, here, row.step))
        taken, density = _take(state, row, minimum)
        evidence = _evidence(taken.level, row, minimum)
        state = _where(row.seen, taken, state)
        # The drift is nought at the end of the curve, about which the law is stated.
        ending = log_normal_density(jnp, state.level, state.vll)
        total = jnp.where(row.seen, density, 0.0) + jnp.where(row.last, ending, 0.0)
        return state, ((state, evidence), total)

    _, (passed, terms) = jax.lax.scan(one, begin(Drift(drift.rate, drift.scale[0])), rows)
    return passed, terms


def _given_the_others(rows: _Rows, drift: Drift, minimum: bool) -> tuple[Any, Any, Any]:
    (states, evidence), _ = _filter(rows, drift, minimum)

    def one(then: tuple[State, Any], at: tuple[State, Any, _Rows]) -> tuple[tuple[State, Any], Any]:
        state, given, row = at
        smoothed, step = then
        anchored = update(state, 0.0, 0.0)[0]
        found = _where(row.last, anchored, smooth(jnp, state, Drift(drift.rate, row.scale), step, smoothed))
        spread = jnp.sqrt(jnp.maximum(found.vll, 0.0))
        return (found, row.step), (_cavity(found, given, row, minimum), found.level, spread)

    start = jax.tree.map(lambda a: a[-1], states), jnp.zeros(())
    _, found = jax.lax.scan(one, start, (states, evidence, rows), reverse=True)
    density, level, spread = found
    return density, level, spread


def _evidence(level: Any, row: _Rows, minimum: bool) -> tuple[Any, Any]:
    """Mean and variance of the normal observation of the level that a row amounts to, at its mode."""
    if not minimum:
        return row.residual, row.sd**2
    slope, bend = running_minimum.derivatives(jnp, erfc, (row.residual - level) / row.sd, row.sd, row.count, row.tie)
    return level - slope / bend, -1 / bend


def _cavity(state: State, evidence: tuple[Any, Any], row: _Rows, minimum: bool) -> Any:
    """Log density of a row under the level that the others leave."""
    observed, variance = evidence
    left = jnp.maximum(variance - state.vll, 1e-9 * variance)
    level, vll = (state.level * variance - state.vll * observed) / left, state.vll * variance / left
    others = State(level, 0.0 * level, jnp.maximum(vll, 1e-300), 0.0 * level, 0.0 * level)
    return jnp.where(vll > 0, _take(others, row, minimum)[1], _alone_at(level, row, minimum))


def _alone_at(level: Any, row: _Rows, minimum: bool) -> Any:
    if minimum:
        return running_minimum.log_likelihood(jnp, erfc, (row.residual - level) / row.sd, row.sd, row.count, row.tie)
    return log_normal_density(jnp, row.residual - level, row.sd**2)


def _take(state: State, row: _Rows, minimum: bool) -> tuple[State, Any]:
    if minimum:
        return _minimum(state, row.residual, row.sd, row.count, row.tie)
    taken, total = update(state, row.residual, row.sd**2)
    return taken, log_normal_density(jnp, row.residual - state.level, total)


def _where(condition: Any, yes: State, no: State) -> State:
    return State(*(jnp.where(condition, a, b) for a, b in zip(yes, no, strict=True)))


def _minimum(state: State, r: Any, s: Any, count: Any, tie: Any) -> tuple[State, Any]:
    def settle(step: Callable[[Any], Any], start: Any) -> Any:
        # The last step alone is differentiated: at the mode that gives the derivative of the mode itself.
        start = jax.lax.stop_gradient(start)
        return step(jax.lax.stop_gradient(jax.lax.fori_loop(0, running_minimum.STEPS, lambda _, at: step(at), start)))

    return running_minimum.update(jnp, erfc, settle, state, (r, s, count, tie))

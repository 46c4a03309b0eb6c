"""The runs' joint density with a discrepancy's coefficients integrated out: exactly under normal noise, by a bound under t.

Given everything else the rows are ``r = X S b + e`` with standard normal ``b``. Student's t is a normal whose precision has a
gamma distribution. The density is then bounded from below by taking ``b`` and the precisions for independent, ``b`` for normal
:cite:p:`tipping2005`: ``sum_i log t(sqrt(E (r - X S b)_i^2)) - KL(b)``, maximised by weighing rows and solving in turn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.special import gammaln

from bayescale.models.design import Basis
from bayescale.models.discrepancy import mean_slope

#: Rounds of weighing and solving: each leaves about a quarter of the distance.
_STEPS = 8

#: The furthest that a round is extrapolated, in rounds.
_REACH = 1.0

#: Nodes of the integral over the logarithm of a row's precision, in units of its spread.
_NODES = np.linspace(-16.0, 5.0, 54)


class Posterior(NamedTuple):
    """Of the coefficients, given everything else: mean (coefficient,) and lower Cholesky factor of the precision."""

    mean: Any
    precision: Any


def slope_roots(xp: Any, behind: Any, sizes: dict[str, Any], slope: Any) -> Any:
    """Lower Cholesky factor of the covariance of the slopes at each curve's knots, shape (..., curve, knot, knot).

    Slopes are an Ornstein-Uhlenbeck process, so that each is ``exp(-rate step)`` times the one before, and something new.
    ``sizes`` are scalars, or (..., 1), ``slope`` (..., curve).
    """
    knots = behind.shape[-1]
    order = np.subtract.outer(np.arange(knots), np.arange(knots))
    keep = xp.exp(-sizes["drift_rate"] * behind[..., 1])[..., None, None]
    new = xp.where(np.arange(knots) == 0, 1.0, xp.sqrt(1 - keep**2))
    root = xp.where(order >= 0, keep ** np.maximum(order, 0) * new, 0.0)
    scale = sizes["drift_size"] * slope / xp.sqrt(2 * sizes["drift_rate"])
    root = root * scale[..., None, None]
    if "drift_growth" in sizes:
        root = root * xp.exp(sizes["drift_growth"][..., None] * behind)[..., None]
    return root


def prior_root(basis: Basis, sizes: dict[str, Any], loc: Any) -> Any:
    """``S``, with which standard normal coefficients become those of the basis; lower triangular."""
    size = basis.columns.shape[1]
    root, at = jnp.zeros((size, size)), 0
    if "drift_size" in sizes:
        for own in slope_roots(jnp, basis.behind, sizes, mean_slope(jnp, basis.contrast @ loc, basis.span)):
            root = root.at[at : at + own.shape[0], at : at + own.shape[0]].set(own)
            at += own.shape[0]
    places = basis.places.shape[0]
    for name in ("misfit_size", "misfit_tilt"):
        if name in sizes:
            root = root.at[at : at + places, at : at + places].set(sizes[name] * jnp.eye(places))
            at += places
    # In the order of the parts, which a dictionary that has been through JAX has lost.
    for name in (name for name in sizes if name in basis.effects):
        effects = basis.effects[name].shape[0]
        root = root.at[at : at + effects, at : at + effects].set(sizes[name] * jnp.eye(effects))
        at += effects
    return root


def log_marginal(basis: Basis, root: Any, residual: Any, sd: Any, tails: Any, mask: Any) -> tuple[Any, Posterior]:
    """Log density of the rows with the coefficients integrated out, and their posterior.

    Parameters
    ----------
    basis : Basis
    root : array (coefficient, coefficient)
        Of :func:`prior_root`.
    residual, sd : array (run,)
        Response less the law, and scale of the noise, on the scale on which noise adds.
    tails : scalar, optional
        Degrees of freedom of Student-t noise; None for normal noise.
    mask : bool array (run,)
    """
    seen = jnp.where(mask, 1 / sd**2, 0.0)
    if tails is None:
        found = _solve(basis, root, seen, residual)
        gap = residual - basis.columns @ (root @ found.mean)
        rows = -(gap**2) / sd**2 / 2 - jnp.log(sd) - np.log(2 * np.pi) / 2
        apart = found.mean @ found.mean / 2 + jnp.sum(jnp.log(jnp.diagonal(found.precision)))
    else:
        # At its largest the bound does not move with what it was maximised over, so that nothing is differentiated there.
        found = jax.lax.stop_gradient(_settle(basis, root, residual, seen, tails))
        inverse = _inverse(found.precision)
        square = (residual - basis.columns @ (root @ found.mean)) ** 2 + _spread(basis, root, inverse)
        rows = _log_t(square / sd**2, tails) - jnp.log(sd)
        apart = (found.mean @ found.mean + jnp.sum(inverse**2) - len(inverse)) / 2
        apart += jnp.sum(jnp.log(jnp.diagonal(found.precision)))
    return jnp.sum(jnp.where(mask, rows, 0.0)) - apart, found


def each_row(basis: Basis, root: Any, residual: Any, sd: Any, tails: Any, mask: Any, found: Posterior) -> tuple[Any, Any, Any]:
    """Of each row, given the law: log density given all others, mean and standard deviation of the discrepancy there.

    The first is what is left of the row's discrepancy when its own evidence is taken out of it :cite:p:`burkner2021`, as for
    normal noise, integrated over the noise that it has.
    """
    mean = basis.columns @ (root @ found.mean)
    variance = _spread(basis, root, _inverse(found.precision))
    gap, seen = residual - mean, 1 / sd**2
    if tails is None:
        left = variance / jnp.maximum(1 - seen * variance, 1e-9)
        others = mean - left * seen * gap
        total = left + sd**2
        density = -((residual - others) ** 2) / total / 2 - jnp.log(2 * np.pi * total) / 2
    else:
        weight = seen * expected_weight(gap**2 + variance, seen, tails)
        left = variance / jnp.maximum(1 - weight * variance, 1e-9)
        others = mean - left * weight * gap
        # Over the logarithm of the row's own precision, by the trapezoidal rule: about a normal integrand.
        at = _NODES * jnp.sqrt(2 / tails)
        share = jax.nn.log_softmax(tails / 2 * (at - jnp.exp(at)))
        total = left[:, None] + sd[:, None] ** 2 * jnp.exp(-at)
        logs = -((residual - others)[:, None] ** 2) / total / 2 - jnp.log(2 * np.pi * total) / 2
        density = jax.nn.logsumexp(logs + share, axis=1)
    return jnp.where(mask, density, 0.0), mean, jnp.sqrt(variance)


def _solve(basis: Basis, root: Any, weight: Any, residual: Any) -> Posterior:
    size = root.shape[0]
    one, other = np.triu_indices(size)
    half = jnp.zeros((size, size)).at[one, other].set(weight @ basis.products)
    gram = half + half.T - jnp.diag(jnp.diagonal(half))
    factor = jnp.linalg.cholesky(jnp.eye(size) + root.T @ gram @ root)
    return Posterior(cho_solve((factor, True), root.T @ (basis.columns.T @ (weight * residual))), factor)


def _inverse(factor: Any) -> Any:
    return solve_triangular(factor, jnp.eye(factor.shape[0]), lower=True)


def _spread(basis: Basis, root: Any, inverse: Any) -> Any:
    """Variance of the discrepancy at each row, from the inverse of the factor of the precision."""
    turned = root @ inverse.T
    covariance = turned @ turned.T
    one, other = np.triu_indices(root.shape[0])
    return basis.products @ (covariance[one, other] * np.where(one == other, 1.0, 2.0))


def _settle(basis: Basis, root: Any, residual: Any, seen: Any, tails: Any) -> Posterior:
    def weighed(at: Posterior) -> Any:
        square = (residual - basis.columns @ (root @ at.mean)) ** 2 + _spread(basis, root, _inverse(at.precision))
        return jnp.log(expected_weight(square, seen, tails))

    def step(_: int, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        # Anderson's acceleration with a memory of one: the secant through the last two rounds.
        log_weight, before, moved = state
        new = weighed(_solve(basis, root, seen * jnp.exp(log_weight), residual))
        move = new - log_weight
        turn = move - moved
        share = jnp.clip(jnp.sum(move * turn) / jnp.maximum(jnp.sum(turn**2), 1e-300), -_REACH, _REACH)
        return new - share * (new - before), new, move

    start = weighed(_solve(basis, root, seen, residual))
    second = weighed(_solve(basis, root, seen * jnp.exp(start), residual))
    log_weight, _, _ = jax.lax.fori_loop(0, _STEPS - 1, step, (second, start, start))
    return _solve(basis, root, seen * jnp.exp(log_weight), residual)


def expected_weight(square: Any, seen: Any, tails: Any) -> Any:
    """Expected precision of a row at its squared residual, as a share of that of the noise: less, the further it strays."""
    return (tails + 1) / (tails + square * seen)


def _log_t(square: Any, tails: Any) -> Any:
    constant = gammaln((tails + 1) / 2) - gammaln(tails / 2) - jnp.log(tails * np.pi) / 2
    return constant - (tails + 1) / 2 * jnp.log1p(square / tails)

"""Errors that consecutive checkpoints of a run share: an AR(1) process along the run, taken out of the rows by differences.

With ``s`` the scale of a row's noise, ``e_i / s_i = rho e_{i-1} / s_{i-1} + sqrt(1 - rho^2) w_i``. A row less what it
remembers, ``r_i - keep_i r_{i-1}``, has errors of its own, of scale ``s_i sqrt(1 - rho^2)``; the first of a run is as it is.
The map has determinant 1, so that the density of the rows is that of the differences; columns of a discrepancy are differenced
likewise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from bayescale.models.coefficients import Posterior, expected_weight
from bayescale.models.design import Basis, Memory

#: Nodes of an integral over the logarithm of a difference's precision, in units of its spread.
_NODES = np.linspace(-16.0, 5.0, 25)


def make_memory(x: np.ndarray, run: np.ndarray, rows: int) -> Memory:
    """Who follows whom.

    Parameters
    ----------
    x : float array (run,)
        The axis along which rows are ordered.
    run : int array (run,)
        Which run each row is a checkpoint of.
    rows : int
        Length to pad to.
    """
    order = np.lexsort((x, run))
    same = run[order[:-1]] == run[order[1:]]
    here, then = order[:-1][same], order[1:][same]
    before, after = np.arange(rows), np.arange(rows)
    linked, followed = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    before[then], after[here] = here, then
    linked[then], followed[here] = True, True
    return Memory(before, after, linked, followed)


def differences(memory: Memory, rho: Any, sd: Any) -> tuple[Any, Any]:
    """Of each row: the share of the row before that it remembers, and the scale of what is new in it."""
    keep = jnp.where(memory.linked, rho * sd / sd[memory.before], 0.0)
    return keep, sd * jnp.where(memory.linked, jnp.sqrt(1 - rho**2), 1.0)


def whiten(memory: Memory, keep: Any, values: Any) -> Any:
    """Rows less what they remember; ``values`` (run,) or (run, column)."""
    kept = keep if values.ndim == 1 else keep[:, None]
    return values - kept * values[memory.before]


def whitened_basis(memory: Memory, keep: Any, basis: Basis) -> Basis:
    """The columns of a discrepancy at the differences."""
    columns = whiten(memory, keep, basis.columns)
    one, other = np.triu_indices(columns.shape[1])
    return replace(basis, columns=columns, products=columns[:, one] * columns[:, other])


def each_row(
    memory: Memory,
    residual: Any,
    scales: tuple[Any, Any],
    tails: Any,
    discrepancy: tuple[Basis, Any, Posterior] | None = None,
) -> Any:
    """Log density of each row given all others, and the law: shape (run,).

    A row has a part in two differences, its own and that of the row after: their density together, over that of what is left of
    the two when the row is not known. Student's t is integrated over the precisions of the two, each of which has a gamma
    distribution. What the other differences say of the discrepancy in these two is its posterior without their evidence
    :cite:p:`burkner2021`: exact under normal noise, and like all of that posterior a bound's under Student-t noise.

    Parameters
    ----------
    residual : array (run,)
        Response less the law.
    scales : tuple of array (run,)
        Of :func:`differences`.
    tails : scalar, optional
        Degrees of freedom of Student-t noise; None for normal noise.
    discrepancy : tuple, optional
        The whitened basis, the root of its prior, and what is known of the coefficients.
    """
    (keep, own), after, followed = scales, memory.after, memory.followed
    nothing = jnp.zeros_like(residual)
    found = (nothing, nothing, nothing, nothing, nothing)
    if discrepancy is not None:
        found = _left_by_others(memory, whiten(memory, keep, residual), own, tails, discrepancy)
    mean, mean_after, variance, variance_after, shared = found
    share = jnp.where(followed, keep[after], 0.0)
    one = residual - keep * residual[memory.before] - mean
    # The last of a run has no row after: what stands for it cancels.
    other = jnp.where(followed, residual[after] - share * residual - mean_after, 0.0)
    # Logarithms of the precision, and of their shares; the integrand is about normal, for which few nodes do.
    at = jnp.zeros(1) if tails is None else _NODES * jnp.sqrt(2 / tails)
    weight = jnp.zeros(1) if tails is None else jax.nn.log_softmax(tails / 2 * (at - jnp.exp(at)))

    def given(first: Any) -> tuple[Any, Any]:
        total = (own**2 * jnp.exp(-first) + variance)[:, None]
        total_after = jnp.where(followed, own[after] ** 2, 1.0)[:, None] * jnp.exp(-at) + variance_after[:, None]
        x, y, k, c = (values[:, None] for values in (one, other, share, shared))
        det = total * total_after - c**2
        square = (total_after * x**2 - 2 * c * x * y + total * y**2) / det
        pair = -(square + jnp.log(det)) / 2
        # The row is in the first with a weight of 1, in the second of -k.
        left = total_after + 2 * k * c + k**2 * total
        without = -((y + k * x) ** 2 / left + jnp.log(left)) / 2
        return jax.nn.logsumexp(pair + weight, axis=1), jax.nn.logsumexp(without + weight, axis=1)

    pair, without = jax.lax.map(given, at)
    share_of = weight[:, None]
    found_pair, found_without = (jax.nn.logsumexp(logs + share_of, axis=0) for logs in (pair, without))
    density: Any = found_pair - found_without - np.log(2 * np.pi) / 2
    return density


def _left_by_others(
    memory: Memory, seen: Any, own: Any, tails: Any, discrepancy: tuple[Basis, Any, Posterior]
) -> tuple[Any, Any, Any, Any, Any]:
    """The discrepancy in a row's difference and in that of the row after, without their evidence.

    Returns
    -------
    tuple of array (run,)
        Means of the two, their variances, and their covariance.
    """
    basis, root, found = discrepancy
    after, followed = memory.after, memory.followed
    mean = basis.columns @ (root @ found.mean)
    inverse = solve_triangular(found.precision, jnp.eye(root.shape[0]), lower=True)
    turned = basis.columns @ (root @ inverse.T)
    variance = jnp.sum(turned**2, axis=1)
    weight = 1 / own**2
    if tails is not None:
        weight = weight * expected_weight((seen - mean) ** 2 + variance, weight, tails)
    then = jnp.where(followed, weight[after], 0.0)
    v, w = variance, jnp.where(followed, variance[after], 0.0)
    c = jnp.where(followed, jnp.sum(turned * turned[after], axis=1), 0.0)
    # (I - V D)^-1 of two by two, V their covariance and D the precision of their evidence.
    a, b, p, q = 1 - v * weight, 1 - w * then, c * then, c * weight
    det = jnp.maximum(a * b - p * q, 1e-12)
    x = mean - v * weight * seen - p * seen[after]
    y = mean[after] - q * seen - w * then * seen[after]
    return (b * x + p * y) / det, (q * x + a * y) / det, (b * v + p * c) / det, (q * c + a * w) / det, (b * c + p * w) / det


def remember(memory: Memory, rho: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Errors with a memory, of independent ones, both in units of their scale, shape (chain, draw, run)."""
    out, n = errors.copy(), errors.shape[-1]
    rows = np.flatnonzero(~memory.linked[:n])
    while len(rows := memory.after[rows[memory.followed[rows]]]):
        out[..., rows] = rho * out[..., memory.before[rows]] + np.sqrt(1 - rho**2) * errors[..., rows]
    return out

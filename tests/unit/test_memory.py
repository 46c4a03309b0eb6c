"""Errors that are remembered along a run: against the dense covariance, against quadrature under Student-t noise."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from bayescale.core.numerics import double_precision
from bayescale.models import coefficients
from bayescale.models.design import Basis, Memory
from bayescale.models.memory import differences, each_row, make_memory, remember, whiten, whitened_basis
from bayescale.models.noise import Gaussian, StudentT

Array = NDArray[np.float64]
N, ROWS, RHO = 11, 16, 0.6
RNG = np.random.default_rng(2)
MIXED = RNG.permutation(N)
#: Three runs of 6, 4 and 1 checkpoints, shuffled.
X, RUN = np.r_[1.0:7.0, 1.0:5.0, 2.0][MIXED], np.repeat([0, 1, 2], [6, 4, 1])[MIXED]
SD, RESIDUAL = RNG.uniform(0.01, 0.03, ROWS), np.r_[0.02 * RNG.normal(size=N), np.full(ROWS - N, 7.0)]
COLUMNS = np.r_[np.c_[np.ones(N), X - 3.0, RUN == 0], np.zeros((ROWS - N, 3))]
ROOT = np.array([[0.02, 0.0, 0.0], [0.005, 0.01, 0.0], [0.0, 0.0, 0.03]])
MASK = np.arange(ROWS) < N


def basis() -> Basis:
    one, other = np.triu_indices(COLUMNS.shape[1])
    none = np.zeros(0)
    return Basis(COLUMNS, COLUMNS[:, one] * COLUMNS[:, other], none, none, none, none, {})


def correlation() -> Array:
    """``rho`` to the number of checkpoints between two rows of a run."""
    apart = np.abs(X[:, None] - X)
    return np.where(RUN[:, None] == RUN, RHO**apart, 0.0)


def found(tails: float | None, *, discrepancy: bool, residual: Array = RESIDUAL) -> tuple[float, Array]:
    """Joint density, and that of each row given the others."""
    noise: Any = Gaussian() if tails is None else StudentT(df=tails)
    memory = make_memory(X, RUN, ROWS)
    with double_precision():
        scales = differences(memory, RHO, jnp.asarray(SD))
        gap = whiten(memory, scales[0], jnp.asarray(residual))
        if not discrepancy:
            joint = jnp.sum(jnp.where(MASK, noise.errors(0.0, scales[1], tails).log_prob(gap), 0.0))
            return float(joint), np.asarray(each_row(memory, jnp.asarray(residual), scales, tails))[:N]
        seen, root = whitened_basis(memory, scales[0], basis()), jnp.asarray(ROOT)
        joint, at = coefficients.log_marginal(seen, root, gap, scales[1], tails, MASK)
        rows = each_row(memory, jnp.asarray(residual), scales, tails, (seen, root, at))
        return float(joint), np.asarray(rows)[:N]


def test_rows_follow_one_another_within_their_run() -> None:
    memory = make_memory(X, RUN, ROWS)
    for i in range(N):
        before = [j for j in range(N) if RUN[j] == RUN[i] and X[j] == X[i] - 1]
        assert bool(before) == memory.linked[i]
        assert memory.before[i] == (before[0] if before else i)
        assert not before or (memory.after[before[0]] == i and memory.followed[before[0]])
    assert memory.followed.sum() == memory.linked.sum() == 8
    assert not memory.linked[N:].any() and not memory.followed[N:].any()


@pytest.mark.parametrize("discrepancy", [False, True])
def test_normal_noise_is_the_dense_normal_density(discrepancy: bool) -> None:
    joint, density = found(None, discrepancy=discrepancy)
    s = correlation() * np.outer(SD[:N], SD[:N])
    if discrepancy:
        s += COLUMNS[:N] @ ROOT @ ROOT.T @ COLUMNS[:N].T
    y = RESIDUAL[:N]
    assert joint == pytest.approx(stats.multivariate_normal.logpdf(y, np.zeros(N), s), abs=1e-9)
    p = np.linalg.inv(s)
    np.testing.assert_allclose(density, stats.norm.logpdf(y, y - p @ y / np.diag(p), 1 / np.sqrt(np.diag(p))), atol=1e-8)


@pytest.mark.parametrize("astray", [0.0, 0.5])
def test_a_row_under_t_noise_is_normalised_between_its_neighbours(astray: float) -> None:
    """Against quadrature; the second time one row lies twenty times the noise off, between two that do not."""
    residual = RESIDUAL.copy()
    row = int(np.flatnonzero((RUN == 0) & (X == 3.0))[0])
    residual[row] += astray
    density = found(3.0, discrepancy=False, residual=residual)[1]
    z, left = residual / SD, np.sqrt(1 - RHO**2)
    for i in range(N):
        before = [j for j in range(N) if RUN[j] == RUN[i] and X[j] == X[i] - 1]
        after = [j for j in range(N) if RUN[j] == RUN[i] and X[j] == X[i] + 1]

        def product(at: float, before: list[int] = before, after: list[int] = after) -> float:
            own = stats.t.pdf(at, 3.0, RHO * z[before[0]], left) if before else stats.t.pdf(at, 3.0)
            return float(own * (stats.t.pdf(z[after[0]] - RHO * at, 3.0, 0.0, left) if after else 1.0))

        points = [RHO * z[before[0]] if before else 0.0, z[after[0]] / RHO if after else 0.0]
        whole, _ = integrate.quad(
            product, -2e3, 2e3, points=sorted([*points, *(p + d for p in points for d in (-9, -2, 2, 9))]), limit=400
        )
        assert density[i] == pytest.approx(np.log(product(z[i]) / whole / SD[i]), abs=1e-3), i


def test_a_row_under_t_noise_beside_a_discrepancy() -> None:
    """Against draws of the coefficients given the other rows: p(y) / p(y without a row), by integrals over two of them."""
    joint, density = found(4.0, discrepancy=True)
    nearly = found(1e8, discrepancy=True), found(None, discrepancy=True)
    assert nearly[0][0] == pytest.approx(nearly[1][0], abs=1e-4)
    np.testing.assert_allclose(nearly[0][1], nearly[1][1], atol=1e-3)
    draws = np.random.default_rng(0).standard_normal((100_000, 3))
    left, y = np.sqrt(1 - RHO**2), RESIDUAL[:N] - draws @ (COLUMNS[:N] @ ROOT).T
    z = y / SD[:N]
    logs = np.empty_like(z)
    for i in range(N):
        before = [j for j in range(N) if RUN[j] == RUN[i] and X[j] == X[i] - 1]
        logs[:, i] = stats.t.logpdf(z[:, i] - RHO * z[:, before[0]], 4.0, 0, left) if before else stats.t.logpdf(z[:, i], 4.0)
    logs -= np.log(SD[:N])
    exact = float(np.logaddexp.reduce(logs.sum(axis=1)) - np.log(len(draws)))
    assert exact - 0.7 < joint < exact + 0.02
    # Of the last checkpoint of a run, which no other row remembers, leaving it out is leaving its term out.
    for last in [int(np.flatnonzero((run == RUN) & (X[run == RUN].max() == X))[0]) for run in range(3)]:
        without = np.logaddexp.reduce(np.delete(logs, last, axis=1).sum(axis=1)) - np.log(len(draws))
        assert density[last] == pytest.approx(exact - float(without), abs=0.15)


def test_replicates_remember() -> None:
    memory: Memory = make_memory(X, RUN, ROWS)
    drawn = remember(memory, np.full((1, 40_000, 1), RHO), RNG.standard_normal((1, 40_000, N)))[0]
    np.testing.assert_allclose(np.cov(drawn.T), correlation(), atol=5 * np.sqrt(2 / 40_000))

"""Coefficients integrated out: against the dense normal density, against quadrature under Student-t noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bayescale.core.numerics import double_precision
from bayescale.models.basis import make_basis, make_frame
from bayescale.models.coefficients import each_row, log_marginal, prior_root, slope_roots
from bayescale.models.design import Basis

Array = NDArray[np.float64]
N, ROWS = 19, 32
SIZES = {
    "drift_rate": 0.4,
    "drift_size": 0.3,
    "drift_growth": 0.15,
    "misfit_size": 0.02,
    "misfit_tilt": 0.03,
    "effect_size": 0.01,
}


def case() -> tuple[Basis, Array, Array, Array, Array]:
    """Two curves, all parts; the law, the residual and the scale of the noise at each row, padded."""
    rng = np.random.default_rng(0)
    mixed = rng.permutation(N)
    u = np.r_[np.linspace(0, 5, 12), np.linspace(1, 4, 7)][mixed]
    curve = np.r_[np.zeros(12, int), np.ones(7, int)][mixed]
    second, runs = rng.uniform(1, 4, N), rng.choice(["a", "b", "c", "d"], N).tolist()
    frame = make_frame(u, curve, u >= 4, second, {"effect_size": runs}, drifts=True, tilts=True)
    basis = make_basis(frame, u, curve, second, {"effect_size": runs}, ROWS)
    law = 1.0 - 0.2 * u + 0.1 * curve * u
    residual = 0.03 * rng.normal(size=N) + 0.02 * np.sin(u)
    residual[4] += 0.15  # astray
    return basis, *(np.pad(v, (0, ROWS - N)) for v in (law, residual)), np.pad(rng.uniform(0.01, 0.03, N), (0, 13), "edge"), u


def sizes() -> dict[str, Any]:
    return {name: jnp.asarray(value) for name, value in SIZES.items()}


MASK = np.arange(ROWS) < N


class TestPrior:
    @pytest.mark.parametrize("growth", [None, 0.2])
    def test_slopes_are_an_ornstein_uhlenbeck_process(self, growth: float | None) -> None:
        """For JAX in a model, and for NumPy with hyperparameters of two draws."""
        behind = np.array([0.7, 0.2])[:, None] * np.arange(6)
        rate, size, slope = np.array([0.4, 1.1]), np.array([0.3, 0.2]), np.array([[0.2, 0.1], [0.3, 0.4]])
        given = {"drift_rate": rate, "drift_size": size} | ({} if growth is None else {"drift_growth": np.full(2, growth)})
        found = slope_roots(np, behind, {n: v[:, None] for n, v in given.items()}, slope)
        assert found.shape == (2, 2, 6, 6)
        for d in range(2):
            with double_precision():
                scalars = {n: jnp.asarray(v[d]) for n, v in given.items()}
                in_model = np.asarray(slope_roots(jnp, behind, scalars, jnp.asarray(slope[d])))
            np.testing.assert_allclose(found[d], in_model, atol=1e-12)
            for c in range(2):
                apart = np.abs(behind[c][:, None] - behind[c])
                grown = np.exp((growth or 0.0) * behind[c])
                expected = (size[d] * slope[d, c]) ** 2 / (2 * rate[d]) * np.exp(-rate[d] * apart) * np.outer(grown, grown)
                np.testing.assert_allclose(found[d, c] @ found[d, c].T, expected, rtol=1e-10)
                assert not np.triu(found[d, c], 1).any()

    def test_each_part_has_its_own_block(self) -> None:
        basis, law, *_, u = case()
        with double_precision():
            root = np.asarray(prior_root(basis, sizes(), jnp.asarray(law)))
        k = basis.behind.shape[1]
        for c in range(2):
            own = root[c * k : (c + 1) * k, c * k : (c + 1) * k]
            sd = 0.3 * [0.2, 0.1][c] / np.sqrt(0.8)  # law falls by 0.2 and 0.1 a unit
            np.testing.assert_allclose(np.sqrt(np.diag(own @ own.T)), sd * np.exp(0.15 * basis.behind[c]), rtol=1e-6)
        rest = root[2 * k :, 2 * k :]
        np.testing.assert_allclose(rest, np.diag(np.repeat([0.02, 0.03, 0.01], [5, 5, 4])), atol=1e-15)
        assert not root[: 2 * k, 2 * k :].any() and not root[2 * k :, : 2 * k].any() and not root[k : 2 * k, :k].any()
        assert np.ptp(u) == 5


def test_normal_noise_is_the_dense_normal_density() -> None:
    basis, law, residual, sd, _ = case()
    with double_precision():
        root = prior_root(basis, sizes(), jnp.asarray(law))
        joint, found = log_marginal(basis, root, residual, sd, None, MASK)
        density, mean, spread = (np.asarray(a) for a in each_row(basis, root, residual, sd, None, MASK, found))
    k = basis.columns[:N] @ np.asarray(root)
    k = k @ k.T
    s = k + np.diag(sd[:N] ** 2)
    y = residual[:N]
    assert float(joint) == pytest.approx(stats.multivariate_normal.logpdf(y, np.zeros(N), s), abs=1e-8)
    p = np.linalg.inv(s)
    without = stats.norm.logpdf(y, y - (p @ y) / np.diag(p), 1 / np.sqrt(np.diag(p)))
    np.testing.assert_allclose(density[:N], without, atol=1e-8)
    np.testing.assert_allclose(mean[:N], k @ p @ y, atol=1e-10)
    np.testing.assert_allclose(spread[:N] ** 2, np.diag(k - k @ p @ k), rtol=1e-7)
    assert not density[N:].any() and not mean[N:].any() and not spread[N:].any()


def test_the_posterior_is_that_of_the_coefficients() -> None:
    basis, law, residual, sd, _ = case()
    with double_precision():
        root = prior_root(basis, sizes(), jnp.asarray(law))
        _, found = log_marginal(basis, root, residual, sd, None, MASK)
    x = (basis.columns @ np.asarray(root))[:N]
    precision = np.eye(x.shape[1]) + x.T @ (x / sd[:N, None] ** 2)
    factor = np.asarray(found.precision)
    np.testing.assert_allclose(factor @ factor.T, precision, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.mean, np.linalg.solve(precision, x.T @ (residual[:N] / sd[:N] ** 2)), atol=1e-9)


@pytest.mark.parametrize("tails", [None, 4.0])
def test_masked_rows_change_nothing(tails: float | None) -> None:
    """Whatever stands in padded rows, and rows that are there but masked are as if they were not."""
    basis, law, residual, sd, _ = case()
    few = MASK & (np.arange(ROWS) != 4)
    gone = replace(basis, columns=basis.columns * few[:, None], products=basis.products * few[:, None])
    with double_precision():
        root = prior_root(basis, sizes(), jnp.asarray(law))
        plain, at = log_marginal(basis, root, residual, sd, tails, MASK)
        odd, _ = log_marginal(basis, root, np.where(MASK, residual, 7.0), np.where(MASK, sd, 3.0), tails, MASK)
        hidden, there = log_marginal(basis, root, np.where(few, residual, -2.0), sd, tails, few)
        without, left = log_marginal(gone, root, residual * few, sd, tails, few)
        density, *_ = each_row(basis, root, np.where(MASK, residual, 7.0), sd, tails, MASK, at)
    assert float(odd) == pytest.approx(float(plain), abs=1e-10)
    assert float(hidden) == pytest.approx(float(without), abs=1e-10)
    np.testing.assert_allclose(there.mean, left.mean, atol=1e-10)
    assert abs(float(hidden) - float(plain)) > 0.1
    assert not np.asarray(density)[N:].any()


# --- Student-t noise ---------------------------------------------------------------------------------------------------------


def small(columns: Array) -> Basis:
    """A basis of given columns, with nothing that a model would make its prior of."""
    one, other = np.triu_indices(columns.shape[1])
    none = np.zeros(0)
    return Basis(columns, columns[:, one] * columns[:, other], none, none, none, none, {})


def integrated(columns: Array, root: Array, residual: Array, sd: Array, tails: float) -> tuple[float, Array]:
    """Log density of the rows on a grid of one or two coefficients, and that of each row given the others."""
    at = np.linspace(-8, 8, 801)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[at] * columns.shape[1], indexing="ij")], axis=1)
    logs = stats.t.logpdf(residual - grid @ (columns @ root).T, tails, scale=sd)
    prior = stats.norm.logpdf(grid).sum(axis=1) + columns.shape[1] * np.log(at[1] - at[0])

    def total(rows: Array) -> float:
        return float(np.logaddexp.reduce(prior + rows.sum(axis=1)))

    joint = total(logs)
    return joint, np.array([joint - total(np.delete(logs, i, axis=1)) for i in range(len(residual))])


TINY = {
    "one": (np.ones((6, 1)), np.array([[0.03]])),
    "two": (np.c_[np.ones(6), np.linspace(-1, 1, 6)], np.array([[0.03, 0.0], [0.01, 0.02]])),
}
#: The last is astray by twenty times the noise in one case, and agrees with the others in the second.
ASTRAY = {"astray": 0.4, "plain": 0.012}


@pytest.mark.parametrize("tails", [2.0, 5.0, 30.0])
@pytest.mark.parametrize("last", ASTRAY)
@pytest.mark.parametrize("name", TINY)
def test_the_bound_lies_below_and_near_the_integral(name: str, last: str, tails: float) -> None:
    """Measured: below by 0.02 to 0.27, most where two coefficients meet tails of 2; a row given the others within 0.2."""
    columns, root = TINY[name]
    residual = np.array([0.02, 0.01, 0.035, -0.01, 0.015, ASTRAY[last]])
    sd = np.full(6, 0.02)
    joint, given = integrated(columns, root, residual, sd, tails)
    with double_precision():
        bound, found = log_marginal(small(columns), jnp.asarray(root), residual, sd, tails, np.ones(6, bool))
        density, *_ = each_row(small(columns), jnp.asarray(root), residual, sd, tails, np.ones(6, bool), found)
    assert float(bound) < joint
    assert float(bound) > joint - (0.3 if tails == 2 else 0.2)
    np.testing.assert_allclose(density, given, atol=0.25)
    assert np.median(np.abs(np.asarray(density) - given)) < 0.06


def test_very_large_tails_are_normal() -> None:
    basis, law, residual, sd, _ = case()
    with double_precision():
        root = prior_root(basis, sizes(), jnp.asarray(law))
        args = basis, root, residual, sd
        (t, at), (normal, plain) = (log_marginal(*args, tails, MASK) for tails in (1e8, None))
        rows = [each_row(*args, tails, MASK, found) for tails, found in ((1e8, at), (None, plain))]
    assert float(t) == pytest.approx(float(normal), abs=1e-4)
    np.testing.assert_allclose(at.mean, plain.mean, atol=1e-4)
    for ours, theirs in zip(rows[0][1:], rows[1][1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    # Of which the integral over what the others leave of a row is by 16 nodes: here it is up to twice as wide as the noise.
    np.testing.assert_allclose(rows[0][0], rows[1][0], atol=0.02)


def test_a_row_astray_moves_the_others_less() -> None:
    columns, root = TINY["one"]
    moved = []
    with double_precision():
        for tails in (3.0, None):
            means = [
                float(log_marginal(small(columns), jnp.asarray(root), y, np.full(6, 0.02), tails, np.ones(6, bool))[1].mean[0])
                for y in (np.r_[np.zeros(5), last] for last in ASTRAY.values())
            ]
            moved.append(means[0] - means[1])
    assert abs(moved[0]) < moved[1] / 5


@pytest.mark.parametrize("tails", [None, 2.0, 5.0])
def test_the_slope_is_that_of_finite_differences(tails: float | None) -> None:
    """The bound is differentiated as if what it was maximised over stood still: right only where the rounds have settled."""
    basis, law, residual, sd, _ = case()
    names = [*SIZES, "shift", "noise", "fall"] + ([] if tails is None else ["tails"])

    def value(p: Any) -> Any:
        at = dict(zip(names, jnp.exp(p), strict=True))
        here = {n: SIZES[n] * at[n] for n in SIZES}
        root = prior_root(basis, here, law * at["fall"])
        free = None if tails is None else tails * at["tails"]
        return log_marginal(basis, root, residual - 0.01 * (at["shift"] - 1), sd * at["noise"], free, MASK)[0]

    with double_precision():
        start, h = np.zeros(len(names)), 1e-5
        both = jax.jit(jax.value_and_grad(value))
        slope = np.asarray(both(start)[1])
        steps = [(float(both(start + h * e)[0]) - float(both(start - h * e)[0])) / (2 * h) for e in np.eye(len(names))]
    assert np.abs(slope).min() > 1e-3  # each of them counts
    np.testing.assert_allclose(slope, steps, atol=1e-6 if tails is None else 0.005, rtol=1e-5)

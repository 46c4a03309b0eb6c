"""The drift of a slope: the filter against the dense covariance, running minima against integrals, paths against both."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats
from scipy.special import erfc, log_ndtr

from bayescale.core.numerics import double_precision
from bayescale.models import kalman, running_minimum
from bayescale.models.kalman import DIFFUSE, Drift, State
from bayescale.models.marginal import each_run, log_marginal
from bayescale.models.path import make_path

Array = NDArray[np.float64]
RATE, SCALE = 0.6, np.array([0.2, 0.1])
ROWS = 24


def table() -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Two curves, shuffled, two runs of one of them at one scale."""
    rng = np.random.default_rng(0)
    x = np.exp(np.r_[np.sort(rng.uniform(0, 5, 12)), np.sort(rng.uniform(1, 4, 7))])
    x[3] = x[2]
    curve = np.r_[np.zeros(12, int), np.ones(7, int)]
    y, sd, mixed = rng.normal(size=19) * 0.1, rng.uniform(0.02, 0.1, 19), rng.permutation(19)
    return x[mixed], y[mixed], sd[mixed], curve[mixed]


def covariance(u: Array, scale: float) -> Array:
    """Of an integrated Ornstein-Uhlenbeck process that starts anywhere and is nought at the end, from its closed form."""
    t = u - u.min()

    def g(t: Array) -> Array:
        return 2 * (RATE * np.abs(t) - 1 + np.exp(-RATE * np.abs(t))) / RATE**2

    free = scale**2 / (2 * RATE) * (g(t)[:, None] + g(t)[None] - g(t[:, None] - t[None])) / 2 + DIFFUSE
    end = free[:, np.argmax(u)]
    return free - np.outer(end, end) / end[np.argmax(u)]


def padded(values: Array) -> Array:
    return np.r_[values, np.ones(ROWS - len(values))]


class TestFilter:
    def test_is_the_dense_normal_density(self) -> None:
        x, y, sd, curve = table()
        path = make_path(x, y, curve, ROWS)
        with double_precision():
            drift = Drift(RATE, SCALE)
            args = path, padded(y), np.zeros(ROWS), padded(sd), drift
            joint = float(log_marginal(*args, minimum=False))
            density, level, spread = (np.asarray(a)[:19] for a in each_run(*args, minimum=False))
        total = 0.0
        for c in (0, 1):
            i = np.flatnonzero(curve == c)
            k = covariance(np.log(x[i]), SCALE[c])
            s = k + np.diag(sd[i] ** 2)
            total += stats.multivariate_normal.logpdf(y[i], np.zeros(len(i)), s)
            p = np.linalg.inv(s)
            without = stats.norm.logpdf(y[i], y[i] - (p @ y[i]) / np.diag(p), 1 / np.sqrt(np.diag(p)))
            np.testing.assert_allclose(density[i], without, atol=1e-6)
            np.testing.assert_allclose(level[i], k @ p @ y[i], atol=1e-7)
            np.testing.assert_allclose(spread[i] ** 2, np.diag(k - k @ p @ k), atol=1e-7)
        assert joint == pytest.approx(total, abs=1e-6)

    def test_has_a_finite_slope_everywhere(self) -> None:
        """Padded rows, ties and repeated scales must not put a NaN into a branch that is not taken."""
        x, y, sd, curve = table()
        y = np.round(y, 1)
        for minimum in (False, True):
            path = make_path(x, y, curve, ROWS)
            with double_precision():

                def energy(p: Array, path=path, minimum=minimum) -> Array:
                    return log_marginal(
                        path, padded(y), p[0] + 0 * padded(y), padded(sd), Drift(p[1], p[2] * SCALE), minimum=minimum
                    )

                slope = np.asarray(jax.grad(energy)(np.array([0.1, 0.5, 1.0])))
            assert np.isfinite(slope).all()

    @pytest.mark.parametrize("du", [1e-6, 1e-3, 0.08, 0.09, 3.0])
    def test_a_step_is_two_half_steps(self, du: float) -> None:
        """The series and the closed form, and the border between them."""
        drift, start = Drift(RATE, 0.3), State(0.1, -0.2, 0.02, 0.003, 0.05)
        once = kalman.move(np, start, drift, du)
        twice = kalman.move(np, kalman.move(np, start, drift, du / 2), drift, du / 2)
        np.testing.assert_allclose(once, twice, rtol=2e-5)


class TestRunningMinimum:
    @pytest.mark.parametrize("count", [1.0, 2.5, 40.0])
    def test_density_of_a_new_minimum_and_of_a_tie(self, count: float) -> None:
        """New minima below M and the tie at M have probability 1 between them."""
        tau, f, m = 0.02, 0.1, 0.09

        def density(y: float) -> float:
            return float(np.exp(running_minimum.log_likelihood(np, erfc, (y - f) / tau, tau, count, False)))

        below, _ = integrate.quad(density, f - 12 * tau, m)
        tie = np.exp(running_minimum.log_likelihood(np, erfc, (m - f) / tau, tau, count, True))
        assert below + tie == pytest.approx(1.0, abs=1e-7)

    def test_one_evaluation_is_an_ordinary_one(self) -> None:
        found = running_minimum.log_likelihood(np, erfc, 0.7, 0.02, 1.0, False)
        assert found == pytest.approx(stats.norm.logpdf(0.7 * 0.02, 0, 0.02))

    def test_survival_is_that_of_scipy(self) -> None:
        z = np.linspace(-8, 60, 400)
        np.testing.assert_allclose(running_minimum.log_survival(np, erfc, z), log_ndtr(-z), rtol=1e-5, atol=1e-13)

    def test_evaluations_that_count(self) -> None:
        assert running_minimum.effective(np, 1.0, 0.0, 0.01) == pytest.approx(1.0)
        assert running_minimum.effective(np, 50.0, 0.0, 0.01) == pytest.approx(50.0, rel=1e-3)
        assert running_minimum.effective(np, 50.0, 5.0, 0.01) < 2  # the curve fell by ten times the noise an evaluation

    @pytest.mark.parametrize("tie", [False, True])
    def test_update_is_the_integral(self, tie: bool) -> None:
        """Laplace's approximation against quadrature: the evidence of one row within four per cent."""
        state, row = State(0.1, 0.3, 0.02**2, 1e-4, 0.04), (0.09, 0.015, 6.0, tie)

        def settle(step, start):
            for _ in range(running_minimum.STEPS + 1):
                start = step(start)
            return start

        taken, density = running_minimum.update(np, erfc, settle, state, row)
        grid = np.linspace(-0.1, 0.3, 40_001)
        weight = stats.norm.pdf(grid, 0.1, 0.02)
        weight *= np.exp(running_minimum.log_likelihood(np, erfc, (0.09 - grid) / 0.015, 0.015, 6.0, tie))
        evidence = np.trapezoid(weight, grid)
        mean = np.trapezoid(weight * grid, grid) / evidence
        assert density == pytest.approx(np.log(evidence), abs=0.04)
        assert taken.level == pytest.approx(mean, abs=0.35 * np.sqrt(taken.vll))
        assert taken.vll < state.vll
        assert taken.slope == pytest.approx(0.3 + 1e-4 / 0.02**2 * (taken.level - 0.1))


class TestPath:
    def test_rows_are_sorted_within_curves(self) -> None:
        x, y, _, curve = table()
        path = make_path(x, y, curve, ROWS)
        o = path.order[path.seen]
        assert (np.diff(curve[o]) >= 0).all()
        np.testing.assert_allclose(path.step[~path.first][: 19 - 2], np.diff(np.log(x[o]))[np.diff(curve[o]) == 0])
        assert path.first.sum() == path.last.sum() == 2
        np.testing.assert_allclose(np.exp(path.span), x[path.ends[:, 1]] / x[path.ends[:, 0]])

    def test_gaps_count_evaluations(self) -> None:
        path = make_path(np.array([10.0, 20.0, 50.0, 60.0]), np.array([4.0, 3.0, 3.0, 2.0]), np.zeros(4, int), 6)
        assert path.gap.tolist() == [1, 1, 3, 1, 1, 1]
        assert path.tie.tolist() == [False, False, True, False, False, False]

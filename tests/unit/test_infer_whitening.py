"""Coordinates in which the posterior is about a standard normal."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bayescale.infer.whitening import Whitening, learn, whiten

CENTER = np.array([1.0, -2.0, 0.5])
PRECISION = np.linalg.inv(np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.1], [0.0, 0.1, 0.04]]))
#: A log-normal, a normal, and a bound from above with a long tail below.
SKEWED = stats.norm.rvs(size=(40_000, 3), random_state=0)
SKEWED = np.stack([np.exp(SKEWED[:, 0] / 2), SKEWED[:, 1] + 0.8 * SKEWED[:, 0], -np.exp(-SKEWED[:, 2] / 2)], axis=1)


def test_at_the_mode_the_normal_approximation_is_standard() -> None:
    white = whiten(CENTER, PRECISION)
    np.testing.assert_allclose(white.root @ white.root.T, np.linalg.inv(PRECISION), atol=1e-12)
    np.testing.assert_allclose(white.flat(np, np.zeros(3))[0], CENTER)
    assert abs(white.flat(np, np.ones(3))[1]) < 1e-12  # nothing is stretched


def test_a_direction_that_the_data_leave_open_gets_a_finite_scale() -> None:
    white = whiten(CENTER, np.diag([1.0, 0.0, -3.0]))
    assert np.isfinite(white.root).all()
    assert np.linalg.svd(white.root, compute_uv=False).max() < 10


def test_z_undoes_flat() -> None:
    white = learn(SKEWED)
    z = np.random.default_rng(1).standard_normal((4, 50, 3))
    flat = np.stack([white.flat(np, one)[0] for one in z.reshape(-1, 3)]).reshape(z.shape)
    np.testing.assert_allclose(white.z(flat), z, atol=1e-9)


def test_the_stretch_is_that_of_the_map() -> None:
    """Against the determinant of a numerical Jacobian, up to a constant."""
    white, h = learn(SKEWED), 1e-6

    def log_det(z: np.ndarray) -> float:
        columns = [(white.flat(np, z + h * e)[0] - white.flat(np, z - h * e)[0]) / (2 * h) for e in np.eye(3)]
        return float(np.linalg.slogdet(np.array(columns))[1])

    points = np.random.default_rng(2).standard_normal((10, 3))
    gap = [log_det(z) - white.flat(np, z)[1] for z in points]
    np.testing.assert_allclose(gap, gap[0], atol=1e-7)


def test_learnt_coordinates_are_uncorrelated_and_not_skewed() -> None:
    z = learn(SKEWED).z(SKEWED)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-3)
    assert np.abs(stats.skew(SKEWED)).max() > 1.6
    assert np.abs(stats.skew(z)).max() < 0.8
    low, high = np.quantile(z, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(-low / high, 1.0, atol=0.15)


def test_few_draws_are_shrunk_towards_their_diagonal() -> None:
    line = np.outer(np.arange(4.0), np.ones(3))
    white = learn(line)
    assert np.linalg.cond(white.root) < 10


def test_draws_worth_little_keep_the_correlations_from_before() -> None:
    before, draws = whiten(CENTER, PRECISION), np.random.default_rng(0).standard_normal((200, 3)) * [3.0, 1.0, 0.5]
    kept, told = (learn(draws, before, worth) for worth in (1e-6, 1e6))
    np.testing.assert_allclose(kept.correlations(), before.correlations(), atol=1e-6)
    assert abs(told.correlations()[0, 1]) < 0.15 < before.correlations()[0, 1]
    for white in (kept, told):  # the scales are those of the draws
        np.testing.assert_allclose(white.scale * np.sqrt((white.root**2).sum(1)), draws.std(0), rtol=0.15)


def test_a_coordinate_that_did_not_move_does_no_harm() -> None:
    stuck = SKEWED[:100].copy()
    stuck[:, 1] = 3.0
    white = learn(stuck)
    assert isinstance(white, Whitening)
    assert all(np.isfinite(part).all() for part in (white.root, white.scale, white.skew, white.z(stuck)))

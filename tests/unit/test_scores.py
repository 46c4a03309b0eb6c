"""Scores against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayescale.evaluate import scores
from bayescale.evaluate.scores import LEVELS, score

#: Quantiles of a normal distribution: draws without Monte Carlo error.
NORMAL = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)


def draws(loc: float = 0.0, sd: float = 1.0, points: int = 1) -> np.ndarray:
    return np.repeat((loc + sd * NORMAL)[:, None], points, axis=1)


def normal_crps(y: np.ndarray, loc: float, sd: float) -> np.ndarray:
    """Closed form of a normal forecast."""
    z = (y - loc) / sd
    return np.asarray(sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)))


def test_crps_of_a_normal_forecast() -> None:
    y = np.array([-3.0, 0.2, 0.5, 4.0])
    np.testing.assert_allclose(scores.crps(draws(0.2, 0.5, 4), y), normal_crps(y, 0.2, 0.5), rtol=1e-3)


def test_crps_of_one_draw_is_the_absolute_error() -> None:
    assert scores.crps(np.array([[2.0]]), np.array([3.5])).item() == pytest.approx(1.5)


def test_weighted_interval_score_by_its_definition() -> None:
    y = np.array([-0.1, 2.5])
    expected = 0.5 * np.abs(y)
    for prob in LEVELS:
        alpha, end = 1 - prob, stats.norm.ppf((1 + prob) / 2)
        expected += alpha / 2 * (2 * end + 2 / alpha * np.maximum(np.abs(y) - end, 0))
    np.testing.assert_allclose(scores.weighted_interval_score(draws(points=2), y), expected / (len(LEVELS) + 0.5), rtol=2e-3)


def test_weighted_interval_score_moves_with_the_unit_only() -> None:
    """A shift of forecast and outcome changes nothing; the library's own weighted score fails this."""
    here = scores.weighted_interval_score(draws(), np.array([0.4]))
    there = scores.weighted_interval_score(draws(100.0), np.array([100.4]))
    np.testing.assert_allclose(here, there, rtol=1e-9)


def test_log_score_of_a_normal_forecast() -> None:
    y = np.array([0.0, 1.0, -2.0])
    # Normal kernels of width h on normal draws: a normal distribution of variance 1 + h^2.
    h = 1.06 * len(NORMAL) ** -0.2
    np.testing.assert_allclose(scores.log_score(draws(points=3), y), stats.norm.logpdf(y, 0, np.hypot(1, h)), atol=2e-3)


def test_log_score_far_out_is_low_and_finite() -> None:
    near, far = scores.log_score(draws(points=2), np.array([5.0, 500.0]))
    assert near == pytest.approx(stats.norm.logpdf(5.0), abs=1.5)
    assert -60 < far < near


def test_a_log_score_prefers_the_truth() -> None:
    y = np.random.default_rng(0).normal(size=400)
    means = [scores.log_score(draws(0.0, sd, 400), y).mean() for sd in (0.5, 1.0, 2.0)]
    assert means[1] > max(means[0], means[2])


def test_pit_counts_draws_below_and_half_of_the_equal() -> None:
    four = np.array([[1.0], [2.0], [3.0], [4.0]])
    found = [scores.pit(four, np.array([y])).item() for y in (0.5, 2.0, 2.5, 9.0)]
    assert found == [0.0, 0.375, 0.5, 1.0]


def test_coverage_counts_ends_as_inside() -> None:
    lower, upper = np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0])
    assert scores.covered(lower, upper, np.array([1.0, 2.0, 2.1])).tolist() == [True, True, False]


def test_errors_of_the_median() -> None:
    assert scores.rmsle(np.array([2.0, 2.0]), np.array([2.0 * np.exp(0.1), 2.0])) == pytest.approx(0.1 / np.sqrt(2))
    np.testing.assert_allclose(scores.relative_error(np.array([2.2, 1.8]), np.array([2.0, 2.0])), [0.1, 0.1])


def test_everything_of_a_lognormal_forecast() -> None:
    y = np.array([2.0, 2.3])
    made = np.exp(draws(np.log(2.0), 0.1, 2))
    table = score(made, y)
    np.testing.assert_allclose(table["median"], 2.0, rtol=1e-6)
    np.testing.assert_allclose(table["upper_90"], 2.0 * np.exp(0.1 * stats.norm.ppf(0.95)), rtol=1e-3)
    np.testing.assert_allclose(table["width_90"], 0.2 * stats.norm.ppf(0.95), rtol=1e-3)
    np.testing.assert_allclose(table["crps"], normal_crps(np.log(y), np.log(2.0), 0.1), rtol=2e-3)
    np.testing.assert_allclose(table["log_score"], stats.lognorm.logpdf(y, 0.1, scale=2.0), atol=0.03)
    np.testing.assert_allclose(table["pit"], stats.norm.cdf(np.log(y / 2.0) / 0.1), atol=1e-3)


def test_the_unit_of_the_response_moves_the_density_only() -> None:
    made, y = np.exp(draws(0.5, 0.1, 1)), np.array([1.8])
    one, other = score(made, y), score(made / 0.7, y / 0.7)
    np.testing.assert_allclose(one["log_score"], other["log_score"] + np.log(1 / 0.7), rtol=1e-9)
    for name in ("pit", "crps", "wis", "width_90", "relative_error"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9)


def test_a_response_that_may_be_negative_is_scored_as_it_is() -> None:
    table = score(draws(-1.0, 0.5, 1), np.array([-1.2]), log=False)
    assert table["crps"].item() == pytest.approx(normal_crps(np.array([-1.2]), -1.0, 0.5).item(), rel=1e-3)
    assert table["width_90"].item() == pytest.approx(stats.norm.ppf(0.95), rel=1e-3)
    assert np.isfinite(table.to_numpy()).all()


@pytest.mark.parametrize("log", [True, False])
def test_draws_beyond_all_numbers_leave_scores_finite(log: bool) -> None:
    made = np.exp(draws(0.5, 0.1, 1))
    spoiled = made.copy()
    spoiled[-1], spoiled[0] = np.inf, 0.0
    table = score(spoiled, np.array([1.6]), log=log)
    assert np.isfinite(table.drop(columns="crps" if not log else []).to_numpy()).all()
    assert table["wis"].item() == pytest.approx(score(made, np.array([1.6]), log=log)["wis"].item(), rel=1e-2)


def test_a_forecast_without_spread_is_scored() -> None:
    table = score(np.full((100, 2), 2.0), np.array([2.0, 2.1]))
    assert np.isfinite(table.to_numpy()).all()
    assert table["log_score"][0] > table["log_score"][1]


def test_points_are_scored_alike_in_any_number() -> None:
    made = np.exp(np.random.default_rng(1).normal(0.5, 0.1, (50, 2 * scores.BLOCK + 3)))
    y = np.linspace(1.2, 2.0, made.shape[1])
    whole = score(made, y)
    assert len(whole) == len(y)
    np.testing.assert_allclose(whole.iloc[-1], score(made[:, -1:], y[-1:]).iloc[0], rtol=1e-12)


def test_the_conformal_factor_covers_as_split_conformal_does() -> None:
    assert scores.conformal_factor(np.arange(1, 20) / 10) == pytest.approx(1.8)
    assert scores.conformal_factor(np.full(8, 5.0)) == 1.0  # the quantile of eight is infinite
    rng = np.random.default_rng(2)
    hits = [abs(rng.normal()) <= scores.conformal_factor(np.abs(rng.normal(size=19))) for _ in range(4000)]
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)


def test_stretched_draws_keep_their_median() -> None:
    made = np.exp(draws(0.5, 0.1, 1))
    before, after = (score(d, np.array([1.9])) for d in (made, scores.stretched(made, 2.0, log=True)))
    assert after["median"].item() == pytest.approx(before["median"].item(), rel=1e-9)
    assert after["width_90"].item() == pytest.approx(2 * before["width_90"].item(), rel=1e-9)
    assert scores.relative_misses(before, log=True).item() == pytest.approx(2 * scores.relative_misses(after, log=True).item())

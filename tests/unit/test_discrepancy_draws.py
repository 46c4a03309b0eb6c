"""Paths of the drift against the dense conditional normal distribution, from fixed parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import bayescale as bs
from bayescale.models.kalman import DIFFUSE
from bayescale.prediction.discrepancy import discrepancy_draws
from bayescale.prediction.predict import predict
from tests.fakes import fake_fit

Array = NDArray[np.float64]
RATE, SIZE, SIGMA = 0.6, 0.5, 0.02
X = np.array([1.0, 2.0, 4.0, 4.0, 10.0, 30.0, 100.0])
LOSS = np.exp(0.3 - 0.1 * np.log(X) + 0.05 * np.sin(np.log(X)) + 0.01 * (np.arange(7) == 3))
MODEL = bs.ScalingModel("power_law", axes={"x": "steps"}, noise=bs.Gaussian(), discrepancy=bs.SlopeDrift())
KNOWN = {"A": 1.0, "alpha": 0.1, "sigma": SIGMA, "drift_rate": RATE, "drift_size": SIZE}


def fitted(model: bs.ScalingModel = MODEL, order: Array | None = None, **columns: object) -> bs.Fit:
    table = pd.DataFrame({"steps": X, "loss": LOSS}).assign(**columns)
    return fake_fit(model, table.iloc[np.arange(len(X)) if order is None else order], KNOWN, sd=0.0, draws=2000)


def conditional(at: Array, fit: bs.Fit) -> tuple[Array, Array]:
    """Mean and covariance of the drift at log scales, given the runs and that it is nought at the end."""
    scale = SIZE * 0.1  # relative to the law's own slope
    u = np.r_[np.log(X), at]
    t = u - np.log(X).min()

    def g(t: Array) -> Array:
        return 2 * (RATE * np.abs(t) - 1 + np.exp(-RATE * np.abs(t))) / RATE**2

    k = scale**2 / (2 * RATE) * (g(t)[:, None] + g(t)[None] - g(t[:, None] - t[None])) / 2 + DIFFUSE
    seen = np.r_[np.arange(len(X)), len(X) - 1]  # the runs, and the end of the curve
    law = np.log(fit.binding.reference["x"]) * 0.1 - 0.1 * np.log(X)
    s = k[np.ix_(seen, seen)] + np.diag(np.r_[np.full(len(X), SIGMA**2), 1e-12])
    gain = np.linalg.solve(s, k[seen][:, len(X) :]).T
    values = np.r_[np.log(LOSS) - law, 0.0]
    return gain @ values, k[len(X) :, len(X) :] - gain @ k[seen][:, len(X) :]


def test_paths_are_those_of_the_conditional_normal() -> None:
    """Before the runs, between them, at one, and beyond: means, spreads and correlations of 8,000 draws."""
    at = np.log(np.array([0.3, 1.5, 10.0, 60.0, 300.0, 3000.0]))
    fit = fitted(order=np.array([3, 0, 6, 1, 5, 2, 4]))
    mean, covariance = conditional(at, fit)
    draws = discrepancy_draws(fit, pd.DataFrame({"steps": np.exp(at)}), np.random.default_rng(0)).reshape(-1, len(at))
    sd = np.sqrt(np.diag(covariance))
    # 8,000 draws: five standard errors of a mean, of a standard deviation, of a correlation
    assert (np.abs(draws.mean(0) - mean) < 5 * sd / np.sqrt(8000)).all()
    np.testing.assert_allclose(draws.std(0) / sd, 1.0, atol=5 / np.sqrt(2 * 8000))
    np.testing.assert_allclose(np.corrcoef(draws.T), covariance / np.outer(sd, sd), atol=5 / np.sqrt(8000))


def test_the_spread_grows_with_the_distance() -> None:
    draws = discrepancy_draws(fitted(), pd.DataFrame({"steps": [100.0, 200.0, 1e3, 1e4]}), np.random.default_rng(0))
    spread = draws.std((0, 1))
    assert spread[0] == pytest.approx(0.0, abs=1e-9)  # the law is stated there
    assert (np.diff(spread) > 0).all()


def test_a_forecast_holds_law_drift_and_noise() -> None:
    fit = fitted()
    law = np.log(predict(fit, {"steps": [1e4]}, kind="mean")["loss"].to_numpy())
    run = np.log(predict(fit, {"steps": [1e4]})["loss"].to_numpy())
    mean, covariance = conditional(np.log([1e4]), fit)
    assert law.std() < 1e-12
    assert run.mean() == pytest.approx(law.mean() + mean[0], abs=5 * run.std() / np.sqrt(8000))
    assert run.std() == pytest.approx(np.sqrt(covariance[0, 0] + SIGMA**2), rel=0.05)


def test_on_the_plain_scale_the_drift_adds() -> None:
    plain = bs.ScalingModel("power_law", axes={"x": "steps"}, noise=bs.Gaussian(on="plain"), discrepancy=bs.SlopeDrift())
    fit, at = fitted(plain), pd.DataFrame({"steps": [1e4]})
    law = predict(fit, at, kind="mean")["loss"].to_numpy().mean()
    drift = discrepancy_draws(fit, at, np.random.default_rng(0))
    run = predict(fit, at)["loss"].to_numpy()
    assert run.mean() == pytest.approx(law + drift.mean(), abs=8 * run.std() / np.sqrt(8000))
    assert run.std() == pytest.approx(np.hypot(drift.std(), SIGMA), rel=0.06)


def test_an_unseen_curve_has_a_path_of_its_own() -> None:
    model = bs.ScalingModel(
        "power_law",
        axes={"x": "steps"},
        pooling={"A": bs.NoPooling("family")},
        noise=bs.Gaussian(),
        discrepancy=bs.SlopeDrift(),
    )
    fit = fitted(model, family=["a"] * 7)
    points = pd.DataFrame({"steps": [100.0, 1e4, 100.0, 1e4], "family": ["a", "a", "new", "new"]})
    draws = discrepancy_draws(fit, points, np.random.default_rng(0)).reshape(-1, 4)
    assert abs(np.corrcoef(draws[:, 1], draws[:, 3])[0, 1]) < 0.06
    assert draws[:, 3].std() > draws[:, 1].std()
    assert abs(draws[:, 3].mean()) < 5 * draws[:, 3].std() / np.sqrt(8000)


def test_running_minima_lie_below_the_curve() -> None:
    """A column of minima is no mean: the path that it gives lies above what the same rows give as plain runs."""
    minima = bs.ScalingModel("power_law", axes={"x": "steps"}, noise=bs.BestSoFar(), discrepancy=bs.SlopeDrift())
    x = np.arange(1.0, 31.0)
    table = pd.DataFrame({"steps": x, "loss": np.minimum.accumulate(1.0 + 0.02 * np.random.default_rng(0).standard_normal(30))})
    at, known = pd.DataFrame({"steps": [29.0]}), KNOWN | {"A": 1.0, "alpha": 0.01}
    fits = [fake_fit(model, table, known, sd=0.0, draws=200) for model in (minima, MODEL)]
    as_minima, as_runs = (discrepancy_draws(fit, at, np.random.default_rng(0)).mean() for fit in fits)
    assert as_minima > as_runs


def test_without_a_discrepancy_there_is_none() -> None:
    plain = bs.ScalingModel("power_law", axes={"x": "steps"}, noise=bs.Gaussian())
    draws = discrepancy_draws(fitted_plain(plain), pd.DataFrame({"steps": [1e4]}), np.random.default_rng(0))
    assert not draws.any()


def fitted_plain(model: bs.ScalingModel) -> bs.Fit:
    return fake_fit(model, pd.DataFrame({"steps": X, "loss": LOSS}), draws=200)


def test_a_saved_fit_forecasts_the_same(tmp_path) -> None:
    fit = fitted()
    back = bs.load(bs.save(fit, tmp_path / "fit.nc"))
    assert back.model == fit.model
    at = {"steps": [5.0, 1e4]}
    np.testing.assert_array_equal(predict(back, at)["loss"], predict(fit, at)["loss"])


def test_the_scale_that_a_target_needs_has_the_drift_in_it() -> None:
    """At a scale beyond the runs, as many draws have met a target there as have the law and their drift below it (8,000)."""
    fit, at = fitted(), 1000.0
    low = (fit.binding.reference["x"] / at) ** 0.1
    drift = discrepancy_draws(fit, pd.DataFrame({"steps": [at]}), np.random.default_rng(1)).reshape(-1)
    target = float(low * np.exp(np.quantile(drift, 0.3)))
    found = bs.scale_for(fit, target, within=(100.0, 1e6))["steps"].to_numpy()
    assert abs((found <= at).mean() - 0.3) < 5 * np.sqrt(2 * 0.3 * 0.7 / 8000)
    assert np.ptp(found) > 100


def test_drifts_of_two_curves_are_their_own_in_a_crossover() -> None:
    """Two curves of one law and no runs of their own differ by their drifts alone: either is ahead in half of the draws."""
    a, b = fitted(), fitted()
    found = bs.crossover(a, b, along="steps", within=(200.0, 1e5))
    ahead = found["p_b_better"].to_numpy()
    assert (np.abs(ahead - 0.5) < 5 * 0.5 / np.sqrt(8000)).all()
    assert 0 < found["p_none"].item() < 1


def test_a_crossover_without_what_the_drift_goes_along_is_refused() -> None:
    table = pd.DataFrame({"params": X * 1e8, "flops": X**2 * 1e18, "loss": LOSS})
    model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian(), discrepancy=bs.SlopeDrift("flops"))
    fit = fake_fit(model, table, KNOWN, sd=0.0)
    with pytest.raises(bs.BayescaleError, match=r"along params alone, flops of the model may be anything.*tokens_per_param"):
        bs.scale_for(fit, 1.0, along="params")
    assert bs.scale_for(fit, 1.0, along="params", path={"tokens_per_param": 20})["params"].dims == ("chain", "draw")

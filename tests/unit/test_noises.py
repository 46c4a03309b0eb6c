"""What the field's noise is like: best of sweeps, rounding, noise that changes with scale, effects of several columns."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from numpyro.handlers import seed, substitute, trace
from scipy import integrate, stats

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.core.numerics import double_precision
from bayescale.infer.fit import read_runs
from bayescale.infer.io import _renamed
from bayescale.models.binding import bind
from bayescale.models.noise import BestOf, Gaussian, StudentT
from bayescale.prediction.discrepancy import discrepancy_draws
from bayescale.prediction.noise import as_measured
from tests.fakes import fake_fit

PARAMS = np.logspace(8, 10, 8)
TABLE = pd.DataFrame({"params": PARAMS, "loss": 2.0 * (PARAMS / 1e9) ** -0.1 * np.exp(0.01 * np.cos(np.arange(8.0)))})
TREND, MEMORY = bs.Param.real(0.0, 0.1), bs.Param.fraction(0.5, 1.0)


def model(noise: Any, discrepancy: Any = None) -> bs.ScalingModel:
    return bs.ScalingModel("power_law", axes={"x": "params"}, noise=noise, discrepancy=discrepancy)


def sites(noise: Any, table: pd.DataFrame, at: dict[str, float] | None = None, discrepancy: Any = None) -> dict[str, Any]:
    """Values of the model's sites about the law ``2 (params / 1e9)^-0.1``, at a noise of 0.02 and what else is given."""
    asked = model(noise, discrepancy)
    binding = bind(asked, read_runs(asked, table))
    wanted = {"alpha": 0.1, "A": 2.0 * (binding.reference["x"] / 1e9) ** -0.1}
    given: dict[str, Any] = {"sigma": 0.02} | (at or {}) | {f"{name}_latent": np.zeros(1) for name in wanted}
    with double_precision():
        design = jax.tree.map(jax.numpy.asarray, binding.design)

        def made(**options: Any) -> dict[str, Any]:
            found = trace(substitute(seed(asked, jax.random.key(0)), given)).get_trace(design, **options)
            assert set(given) <= set(found), set(given) - set(found)
            return {name: getattr(site.get("fn"), "log_factor", site["value"]) for name, site in found.items()}

        # What is sampled is how far a parameter lies from where the runs put it, given those before.
        for name, value in wanted.items():
            given[f"{name}_latent"] = np.log([value / float(made()[name])])
        return made(pointwise=True)


class TestBestOf:
    TRIES = np.array([1.0, 2, 4, 8, 16, 3, 5, 40])

    def test_density_is_that_of_the_lowest_of_so_many_normals(self) -> None:
        """Integrated between quantiles of the least of K: their probability, whatever the order of the rows."""
        table = TABLE.assign(tries=self.TRIES)
        found = sites(BestOf(), table)
        mean = np.log(np.asarray(found["loss_mean"])[:8])

        def density(y: float, i: int) -> float:
            survival = stats.norm.sf(y, mean[i], 0.02)
            return float(self.TRIES[i] * stats.norm.pdf(y, mean[i], 0.02) * survival ** (self.TRIES[i] - 1))

        for i in range(8):
            assert integrate.quad(density, -np.inf, mean[i], (i,))[0] == pytest.approx(1 - 0.5 ** self.TRIES[i], abs=1e-7)
        y = np.log(table["loss"].to_numpy())
        expected = np.log([density(y[i], i) for i in range(8)]) - y
        np.testing.assert_allclose(found["loss_pointwise"][:8], expected, atol=1e-5)
        mixed = np.random.default_rng(0).permutation(8)
        again = sites(BestOf(), table.iloc[mixed].reset_index(drop=True))
        assert float(again["loss_joint"]) == pytest.approx(float(found["loss_joint"]), abs=1e-9)
        np.testing.assert_allclose(again["loss_pointwise"][:8], found["loss_pointwise"][mixed], atol=1e-9)

    def test_beside_a_drift_that_is_hardly_there(self) -> None:
        """The filter's Laplace step about minima: with a tiny drift, that of the runs about one free level."""
        drift = {"drift_rate": 0.4, "drift_size": 1e-4}
        table = TABLE.assign(tries=self.TRIES)
        with_drift = sites(BestOf(), table, drift, bs.SlopeDrift())
        alone = sites(BestOf(), table)
        np.testing.assert_allclose(with_drift["loss_pointwise"][:8], alone["loss_pointwise"][:8], atol=1e-3)

    @pytest.mark.parametrize("tries", [None, 1.0, 50.0])
    def test_a_forecast_is_of_one_run_or_of_so_many(self, tries: float | None) -> None:
        fit = fake_fit(model(BestOf(tries=4)), TABLE, {"sigma": 0.05}, sd=0.0, draws=3000)
        at = {"params": [1e10]} | ({} if tries is None else {"tries": [tries]})
        drawn = np.log(bs.predict(fit, at)["loss"].to_numpy()).ravel()
        mean = np.log(bs.predict(fit, at, kind="mean")["loss"].to_numpy()).ravel()[0]
        uniform = 1 - stats.norm.sf((drawn - mean) / 0.05) ** (tries or 1.0)
        assert stats.kstest(uniform, "uniform").pvalue > 1e-4

    def test_held_out_rows_are_the_best_of_as_many_as_fitted_ones(self) -> None:
        """What a backtest forecasts: here 1.03 times the noise below a single run, the mean of the least of four."""
        fit = fake_fit(model(BestOf(tries=4)), TABLE, {"sigma": 0.05}, sd=0.0, draws=3000)
        one, least = (np.log(bs.predict(fit, at)["loss"]).mean() for at in (TABLE, as_measured(fit, TABLE)))
        assert (one - least).item() / 0.05 == pytest.approx(1.0294, abs=0.02)
        named = fake_fit(model(BestOf()), TABLE.assign(tries=2.0), draws=2)
        assert as_measured(named, named.data.table) is named.data.table

    def test_counts_that_make_no_sense(self) -> None:
        for wrong in (0, 0.5, np.inf, "", True, None):
            with pytest.raises(SpecError, match="tries is the name of a column, or a number of at least 1"):
                BestOf(tries=wrong)
        with pytest.raises(DataError, match="no column 'tries'"):
            read_runs(model(BestOf()), TABLE)
        with pytest.raises(DataError, match=r"tries: expected a number of tries of at least 1, got 0.5 in rows? 0"):
            bind(model(BestOf()), read_runs(model(BestOf()), TABLE.assign(tries=0.5)))
        fit = fake_fit(model(BestOf(tries=2)), TABLE, draws=2)
        with pytest.raises(DataError, match=r"tries: expected a number of tries of at least 1, got 'many' in row 0"):
            bs.predict(fit, {"params": [1e10], "tries": ["many"]})
        with pytest.raises(DataError, match="Did you mean 'tries'"):
            bs.predict(fit, {"params": [1e10], "trie": [3]})

    def test_the_column_is_read_where_the_axis_is_not_named(self) -> None:
        asked = bs.ScalingModel("power_law", noise=BestOf(tries="sweep"))
        runs = read_runs(asked, TABLE.assign(sweep=3.0))
        assert bind(asked, runs).design.tries[0] == 3.0
        assert read_runs(asked, runs) is runs


class TestRounding:
    def test_is_the_likelihood_of_an_interval_where_noise_is_wider(self) -> None:
        """``P(y - step/2 < Y < y + step/2) / step``, on average over where in its interval the law lies."""
        step, sigma = 0.01, 0.012
        y = np.round(TABLE["loss"].to_numpy(), 2)
        found = sites(StudentT(on="plain", df=1e9, rounding=step), TABLE.assign(loss=y), {"sigma": sigma})
        mean = np.asarray(found["loss_mean"])[:8]
        within = np.diff(stats.norm.cdf((y[:, None] + [-step / 2, step / 2] - mean[:, None]) / sigma))[:, 0] / step
        ours = stats.norm.logpdf(y, mean, np.hypot(sigma, step / np.sqrt(12)))
        np.testing.assert_allclose(ours, np.log(within), atol=0.02)
        plain = stats.norm.logpdf(y, mean, sigma)
        assert np.abs(ours - np.log(within)).sum() < np.abs(plain - np.log(within)).sum() / 5

    def test_adds_to_known_errors_of_fitted_rows_and_not_to_forecasts(self) -> None:
        table, step = TABLE.assign(loss_sd=0.02), 0.1
        fit = fake_fit(model(StudentT(rounding=step)), table, {"sigma": 1e-6, "nu": 1e6}, sd=0.0, draws=2)
        expected = np.hypot(0.02, step / np.sqrt(12)) / table["loss"]
        np.testing.assert_allclose(fit.binding.design.se[:8], expected)
        drawn, mean = (bs.predict(fit, {"params": PARAMS}, kind=kind)["loss"].to_numpy() for kind in ("response", "mean"))
        np.testing.assert_allclose(drawn, mean, rtol=1e-4)

    @pytest.mark.parametrize(("digits", "step"), [(1, "0.1"), (2, "0.01")])
    def test_a_table_that_is_visibly_rounded_is_told_of(self, digits: int, step: str) -> None:
        review = bs.check(TABLE.assign(loss=TABLE["loss"].round(digits)))
        (finding,) = [f for f in review.findings if f.check == "rounding"]
        assert finding.status is bs.Status.REVIEW
        assert f"multiples of {step}, " in finding.message and f"noise=StudentT(rounding={step})" in finding.advice

    @pytest.mark.parametrize("loss", [TABLE["loss"], TABLE["loss"].round(3), 300 * TABLE["loss"].round(3)])
    def test_digits_enough_are_not(self, loss: pd.Series) -> None:
        (finding,) = [f for f in bs.check(TABLE.assign(loss=loss)).findings if f.check == "rounding"]
        assert finding.status is bs.Status.PASS


class TestTrend:
    def test_new_runs_have_the_noise_of_their_scale(self) -> None:
        """Also where the axis is no covariate of the law, and follows from others; known errors add to it."""
        table = TABLE.assign(tokens=PARAMS[::-1] * np.linspace(10, 40, 8))
        asked = bs.ScalingModel("chinchilla", noise=Gaussian(trend=TREND))
        fit = fake_fit(asked, table, {"sigma": 0.02, "noise_trend": 0.2}, sd=0.0, draws=2500)
        reference = np.exp(np.log(6 * table["params"] * table["tokens"]).mean())
        assert fit.binding.noise_reference == pytest.approx(reference)
        at = {"params": [1e9, 1e11], "tokens": [2e10, 2e12], "loss_sd": [np.nan, 0.01]}
        drawn, mean = (bs.predict(fit, at, kind=kind)["loss"].to_numpy().reshape(-1, 2) for kind in ("response", "mean"))
        expected = 0.02 * (6 * np.array([2e19, 2e23]) / reference) ** -0.2
        expected[1] = np.hypot(expected[1], 0.01 / mean[0, 1])
        np.testing.assert_allclose(np.log(drawn / mean).std(axis=0) / expected, 1.0, atol=5 / np.sqrt(2e4))

    def test_the_axis_must_be_there(self) -> None:
        asked = bs.ScalingModel(
            "power_law", axes={"x": "params"}, noise=Gaussian(trend=TREND), discrepancy=bs.SlopeDrift("flops")
        )
        with pytest.raises(DataError, match="no column 'flops'"):
            read_runs(asked, TABLE)
        two = bs.ScalingModel("kaplan_nd", axes={"tokens": "samples"}, noise=Gaussian(trend=TREND))
        with pytest.raises(SpecError, match="the noise goes along 'flops'"):
            bind(two, read_runs(two, TABLE.assign(samples=1e9)))

    def test_along_the_path_of_a_drift(self) -> None:
        """The filter takes the noise of each row: with a drift of hardly anything, that of rows on their own."""
        given = {"noise_trend": 0.3, "drift_rate": 0.4, "drift_size": 1e-5}
        found = sites(Gaussian(trend=TREND), TABLE, given, bs.SlopeDrift())
        scale = 0.02 * (PARAMS / PARAMS[-3:].prod() ** (1 / 3)) ** -0.3
        y, mean = np.log(TABLE["loss"].to_numpy()), np.log(2.0 * (PARAMS / 1e9) ** -0.1)
        np.testing.assert_allclose(found["loss_noise"][:8], scale, rtol=1e-6)
        np.testing.assert_allclose(found["loss_pointwise"][:8], stats.norm.logpdf(y, mean, scale) - y, atol=1e-3)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"trend": bs.Param.positive(0.1, 0.5)}, r"prior of trend is a Param\.real"),
            ({"memory": bs.Param.real(0.0, 1.0)}, r"prior of memory is a Param\.fraction"),
            ({"memory": 0.5}, r"prior of memory is a Param\.fraction.*got 0\.5"),
            ({"rounding": 0.0}, "rounding is the step.*got 0"),
            ({"rounding": True}, "rounding is the step.*got True"),
        ],
    )
    @pytest.mark.parametrize("kind", [StudentT, Gaussian])
    def test_options_that_make_no_sense(self, kind: Any, wrong: dict[str, Any], said: str) -> None:
        with pytest.raises(SpecError, match=said):
            kind(**wrong)

    def test_what_is_assumed(self) -> None:
        asked = model(StudentT(trend=TREND, memory=MEMORY))
        told = {"sigma": "sigma", "noise_trend": "noise_trend", "noise_memory_latent": "noise_memory", "nu": "nu"}
        assert told.items() <= asked.assumptions.items()
        assert model(StudentT()).assumptions.keys().isdisjoint({"noise_trend", "noise_memory_latent"})


@pytest.mark.parametrize("noise", [Gaussian(trend=TREND), BestOf()], ids=["trend", "best of"])
def test_a_forecast_knows_of_a_drift_what_the_model_does(noise: Any) -> None:
    """Drawn at the runs, the drift has the mean and spread that the model records there; 5 standard errors of 8 000 draws."""
    table = TABLE.assign(tries=[40.0, 1, 1, 30, 1, 2, 50, 1])
    known = {"drift_rate": 0.4, "drift_size": 0.5, "sigma": 0.02} | (
        {"noise_trend": 0.5} if noise.priors.keys() > {"sigma"} else {}
    )
    found = sites(noise, table, known, bs.SlopeDrift())
    law = {name: float(found[name]) for name in ("A", "alpha")}
    fit = fake_fit(model(noise, bs.SlopeDrift()), table, known | law, sd=0.0, draws=2000)
    drawn = discrepancy_draws(fit, fit.data.table, np.random.default_rng(0)).reshape(-1, 8)
    mean, spread = (np.asarray(found[f"loss_{name}"])[:8] for name in ("drift", "drift_sd"))
    assert (np.abs(drawn.mean(axis=0) - mean) <= 5 * spread / np.sqrt(8000) + 1e-4).all()
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=5 / np.sqrt(16_000), atol=1e-4)
    assert spread.max() > 3e-3


class TestMemory:
    def test_runs_lie_within_curves_and_rows_without_a_label_are_alone(self) -> None:
        asked = bs.ScalingModel(
            "power_law", axes={"x": "params"}, noise=Gaussian(memory=MEMORY), pooling=bs.NoPooling("family")
        )
        table = TABLE.assign(family=list("aaaabbbb"), run=["1", "1", "", "", "1", "1", "2", "2"])
        memory = bind(asked, read_runs(asked, table)).design.memory
        assert memory.linked[:8].tolist() == [False, True, False, False, False, True, False, True]
        alone = bind(asked, read_runs(asked, table.drop(columns="run"))).design.memory
        assert alone.linked[:8].tolist() == [False, True, True, True, False, True, True, True]

    def test_a_new_run_scatters_as_a_checkpoint_does(self) -> None:
        fit = fake_fit(model(Gaussian(memory=MEMORY)), TABLE, {"sigma": 0.03, "noise_memory": 0.9}, sd=0.0, draws=2500)
        drawn, mean = (bs.predict(fit, {"params": [1e10]}, kind=kind)["loss"].to_numpy() for kind in ("response", "mean"))
        assert np.log(drawn / mean).std() == pytest.approx(0.03, rel=0.05)


def test_a_run_and_its_evaluation_have_effects_of_their_own() -> None:
    """A new run draws its own, and keeps that of an evaluation sample that was used before."""
    parts = (bs.RunEffect(by="evaluation"), bs.RunEffect())
    table = TABLE.assign(run=list("aabbccdd"), evaluation=["old"] * 5 + ["new"] * 3)
    known = {"sigma": 1e-9, "effect_size": 0.03, "effect_size_evaluation": 0.1}
    given = np.random.default_rng(0).standard_normal((4, 2500, 6))
    fit = fake_fit(model(Gaussian(), parts), table, known | {"coefficients": given}, sd=0.0, draws=2500)
    at = {"params": [1e10] * 4, "run": ["a", "z", "z", "d"], "evaluation": ["old", "old", "third", "third"]}
    drawn, mean = (bs.predict(fit, at, kind=kind)["loss"].to_numpy() for kind in ("response", "mean"))
    effect = np.log(drawn / mean)
    # Parts go by the name of their column: evaluations (old, new) before runs (a to d).
    np.testing.assert_allclose(effect[..., 0], 0.1 * given[..., 0] + 0.03 * given[..., 2], atol=1e-6)
    flat = effect.reshape(-1, 4)
    covariance = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]) * 0.1**2
    covariance = covariance + 0.03**2 * np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(np.cov(flat.T), covariance, atol=5 * np.sqrt(2 / len(flat)) * covariance.max())


def test_a_file_of_before_effects_had_columns_is_read() -> None:
    """Until the second version the size of every effect was `effect_size`."""
    asked = model(Gaussian(), bs.RunEffect(by="evaluation"))
    fit = fake_fit(asked, TABLE.assign(evaluation=list("ababaabb")), draws=5)
    old = fit.tree.copy()
    for group in ("prior", "posterior"):
        old[group] = old[group].to_dataset().rename({"effect_size_evaluation": "effect_size"})
    assert "effect_size_evaluation" not in old["posterior"]
    back = _renamed(old, asked, 2)
    assert back["posterior"]["effect_size_evaluation"].identical(fit.posterior["effect_size_evaluation"])
    assert _renamed(fit.tree, asked, 3) is fit.tree

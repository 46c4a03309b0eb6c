"""``review``: what each check finds in a fit, on fits whose draws are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.core.errors import DataError, SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.decision.review import CHECKS, review
from bayescale.decision.thresholds import Thresholds
from bayescale.infer.fit import Fit
from bayescale.laws.param import Param
from bayescale.models.literature import literature_priors
from bayescale.models.noise import Gaussian
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from tests.fakes import at_reference, fake_fit

TRUTH = {"E": 1.8, "A": 0.4, "alpha": 0.3}
CENTER = 10**8.5


def curve(runs: int = 30, sigma: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """Runs of one family, 1e7 to 1e10 params, about the law at its reference."""
    params = np.logspace(7, 10, runs)
    noise = np.exp(np.random.default_rng(seed).normal(0, sigma, runs))
    return pd.DataFrame({"params": params, "loss": (1.8 + 0.4 * (params / CENTER) ** -0.3) * noise})


def model(**spec: Any) -> ScalingModel:
    return ScalingModel("power_law_offset", axes={"x": "params"}, **spec)


def fake(table: pd.DataFrame | None = None, parameters: dict[str, Any] | None = None, sd: float = 0.002, **spec: Any) -> Fit:
    """A fit of the curve at the truth, with independent draws about it."""
    return fake_fit(model(**spec), curve() if table is None else table, TRUTH | (parameters or {}), sd=sd, draws=300)


def replaced(fit: Fit, group: str, dataset: xr.Dataset, **attrs: Any) -> Fit:
    """A fit with one group of its tree replaced."""
    groups = {name: node.to_dataset() for name, node in fit.tree.children.items()} | {group: dataset}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs |= {**fit.tree.attrs, **attrs}
    return Fit(fit.model, fit.data, tree)


def only(found: Review, check: str, status: Status = Status.REVIEW) -> Finding:
    (finding,) = [f for f in found if f.check == check and f.status is status]
    return finding


def assert_held_against(finding: Finding) -> None:
    """A finding that is no PASS keeps its numbers and says what to do."""
    assert finding.value is not None
    assert finding.threshold is not None
    assert finding.advice


# --- the whole


def test_a_good_fit_passes_every_check() -> None:
    found = review(fake(), {"params": 2e10})
    assert {f.status for f in found} == {Status.PASS, Status.NOT_ASSESSED}, found
    assert [f.check for f in found.only(Status.NOT_ASSESSED)] == ["calibration"]
    names = [entry.name for entry in CHECKS]
    assert names[0] == "convergence"
    assert names[-1] == "calibration"


def test_what_depends_on_points_is_not_assessed_without_them() -> None:
    found = review(fake())
    assert [f.check for f in found.only(Status.NOT_ASSESSED)] == ["extrapolation", "calibration"]


def test_calibration_is_not_assessed() -> None:
    assert only(review(fake()), "calibration", Status.NOT_ASSESSED).message.startswith("not assessed")
    with pytest.raises(SpecError, match="backtest: expected what backtest"):
        review(fake(), backtest=object())


def test_points_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(DataError, match="there is no 'params'"):
        review(fake(), {"size": 1e9})
    with pytest.raises(SpecError, match="expected a Fit"):
        review(curve())


# --- convergence


def test_chains_that_disagree_fail_and_stop_what_reads_draws() -> None:
    fit = fake()
    apart = fit.posterior.assign(E=fit.posterior["E"] + xr.DataArray([0.0, 0.1, 0.2, 0.3], dims="chain"))
    found = review(replaced(fit, "posterior", apart), {"params": 2e10})
    finding = only(found, "convergence", Status.FAIL)
    assert "R-hat of E" in finding.message
    assert_held_against(finding)
    unread = {f.check for f in found.only(Status.NOT_ASSESSED)}
    assert unread == {"posterior predictive", "influence", "priors", "calibration"}
    assert only(found, "extrapolation", Status.PASS)
    assert found.status is Status.FAIL


def test_any_divergence_is_told() -> None:
    fit = fake()
    stats = fit.tree["sample_stats"].to_dataset()
    stats["diverging"][0, 0] = True
    finding = only(review(replaced(fit, "sample_stats", stats)), "convergence")
    assert finding.message.startswith("1 of 1200 draws diverged")
    assert_held_against(finding)


def test_an_interrupted_fit_is_told() -> None:
    fit = fake()
    found = review(replaced(fit, "posterior", fit.posterior, interrupted=1))
    assert "interrupted" in only(found, "convergence").message


# --- data


def test_what_the_model_does_not_use_is_no_worry() -> None:
    table = curve().assign(tokens=3e11, family="a")
    assert only(review(fake(table)), "data", Status.PASS)


def test_a_worrying_table_is_told() -> None:
    table = curve().query("params < 5e7")
    finding = only(review(fake(table)), "data")
    assert "params spans" in finding.message
    assert_held_against(finding)


def test_fewer_runs_than_parameters() -> None:
    finding = only(review(fake(curve(4))), "data")
    assert finding.message == "fewer runs (4) than parameters (5)"
    assert_held_against(finding)
    assert only(review(fake(curve(5))), "data", Status.PASS)


def grouped(sizes: dict[str, int]) -> pd.DataFrame:
    """Families on one curve, of so many runs each."""
    parts = [curve(max(n, 2), seed=i).iloc[-n:].assign(family=name) for i, (name, n) in enumerate(sizes.items())]
    return pd.concat(parts, ignore_index=True)


def test_a_group_with_one_run() -> None:
    pooling = {"A": PartialPooling("family")}
    finding = only(review(fake(grouped({"a": 12, "b": 12, "c": 1}), pooling=pooling)), "data")
    assert finding.message == "1 of 3 groups of family have one run: c"
    assert_held_against(finding)
    assert only(review(fake(grouped({"a": 12, "b": 12}), pooling=pooling)), "data", Status.PASS)


def test_a_single_group_tells_no_spread() -> None:
    finding = only(review(fake(grouped({"a": 12}), pooling={"A": PartialPooling("family")})), "data")
    assert finding.message == "not identified: how family groups differ; there is a single one (a)"
    assert only(review(fake(grouped({"a": 12}), pooling={"A": NoPooling("family")})), "data", Status.PASS)


def test_a_single_outer_group_tells_no_spread() -> None:
    table = grouped({"a": 12, "b": 12}).assign(architecture="dense")
    finding = only(review(fake(table, pooling={"A": PartialPooling(("architecture", "family"))})), "data")
    assert "how architecture groups differ" in finding.message


def test_a_floor_that_unlike_texts_share() -> None:
    table = grouped({"a": 12, "b": 12}).assign(dataset=lambda t: t["family"].map({"a": "Pile", "b": "C4"}))
    finding = only(review(fake(table)), "data")
    assert finding.message == "the floor of the law (E) is shared by runs of several dataset (C4, Pile)"
    assert "NoPooling('dataset')" in finding.advice
    assert_held_against(finding)
    # One a dataset, by the column or by another that tells the same groups apart; or one dataset for all.
    for by in ("dataset", "family"):
        assert only(review(fake(table, pooling={"E": NoPooling(by)})), "data", Status.PASS)
    assert only(review(fake(table.assign(dataset="Pile"))), "data", Status.PASS)


@pytest.mark.parametrize(
    ("law", "apart", "floors"),
    [
        ("power_law", {}, None),  # it has none
        ("bent_power_law", {}, "level and floor"),
        ("bent_power_law", {"floor": NoPooling("dataset")}, None),
        ("bent_power_law", {"level": NoPooling("dataset")}, None),
        ("bnsl", {}, "E"),
        ("bnsl", {"E": NoPooling("dataset")}, None),  # its amplitude may be shared
        ("power_law/experts", {}, None),
        ("power_law_offset/experts", {}, "E"),
        ("power_law_offset/tokens_per_param", {}, None),  # a ratio has no end
    ],
)
def test_what_is_a_floor(law: str, apart: dict[str, NoPooling], floors: str | None) -> None:
    table = grouped({"a": 12, "b": 12}).assign(dataset=lambda t: t["family"].map({"a": "Pile", "b": "C4"}))
    table = table.assign(experts=lambda t: t["params"], tokens_per_param=lambda t: t["params"] ** 0.5)
    name, _, column = law.partition("/")
    model = ScalingModel(name, axes={"x": column or "params"}, pooling=apart)
    found = [f.message for f in review(fake_fit(model, table, sd=0.01, draws=50)) if "shared by runs" in f.message]
    assert found == (
        [] if floors is None else [f"the floor of the law ({floors}) is shared by runs of several dataset (C4, Pile)"]
    )


# --- posterior predictive


def predictive(found: Review, status: Status) -> list[Finding]:
    return [f for f in found if f.check == "posterior predictive" and f.status is status]


def test_a_fit_that_misses_its_runs_fails() -> None:
    (finding,) = predictive(review(fake(parameters={"E": 1.9})), Status.FAIL)
    assert finding.message.startswith("the fit is too sure of itself: ")
    assert finding.value is not None
    assert finding.value < 1e-4
    assert_held_against(finding)


def test_a_fit_that_misses_some_is_to_be_looked_at() -> None:
    found = review(fake(parameters={"sigma": 0.004}))
    (finding,) = [f for f in predictive(found, Status.REVIEW) if "too sure" in f.message]
    assert finding.value is not None
    assert 1e-4 < finding.value < 0.01
    assert_held_against(finding)


def test_noise_that_is_too_wide_is_to_be_looked_at() -> None:
    (finding,) = predictive(review(fake(parameters={"sigma": 0.05})), Status.REVIEW)
    assert finding.message.startswith("the intervals are wider than the runs need: 30 and 30 of 30")
    assert_held_against(finding)


def test_a_flexible_fit_is_expected_to_cover_its_own_runs() -> None:
    """With half as many parameters as runs, residuals shrink and all runs are covered: no finding."""
    assert len(predictive(review(fake(curve(10), parameters={"sigma": 0.05})), Status.PASS)) == 2


def test_a_run_far_off_is_told() -> None:
    table = curve()
    table.loc[7, "loss"] *= 1.1
    (finding,) = predictive(review(fake(table, noise=Gaussian())), Status.REVIEW)
    assert finding.message.startswith("the largest residual (row 7) is ")
    assert finding.value == 0
    assert_held_against(finding)
    assert len(predictive(review(fake(noise=Gaussian())), Status.PASS)) == 2
    assert len(predictive(review(fake(table, parameters={"nu": 1.5, "sigma": 0.006})), Status.PASS)) == 2


def test_a_residual_is_measured_from_the_runs_that_the_fit_would_make() -> None:
    """Where a drift carries runs away from the law, they are as expected, and one that is far off is still told."""
    fit = fake(noise=Gaussian())
    rng = np.random.default_rng(0)
    away = fit.data.table["loss"].to_numpy() * np.linspace(1.0, 1.3, 30)
    for factor, alarms in ((1.0, 0), (1.1, 1)):
        seen = np.where(np.arange(30) == 7, factor, 1.0) * away * np.exp(0.01 * rng.standard_normal(30))
        drawn = fit.tree["posterior_predictive"]["loss"]
        fit.tree["posterior_predictive"]["loss"] = drawn.copy(data=away * np.exp(0.01 * rng.standard_normal(drawn.shape)))
        fit.tree["observed_data"]["loss"] = fit.tree["observed_data"]["loss"].copy(data=seen)
        told = [f.message for f in predictive(review(fit), Status.REVIEW) if "largest residual" in f.message]
        assert len(told) == alarms
        assert all(message.startswith("the largest residual (row 7) is ") for message in told)


# --- influence


def test_a_run_that_decides_the_fit_is_named() -> None:
    table = curve()
    table.loc[29, "loss"] *= 1.2
    finding = only(review(fake(table, sd=0.005, noise=Gaussian())), "influence")
    assert "Pareto k is above 0.7 in row 29, worst first" in finding.message
    assert finding.value is not None
    assert finding.value > 0.7
    assert_held_against(finding)


# --- priors


def test_a_prior_that_fights_the_runs_is_told() -> None:
    tight = {"E": Param.positive(3.0, 0.01, unit="response")}
    finding = only(review(fake(sd=0.01, priors=tight), {"params": 1e10}), "prior sensitivity")
    assert finding.message.startswith("the priors move the forecast (point 0 ")
    assert "disagree" in finding.message
    assert_held_against(finding)
    assert only(review(fake(sd=0.01)), "prior sensitivity", Status.PASS)


def test_without_points_the_parameters_are_asked() -> None:
    tight = {"E": Param.positive(3.0, 0.01, unit="response")}
    found = only(review(fake(sd=0.01, priors=tight)), "prior sensitivity")
    assert found.message.startswith("the priors move parameters (E ")
    pooled = fake(grouped({"a": 12, "b": 12}), pooling={"alpha": PartialPooling("family")}, sd=0.01)
    assert only(review(pooled), "prior sensitivity", Status.PASS)


def test_draws_that_do_not_vary_cannot_be_reweighted() -> None:
    fit = fake()
    flat = replaced(fit, "log_prior", xr.zeros_like(fit.tree["log_prior"].to_dataset()))
    finding = only(review(flat), "prior sensitivity", Status.NOT_ASSESSED)
    assert "cannot be reweighted" in finding.message


def plane(seed: int = 0) -> pd.DataFrame:
    grid = [(n, d) for n in np.logspace(8, 10, 5) for d in np.logspace(10, 12, 5)]
    df = pd.DataFrame(grid, columns=["params", "tokens"])
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.01, len(df)))
    return df.assign(loss=(1.8 + 480 * df["params"] ** -0.35 + 2000 * df["tokens"] ** -0.36) * noise)


def both(priors: Any, sd: float, alpha: Callable[[np.random.Generator], np.ndarray] | None = None, **spec: Any) -> Fit:
    chosen = ScalingModel("chinchilla", priors=priors, **spec)
    base = fake_fit(chosen, plane(), {}, sd=sd)
    truth: dict[str, Any] = at_reference(base, E=1.8, A=480, B=2000, alpha=0.35, beta=0.36)
    if alpha is not None:
        truth["alpha"] = alpha(np.random.default_rng(1))
    return fake_fit(chosen, plane(), truth, sd=sd, draws=300)


def test_literature_priors_that_do_not_matter() -> None:
    finding = only(review(both("literature", 0.01)), "literature priors", Status.PASS)
    assert "do not change the answer" in finding.message
    assert not [f for f in review(both("weak", 0.01)) if f.check == "literature priors"]


def test_literature_priors_that_change_the_answer() -> None:
    """Runs that say little of alpha leave it half-way between the prior and what they say."""
    prior = literature_priors(both("weak", 0.01).model.law)["alpha"]

    def between(rng: np.random.Generator) -> np.ndarray:
        return np.asarray(np.exp(rng.normal(prior.loc - prior.scale, 0.7 * prior.scale, (4, 300))))

    fit = both("literature", 0.01, between)
    finding = only(review(fit), "literature priors")
    assert finding.message.startswith("the literature priors change the answer: alpha is ")
    assert "higher than under weak ones" in finding.message
    assert finding.value is not None
    assert finding.value > 0.3
    assert_held_against(finding)
    assert only(review(fit, thresholds=Thresholds(literature_shift=9.0)), "literature priors", Status.PASS)
    forecast = only(review(fit, {"params": 1e14, "tokens": 1e14}), "literature priors")
    assert forecast.value is not None
    assert forecast.value >= finding.value


def test_literature_priors_of_a_population_are_those_of_its_mean() -> None:
    prior = literature_priors(both("weak", 0.01).model.law)["alpha"]
    mu = np.random.default_rng(1).normal(prior.loc - prior.scale, 0.7 * prior.scale, (4, 300))
    table = pd.concat([plane(i).assign(family=f) for i, f in enumerate("ab")], ignore_index=True)
    pooling = {"alpha": PartialPooling("family", across_conventions=True)}
    chosen = ScalingModel("chinchilla", priors="literature", pooling=pooling)
    pooled = fake_fit(chosen, table, {"alpha_mu": mu}, draws=300)
    assert "alpha_mu is" in only(review(pooled), "literature priors").message


def test_where_the_literature_has_no_prior_the_weak_one_is_in_force() -> None:
    finding = only(review(fake(priors="literature")), "literature priors", Status.PASS)
    assert "weak ones are in force" in finding.message

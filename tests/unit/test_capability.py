"""A model of capability: its specification, a small fit, forecasts of it, and the file it is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.core.numerics import double_precision
from bayescale.infer.finish import growing
from bayescale.infer.mode import find_mode
from bayescale.infer.programs import programs
from bayescale.infer.sample import random_keys
from bayescale.models import capability_values
from bayescale.models.evals_binding import bind_evals
from bayescale.models.spec import capability_from_spec, capability_spec
from benchmarks.capabilities.recovery import replicates
from benchmarks.recovery import coverage

TASKS = {"easy": (1.0, 1.0, 0.25), "hard": (1.4, -1.5, 0.25), "code": (1.2, -2.0, 0.0), "facts": (0.8, 0.3, 0.5)}


def simulate(seed: int, families: int = 4, sizes: int = 3) -> pd.DataFrame:
    """Scores of one factor, 500 items a task."""
    rng, rows = np.random.default_rng(seed), []
    for f in range(families):
        own = 0.5 * rng.standard_normal()
        for i in range(sizes):
            params, tokens = 10 ** (9 + 0.6 * i + 0.1 * f), 10 ** (11.5 + 0.2 * f)
            at = (np.log10(params) - 9.8) / 0.7 + 0.5 * (np.log10(tokens) - 11.8) / 0.6 + own + 0.2 * rng.standard_normal()
            for task, (slope, level, chance) in TASKS.items():
                mean = chance + (0.95 - chance) / (1 + np.exp(-(level + slope * at)))
                score = rng.binomial(500, mean) / 500
                rows.append((f"F{f}", f"F{f}-{i}", params, tokens, task, score, 500, chance))
    return pd.DataFrame(rows, columns=["family", "model", "params", "tokens", "task", "accuracy", "n_items", "chance"])


@pytest.fixture(scope="module")
def fitted() -> bs.CapabilityFit:
    table = simulate(0)
    table.loc[table["family"] == "F3", "tokens"] = np.nan
    short = bs.Hmc(chains=2, draws=100, max_draws=100, max_steps=8)
    return bs.fit(bs.CapabilityModel(factors=1, anchors=("easy",)), table, sampler=short, strict=False, progress=False)


def test_the_specification_is_a_value() -> None:
    model = bs.CapabilityModel(2, anchors=["a", "b"], ceilings={"a": 0.9}, noise="beta")
    again = capability_from_spec(capability_spec(model))
    assert again == model
    assert hash(again) == hash(model)
    with pytest.raises(SpecError) as caught:
        bs.CapabilityModel(0, noise="gauss", ceilings={"x": 2.0})
    assert all(word in str(caught.value) for word in ("factors", "gauss", "'x'"))


def test_a_model_that_does_not_fit_the_table_is_refused() -> None:
    evals = bs.Evals.from_frame(simulate(0).drop(columns="n_items"))
    with pytest.raises(SpecError) as caught:
        bind_evals(bs.CapabilityModel(4, anchors=["esy"], noise="beta_binomial"), evals)
    assert all(word in str(caught.value) for word in ("easy", "5 tasks", "n_items"))


@pytest.mark.parametrize(
    ("families", "sizes", "times", "others", "estimated"),
    [(3, 3, 1, True, True), (2, 5, 1, True, False), (2, 5, 1, False, True), (3, 2, 2, True, False)],
    ids=["nine models of three families", "ten models of two families", "of all that there are", "six models twice"],
)
def test_a_ceiling_is_estimated_where_models_of_several_families_come_near_it(
    families: int, sizes: int, times: int, others: bool, estimated: bool
) -> None:
    names = [f"F{f}-{i}" for f in range(families) for i in range(sizes)]
    table = (
        simulate(0, 4 if others else families, 5)
        .query("task != 'facts'")
        .assign(accuracy=lambda t: np.where(t["model"].isin(names), 0.9, 0.3))
    )
    repeated = pd.concat([table.assign(shots=shots) for shots in range(times)], ignore_index=True)
    binding = bind_evals(bs.CapabilityModel(1), bs.Evals.from_frame(repeated))
    near_one = binding.design.ceiling_loc > 3
    assert (near_one != estimated).all()


@pytest.mark.parametrize(
    ("families", "sizes", "others", "told"),
    [(3, 3, True, True), (2, 5, True, False), (2, 5, False, True), (4, 1, True, False)],
    ids=["nine models of three families", "ten models of two families", "of all that there are", "four models"],
)
def test_the_floor_of_a_task_that_cannot_be_guessed_is_near_nought_where_few_were_scored(
    families: int, sizes: int, others: bool, told: bool
) -> None:
    names = [f"F{f}-{i}" for f in range(families) for i in range(sizes)]
    table = simulate(0, 4 if others else families, 5)
    binding = bind_evals(
        bs.CapabilityModel(1), bs.Evals.from_frame(table[(table["task"] != "code") | table["model"].isin(names)])
    )
    high = np.exp(binding.design.floor_loc + 2 * binding.design.floor_scale)
    assert high.shape == (1,)
    assert (0.02 < high < 0.1) if told else high < 0.01


def test_draws_have_names_dimensions_and_labels(fitted: bs.CapabilityFit) -> None:
    posterior = fitted.posterior
    assert posterior["loading"].dims == ("chain", "draw", "task", "factor")
    assert (posterior["loading"].sel(task="easy", factor=1) == 1).all()
    assert posterior["effect"].sel(covariate="params").mean() > 0.3
    # Chains share a step, each its own by a factor: but for the last digit, which differs between processors.
    assert (fitted.tree["sample_stats"]["step_size"].std("chain") < 1e-12).all()
    assert fitted.latents["capability"].sizes == {"chain": 2, "draw": 100, "model": 12, "factor": 1}
    assert fitted.latents["task_effect"].sel(family="F1", task="code").notnull().all()
    assert fitted.convergence.worst_rhat < 1.2
    assert "loading[easy" not in " ".join(fitted.convergence.table.index)
    assert fitted.tree["log_likelihood"]["accuracy"].sizes["score"] == 48
    observed, again = fitted.data.table["accuracy"].to_numpy(), fitted.tree["posterior_predictive"]["accuracy"]
    assert np.abs(again.mean(("chain", "draw")).to_numpy() - observed).max() < 0.08
    # The draws of what is integrated out have the density that they were drawn with, to a little.
    assert fitted.latents["log_ratio"].std() < 0.7


def test_effects_of_families_are_larger_on_steep_tasks_a_priori(fitted: bs.CapabilityFit) -> None:
    prior = fitted.tree["prior"].to_dataset().drop_sel(task="easy")  # the anchor, whose loading is 1
    steep, size = (np.log(prior[name].to_numpy()).ravel() for name in ("loading", "task_sd"))
    # The logarithms of loading and of size about it have spreads of .7 and .78: a correlation of .67.
    assert 0.45 < np.corrcoef(steep, size)[0, 1] < 0.85


def test_convergence_is_judged_on_what_is_said_of_each_model_too(fitted: bs.CapabilityFit) -> None:
    table = fitted.data.table
    said = bs.predict(fitted, fitted.data, kind="mean")["accuracy"].to_numpy()
    model = str(table["model"].iloc[0])
    expected = said[..., (table["model"] == model).to_numpy()].mean(-1)
    np.testing.assert_allclose(fitted.latents["mean_accuracy"].sel(model=model), expected, rtol=1e-8)
    assert f"mean_accuracy[{model}]" in fitted.convergence.table.index


def test_normal_scores_that_are_drawn_in_parts_are_those_drawn_at_once(
    fitted: bs.CapabilityFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bs.predict(fitted, fitted.data, seed=1)
    monkeypatch.setattr(capability_values, "_AT_ONCE", 1000)
    xr.testing.assert_equal(bs.predict(fitted, fitted.data, seed=1), whole)


def test_each_draw_is_reported_once() -> None:
    asked = []

    def reported(flat: np.ndarray) -> dict[str, Any]:
        asked.append(flat.shape[1])
        return {"parameters": {"a": 2 * flat}}

    grown, draws = growing(reported), np.random.default_rng(0).standard_normal((2, 9, 3))
    for seen in (4, 4, 9):
        np.testing.assert_array_equal(grown(draws[:, :seen])["parameters"]["a"], 2 * draws[:, :seen])
    assert asked == [4, 5]
    # Draws that were begun again are others.
    np.testing.assert_array_equal(grown(-draws)["parameters"]["a"], -2 * draws)


def _mean(found: Any) -> np.ndarray:
    values: np.ndarray = found["accuracy"].mean(("chain", "draw")).to_numpy()
    return values


def test_the_mode_of_many_weakly_seen_tasks_is_where_loadings_are_plausible() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"F{f}", f"F{f}-{i}", 10 ** (9 + i), 1e12, f"T{t:02}", rng.binomial(200, 0.3 + 0.1 * i) / 200, 200, 0.0)
        for f in range(3)
        for i in range(3)
        for t in (0, 1, *range(2 + 8 * f, 10 + 8 * f))
    ]
    table = pd.DataFrame(rows, columns=["family", "model", "params", "tokens", "task", "accuracy", "n_items", "chance"])
    model = bs.CapabilityModel(2)
    binding = bind_evals(model, bs.Evals.from_frame(table))
    with double_precision():
        design = jax.tree.map(jax.numpy.asarray, binding.design)
        made = programs(model, bs.Hmc(), design, "accuracy")
        prior = np.asarray(made.prior(random_keys(rng, 8), design))
        free = np.zeros(prior.shape[1], dtype=bool)
        mode, _ = find_mode(lambda at: made.energy_and_slope(at, design), prior, free, made.restarts)
        slope = np.asarray(made.energy_and_slope(mode, design)[1])
    (anchor,) = (site for site in made.sites if site.name == "anchor_loading_latent")
    assert abs(mode[anchor.start]) < 2  # of its logarithm
    assert np.abs(slope).max() < 0.01


def test_forecasts_of_fitted_and_of_new_models(fitted: bs.CapabilityFit) -> None:
    at = pd.DataFrame(
        {
            "family": ["F0", "F0", "F0", "new", ""],
            "model": ["F0-2", "", "", "", ""],
            "params": [np.nan, 1e9, 3e11, 1e10, 1e10],
            "tokens": [np.nan, 3e11, 3e11, 3e11, 3e11],
            "task": "hard",
        }
    )
    found = bs.predict(fitted, at, kind="mean")
    assert found["accuracy"].dims == ("chain", "draw", "point")
    assert found["family"].to_numpy().tolist()[:2] == ["F0", "F0"]
    mean, sd = _mean(found), found["accuracy"].std(("chain", "draw")).to_numpy()
    table = fitted.data.table.set_index(["model", "task"])["accuracy"]
    assert mean[0] == pytest.approx(table["F0-2", "hard"], abs=0.05)
    assert mean[1] < mean[0] < mean[2]
    assert sd[0] < sd[3]
    np.testing.assert_array_equal(bs.predict(fitted, at, kind="mean")["accuracy"], found["accuracy"])
    noisy = bs.predict(fitted, {"family": "F0", "model": "F0-2", "task": list(TASKS), "n_items": 50})
    assert noisy["accuracy"].std(("chain", "draw")).min() > 0.02
    assert 0 <= float(noisy["accuracy"].min()) <= float(noisy["accuracy"].max()) <= 1
    assert len(bs.summarize(noisy)) == 4


def test_new_models_share_what_is_drawn_for_them(fitted: bs.CapabilityFit) -> None:
    at = {"family": "new", "params": 1e10, "tokens": 3e11, "task": ["easy", "facts"]}
    draws = bs.predict(fitted, at, kind="mean")["accuracy"].to_numpy().reshape(-1, 2)
    assert np.corrcoef(draws.T)[0, 1] > 0.5
    unknown_size = bs.predict(fitted, {"family": "new", "task": "easy"}, kind="mean")["accuracy"]
    assert unknown_size.std() > draws[:, 0].std()


def test_forecasts_that_make_no_sense_are_refused(fitted: bs.CapabilityFit) -> None:
    with pytest.raises(DataError) as caught:
        bs.predict(fitted, {"famly": "F0", "params": -1.0, "task": "hrd"})
    assert all(word in str(caught.value) for word in ("'family'", "params", "'hard'"))
    with pytest.raises(DataError, match="unknown family 'new'"):
        bs.predict(fitted, {"family": "new", "params": 1e9, "tokens": 1e12, "task": "hard"}, unseen="error")


def test_a_saved_fit_is_what_it_was(fitted: bs.CapabilityFit, tmp_path: Path) -> None:
    again = bs.load(bs.save(fitted, tmp_path / "scores.nc"))
    assert isinstance(again, bs.CapabilityFit)
    assert (again.model, again.data.digest, again.data.notes) == (fitted.model, fitted.data.digest, fitted.data.notes)
    pd.testing.assert_frame_equal(again.data.table, fitted.data.table)
    at = {"family": "new", "params": 1e10, "tokens": 3e11, "task": ["easy", "facts"]}
    np.testing.assert_array_equal(bs.predict(again, at)["accuracy"], bs.predict(fitted, at)["accuracy"])
    assert again.tree.attrs == fitted.tree.attrs


@pytest.mark.slow
def test_known_factors_are_recovered() -> None:
    """86 to 94 % of true values: 4 standard errors or more, so that a false alarm has a rate of 1e-4 (3.9 of a normal)."""
    found = pd.concat(replicates(200), ignore_index=True)
    share, error = coverage(found)
    assert error * 4 < 0.04, "too few replicates for the rate of false alarms"
    assert 0.86 < share < 0.94
    assert found.groupby("replicate")["converged"].first().mean() > 0.9

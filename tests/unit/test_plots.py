"""The numbers of the figures, against what they are computed from."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import norm

import bayescale as bs
from bayescale.plots import style
from bayescale.plots.crossing import crossing_interval, crossover_table
from bayescale.plots.curves import fit_table, plot_fit
from bayescale.plots.forest import exponents_table
from bayescale.plots.verdict import decision_table, plot_decision
from tests.fakes import at_reference, fake_fit

NESTED = bs.PartialPooling(("architecture", "family"))


def runs_table() -> pd.DataFrame:
    rows = [
        {"architecture": a, "family": f, "text": t, "params": n, "loss": 1.6 + (n / 1e9) ** -0.3}
        for a, f in (("dense", "Llama"), ("dense", "Pythia"), ("ssm", "Mamba"))
        for t in ("web", "code")
        for n in (1e8, 1e9, 1e10)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def fitted() -> bs.Fit:
    model = bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling={"E": bs.NoPooling("text"), "alpha": NESTED})
    return fake_fit(model, runs_table(), {"alpha": {"Llama": 0.2, "Pythia": 0.3, "Mamba": 0.4}}, sd=0.05)


def test_exponents_are_quantiles_of_their_draws(fitted: bs.Fit) -> None:
    table = exponents_table(fitted, prob=0.8).set_index("label")
    alpha = fitted.posterior["alpha"]
    for family in ("Llama", "Pythia", "Mamba"):
        expected = alpha.sel(family=family).quantile([0.5, 0.1, 0.9]).to_numpy()
        np.testing.assert_allclose(table.loc[family, ["median", "lower", "upper"]].to_numpy(float), expected)
        assert table.loc[family, "runs"] == 6
    assert table.loc["Llama", "within"] == "dense"
    expected = np.exp(fitted.posterior["alpha_mu"].quantile([0.5, 0.1, 0.9]).to_numpy())
    np.testing.assert_allclose(table.loc["population", ["median", "lower", "upper"]].to_numpy(float), expected)


def test_a_new_family_is_wider_than_the_population_by_both_spreads(fitted: bs.Fit) -> None:
    table = exponents_table(fitted, prob=0.9).set_index("level")
    new = np.log(table.loc["new", ["lower", "upper"]].to_numpy(float))
    posterior = fitted.posterior
    taus = [posterior[name].mean().item() for name in ("alpha_tau", "alpha_tau_architecture")]
    expected = np.sqrt(posterior["alpha_mu"].var().item() + sum(tau**2 for tau in taus))
    assert (new[1] - new[0]) / (2 * norm.ppf(0.95)) == pytest.approx(expected, rel=0.2)


def test_groups_on_their_own_have_no_population(fitted: bs.Fit) -> None:
    assert list(exponents_table(fitted, "E")["label"]) in (["code", "web"], ["web", "code"])
    assert set(exponents_table(fitted, "E")["level"]) == {"text"}
    assert list(exponents_table(fitted, "A")["label"]) == ["all runs"]
    with pytest.raises(bs.SpecError, match="Did you mean 'alpha'"):
        exponents_table(fitted, "alfa")


def test_curves_are_what_predict_says(fitted: bs.Fit) -> None:
    table = fit_table(fitted, by="family", at={"text": "web"}, beyond=5.0, prob=0.5)
    for family in ("Llama", "Mamba"):
        curve = table[(table["curve"] == family) & (table["kind"] == "curve")]
        assert curve["params"].min() == 1e8
        assert curve["params"].max() == pytest.approx(5e10)
        assert list(curve["extrapolated"]) == list(curve["params"] > 1e10)
        where = curve[["params"]].assign(family=family, text="web", architecture={"Llama": "dense", "Mamba": "ssm"}[family])
        mean = bs.predict(fitted, where, kind="mean")["loss"].median(("chain", "draw"))
        # The response has the noise of new runs, whose median is the law's up to Monte Carlo error.
        np.testing.assert_allclose(curve["loss"], mean, rtol=0.01)
        assert (curve["lower"] < curve["loss"]).all()
        assert (curve["loss"] < curve["upper"]).all()


def test_runs_and_held_back_runs_are_shown_as_they_are(fitted: bs.Fit) -> None:
    held = runs_table().query("family == 'Mamba' and params == 1e10").assign(params=2e10, loss=[2.0, 2.1])
    table = fit_table(fitted, held_back=held)
    shown = table[table["kind"] == "run"].sort_values(["params", "loss"])
    assert len(shown) == len(runs_table())
    assert sorted(shown["loss"]) == sorted(runs_table()["loss"])
    back = table[table["kind"] == "held back"]
    assert sorted(back["loss"]) == [2.0, 2.1]
    assert set(back["curve"]) <= set(table.loc[table["kind"] == "curve", "curve"])


def test_a_group_column_may_bear_a_name_of_the_table() -> None:
    table = runs_table().rename(columns={"family": "curve", "text": "kind"})
    pooling = {"A": bs.PartialPooling("curve"), "E": bs.NoPooling("kind")}
    made = bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling)
    levels = {"A": {"Llama": 0.5, "Pythia": 1.0, "Mamba": 2.0}, "E": {"web": 1.0, "code": 3.0}}
    shown = fit_table(fake_fit(made, table, levels, sd=0.0))
    first = shown[shown["kind"] == "curve"].groupby("curve")["loss"].first()
    assert first["Mamba / web"] > first["Llama / web"]
    assert first["Mamba / code"] > first["Mamba / web"] + 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"along": "prams"}, "Did you mean 'params'"),
        ({"by": "famly"}, "Did you mean 'family'"),
        ({"at": {"text": "wb"}}, "Did you mean 'web'"),
        ({"at": {"tezt": "web"}}, "Did you mean 'text'"),
        ({"beyond": 0.5}, "beyond is at least 1"),
        ({"prob": 1.0}, "prob between 0 and 1"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(fitted: bs.Fit, words: dict[str, Any], said: str) -> None:
    with pytest.raises(bs.SpecError, match=said):
        fit_table(fitted, **words)


def chinchilla_fit() -> bs.Fit:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 3)
    table = pd.DataFrame({"params": params, "tokens": params * np.tile([5.0, 20.0, 80.0], 4)})
    table["loss"] = 1.8 + 480 * params**-0.35 + 2000 * table["tokens"] ** -0.36
    made = fake_fit(bs.ScalingModel("chinchilla"), table)
    constants = at_reference(made, A=480.0, B=2000.0, alpha=0.35, beta=0.36)
    return fake_fit(made.model, table, {"E": 1.8, **constants}, sd=0.0)


@pytest.mark.parametrize("along", ["flops", "params", "tokens"])
@pytest.mark.parametrize("at", [{"tokens_per_param": 20.0}, {}])
def test_a_law_of_two_covariates_moves_along_a_path(along: str, at: dict[str, float]) -> None:
    table = fit_table(chinchilla_fit(), along=along, at=at)
    curve = table[table["kind"] == "curve"]
    # The runs scatter evenly about twenty tokens a parameter, so the line through them is that path too, but for flops,
    # along which runs of one budget differ in size.
    if at or along == "params":
        np.testing.assert_allclose(curve["tokens"], 20 * curve["params"], rtol=1e-6)
        expected = 1.8 + 480 * curve["params"] ** -0.35 + 2000 * curve["tokens"] ** -0.36
        np.testing.assert_allclose(curve["loss"], expected, rtol=0.005)
    assert list(curve[along]) == sorted(curve[along])


def test_a_band_below_zero_has_a_plain_axis() -> None:
    table = pd.DataFrame({"params": [1e8, 1e9, 1e10], "score": [0.1, 0.2, 0.3]})
    model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.StudentT(on="plain"))
    wide, narrow = (fake_fit(model, table, {"sigma": sigma}, response="score") for sigma in (0.5, 1e-3))
    assert plot_fit(wide, ax=Figure().subplots()).get_yscale() == "linear"
    assert plot_fit(narrow, ax=Figure().subplots()).get_yscale() == "log"


FINE = bs.Review((bs.Finding("convergence", bs.Status.PASS, "the chains agree"),))


@pytest.mark.parametrize("op", ["<=", ">=", "<", ">"])
@pytest.mark.parametrize("value", [1.9, 1.97, 1.5, 30.0])
@pytest.mark.parametrize("points", [1, 3])
def test_the_shares_that_meet_the_target_add_up_to_its_probability(op: str, value: float, points: int) -> None:
    draws = np.random.default_rng(1).normal(1.9, 0.05, (4, 200, points)).round(2)
    made = xr.Dataset({"loss": (("chain", "draw", "point"), draws)})
    decision = bs.decide(made, bs.Threshold("loss", op, value), FINE)
    table = decision_table(decision, made)
    assert table["share"].sum() == pytest.approx(1.0)
    assert table.loc[table["met"], "share"].sum() == pytest.approx(decision.probability)
    assert (table["density"] * (table["right"] - table["left"])).sum() == pytest.approx(1.0)
    assert len(table) < 250


def test_draws_without_a_value_are_in_no_bin() -> None:
    draws = np.full((4, 50, 1), 1.9)
    draws[0, :10] = np.inf
    made = xr.Dataset({"loss": (("chain", "draw", "point"), draws)})
    decision = bs.decide(made, "loss<=2.0", FINE)
    table = decision_table(decision, made)
    assert table["share"].sum() == pytest.approx(decision.probability) == pytest.approx(0.95)
    nothing = xr.Dataset({"loss": (("chain", "draw", "point"), np.full((4, 50, 1), np.nan))})
    ax = plot_decision(bs.decide(nothing, "loss<=2.0", FINE), nothing, ax=Figure().subplots())
    assert "P(loss" in ax.get_title(loc="left")


def test_a_decision_about_several_targets_has_no_figure() -> None:
    made = xr.Dataset({"loss": (("chain", "draw", "point"), np.random.default_rng(2).normal(1.9, 0.05, (4, 200, 1)))})
    with pytest.raises(bs.SpecError, match=r"loss <= 2 and loss >= 1.*each target alone"):
        plot_decision(bs.decide(made, ["loss<=2.0", "loss>=1.0"], FINE), made)


def test_the_verdict_is_written_with_its_probability() -> None:
    made = xr.Dataset({"loss": (("chain", "draw", "point"), np.random.default_rng(2).normal(1.9, 0.05, (4, 200, 1)))})
    decision = bs.decide(made, "loss<=1.9", FINE)
    ax = plot_decision(decision, made, ax=Figure().subplots())
    assert ax.get_title(loc="left").startswith("NO GO: P(loss")
    assert f"{decision.probability:.3f}" in ax.get_title(loc="left")
    words = [text.get_text() for text in ax.texts]
    assert f"met: {decision.probability:.1%}" in words
    assert f"missed: {1 - decision.probability:.1%}" in words


def test_a_crossing_is_summarised_among_the_draws_that_have_one() -> None:
    values = np.array([[1e9, 2e9, np.nan, 3e9], [2e9, np.nan, 2e9, 2e9]])
    draws = xr.Dataset(
        {"params": (("chain", "draw"), values), "p_none": 0.25, "p_b_better": ("scale", [0.1, 0.9])},
        coords={"scale": [1e8, 1e10]},
    )
    found = crossing_interval(draws)
    assert found["median"] == 2e9
    assert found["p_none"] == 0.25
    assert crossover_table(draws).to_dict("list") == {"params": [1e8, 1e10], "p_b_better": [0.1, 0.9]}


def test_labels_never_overlap_and_keep_their_order() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        heights, sizes = list(rng.uniform(0, 1, 12)), list(rng.uniform(0.02, 0.08, 12))
        placed = style.spread(heights, sizes)
        order = np.argsort(heights)
        edges = [(placed[i] - sizes[i] / 2, placed[i] + sizes[i] / 2) for i in order]
        assert all(low >= high - 1e-9 for (_, high), (low, _) in pairwise(edges))


def test_numbers_are_said_as_readers_say_them() -> None:
    said = {7e10: "70B", 1.4e12: "1.4T", 999.9e6: "1B", 1.25e8: "125M", 12.0: "12", np.inf: "never", 3e17: "3e+17"}
    assert {value: style.count(value) for value in said} == said
    assert style.tick(1e21, "flops") == "$10^{21}$"
    assert style.tick(2.25, "loss") == "2.25"

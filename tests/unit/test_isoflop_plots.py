"""Tables behind the figures of size against data: known constants give the optimum and the tokens of a level in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import NotIdentifiedError, SpecError
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling
from bayescale.models.scaling import ScalingModel
from bayescale.plots.allocation import isoflop_table, isoloss_table
from bayescale.prediction.optimum import compute_optimal
from bayescale.prediction.predict import predict
from tests.fakes import fake_fit

E, A, B, ALPHA, BETA = 1.8, 0.4, 0.5, 0.35, 0.37
SIZE, DATA = 1e9, 2e10
BUDGET = 6 * SIZE * DATA


def runs() -> pd.DataFrame:
    params, ratio = np.repeat(np.geomspace(1e8, 1e10, 5), 5), np.tile(np.geomspace(2, 200, 5), 5)
    table = pd.DataFrame({"params": params, "tokens": params * ratio})
    return table.assign(loss=law(table["params"], table["tokens"]), family="a")


def law(params: object, tokens: object) -> object:
    return E + A * (params / SIZE) ** -ALPHA + B * (tokens / DATA) ** -BETA


@pytest.fixture(scope="module")
def fit() -> Fit:
    # The geometric means of the runs are the reference, so that the constants stand as they are.
    return fake_fit(ScalingModel("chinchilla"), runs(), {"E": E, "A": A, "B": B, "alpha": ALPHA, "beta": BETA}, sd=0.0)


def test_a_profile_has_its_minimum_at_the_optimum(fit: Fit) -> None:
    found = isoflop_table(fit, [BUDGET, 100 * BUDGET])
    best = found[found["kind"] == "optimum"].set_index("budget")
    expected = SIZE * (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    assert best.loc[BUDGET, "params"] == pytest.approx(expected, rel=1e-6)
    assert best.loc[100 * BUDGET, "params"] == pytest.approx(expected * 100 ** (BETA / (ALPHA + BETA)), rel=1e-6)
    assert (best["p_none"] == 0).all()
    for budget, line in found[found["kind"] == "profile"].groupby("budget"):
        np.testing.assert_allclose(6 * line["params"] * line["tokens"], budget, rtol=1e-12)
        np.testing.assert_allclose(line["loss"], law(line["params"], line["tokens"]), rtol=1e-9)
        lowest = line["params"].iloc[int(line["loss"].argmin())]
        assert abs(np.log(lowest / best.loc[budget, "params"])) < np.log(line["params"].max() / line["params"].min()) / 30
    dots = found[found["kind"] == "run"]
    assert len(dots) and (np.abs(np.log(6 * dots["params"] * dots["tokens"] / dots["budget"])) <= 0.15).all()


def test_a_line_of_equal_loss_has_that_loss(fit: Fit) -> None:
    found = isoloss_table(fit, [2.4, 1.81])
    line = found[(found["kind"] == "profile") & (found["level"] == 2.4)]
    there = line[np.isfinite(line["tokens"])]
    np.testing.assert_allclose(law(there["params"], there["tokens"]), 2.4, rtol=1e-6)
    never = line[~np.isfinite(line["tokens"])]
    assert len(never) and len(there)
    # What size alone leaves is above the level there, or nearly, whatever the data.
    assert never["params"].max() < there["params"].min()
    assert (never["p_never"] == 1).all()
    assert (found.loc[found["level"] == 1.81, "tokens"] == np.inf).all()
    assert (found["kind"] == "run").sum() == 25


def test_lines_that_are_not_asked_for_are_where_the_runs_are(fit: Fit) -> None:
    table = runs()
    budgets, levels = isoflop_table(fit)["budget"].unique(), isoloss_table(fit).query("kind == 'profile'")["level"].unique()
    compute = 6 * table["params"] * table["tokens"]
    assert len(budgets) == len(levels) == 4
    assert (budgets >= compute.min() * (1 - 1e-9)).all() and (budgets <= compute.max() * (1 + 1e-9)).all()
    assert all(np.isclose(compute, budget).any() for budget in budgets)
    assert (levels >= table["loss"].min()).all() and (levels <= table["loss"].max()).all()


def test_groups_are_chosen_by_label() -> None:
    both = pd.concat([runs(), runs().assign(family="b", loss=lambda t: t["loss"] + 0.3)], ignore_index=True)
    model = ScalingModel("chinchilla", pooling={"E": NoPooling("family")})
    fit = fake_fit(model, both, {"E": [E, E + 0.3], "A": A, "B": B, "alpha": ALPHA, "beta": BETA}, sd=0.0)
    found = isoflop_table(fit, [BUDGET], at={"family": "b"})
    line = found[found["kind"] == "profile"]
    np.testing.assert_allclose(line["loss"], law(line["params"], line["tokens"]) + 0.3, rtol=1e-9)
    assert (isoloss_table(fit, [2.4], at={"family": "b"})["kind"] == "run").sum() == 25
    pd.testing.assert_frame_equal(isoflop_table(fit.select(family="b"), [BUDGET]), found)
    with pytest.raises(SpecError, match="unknown family 'c'"):
        isoflop_table(fit, [BUDGET], at={"family": "c"})
    with pytest.raises(SpecError, match="unknown group column 'famly'"):
        isoloss_table(fit, [2.4], at={"famly": "b"})


def test_a_level_that_any_data_reach_has_no_line(fit: Fit) -> None:
    line = isoloss_table(fit, [50.0]).query("kind == 'profile'")
    assert line[["tokens", "lower", "upper"]].isna().all(axis=None)
    assert (line["p_below"] == 1).all() and (line["p_never"] == 0).all()


def test_profiles_of_an_isoflop_design_are_of_its_budgets() -> None:
    budgets = np.repeat(np.geomspace(6e18, 3e21, 9), 5)
    params = np.sqrt(budgets / 6 / 20) * np.tile(np.geomspace(0.3, 3, 5), 9)
    table = pd.DataFrame({"params": params, "tokens": budgets / 6 / params})
    table["loss"] = law(table["params"], table["tokens"])
    found = isoflop_table(fake_fit(ScalingModel("chinchilla"), table, sd=0.0))
    assert (found[found["kind"] == "run"].groupby("budget").size() == 5).all()
    assert found["budget"].nunique() == 4


@pytest.mark.parametrize("prob", [0.0, 1.0, 90, True])
def test_a_probability_is_one(fit: Fit, prob: float) -> None:
    for table in (isoflop_table, isoloss_table):
        with pytest.raises(SpecError, match="prob lies between 0 and 1"):
            table(fit, prob=prob)


@pytest.mark.parametrize("wrong", [[], [0.0], [-1e20], [np.nan], [[1e20]], ["abc"], "abc"])
def test_what_is_no_budget_is_refused(fit: Fit, wrong: list[float]) -> None:
    with pytest.raises(SpecError, match="budgets are positive numbers"):
        isoflop_table(fit, wrong)


@pytest.mark.parametrize("wrong", [[], [np.inf], [[2.0]], ["abc"]])
def test_what_is_no_level_is_refused(fit: Fit, wrong: list[float]) -> None:
    with pytest.raises(SpecError, match="levels are numbers"):
        isoloss_table(fit, wrong)


def test_a_law_of_size_alone_has_no_trade_off() -> None:
    alone = fake_fit(ScalingModel("power_law_offset", axes={"x": "params"}), runs())
    for table in (isoflop_table, isoloss_table):
        with pytest.raises(NotIdentifiedError, match="has no tokens"):
            table(alone)


def test_what_a_law_takes_beside_size_and_data_is_held() -> None:
    model = ScalingModel("learning_rate_batch", axes={name: name for name in ("learning_rate", "batch")})
    table = runs().drop(columns="family").assign(learning_rate=np.tile([1e-3, 3e-3, 1e-3, 3e-3, 1e-3], 5), batch=1e6)
    swept = fake_fit(model, table, sd=0.0, draws=5)
    held = {"learning_rate": 1e-3, "batch": 1e6}
    found = isoflop_table(swept, [BUDGET], at=held)
    best = found[found["kind"] == "optimum"].iloc[0]
    optimum = compute_optimal(swept, BUDGET, at=held)
    assert best["params"] == pytest.approx(float(optimum["params"].median()))
    line = found[found["kind"] == "profile"]
    mean = predict(swept, line[["params", "tokens"]].assign(**held), kind="mean")["loss"].isel(chain=0, draw=0)
    np.testing.assert_allclose(line["loss"], mean)
    reached = isoloss_table(swept, [float(line["loss"].median())], at=held)
    assert np.isfinite(reached["tokens"]).any()
    with pytest.raises(SpecError, match=r"say at=\{'batch'"):
        isoflop_table(swept, [BUDGET], at={"learning_rate": 1e-3})
    repeated = fake_fit(ScalingModel("data_constrained"), runs().drop(columns="family").assign(epochs=1.0), sd=0.0, draws=5)
    pd.testing.assert_frame_equal(isoflop_table(repeated, [BUDGET]), isoflop_table(repeated, [BUDGET], at={"epochs": 1}))

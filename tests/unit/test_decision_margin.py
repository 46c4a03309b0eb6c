"""How far a decision is from another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.decision.margin import scale_margin, target_margin, turning_factor
from tests.report_fakes import AT, hostile_fit


def draws_of(values: np.ndarray, response: str = "loss") -> xr.Dataset:
    return xr.Dataset({response: (("chain", "draw", "point"), values)})


@pytest.mark.parametrize(("op", "response"), [("<=", "loss"), (">=", "accuracy")])
def test_a_target_of_the_table_is_met_with_its_probability(op: str, response: str) -> None:
    draws = draws_of(np.random.default_rng(1).normal(0.5, 0.1, (4, 250, 2)), response)
    table = target_margin(draws, bs.Threshold(response, op, 0.5, 0.85))
    assert table["probability"].tolist() == [0.5, 0.8, 0.85, 0.9, 0.95, 0.99]
    step = 1e-9 if op == "<=" else -1e-9
    for row in table.itertuples():
        met = [bs.decide(draws, f"{response}{op}{row.target + by!r}").probability for by in (0.0, -step)]
        assert met[0] >= row.probability > met[1], "it is the strictest one"
    easier = table["target"] - 0.5 if op == "<=" else 0.5 - table["target"]
    assert np.allclose(table["margin"], easier)
    assert table["margin"].is_monotonic_increasing


def test_draws_that_are_not_finite_miss_every_target() -> None:
    values = np.full((2, 100, 1), 2.0)
    values[:, :20] = np.nan
    table = target_margin(draws_of(values), bs.Threshold("loss", "<=", 2.5)).set_index("probability")
    assert table.loc[0.8, "target"] == 2.0
    assert np.isinf(table.loc[0.9, "target"])


def test_the_probability_at_a_scale_is_that_of_a_forecast_there() -> None:
    fit, rule = hostile_fit(), bs.Threshold("loss", "<=", 1.95)
    table = scale_margin(fit, AT, rule, factors=[0.5, 1.0, 4.0], seed=3)
    assert table is not None and table.attrs["along"] == "params"
    assert np.allclose(table["params"], np.array([0.5, 1.0, 4.0]) * 3e10)
    for row in table.itertuples():
        alone = bs.decide(bs.predict(fit, {**AT, "params": [row.params]}, seed=3), rule)
        assert row.probability == alone.probability
    assert table["probability"].iloc[0] < 0.5 < table["probability"].iloc[-1]


def test_the_turning_factor_is_the_nearest() -> None:
    table = pd.DataFrame({"factor": [0.1, 1.0, 10.0, 100.0], "probability": [0.99, 0.8, 1.0, 0.7]})
    assert turning_factor(table, 0.9) == pytest.approx(10**0.5)
    assert turning_factor(table, 0.6) is None
    assert turning_factor(table, 0.8) == pytest.approx(10 ** (1 + 2 / 3)), "to stand at the line is to reach it"


def test_a_law_that_does_not_say_what_is_larger_has_no_scale() -> None:
    table = pd.DataFrame({"flops": np.geomspace(1e18, 1e20, 6), "loss": np.geomspace(3, 2, 6), "width": np.geomspace(1, 9, 6)})
    from tests.fakes import fake_fit

    runs = bs.Runs.from_frame(table, columns={"width": "width"})
    fit = fake_fit(bs.ScalingModel("power_law", axes={"x": "width"}), runs)
    assert scale_margin(fit, {"width": 20.0}, bs.Threshold("loss", "<=", 2.0)) is None

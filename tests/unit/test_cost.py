"""``Cost`` and ``fit_cost``: declared and learnt costs, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, SpecError
from bayescale.data.runs import Runs
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import fit_cost


def recorded(slopes: tuple[float, float] = (1.0, 1.0), noise: float = 0.05, runs: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    params = np.exp(rng.uniform(np.log(1e8), np.log(1e10), runs))
    tokens = params * np.exp(rng.uniform(np.log(5), np.log(200), runs))
    cost = 3e-18 * 6 * params ** slopes[0] * tokens ** slopes[1] * np.exp(noise * rng.standard_normal(runs))
    return pd.DataFrame({"params": params, "tokens": tokens, "compute": cost})


def test_the_default_is_six_params_tokens() -> None:
    assert Cost()({"params": 1e9, "tokens": 2e10}).tolist() == [1.2e20]
    assert Cost().unit == "FLOP"
    assert Cost()({"flops": [1e21, 1e22], "tokens_per_param": 20}).round(-15).tolist() == pytest.approx([1e21, 1e22])


def test_inference_is_two_flop_a_parameter_and_token() -> None:
    cost = Cost(inference_tokens=1e12)
    assert cost({"params": 1e9, "tokens": 2e10}).tolist() == [6e9 * 2e10 + 2e9 * 1e12]
    assert cost.at_size(np.array([1e9]), np.array([2e10])).tolist() == [1.2e20 + 2e21]


def test_prices() -> None:
    assert Cost.hours(4e14)({"flops": 4e14 * 3600, "tokens_per_param": 20}).tolist() == pytest.approx([1.0])
    assert Cost.hours(4e14, price=2.5, unit="USD")({"flops": 4e14 * 3600, "params": 1e9}).tolist() == pytest.approx([2.5])
    assert Cost("samples", price=1e-3, unit="USD")(pd.DataFrame({"samples": [1e6, 2e6]})).tolist() == [1000.0, 2000.0]
    assert Cost("flops", price=2e-18, unit="USD")({"flops": 1e24}).tolist() == [2e6]


def test_a_function_of_the_table() -> None:
    def cost(points: pd.DataFrame) -> Any:
        return points["params"] * 1e-9 + points["flops"] * 1e-20

    made = Cost(cost, unit="USD", price=2.0)
    assert made({"params": [1e9], "tokens": [2e10]}).tolist() == pytest.approx([2 * (1 + 1.2)])
    assert made.at_size(np.full((2, 3), 1e9), np.array([[2e10]])).shape == (2, 3)
    assert made.draws({"params": [1e9], "tokens": [2e10]}).dims == ("chain", "draw", "point")
    assert made.said == "cost"


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_cost_that_is_negative_or_not_finite_is_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"finite number of at least 0.*row 1"):
        Cost(lambda t: np.array([1.0, value]), unit="USD")({"params": [1e9, 1e9], "tokens": [1e10, 1e10]})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"price": -1.0, "unit": "USD"}, "price is a positive number"),
        ({"price": 2.0}, "say the unit"),
        ({"inference_tokens": -1.0}, "at least 0"),
        ({"form": "flops", "inference_tokens": 1.0}, "goes with form='6ND'"),
        ({"form": 3}, "form is"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Cost(**arguments)


def test_a_column_that_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="no 'tokens', which the cost is of"):
        Cost()({"params": 1e9})
    with pytest.raises(SpecError, match="says nothing of size and data"):
        Cost("samples").at_size(np.ones(1), np.ones(1))


def test_a_fitted_cost_finds_the_slopes() -> None:
    found = fit_cost(recorded((1.1, 0.9)), unit="USD")
    # An independent oracle: least squares, whose posterior under a flat prior this is up to the weight of the prior.
    logs = np.log(recorded((1.1, 0.9)))
    design = np.column_stack([np.ones(40), logs["params"], logs["tokens"]])
    least = np.linalg.lstsq(design, logs["compute"], rcond=None)[0]
    np.testing.assert_allclose(found.coefficients[:, 1:].mean(axis=0), least[1:], atol=0.01)
    residual = logs["compute"] - design @ least
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * (residual @ residual) / 37)
    # The prior expects noise of 10 %, so the posterior is somewhat wider than that.
    np.testing.assert_allclose(found.coefficients[:, 1:].std(axis=0), errors[1:], rtol=0.25)
    assert np.median(found.sigma) == pytest.approx(0.05, rel=0.4)
    at = {"params": [1e9], "tokens": [2e10]}
    assert found(at)[0] == pytest.approx(np.exp(least @ [1, np.log(1e9), np.log(2e10)]), rel=0.03)
    assert found.draws(at).dims == ("chain", "draw", "point")
    assert np.log(found.draws(at)).std().item() > 0.04
    assert found.unit == "USD"


def test_intervals_of_a_fitted_cost_cover() -> None:
    inside = []
    for seed in range(100):
        table = recorded((1.05, 0.95), runs=12, seed=seed)
        drawn = fit_cost(table.iloc[:11], draws=400, seed=seed).draws(table.iloc[11:])
        low, high = drawn.quantile([0.05, 0.95]).to_numpy()
        inside.append(low <= table["compute"].iloc[11] <= high)
    # Binomial of 100 at 0.9: below 0.77 with a probability below 1e-4.
    assert 0.77 <= np.mean(inside) <= 0.99


def test_runs_in_step_keep_to_the_prior() -> None:
    table = recorded()
    table["tokens"] = table["params"] ** 2 / 1e8
    table["compute"] = 6 * table["params"] * table["tokens"]
    found = fit_cost(table)
    np.testing.assert_allclose(found.coefficients[:, 1:].mean(axis=0), 1.0, atol=0.02)
    assert found.coefficients[:, 1].std() > 10 * (found.coefficients[:, 1:] @ [1.0, 2.0]).std()


def test_what_was_not_recorded_is_not_learnt_from() -> None:
    table = recorded().drop(columns="compute").assign(loss=2.0 + np.arange(40) / 100)
    with pytest.raises(DataError, match="no cost was recorded"):
        fit_cost(table)
    with pytest.raises(DataError, match="derived as 6·params·tokens, not recorded"):
        fit_cost(Runs.from_frame(table))
    with pytest.raises(DataError, match="compute: expected a number above 0, got -1 in row 3"):
        fit_cost(recorded().assign(compute=[-1.0 if i == 3 else 1.0 for i in range(40)]))
    with pytest.raises(DataError, match="at least 3 runs, got 2"):
        fit_cost(recorded().iloc[:2])
    with pytest.raises(SpecError, match=r"unknown column 'computes'. Did you mean 'compute'"):
        fit_cost(recorded(), column="computes")

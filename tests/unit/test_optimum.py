"""``compute_optimal``: the closed form, the numerical minimum, and refusals where the table cannot tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, NotIdentifiedError, SpecError
from bayescale.infer.fit import Fit
from bayescale.models.pooling import PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.classical import classical
from bayescale.prediction.optimum import compute_optimal
from bayescale.prediction.predict import predict
from bayescale.prediction.roots import bisect, first_change, least
from bayescale.prediction.summary import summarize
from tests.fakes import at_reference, fake_fit

PAPER = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def runs(spread: float = 3.0) -> pd.DataFrame:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 4)
    tokens = 20 * params * np.tile(np.geomspace(1 / spread, spread, 4), 4)
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": 2 + 50 * params**-0.2 + np.arange(16) * 1e-4})


def paper(law: str = "chinchilla", sd: float = 0.0, **more: float) -> Fit:
    model = ScalingModel(law)
    truth = at_reference(fake_fit(ScalingModel("chinchilla"), runs()), **PAPER)
    return fake_fit(model, runs(), truth | more, sd=sd)


def test_the_published_optimum() -> None:
    # laws.md: Besiroglu's refit, N* 7.22e10, D* 1.33e12, exponent 0.5126 at Chinchilla's budget.
    found = compute_optimal(paper(), 5.76e23)
    assert found["params"].mean().item() == pytest.approx(7.22e10, rel=1e-3)
    assert found["tokens"].mean().item() == pytest.approx(1.33e12, rel=2e-3)
    assert found["tokens_per_param"].mean().item() == pytest.approx(18.39, rel=1e-3)
    assert found["allocation_exponent"].mean().item() == pytest.approx(0.5126, abs=1e-4)
    assert found["params"].dims == ("chain", "draw", "point")
    assert found["flops"].to_numpy().tolist() == [5.76e23]
    assert found["p_none"].item() == 0.0
    G = (0.3478 * 482.01 / (0.3658 * 2085.43)) ** (1 / (0.3478 + 0.3658))
    gamma = 0.3478 * 0.3658 / (0.3478 + 0.3658)
    frontier = 1.8172 + (482.01 * G**-0.3478 + 2085.43 * G**0.3658) * (5.76e23 / 6) ** -gamma
    assert found["loss"].mean().item() == pytest.approx(frontier, rel=1e-10)


def test_the_closed_form_is_the_minimum_that_is_found_numerically() -> None:
    fit, budgets = paper(sd=0.05), [1e19, 1e22, 5.76e23]
    closed = compute_optimal(fit, budgets)
    stated = compute_optimal(fit, budgets, cost=lambda params, tokens: 6 * params * tokens)
    for name in ("params", "tokens"):
        np.testing.assert_allclose(stated[name], closed[name], rtol=1e-5)
    np.testing.assert_allclose(stated["loss"], closed["loss"], rtol=1e-12)
    assert "allocation_exponent" not in stated


def test_a_law_without_a_closed_form() -> None:
    closed = compute_optimal(paper(), [1e21, 5.76e23])
    bridge = compute_optimal(paper("nd_bridge", q=1.0), [1e21, 5.76e23])
    np.testing.assert_allclose(bridge["params"], closed["params"], rtol=1e-5)
    np.testing.assert_allclose(bridge["loss"], closed["loss"], rtol=1e-12)


def test_a_law_of_flops_and_tokens_per_param() -> None:
    fit = fake_fit(ScalingModel("gadre_overtrain"), runs(), {"A": 0.5, "B": 0.8, "eta": 0.18}, sd=0.0)
    found = compute_optimal(fit, 1e22)
    # The loss is least at M0 (B/A)^(1/(2 eta)).
    expected = fit.binding.reference["tokens_per_param"] * (0.8 / 0.5) ** (1 / 0.36)
    np.testing.assert_allclose(found["tokens_per_param"], expected, rtol=1e-5)
    np.testing.assert_allclose(6 * found["params"] * found["tokens"], 1e22, rtol=1e-12)


def test_a_cost_with_inference_shifts_to_smaller_models() -> None:
    def cost(params: Any, tokens: Any) -> Any:
        return 6 * params * tokens + 2 * params * 1e13

    fit = paper()
    found, closed = compute_optimal(fit, 5.76e23, cost=cost), compute_optimal(fit, 5.76e23)
    assert (found["params"] < closed["params"]).all()
    np.testing.assert_allclose(cost(found["params"], found["tokens"]), 5.76e23, rtol=1e-9)
    # Nothing on the line of equal cost is better.
    for factor in (0.99, 1.01):
        params = found["params"].isel(chain=0, draw=0).item() * factor
        tokens = (5.76e23 - 2e13 * params) / (6 * params)
        assert predict(fit, {"params": params, "tokens": tokens}, kind="mean")["loss"].mean() > found["loss"].mean()
    assert found.attrs["cost"] == "cost"


def test_draws_without_an_interior_optimum_are_counted() -> None:
    fit = fake_fit(ScalingModel("gadre_overtrain"), runs(), {"A": 1e-9, "B": 0.8, "eta": 0.02}, sd=0.0)
    found = compute_optimal(fit, 1e20)
    assert found["p_none"].item() == 1.0
    assert np.isnan(found["params"]).all()
    assert summarize(found).loc[("params", 0), "p_none"] == 1.0


def test_budgets_have_groups() -> None:
    frame = pd.concat([runs().assign(family="a"), runs().assign(family="b", loss=lambda t: t["loss"] + 0.1)])
    model = ScalingModel("chinchilla", pooling={"A": PartialPooling("family")})
    fit = fake_fit(model, frame, {"A": {"a": 0.3, "b": 0.6}}, sd=0.0)
    both = compute_optimal(fit, 1e21, at={"family": ["a", "b"]})
    assert both["family"].to_numpy().tolist() == ["a", "b"]
    assert both["params"].isel(point=0).mean() < both["params"].isel(point=1).mean()
    np.testing.assert_array_equal(compute_optimal(fit.select(family="b"), 1e21)["params"], both["params"].isel(point=[1]))


def test_tokens_that_never_vary_are_not_identified() -> None:
    fit = fake_fit(ScalingModel("chinchilla"), runs().assign(tokens=3e11))
    with pytest.raises(NotIdentifiedError, match="not identified: tokens do not vary"):
        compute_optimal(fit, 1e21)
    fit = fake_fit(ScalingModel("chinchilla"), runs().assign(params=1e9))
    with pytest.raises(NotIdentifiedError, match="not identified: params do not vary"):
        compute_optimal(fit, 1e21)


def test_tokens_that_never_vary_are_told_of_a_law_of_params_too() -> None:
    fit = fake_fit(ScalingModel("power_law", axes={"x": "params"}), runs().assign(tokens=3e11))
    with pytest.raises(NotIdentifiedError, match="not identified: tokens do not vary"):
        compute_optimal(fit, 1e21)


def test_tokens_in_step_with_params_are_not_identified() -> None:
    fit = fake_fit(ScalingModel("chinchilla"), runs(spread=1.0001))
    with pytest.raises(NotIdentifiedError, match="tokens do not vary apart from params"):
        compute_optimal(fit, 1e21)


def test_a_law_without_data() -> None:
    fit = fake_fit(ScalingModel("power_law", axes={"x": "params"}), runs())
    with pytest.raises(NotIdentifiedError, match="not identified: the law 'power_law', read from params, has no tokens"):
        compute_optimal(fit, 1e21)


@pytest.mark.parametrize("flops", [-1.0, 0.0, np.nan, "much", []])
def test_a_budget_that_is_none(flops: Any) -> None:
    with pytest.raises(DataError, match="flops"):
        compute_optimal(paper(), flops)


@pytest.mark.parametrize(
    "cost",
    [
        6.0,
        lambda params, tokens: 6 * params,
        lambda params, tokens: -params * tokens,
        lambda params: params,
        lambda p, t: p @ t @ t,
    ],
)
def test_a_cost_that_is_none(cost: Any) -> None:
    with pytest.raises(SpecError, match="`cost` is a function of params and tokens"):
        compute_optimal(paper(), 1e21, cost=cost)


def test_covariates_in_at_are_refused() -> None:
    with pytest.raises(SpecError, match="tokens follow from the budget"):
        compute_optimal(paper(), 1e21, at={"tokens": 3e11})


def test_classical_constants_are_the_papers() -> None:
    found = classical(paper(sd=0.0))
    for name, value in PAPER.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10)
    assert found.attrs["at_reference"] == []


def test_classical_constants_of_groups() -> None:
    frame = pd.concat(
        [
            runs().assign(family=f, architecture=x, loss=runs()["loss"] + i)
            for i, (f, x) in enumerate(zip("abc", "XXY", strict=True))
        ]
    )
    model = ScalingModel(
        "power_law",
        axes={"x": "params"},
        pooling={"A": PartialPooling("family"), "alpha": PartialPooling("architecture")},
    )
    fit = fake_fit(model, frame, {"A": [1.0, 2.0, 3.0], "alpha": [0.1, 0.3]}, sd=0.0)
    found = classical(fit)["A"]
    assert found.dims == ("chain", "draw", "family")
    np.testing.assert_allclose(found.mean(("chain", "draw")), [10**0.9, 2 * 10**0.9, 3 * 10**2.7], rtol=1e-10)
    swapped = ScalingModel(
        "power_law",
        axes={"x": "params"},
        pooling={"alpha": PartialPooling("family"), "A": PartialPooling("architecture")},
    )
    fit = fake_fit(swapped, frame, {"A": [1.0, 2.0], "alpha": [0.1, 0.2, 0.3]}, sd=0.0)
    found = classical(fit)["A"]
    assert found.dims == ("chain", "draw", "family")
    np.testing.assert_allclose(found.mean(("chain", "draw")), [10**0.9, 10**1.8, 2 * 10**2.7], rtol=1e-10)


def test_what_stays_at_the_reference_is_said() -> None:
    bnsl = fake_fit(ScalingModel("bnsl", axes={"x": "params"}), runs(), {"A": 0.7}, sd=0.0)
    assert classical(bnsl).attrs["at_reference"] == ["A", "d"]
    np.testing.assert_allclose(classical(bnsl)["A"], 0.7)
    assert classical(bnsl).attrs["x_reference"] == pytest.approx(1e9)
    gadre = fake_fit(ScalingModel("gadre_overtrain"), runs())
    assert classical(gadre).attrs["at_reference"] == ["A"]


def test_the_first_change_of_sign() -> None:
    values = np.array([[1, 2, 3], [1, -1, 1], [1, 0, -1], [0, 0, 1], [-1, 0, -1], [0, 0, 0], [-1, np.nan, 1]], dtype=float)
    before, after = first_change(values)
    assert before.tolist() == [-1, 0, 0, -1, -1, -1, 0]
    assert after.tolist() == [-1, 1, 2, -1, -1, -1, 2]


def test_bisection_and_golden_section() -> None:
    roots = np.array([1e3, 2e10, 5e20])
    np.testing.assert_allclose(bisect(lambda s: s - roots, np.full(3, 1.0), np.full(3, 1e24)), roots, rtol=1e-12)
    np.testing.assert_allclose(bisect(lambda s: roots - s, np.full(3, 1.0), np.full(3, 1e24)), roots, rtol=1e-12)
    centers = np.array([0.1, 3.0, 49.0])
    np.testing.assert_allclose(least(lambda x: (x - centers) ** 2, np.zeros(3), np.full(3, 50.0)), centers, atol=1e-5)

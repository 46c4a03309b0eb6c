"""Allocation: costs in ``compute_optimal``, caps, the price of being off the optimum, profiles without a law, checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, SpecError
from bayescale.core.findings import Status
from bayescale.decision.allocation_checks import check_allocation
from bayescale.decision.floor import check_floor
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.allocation import off_optimum
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import fit_cost
from bayescale.prediction.isoflop import isoflop_profiles
from bayescale.prediction.optimum import compute_optimal
from tests.fakes import at_reference, fake_fit

PAPER = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
SLOPE = 0.3658 / (0.3478 + 0.3658)


def loss(params: Any, tokens: Any) -> Any:
    return PAPER["E"] + PAPER["A"] * params ** -PAPER["alpha"] + PAPER["B"] * tokens ** -PAPER["beta"]


def profiles(
    noise: float = 0.0, budgets: tuple[float, ...] = (1e18, 1e19, 1e20), seed: int = 0, sizes: int = 7
) -> pd.DataFrame:
    """Runs about the optimum of each budget."""
    flops, ratio = np.repeat(budgets, sizes), np.tile(np.geomspace(2, 200, sizes), len(budgets))
    params = np.sqrt(flops / (6 * ratio))
    tokens = flops / (6 * params)
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(flops)))
    return pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "loss": loss(params, tokens) * scatter})


def paper(sd: float = 0.0, draws: int = 20, law: str = "chinchilla", **changed: float) -> Fit:
    truth = at_reference(fake_fit(ScalingModel("chinchilla"), profiles()), **(PAPER | changed))
    return fake_fit(ScalingModel(law), profiles(), truth | ({"q": 1.0} if law == "nd_bridge" else {}), sd=sd, draws=draws)


def test_a_budget_that_pays_for_serving_too() -> None:
    served = compute_optimal(paper(), 5.76e23, cost=Cost(inference_tokens=1e13))
    stated = compute_optimal(paper(), 5.76e23, cost=lambda n, d: 6 * n * d + 2 * n * 1e13)
    np.testing.assert_allclose(served["params"], stated["params"], rtol=1e-9)
    assert served.attrs["cost"] == "6·params·tokens + 2·params·1e+13"
    assert (served["params"] < compute_optimal(paper(), 5.76e23)["params"]).all()


def test_a_declared_default_is_the_closed_form() -> None:
    plain, declared = compute_optimal(paper(), 5.76e23), compute_optimal(paper(), 5.76e23, cost=Cost())
    np.testing.assert_array_equal(plain["params"], declared["params"])
    hours = Cost.hours(4e14)
    paid = compute_optimal(paper(), hours({"flops": 5.76e23, "tokens_per_param": 20})[0], cost=hours)
    np.testing.assert_allclose(paid["params"], plain["params"], rtol=1e-5)


def test_a_fitted_cost_brings_its_uncertainty() -> None:
    table = profiles().rename(columns={"flops": "compute"})
    noisy = table.assign(compute=table["compute"] * np.exp(0.2 * np.random.default_rng(0).standard_normal(len(table))))
    sharp, rough = (compute_optimal(paper(), 1e21, cost=fit_cost(t)) for t in (table, noisy))
    assert np.log(rough["params"]).std() > 0.05 > 3 * np.log(sharp["params"]).std() > 0.01
    np.testing.assert_allclose(
        np.log(sharp["params"]).mean(), np.log(compute_optimal(paper(), 1e21)["params"]).mean(), atol=0.05
    )


@pytest.mark.parametrize("law", ["chinchilla", "nd_bridge"])
def test_tokens_that_there_are_not(law: str) -> None:
    free = compute_optimal(paper(law=law), [1e21, 5.76e23])
    found = compute_optimal(paper(law=law), [1e21, 5.76e23], max_tokens=2e11)
    assert found["p_capped"].to_numpy().tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(found["params"].isel(point=0), free["params"].isel(point=0))
    np.testing.assert_allclose(found["tokens"].isel(point=1), 2e11)
    np.testing.assert_allclose(found["params"].isel(point=1), 5.76e23 / (6 * 2e11), rtol=1e-9)
    np.testing.assert_allclose(found["loss"].isel(point=1), loss(5.76e23 / 1.2e12, 2e11), rtol=1e-9)
    stated = compute_optimal(paper(law=law), 5.76e23, max_tokens=2e11, cost=lambda n, d: 6 * n * d)
    np.testing.assert_allclose(stated["params"], 5.76e23 / (6 * 2e11), rtol=1e-9)
    with pytest.raises(SpecError, match="max_tokens"):
        compute_optimal(paper(), 1e21, max_tokens=-1.0)


def test_a_cap_is_an_optimum_where_there_was_none() -> None:
    # The loss falls with tokens all along a line of equal cost: only the cap ends it.
    fit = fake_fit(ScalingModel("gadre_overtrain"), profiles(), {"A": 1e-9, "B": 0.8, "eta": 0.02}, sd=0.0, draws=50)
    assert compute_optimal(fit, 1e20)["p_none"].item() == 1.0
    capped = compute_optimal(fit, 1e20, max_tokens=1e11)
    assert (capped["p_none"].item(), capped["p_capped"].item()) == (0.0, 1.0)


def test_a_budget_that_buys_nothing() -> None:
    with pytest.raises(SpecError, match=r"a budget of 10 buys nothing.*another unit"):
        compute_optimal(paper(), 10.0)
    with pytest.raises(SpecError, match="buys nothing"):
        compute_optimal(paper(), 1e15, cost=Cost(inference_tokens=1e14))


@pytest.mark.parametrize("law", ["chinchilla", "nd_bridge"])
def test_the_price_of_being_off_the_optimum(law: str) -> None:
    fit = paper(law=law)
    best = compute_optimal(fit, 1e21)
    params = best["params"].isel(chain=0, draw=0, point=0).item()
    at = {"params": [params, 3 * params], "tokens": [1e21 / (6 * params), 1e21 / (18 * params)]}
    found = off_optimum(fit, at)
    np.testing.assert_allclose(found["overpaid"].isel(point=0), 1.0, rtol=1e-4)
    np.testing.assert_allclose(found["excess"].isel(point=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(found["params_ratio"].isel(point=1), 3.0, rtol=1e-4)
    # An optimal run of the cost that was not wasted has the same loss.
    worth = 1e21 / found["overpaid"].isel(chain=0, draw=0, point=1).item()
    again = compute_optimal(fit, worth)["loss"].isel(chain=0, draw=0, point=0)
    assert again.item() == pytest.approx(found["loss"].isel(chain=0, draw=0, point=1).item(), rel=1e-9)
    assert found["overpaid"].isel(point=1).min() > 1.05
    np.testing.assert_allclose(found["excess"], found["loss"] - found["optimum"])
    assert found["p_none"].to_numpy().tolist() == [0.0, 0.0]


def test_the_price_under_a_cost_and_of_an_ensemble() -> None:
    cost = Cost(inference_tokens=1e13)
    best = compute_optimal(paper(), 5.76e23, cost=cost).isel(chain=0, draw=0, point=0)
    at = {"params": best["params"].item(), "tokens": best["tokens"].item()}
    np.testing.assert_allclose(off_optimum(paper(), at, cost=cost)["overpaid"], 1.0, rtol=1e-3)
    assert off_optimum(paper(), at)["overpaid"].min() > 1.05
    both = Ensemble({"one": paper(), "two": paper(alpha=0.4)}, {"one": 0.5, "two": 0.5})
    assert off_optimum(both, at)["overpaid"].std() > 0.001


def test_profiles_find_the_optimum_without_a_law() -> None:
    found = isoflop_profiles(profiles(), draws=400)
    assert found["flops"].to_numpy() == pytest.approx([1e18, 1e19, 1e20])
    assert found["runs"].to_numpy().tolist() == [7, 7, 7]
    truth = compute_optimal(paper(), [1e18, 1e19, 1e20]).isel(chain=0, draw=0)
    # What is left is that the loss is no cubic; a parabola misses by more.
    np.testing.assert_allclose(found["params"].median(("chain", "draw")), truth["params"], rtol=0.005)
    np.testing.assert_allclose(found["tokens"] * found["params"] * 6, np.broadcast_to([1e18, 1e19, 1e20], (1, 400, 3)))
    assert found["params_exponent"].median().item() == pytest.approx(SLOPE, abs=0.005)
    np.testing.assert_allclose(found["params_exponent"] + found["tokens_exponent"], 1.0, atol=1e-9)
    assert (found["p_none"] == 0).all()


def test_a_cubic_is_found_exactly() -> None:
    # The runs lie off the optimum, so that a parabola would be drawn aside by the skewness.
    x, best = np.linspace(-1.0, 2.0, 8), {1e18: 1e8, 1e19: 3e8, 1e20: 9e8}
    params = np.concatenate([size * np.exp(x) for size in best.values()])
    flops = np.repeat(list(best), 8)
    response = np.exp(1 + 0.05 * np.tile(x, 3) ** 2 - 0.008 * np.tile(x, 3) ** 3)
    table = pd.DataFrame({"params": params, "tokens": flops / (6 * params), "flops": flops, "loss": response})
    found = isoflop_profiles(table, draws=400)
    np.testing.assert_allclose(found["params"].median(("chain", "draw")), list(best.values()), rtol=0.005)
    np.testing.assert_allclose(found["loss"].median(("chain", "draw")), np.exp(1), rtol=1e-3)
    assert found["params_exponent"].median().item() == pytest.approx(np.log10(3), abs=0.005)


def test_intervals_of_profiles_cover() -> None:
    truth = isoflop_profiles(profiles(), draws=50)
    where, slope = truth["params"].median(("chain", "draw")), truth["params_exponent"].median().item()
    inside, exponents = [], []
    for seed in range(60):
        found = isoflop_profiles(profiles(0.003, seed=seed), draws=200, seed=seed)
        low, high = found["params"].quantile([0.05, 0.95], ("chain", "draw"))
        inside.append(((low <= where) & (where <= high)).mean().item())
        low, high = found["params_exponent"].quantile([0.05, 0.95])
        exponents.append(bool(low <= slope <= high))
    # Binomial of 60 at 0.9: below 0.73 with a probability below 1e-4; the three budgets of a table err together.
    assert 0.73 <= np.mean(inside) <= 0.99
    assert 0.73 <= np.mean(exponents) <= 1.0


def test_an_optimum_that_was_not_bracketed_is_none() -> None:
    # Only runs of more tokens than are best.
    table = profiles(sizes=60).query("tokens / params > 60").reset_index(drop=True)
    found = isoflop_profiles(table, draws=200)
    assert (found["p_none"] > 0.95).all()


def test_what_is_no_table_of_profiles() -> None:
    scattered = profiles().assign(flops=np.geomspace(1e18, 1e22, 21))
    with pytest.raises(DataError, match="no iso-FLOP profile: expected at least 4 sizes"):
        isoflop_profiles(scattered)
    with pytest.raises(SpecError, match="budgets are positive"):
        isoflop_profiles(profiles(), budgets=[-1.0])
    two = pd.concat([profiles().assign(family=f) for f in "ab"], ignore_index=True)
    with pytest.raises(DataError, match="size and data alone: family has a, b"):
        isoflop_profiles(two)
    named = isoflop_profiles(profiles(), budgets=[1e18, 1e20], draws=50)
    assert named["flops"].to_numpy().tolist() == pytest.approx([1e18, 1e20])


def statuses(review: Any) -> dict[str, Status]:
    return {f.check: f.status for f in review}


def test_an_allocation_that_holds() -> None:
    found = check_allocation(paper(sd=0.01), 1e19)
    assert statuses(found) == dict.fromkeys(("interior optimum", "inside the runs", "iso-FLOP profiles"), Status.PASS)


def test_an_optimum_outside_what_was_run() -> None:
    found = check_allocation(paper(sd=0.01), [1e19, 1e24])
    assert statuses(found)["inside the runs"] is Status.REVIEW
    message = next(f.message for f in found if f.check == "inside the runs")
    assert "at 1e+24 FLOP lies outside what was run: params" in message


def test_law_and_profiles_that_disagree() -> None:
    # The runs say 1e18 FLOP are spent best on another size than the law does.
    found = check_allocation(paper(sd=0.01, A=1000.0), 1e19)
    finding = next(f for f in found if f.check == "iso-FLOP profiles")
    assert finding.status is Status.REVIEW
    assert "disagree" in finding.message


def test_an_allocation_without_an_optimum() -> None:
    fit = fake_fit(ScalingModel("gadre_overtrain"), profiles(), {"A": 1e-9, "B": 0.8, "eta": 0.02}, sd=0.0, draws=50)
    found = check_allocation(fit, 1e20)
    assert statuses(found)["interior optimum"] is Status.FAIL
    assert statuses(found)["inside the runs"] is Status.NOT_ASSESSED
    assert "no interior optimum: 100% of the draws" in found.findings[0].message


def test_runs_without_budgets_are_not_assessed() -> None:
    table = profiles().assign(params=lambda t: t["params"] * np.geomspace(1, 50, 21)).drop(columns="flops")
    fit = fake_fit(ScalingModel("chinchilla"), table, sd=0.01, draws=50)
    assert statuses(check_allocation(fit, 1e19))["iso-FLOP profiles"] is Status.NOT_ASSESSED


def test_of_a_group_its_own_runs_are_looked_at() -> None:
    both = pd.concat([profiles().assign(family="a"), profiles().assign(family="b", params=lambda t: t["params"] * 1e3)])
    fit = fake_fit(ScalingModel("chinchilla", pooling={"E": NoPooling("family")}), both, sd=0.01, draws=50)
    named, chosen = check_allocation(fit, 1e19, at={"family": "a"}), check_allocation(fit.select(family="a"), 1e19)
    assert [(f.check, f.message) for f in named] == [(f.check, f.message) for f in chosen]
    assert statuses(named)["inside the runs"] is Status.PASS
    unseen = ScalingModel("chinchilla", pooling={"E": PartialPooling("family")})
    new = check_allocation(fake_fit(unseen, both, sd=0.01, draws=50), 1e19, at={"family": "c"})
    assert statuses(new)["inside the runs"] is Status.PASS  # among the runs of all
    with pytest.raises(DataError, match="family is 'a' by the selection"):
        check_allocation(fit.select(family="a"), 1e19, at={"family": "b"})


def test_labels_that_never_occur_together_select_nothing() -> None:
    both = pd.concat([profiles().assign(family="a", dataset="x"), profiles().assign(family="b", dataset="y")])
    pooling = {"E": NoPooling("family"), "A": NoPooling("dataset")}
    fit = fake_fit(ScalingModel("chinchilla", pooling=pooling), both, sd=0.01, draws=50)
    found = check_allocation(fit, 1e24, at={"family": "a", "dataset": "y"})
    assert statuses(found)["inside the runs"] is Status.REVIEW


def test_limits_of_data_limit_what_is_checked() -> None:
    # All sizes that were run lie below the one to which the limit drives the optimum.
    fit = paper(sd=0.01)
    assert statuses(check_allocation(fit, 1e20))["inside the runs"] is Status.PASS
    limited = check_allocation(fit, 1e20, max_tokens=1e7)
    assert statuses(limited)["inside the runs"] is Status.REVIEW


def test_a_floor_beside_knobs_is_not_assessed() -> None:
    table = profiles().assign(learning_rate=1e-3, batch=1e6)
    model = ScalingModel("learning_rate_batch", axes={name: name for name in ("learning_rate", "batch")})
    found = check_floor(fake_fit(model, table, sd=0.01, draws=20), "loss<=1.0")
    assert found.status is Status.NOT_ASSESSED
    assert "the law takes learning_rate, batch too" in found.message
    samples = fake_fit(ScalingModel("chinchilla", axes={"tokens": "samples"}), profiles().assign(samples=profiles()["tokens"]))
    assert check_floor(samples, "loss<=0.1").status is Status.REVIEW
    renamed = fake_fit(ScalingModel("chinchilla", axes={"params": "N"}), profiles().assign(N=profiles()["params"]))
    assert check_floor(renamed, "loss<=0.1").status is Status.REVIEW
    repeated = fake_fit(ScalingModel("data_constrained"), profiles().assign(epochs=1.0), sd=0.01, draws=20)
    assert check_floor(repeated, "loss<=0.1").status is Status.REVIEW


def test_a_target_below_the_floor() -> None:
    fit = paper(sd=0.01)
    below, above = check_floor(fit, "loss<=1.7", {"params": 7e10, "tokens": 1.4e12}), check_floor(fit, "loss<=2.0")
    assert (below.status, above.status) == (Status.REVIEW, Status.PASS)
    assert below.value == 1.0
    assert "lies below what any scale reaches in 100% of the draws: the floor of the law, its median is 1.817" in below.message
    near = check_floor(fit, "loss<=1.8172")
    assert near.value == pytest.approx(0.5, abs=0.1)
    pooled = ScalingModel("chinchilla", pooling={"E": NoPooling("family")})
    family = fake_fit(pooled, profiles().assign(family="a"), sd=0.01, draws=20)
    seen = Ensemble({"with": family, "without": fit}, {"with": 0.5, "without": 0.5})
    assert check_floor(seen.select(family="a"), "loss<=1.0").value == 1.0
    mixed = Ensemble({"one": fit, "two": paper(sd=0.01, E=1.5)}, {"one": 0.5, "two": 0.5})
    assert check_floor(mixed, "loss<=1.7").value == pytest.approx(0.5, abs=0.05)

"""Every crossing, multipliers of compute, ranks of methods, and axes that are paid for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import SpecError
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost, fit_cost
from bayescale.prediction.crossing import crossover
from bayescale.prediction.crossings import compute_multiplier, crossings
from bayescale.prediction.ranking import rank_methods
from tests.fakes import fake_fit


def sizes(low: float = 1e8, high: float = 1e10) -> pd.DataFrame:
    params = np.geomspace(low, high, 5)
    return pd.DataFrame({"params": params, "loss": 2 + 50 * params**-0.2})


def power(A: Any, alpha: Any, sd: float = 0.0, draws: int = 50, table: pd.DataFrame | None = None, seed: int = 0) -> Fit:
    model = ScalingModel("power_law", axes={"x": "params"})
    return fake_fit(model, sizes() if table is None else table, {"A": A, "alpha": alpha}, sd=sd, draws=draws, seed=seed)


def offset() -> Fit:
    model = ScalingModel("power_law_offset", axes={"x": "params"})
    return fake_fit(model, sizes(), {"E": 1.0, "A": 1.0, "alpha": 0.3}, sd=0.0, draws=50)


def families() -> Fit:
    frame = pd.concat([sizes().assign(family=f, loss=sizes()["loss"] * g) for f, g in (("a", 1.0), ("b", 1.1), ("c", 1.2))])
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("family"), "alpha": NoPooling("family")})
    common = np.exp(0.3 * np.random.default_rng(0).standard_normal((4, 50, 1)))
    return fake_fit(model, frame, {"A": common * [2.0, 2.2, 2.6], "alpha": np.full((4, 50, 3), [0.10, 0.15, 0.15])}, draws=50)


def test_every_crossing() -> None:
    found = crossings(offset(), power(2.05, 0.12), along="params", within=(1e5, 1e16))
    x = np.geomspace(1e5, 1e16, 200001) / 1e9
    gap = 1 + x**-0.3 - 2.05 * x**-0.12
    roots = 1e9 * x[1:][gap[1:] * gap[:-1] <= 0]
    np.testing.assert_allclose(found["params"].isel(chain=0, draw=0), roots, rtol=1e-3)
    assert found["params"].sizes["crossing"] == len(roots) == 2
    assert (found["number"] == 2).all()
    assert found["p_number"].to_numpy().tolist() == [0.0, 0.0, 1.0]
    assert found["b_better_after"].isel(chain=0, draw=0).to_numpy().tolist() == [0.0, 1.0]
    assert found["b_better_last"].all()
    assert found["p_none"].item() == 0.0


def test_draws_have_their_own_numbers_of_crossings() -> None:
    # In half of the draws the power law lies above the other throughout the range.
    A = np.where(np.arange(200).reshape(4, 50) % 2, 2.05, 2.6)
    b = power(A, np.full((4, 50), 0.12))
    found = crossings(offset(), b, along="params", within=(1e8, 1e11))
    assert found["p_number"].to_numpy().tolist() == [0.5, 0.0, 0.5]
    assert found["p_none"].item() == 0.5
    first = crossover(offset(), b, along="params", within=(1e8, 1e11))["params"]
    np.testing.assert_array_equal(found["params"].isel(crossing=0), first)


def test_none_at_all() -> None:
    found = crossings(power(2.0, 0.1), power(2.2, 0.1), along="params")
    assert found["p_none"].item() == 1.0
    assert np.isnan(found["params"]).all()
    assert not found["b_better_last"].any()


def test_the_multiplier_of_two_power_laws() -> None:
    a, b = power(2.2, 0.1), power(2.0, 0.1)
    found = compute_multiplier(a, b, [1e9, 1e12], along="params")
    # A_a (m x)^-alpha = A_b x^-alpha
    np.testing.assert_allclose(found["multiplier"], 1.1**10, rtol=1e-9)
    assert found["multiplier"].dims == ("chain", "draw", "point")
    assert found["params"].to_numpy().tolist() == [1e9, 1e12]
    assert found["p_b_better"].to_numpy().tolist() == [1.0, 1.0]
    np.testing.assert_allclose(compute_multiplier(b, a, 1e9, along="params")["multiplier"], 1.1**-10, rtol=1e-9)


def test_what_is_never_matched_is_infinite() -> None:
    found = compute_multiplier(offset(), power(0.9, 0.01), [1e9], along="params")
    assert found["p_never"].item() == 1.0
    assert np.isposinf(found["multiplier"]).all()
    found = compute_multiplier(power(0.9, 0.01), offset(), [1e9], along="params", reach=10.0)
    assert found["p_below"].item() == 1.0
    np.testing.assert_allclose(found["multiplier"], 0.1)


def surface(law: str, truth: dict[str, Any]) -> Fit:
    params, tokens = np.repeat(np.geomspace(1e8, 1e10, 5), 5), np.tile(np.geomspace(1e9, 1e12, 5), 5)
    table = pd.DataFrame({"params": params, "tokens": tokens, "loss": 2 + 50 * params**-0.2 + 100 * tokens**-0.2})
    return fake_fit(ScalingModel(law), table, truth, sd=0.0, draws=50)


def test_a_method_without_an_optimum_ranks_nobody() -> None:
    none = surface("gadre_overtrain", {"A": 1e-9, "B": 0.8, "eta": 0.02})
    sound = surface("chinchilla", {"E": 1.8})
    for a, b in ((none, sound), (sound, none)):
        found = compute_multiplier(a, b, [1e21], path="optimal")
        assert found["p_none"].item() == 1.0
        assert np.isnan(found["multiplier"]).all() and np.isnan(found["p_b_better"].item())
        with pytest.raises(SpecError, match="no draw has a response of every method at flops 1e\\+21"):
            rank_methods({"a": a, "b": b}, [1e21], path="optimal")


def test_a_draw_without_an_optimum_counts_for_nobody() -> None:
    without = np.tile(np.arange(50) < 10, (4, 1))
    truth = {"A": np.where(without, 1e-9, 0.5), "B": 0.8, "eta": np.where(without, 0.02, 0.1)}
    mixed = surface("gadre_overtrain", truth)
    sound = surface("chinchilla", {"E": 1.8})
    found = rank_methods({"mixed": mixed, "sound": sound}, [1e21], path="optimal")
    assert 0 < found["p_none"].item() < 1
    assert found["p_best"].sum().item() == pytest.approx(1.0)
    assert np.isfinite(found["regret"]).all()


def test_a_draw_without_an_optimum_is_no_draw_in_which_b_is_worse() -> None:
    without = np.tile(np.arange(50) < 10, (4, 1))
    mixed = surface("gadre_overtrain", {"A": np.where(without, 1e-9, 0.5), "B": 0.8, "eta": np.where(without, 0.02, 0.1)})
    sound = surface("chinchilla", {"E": 3.0})  # worse wherever the other has a response
    for verb in (crossover, crossings):
        for a, b, better in ((mixed, sound, 0.0), (sound, mixed, 1.0)):
            found = verb(a, b, path="optimal")
            there = found["p_absent"] < 1
            assert found["p_absent"].to_numpy().max() == pytest.approx(0.2)
            assert (found["p_b_better"].where(there, drop=True) == better).all()
            assert found["p_none"].item() == 1.0
    last = crossings(sound, mixed, path="optimal")["b_better_last"]
    assert np.isnan(last).mean() == pytest.approx(0.2) and last.mean() == 1.0
    assert crossover(sound, mixed, path="optimal").attrs["better_after"] == "b"


def test_nobody_has_an_optimum() -> None:
    none = surface("gadre_overtrain", {"A": 1e-9, "B": 0.8, "eta": 0.02})
    with pytest.raises(SpecError, match="no draw has a response of both methods along flops"):
        crossover(none, surface("chinchilla", {"E": 1.8}), path="optimal")


def test_the_first_crossing_along_what_runs_cost() -> None:
    price = Cost(lambda t: 3.0 * t["params"], unit="USD")
    a, b = power(2.0, 0.1, sd=0.01), power(2.2, 0.15, sd=0.01)
    found = crossover(a, b, along="cost", cost=price, within=(1e5, 1e20))
    every = crossings(a, b, along="cost", cost=price, within=(1e5, 1e20))
    np.testing.assert_array_equal(found["cost"], every["cost"].isel(crossing=0))
    by_size = crossover(a, b, along="params", within=(1e5 / 3, 1e20 / 3))
    np.testing.assert_allclose(found["cost"], 3.0 * by_size["params"], rtol=1e-6)


def test_what_was_measured_stands_beside_a_crossover() -> None:
    fit = families()
    a, b = fit.select(family="b"), fit.select(family="a")
    found = crossover(a, b, along="params")
    assert (found.attrs["baseline"], found.attrs["baseline_scale"]) == ("b", pytest.approx(1e10))
    assert crossover(b, a, along="params").attrs["baseline"] == "a"
    assert crossings(b, a, along="params").attrs["baseline"] == "a"
    assert crossover(a, a, along="params").attrs["baseline"] == "tie"
    apart = power(2.0, 0.1), power(2.2, 0.15, table=sizes(1e12, 1e13))
    found = crossover(*apart, along="params")
    assert found.attrs["baseline"] == "" and np.isnan(found.attrs["baseline_scale"])


def test_draws_of_one_fit_stay_paired() -> None:
    fit = families()
    found = compute_multiplier(fit.select(family="c"), fit.select(family="b"), 1e9, along="params")
    # The level varies by 30 % and is common to both.
    np.testing.assert_allclose(found["multiplier"], (2.6 / 2.2) ** (1 / 0.15), rtol=1e-9)
    ranks = rank_methods({n: fit.select(family=n) for n in "abc"}, [1e9, 1e13], along="params")
    assert ranks["p_best"].sel(candidate="a").to_numpy().tolist() == [1.0, 0.0]
    assert ranks["p_rank"].sel(candidate="c", rank=3).to_numpy().tolist() == [1.0, 0.0]
    assert ranks["choice"].to_numpy().tolist() == ["a", "b"]
    np.testing.assert_allclose(ranks["p_rank"].sum("rank"), 1.0)
    np.testing.assert_allclose(ranks["p_rank"].sum("candidate"), 1.0)
    drawn = ranks["loss"].isel(scale=0)
    expected = (drawn - drawn.min("candidate")).mean(("chain", "draw"))
    np.testing.assert_allclose(ranks["regret"].isel(scale=0), expected)
    assert ranks["regret"].sel(candidate="a").isel(scale=0).item() == 0.0


def test_the_baseline_ranks_by_what_was_measured() -> None:
    fit = families()
    found = rank_methods({n: fit.select(family=n) for n in "cba"}, 1e13, along="params")
    # By measurement a is best at the largest common scale; by the law, far beyond it, b.
    assert found["baseline"].to_numpy().tolist() == [3.0, 2.0, 1.0]
    assert found.attrs["baseline_scale"] == pytest.approx(1e10)
    assert found["choice"].item() == "b"


def test_the_baseline_is_of_the_place_that_is_asked_about() -> None:
    tables = {
        name: pd.concat([sizes().assign(dataset=d, loss=sizes()["loss"] * g) for d, g in (("x", x), ("y", y))])
        for name, x, y in (("a", 1.0, 1.0), ("b", 0.9, 1.2))
    }
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("dataset")})
    fits = {n: fake_fit(model, t, {"A": [2.0, 2.2], "alpha": 0.1}, sd=0.0, draws=50) for n, t in tables.items()}
    for place, ranks in (("x", [2.0, 1.0]), ("y", [1.0, 2.0])):
        found = rank_methods(fits, [1e10], along="params", at={"dataset": place})
        assert found["baseline"].to_numpy().tolist() == ranks


def test_the_baseline_interpolates_to_the_common_scale() -> None:
    short, long = sizes(1e8, 1e9), sizes(1e8, 1e11)
    worse = long.assign(loss=long["loss"] * 1.001)
    methods = {"short": power(2.5, 0.05, table=short), "long": power(2.5, 0.05, table=worse)}
    found = rank_methods(methods, 1e9, along="params")
    assert found.attrs["baseline_scale"] == pytest.approx(1e9)
    # Runs of `long` beyond the common scale are better, and do not count.
    assert found["baseline"].to_numpy().tolist() == [1.0, 2.0]


def test_methods_of_two_fits_are_paired_at_random() -> None:
    a, b = power(2.0, 0.1, sd=0.01, draws=200, seed=1), power(2.0, 0.1, sd=0.01, draws=200, seed=1)
    found = rank_methods({"a": a, "b": b}, 1e9, along="params")
    assert found["p_best"].to_numpy()[:, 0] == pytest.approx([0.5, 0.5], abs=0.06)
    ensemble = Ensemble({"one": a, "two": power(2.2, 0.1, draws=200)}, {"one": 0.5, "two": 0.5})
    mixed = rank_methods({"mix": ensemble, "b": b}, 1e9, along="params")
    assert mixed["p_best"].sel(candidate="b").item() == pytest.approx(0.75, abs=0.06)


def test_methods_without_a_common_scale() -> None:
    methods = {"small": power(2, 0.1, table=sizes(1e6, 1e7)), "large": power(2, 0.1, table=sizes(1e9, 1e10))}
    with pytest.raises(SpecError, match="no common scale: one was run up to 1e\\+07 only, another from 1e\\+09 on"):
        rank_methods(methods, 1e9, along="params")
    with pytest.raises(SpecError, match="at least two names"):
        rank_methods({"small": methods["small"]}, 1e9, along="params")
    with pytest.raises(SpecError, match="scales are positive numbers"):
        rank_methods(methods, [1e9, -1.0], along="params")
    other = fake_fit(
        ScalingModel("power_law", axes={"x": "params"}), sizes().rename(columns={"loss": "error"}), response="error"
    )
    with pytest.raises(SpecError, match="different responses"):
        rank_methods({"a": methods["small"], "b": other}, 1e9, along="params")


def test_along_cost() -> None:
    a, b = power(2.0, 0.10), power(2.2, 0.15)
    path, crossing = {"tokens_per_param": 20.0}, 1e9 * 1.1**20
    cost = Cost.hours(4e14)
    found = crossings(a, b, along="cost", cost=cost, path=path)
    expected = cost({"params": crossing, "tokens_per_param": 20})[0]
    np.testing.assert_allclose(found["cost"].isel(crossing=0), expected, rtol=1e-6)
    # b runs on accelerators half as fast: it must be as much further along to be worth its money.
    slower = crossings(a, b, along="cost", cost=[cost, Cost.hours(2e14)], path=path)["cost"].isel(crossing=0)
    np.testing.assert_allclose(slower, expected * 2 ** (0.075 / 0.025), rtol=1e-5)
    times = compute_multiplier(a, b, expected, along="cost", cost=cost, path=path)["multiplier"]
    np.testing.assert_allclose(times, 1.0, rtol=1e-5)
    beyond = compute_multiplier(a, b, 1e40 * expected, along="cost", cost=cost, path=path)
    assert np.isnan(beyond["multiplier"]).all() and beyond["p_none"].item() == 1.0
    ranked = rank_methods({"a": a, "b": b}, [expected / 2, expected * 2], along="cost", cost=cost, path=path)
    assert ranked["choice"].to_numpy().tolist() == ["a", "b"]
    assert ranked.attrs["baseline_scale"] == pytest.approx(cost({"params": 1e10, "tokens_per_param": 20})[0], rel=1e-6)


def test_a_fitted_cost_is_an_axis() -> None:
    params, tokens = np.geomspace(1e8, 1e10, 12), 20 * np.geomspace(1e8, 1e10, 12) * np.tile([0.5, 1, 2], 4)
    cost = fit_cost(pd.DataFrame({"params": params, "tokens": tokens, "compute": 7 * params * tokens}))
    path = {"tokens_per_param": 20.0}
    found = crossings(power(2.0, 0.10), power(2.2, 0.15), along="cost", cost=cost, path=path)["cost"]
    np.testing.assert_allclose(found.isel(crossing=0), 7 * 20 * (1e9 * 1.1**20) ** 2, rtol=0.3)


def test_a_fitted_cost_is_uncertain_where_two_methods_cross_and_shared_where_they_are_compared() -> None:
    rng = np.random.default_rng(0)
    params, tokens = np.geomspace(1e8, 1e9, 12), 20 * np.geomspace(1e8, 1e9, 12) * np.tile([0.5, 1, 2], 4)
    hours = 7 * params * tokens * np.exp(0.3 * rng.standard_normal(12))
    cost = fit_cost(pd.DataFrame({"params": params, "tokens": tokens, "compute": hours}))
    path = {"tokens_per_param": 20.0}
    # The laws are certain, and cross at one size, eleven times the largest whose cost was recorded.
    a, b = power(2.0, 0.10), power(2.2, 0.15, draws=70)
    found = np.log(crossings(a, b, along="cost", cost=cost, path=path)["cost"].isel(crossing=0))
    size = 1e9 * 1.1**20
    expected = np.log(cost.draws({"params": size, "tokens": 20 * size}))
    assert found.mean() == pytest.approx(float(expected.mean()), abs=0.15)
    without_noise = np.std(cost.logs(cost.coefficients, np.array([size]), np.array([20 * size])))
    assert found.std() == pytest.approx(without_noise, rel=0.35)
    # What both pay cancels: twice the size is four times the cost or so, in every draw by the same exponent.
    wider = power(2.0 * 2**0.10, 0.10)
    ratio = compute_multiplier(wider, power(2.0, 0.10, draws=70), [1e21], along="cost", cost=cost, path=path)["multiplier"]
    rates = cost.coefficients[:, 1:].sum(axis=1)
    assert np.log2(ratio).mean() == pytest.approx(rates.mean(), abs=0.1)
    assert np.log2(ratio).std() == pytest.approx(rates.std(), rel=0.35)
    ranked = rank_methods({"wider": wider, "plain": power(2.0, 0.10, draws=70)}, 1e21, along="cost", cost=cost, path=path)
    assert ranked["p_best"].sel(candidate="plain").item() == 1


def test_the_few_draws_in_which_a_learnt_cost_falls_are_left_out() -> None:
    coefficients = np.tile([40.0, 1.0, 1.0], (100, 1))
    coefficients[:4, 1:] = -1.0
    cost = FittedCost("compute", "FLOP", coefficients, np.full(100, 0.1), (20.0, 23.0), 5)
    path = {"tokens_per_param": 20.0}
    found = crossings(power(2.0, 0.10), power(2.2, 0.15), along="cost", cost=cost, path=path)["cost"].isel(crossing=0)
    np.testing.assert_allclose(found, np.exp(40 + 2 * np.log(1e9 * 1.1**20) + np.log(20) - 43), rtol=1e-4)
    coefficients[:6, 1:] = -1.0
    with pytest.raises(SpecError, match="falls with params in 6 of 100 draws"):
        crossings(power(2.0, 0.10), power(2.2, 0.15), along="cost", cost=cost, path=path)


def test_methods_that_pay_by_different_records_have_draws_of_their_own() -> None:
    params = np.geomspace(1e8, 1e9, 12)
    table = pd.DataFrame({"params": params, "tokens": 20 * params * np.tile([0.5, 1, 2], 4)})
    noise = np.random.default_rng(0).standard_normal(12)
    costs = [fit_cost(table.assign(compute=7 * table.params * table.tokens * np.exp(0.3 * noise))) for _ in range(2)]
    methods, prices = ({"one": value, "other": other} for value, other in ((power(2.0, 0.10), power(2.0, 0.10)), costs))
    ranked = rank_methods(methods, 1e21, along="cost", path={"tokens_per_param": 20.0}, cost=prices)
    assert 0.2 < ranked["p_best"].sel(candidate="one").item() < 0.8


def test_a_cost_that_does_not_say_enough() -> None:
    a, b = power(2.0, 0.10), power(2.2, 0.15)
    with pytest.raises(SpecError, match="along='cost' needs cost"):
        crossings(a, b, along="cost")
    with pytest.raises(SpecError, match="goes with along='cost'"):
        crossings(a, b, along="params", cost=Cost())
    with pytest.raises(SpecError, match="does not rise along params"):
        crossings(a, b, along="cost", cost=Cost(lambda t: np.ones(len(t)), unit="USD"), path={"tokens_per_param": 20})
    falling = pd.DataFrame({"params": [1e8, 1e9, 1e10], "tokens": [1e9, 1e9, 1e9], "compute": [9.0, 3.0, 1.0]})
    with pytest.raises(SpecError, match=r"falls with params in [0-9]+ of 2000 draws"):
        crossings(a, b, along="cost", cost=fit_cost(falling), path={"tokens": 1e9})
    with pytest.raises(SpecError, match="say tokens"):
        crossings(a, b, along="cost", cost=fit_cost(falling))
    with pytest.raises(SpecError, match="state them in one unit"):
        crossings(a, b, along="cost", cost=[Cost(), Cost.hours(1e14)], path={"tokens_per_param": 20})

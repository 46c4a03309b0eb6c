"""Rules beyond one target: several at once, utilities, risk, and what flips a verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayescale.core.errors import SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.decision.decide import decide
from bayescale.decision.flip import flip
from bayescale.decision.risk import risk
from bayescale.decision.rules import AllOf, Threshold
from bayescale.decision.utility import Utility
from bayescale.prediction.cost import Cost
from bayescale.prediction.joined import join_draws

FINE = Review((Finding("convergence", Status.PASS, "the chains agree"),))
BAD = Review((Finding("convergence", Status.FAIL, "they do not"),))


def normal(mean: float = 1.95, sd: float = 0.05, seed: int = 0, name: str = "loss") -> xr.Dataset:
    values = np.random.default_rng(seed).normal(mean, sd, (4, 1000, 1))
    coords = {"params": ("point", [7e10]), "tokens": ("point", [1.4e12])}
    return xr.Dataset({name: (("chain", "draw", "point"), values)}, coords=coords, attrs={"kind": "response"})


def test_several_targets_are_met_in_the_same_draw() -> None:
    loss = normal()
    # As good as one and the same event: the joint probability is that of one, not its square.
    both = loss.assign(accuracy=1 - loss["loss"] / 4)
    rule = AllOf(["loss<=2.0", "accuracy>=0.5"], probability=0.8)
    found = decide(both, rule, FINE)
    assert found.probability == decide(loss, "loss<=2.0", FINE).probability
    assert found.verdict == "GO"
    assert "all 2 targets must be met in the same draw (joint probability)" in found.reasons
    apart = loss.assign(normal(0.5, 0.05, seed=1, name="accuracy"))
    assert decide(apart, ["loss<=2.0", "accuracy>=0.5"], FINE).probability == pytest.approx(0.841 * 0.5, abs=0.03)
    assert decide(apart, ["loss<=2.0", "accuracy>=0.5"], FINE).verdict == "NO_GO"
    assert "P(loss <= 2 and accuracy >= 0.5)" in found.headline


def test_a_range_is_two_targets() -> None:
    found = decide(normal(), ["loss<=2.0", "loss>1.95"], FINE)
    assert found.probability == pytest.approx(0.341, abs=0.03)


@pytest.mark.parametrize("targets", [["loss<=2", "loss>=3"], ["loss<2", "loss>2"], ["loss<=2", "accuracy>=0.5", "loss>=2.1"]])
def test_targets_that_contradict_each_other_are_refused(targets: list[str]) -> None:
    with pytest.raises(SpecError, match="contradict each other: no loss meets both"):
        AllOf(targets)


@pytest.mark.parametrize("given", ["loss<=2", [], [Threshold("loss", "<=", 2.0)], [3]])
def test_what_is_no_list_of_targets_is_refused(given: Any) -> None:
    with pytest.raises(SpecError, match="target"):
        AllOf(given)


def test_expected_utility_decides() -> None:
    draws = normal()  # P(loss <= 2) = 0.841
    found = decide(draws, Utility("loss<=2.0", value=5e6, cost=1e6, wrong=1e6, unit="USD"), FINE)
    chance = found.probability
    assert found.utility == pytest.approx(6e6 * chance - 2e6)
    assert found.utility_mcse == pytest.approx(6e6 * found.mcse)
    assert found.verdict == "GO"
    assert found.headline.startswith("GO: expected utility of GO less that of NO_GO")
    assert any("GO pays from 0.3333 on" in reason for reason in found.reasons)
    assert decide(draws, Utility("loss<=2.0", value=1e6, cost=1e6), FINE).verdict == "NO_GO"
    # At the break-even probability the draws cannot tell.
    assert decide(draws, Utility("loss<=2.0", value=1e6, cost=1e6 * chance), FINE).verdict == "HOLD"


def test_what_a_no_go_costs_counts() -> None:
    draws = normal(2.02)  # P = 0.34
    assert decide(draws, Utility("loss<=2.0", value=1.0, cost=0.5), FINE).verdict == "NO_GO"
    found = decide(draws, Utility("loss<=2.0", value=1.0, cost=0.5, missed=1.0), FINE)
    assert found.verdict == "GO"
    assert found.utility == pytest.approx(2 * found.probability - 0.5)
    assert decide(draws, Utility("loss<=2.0", value=1.0, cost=0.5, missed=1.0, no_go=0.5), FINE).verdict == "NO_GO"


def test_a_utility_keeps_to_the_review() -> None:
    rule = Utility("loss<=2.0", value=5e6, cost=1e6)
    assert decide(normal(), rule).verdict == "HOLD"
    assert decide(normal(), rule, BAD).verdict == "HOLD"
    assert decide(normal(), Utility("loss<=2.0", value=1.0, cost=2.0)).verdict == "NO_GO"


def test_the_cost_of_a_run_is_asked_at_its_points() -> None:
    cost = Cost.hours(4e14, price=2.0, unit="USD")
    found = decide(normal(), Utility("loss<=2.0", value=1e7, cost=cost), FINE)
    assert found.utility == pytest.approx(1e7 * found.probability - cost({"params": 7e10, "tokens": 1.4e12})[0])
    assert found.rule.unit == "USD"
    bare = normal().drop_vars(["params", "tokens"])
    with pytest.raises(SpecError, match="name no runs to price"):
        decide(bare, Utility("loss<=2.0", value=1e7, cost=cost), FINE)


def test_draws_that_all_agree_have_an_error_all_the_same() -> None:
    found = decide(normal(1.5, 0.01), Utility("loss<=2.0", value=1.0, cost=0.9995), FINE)
    assert found.probability == 1.0
    assert found.verdict == "HOLD"  # 0.0005 is less than two errors of 1.5/4000


def test_a_function_of_the_draws() -> None:
    def worth(draws: xr.Dataset) -> Any:
        return 10 * (2.0 - draws["loss"]).isel(point=0)

    found = decide(normal(), Utility(function=worth, cost=0.2), FINE)
    assert found.utility == pytest.approx(10 * 0.05 - 0.2, abs=0.03)
    assert found.utility_mcse == pytest.approx(10 * 0.05 / np.sqrt(4000), rel=0.2)
    assert found.probability == pytest.approx(stats.norm.cdf(0.03 / 0.05), abs=0.03)
    with pytest.raises(SpecError, match=r"one number a draw, shape \(4, 1000\); got \(3,\)"):
        decide(normal(), Utility(function=lambda draws: np.zeros(3)), FINE)
    with pytest.raises(SpecError, match="is not finite"):
        decide(normal(), Utility(function=lambda draws: np.full((4, 1000), np.nan)), FINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": "loss<=2", "value": 1.0, "cost": -1.0}, "cost is a number of at least 0"),
        ({"target": "loss<=2", "value": 1.0, "cost": np.nan}, "cost is a number of at least 0"),
        ({"target": "loss<=2"}, "worth nothing more than a miss"),
        ({"value": 1.0}, "say what success is"),
        ({"target": "loss<=2", "value": 1.0, "wrong": -1.0}, "wrong is a number of at least 0"),
        ({"target": ["loss<=2", "loss>=3"], "value": 1.0}, "contradict"),
        ({"target": "loss<=2", "value": 1.0, "cost": Cost(), "unit": "USD"}, "the cost is in FLOP, and the utility in USD"),
        ({"function": len, "value": 1.0}, "go with a target"),
    ],
)
def test_a_utility_that_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Utility(**arguments)


def test_risk_of_a_normal() -> None:
    found = risk(normal(2.0, 0.1), tail=0.05).iloc[0]
    z = stats.norm.ppf(0.95)
    assert found["quantile"] == pytest.approx(2 + 0.1 * z, abs=0.01)
    assert found["expected_shortfall"] == pytest.approx(2 + 0.1 * stats.norm.pdf(z) / 0.05, abs=0.01)
    assert 0 < found["shortfall_mcse"] < 0.01
    low = risk(normal(0.7, 0.1, name="accuracy"), tail=0.05).iloc[0]
    assert low["expected_shortfall"] == pytest.approx(0.7 - 0.1 * stats.norm.pdf(z) / 0.05, abs=0.01)


def test_the_shortfall_is_the_mean_of_the_worst_draws() -> None:
    values = np.arange(1.0, 11.0).reshape(1, 10, 1)
    draws = xr.Dataset({"loss": (("chain", "draw", "point"), values)})
    found = risk(draws, tail=0.25).iloc[0]
    assert found["expected_shortfall"] == pytest.approx((10 + 9 + 8 / 2) / 2.5)
    values[0, 0] = np.nan
    assert risk(draws, tail=0.05)["expected_shortfall"].item() == np.inf
    for wrong in (0.0, 0.6, True):
        with pytest.raises(SpecError, match="tail"):
            risk(draws, tail=wrong)


def test_what_flips_a_threshold() -> None:
    draws, rule = normal(), Threshold("loss", "<=", 2.0, 0.9)
    found = flip(draws, rule).set_index("what")
    at = found.loc["target loss", "to_flip"]
    # The oracle is the decision itself: just beyond that target the probability is on the other side of the line.
    assert decide(draws, Threshold("loss", "<=", at + 1e-6, 0.9)).probability >= 0.9
    assert decide(draws, Threshold("loss", "<=", at - 1e-3, 0.9)).probability < 0.9
    moved = draws.assign(loss=draws["loss"] + found.loc["median loss", "change"] - 1e-9)
    assert decide(moved, rule).probability == pytest.approx(0.9, abs=1e-3)
    assert found.loc["probability asked for", "to_flip"] == decide(draws, rule).probability
    assert found.loc["median loss", "change"] < 0


def test_a_line_that_no_rule_may_ask_for_flips_nothing() -> None:
    row = flip(normal(mean=2.5), "loss<=2.0").set_index("what").loc["probability asked for"]
    assert np.isnan(row["to_flip"]) and "no line that a rule may ask for" in row["sentence"]


def test_a_target_close_to_its_turning_point_is_told_apart_from_it() -> None:
    row = flip(normal(mean=0.99996, sd=1e-5), "loss<=0.99997").set_index("what").loc["target loss"]
    said = float(row["sentence"].split("loss <= ")[1].split()[0])
    assert said == pytest.approx(row["to_flip"], abs=0.01 * abs(row["change"]))


def test_what_flips_a_target_from_below() -> None:
    draws = normal(0.75, 0.05, name="accuracy")
    at = flip(draws, "accuracy>=0.7").set_index("what").loc["target accuracy", "to_flip"]
    assert at == pytest.approx(0.75 - 0.05 * stats.norm.ppf(0.9), abs=0.005)
    assert decide(draws, f"accuracy>={at - 1e-9}").probability >= 0.9


def test_a_target_that_the_others_forbid_flips_nothing() -> None:
    both = normal().assign(normal(0.5, 0.05, seed=1, name="accuracy"))
    found = flip(both, ["loss<=2.0", "accuracy>=0.5"]).set_index("what")
    assert np.isnan(found.loc["target loss", "to_flip"])
    assert "the other targets alone are met in 0.49" in found.loc["target loss", "sentence"]
    assert np.isnan(found.loc["target accuracy", "to_flip"])


def test_what_flips_a_utility() -> None:
    rule, draws = Utility("loss<=2.0", value=5.0, cost=1.0, wrong=1.0), normal()
    found = flip(draws, rule).set_index("what")
    for what in ("value", "cost"):
        changed: dict[str, Any] = {"value": 5.0, "cost": 1.0, "wrong": 1.0} | {what: found.loc[what, "to_flip"]}
        assert decide(draws, Utility("loss<=2.0", **changed)).utility == pytest.approx(0.0, abs=1e-9)
    assert found.loc["probability", "to_flip"] == pytest.approx(1 / 3)
    at = found.loc["target loss", "to_flip"]
    assert decide(draws, f"loss<={at}").probability == pytest.approx(1 / 3, abs=1e-3)
    hopeless = flip(normal(3.0), rule).set_index("what")
    assert hopeless.loc["value", "sentence"] == "no worth of success flips the verdict: no draw meets it"
    assert hopeless.loc["cost", "sentence"] == "no cost flips the verdict: GO is worth less even for nothing"


def test_draws_of_two_fits_meet_targets_together() -> None:
    rng = np.random.default_rng(0)
    loss = xr.Dataset({"loss": (("chain", "draw", "point"), rng.normal(2, 0.1, (4, 1000, 1)))}, {"chain": range(4)})
    accuracy = xr.Dataset({"accuracy": (("chain", "draw", "point"), rng.normal(0.7, 0.1, (4, 500, 1)))}, {"chain": range(4)})
    for parts in ((loss, accuracy), (accuracy, loss)):
        both = join_draws(*parts)
        assert dict(both.sizes) == {"chain": 4, "draw": 500, "point": 1}
        found = decide(both, ["loss<=2.1", "accuracy>=0.6"])
        assert found.probability == pytest.approx(0.8413**2, abs=0.03)
    # The shortest keeps its order, by which its Monte Carlo error is told.
    np.testing.assert_array_equal(join_draws(loss, accuracy)["accuracy"], accuracy["accuracy"])


def test_the_same_table_may_hold_what_is_missing_and_what_was_measured() -> None:
    at = {"note": ("point", [1.0, np.nan]), "loss": ("point", [2.0, 2.1]), "error": ("point", [0.1, 0.2])}
    one = xr.Dataset({"loss": (("chain", "draw", "point"), np.full((2, 3, 2), 1.9))})
    both = join_draws(
        one.assign_coords({n: v for n, v in at.items() if n != "loss"}),
        one.rename(loss="error").assign_coords({n: v for n, v in at.items() if n != "error"}),
    )
    assert {"loss", "error"} == set(both.data_vars) and "note" in both.coords


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (lambda a: (a,), "two fits or more, got 1"),
        (lambda a: (a, a), "two of the parts have loss"),
        (lambda a: (a, a.rename(loss="accuracy").isel(point=[0, 0])), "at 1 and 2 points"),
        (lambda a: (a, a["loss"]), "Datasets of predict"),
        (
            lambda a: (a.assign_coords(params=("point", [1e9])), a.rename(loss="error").assign_coords(params=("point", [1e7]))),
            "at points of different params",
        ),
    ],
)
def test_draws_that_do_not_go_together(parts: Any, said: str) -> None:
    draws = xr.Dataset({"loss": (("chain", "draw", "point"), np.zeros((2, 3, 1)))})
    with pytest.raises(SpecError, match=said):
        join_draws(*parts(draws))

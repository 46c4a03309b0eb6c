"""Which runs to make next: against a conjugate answer, nested Monte Carlo, and everything that may be asked wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.decision.information import Stakes, both_below, stakes_of, value_of_information
from bayescale.decision.rules import AllOf
from bayescale.decision.utility import Utility
from bayescale.prediction.cost import Cost
from bayescale.prediction.design_of_runs import ASKED, Joint, alone, choose, joint_draws, joint_normal, shrinkage
from tests.fakes import fake_fit

SIGMA, FAR = 0.02, 1e12
TABLE = pd.DataFrame({"params": [1e8, 1e9, 1e10], "loss": [3.0, 2.5, 2.1]})
PILOTS = pd.DataFrame({"params": [1e7, 1e8, 1e9, 1e10, 1e11], "cost": [1.0, 2.0, 4.0, 8.0, 16.0]}, index=list("abcde"))
#: Normal beliefs about log A and alpha, which a power law under normal noise on the logarithm keeps normal.
PRIOR = np.diag([0.05**2, 0.03**2])


def straight(draws: int = 1000, noise: bs.Gaussian | bs.StudentT | None = None, **given: Any) -> bs.Fit:
    """A power law, linear in logarithms, whose draws have exactly the covariance ``PRIOR``; it stands at 1e9 params."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((4 * draws, 2))
    z = (z - z.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z, rowvar=False))).T
    log_a, alpha = (z @ np.linalg.cholesky(PRIOR).T + [np.log(2.5), 0.2]).T.reshape(2, 4, draws)
    model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=noise or bs.Gaussian())
    parameters = {"A": np.exp(log_a), "alpha": alpha, "sigma": np.full((4, draws), SIGMA), **given}
    return fake_fit(model, TABLE, parameters, draws=draws)


def features(params: Any) -> np.ndarray:
    return np.stack([np.ones_like(params), -np.log(np.asarray(params) / 1e9)], axis=-1)


def conjugate(params: list[float]) -> float:
    """Variance of log loss at ``FAR``, noise apart, after runs at ``params``: Bayesian linear regression."""
    x = features(np.array(params)) if params else np.zeros((0, 2))
    after = np.linalg.inv(np.linalg.inv(PRIOR) + x.T @ x / SIGMA**2)
    target = features(np.array([FAR]))[0]
    return float(target @ after @ target)


@pytest.fixture(scope="module")
def fit() -> bs.Fit:
    return straight(250)


class TestAgainstTheConjugateAnswer:
    """A thousand draws have the exact covariance, so the normal algebra must be exact too."""

    def test_a_set(self, fit: bs.Fit) -> None:
        plan = bs.next_runs(fit, PILOTS, target={"params": FAR}, budget=40.0, kind="mean")
        made = [float(n) for n in plan["params"]]
        scale = np.exp(joint_normal(fit, PILOTS, {"params": FAR}).center[0])
        exact = [scale * np.sqrt(conjugate(made[:i])) for i in range(len(made) + 1)]
        np.testing.assert_allclose(plan["sd_before"].iloc[0], exact[0], rtol=1e-9)
        # What shrinkage leaves too much of is a hundredth of the variance at most; it never claims too little is left.
        after = plan["sd_after"].to_numpy()
        assert (after >= exact[1:]).all()
        np.testing.assert_allclose(plan["variance_removed"], 1 - np.square(exact[1:]) / exact[0] ** 2, atol=0.003)
        np.testing.assert_allclose(after, exact[1:], rtol=0.12)

    def test_a_set_without_shrinkage(self, fit: bs.Fit) -> None:
        joint = replace(joint_normal(fit, PILOTS, {"params": FAR}, kind="mean"), shrink=0.0)
        chosen = choose(joint, PILOTS["cost"].to_numpy(), 40.0)
        made = PILOTS["params"].to_numpy()[list(chosen.rows)].tolist()
        exact = [conjugate(made[:i]) for i in range(len(made) + 1)]
        np.testing.assert_allclose(np.array(chosen.variances)[:, 0], exact, rtol=1e-6)

    def test_no_affordable_run_would_have_told_more_for_its_cost(self, fit: bs.Fit) -> None:
        plan = bs.next_runs(fit, PILOTS, target={"params": FAR}, budget=16.0, kind="mean")
        best = min(
            (conjugate([a] * i + [b] * j + [c] * k), i, j, k)
            for a, b, c in [(1e7, 1e10, 1e11)]
            for i in range(17)
            for j in range(3)
            for k in range(2)
            if i + 8 * j + 16 * k <= 16
        )
        scale = np.exp(joint_normal(fit, PILOTS, {"params": FAR}).center[0])
        assert plan["cost"].sum() <= 16
        # Greedy choice is no optimum, but here it comes within two parts in three of its standard deviation.
        assert plan["sd_after"].iloc[-1] < 1.5 * scale * np.sqrt(best[0])

    def test_each_alone(self, fit: bs.Fit) -> None:
        ranked = bs.next_runs(fit, PILOTS, target={"params": FAR}, budget=8.0, batch=False, kind="mean")
        assert set(ranked["candidate"]) == set("abcd")  # e costs more than the budget
        scale = np.exp(joint_normal(fit, PILOTS, {"params": FAR}).center[0])
        exact = [scale * np.sqrt(conjugate([n])) for n in ranked["params"]]
        np.testing.assert_allclose(ranked["sd_after"], exact, rtol=0.01)
        gains = (ranked["sd_before"] ** 2 - ranked["sd_after"] ** 2) / ranked["cost"]
        assert gains.is_monotonic_decreasing
        assert (ranked["cumulative_cost"] == ranked["cost"]).all()


def test_a_plan_is_a_table_of_candidates_again(fit: bs.Fit) -> None:
    plan = bs.next_runs(fit, PILOTS, target={"params": FAR}, budget=40.0).reset_index()
    again = bs.next_runs(fit, plan, target={"params": FAR}, budget=40.0).reset_index()
    assert again.columns.is_unique and again["order"].tolist() == list(range(1, len(again) + 1))


def test_a_target_says_nothing_of_tries() -> None:
    model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.BestOf(tries="sweep"))
    drawn = fake_fit(model, TABLE.assign(sweep=4.0), {"A": 2.5, "alpha": 0.2, "sigma": 0.002}, sd=0.05)
    pilots = PILOTS.assign(sweep=4.0)
    assert len(bs.next_runs(drawn, pilots, target={"params": FAR}, budget=40.0, kind="mean")) > 0


def test_nested_monte_carlo_agrees_with_the_normal_approximation() -> None:
    """Simulate outcomes of a pilot, weight the draws by them, and average the variance that is left at the target."""
    fit = straight(250)
    points = joint_draws(fit, {"params": [1e11]}, {"params": FAR})
    law = points["law"].to_numpy().reshape(-1, 2)
    pilot, target = law[:, ~points[ASKED].to_numpy()][:, 0], law[:, points[ASKED].to_numpy()][:, 0]
    rng = np.random.default_rng(2)
    left = []
    for outcome in rng.choice(pilot, 400) + SIGMA * rng.standard_normal(400):
        weights = stats.norm.pdf(outcome, pilot, SIGMA)
        weights /= weights.sum()
        left.append(weights @ (target - weights @ target) ** 2)
    nested, error = np.mean(left), np.std(left) / np.sqrt(len(left))
    joint = joint_normal(fit, {"params": [1e11]}, {"params": FAR}, kind="mean")
    approximate = float(alone(joint)[0, 0])
    assert approximate == pytest.approx(conjugate([1e11]), rel=0.02)
    assert approximate == pytest.approx(nested, abs=4 * error + 0.02 * nested)


def test_of_an_ensemble_which_law_holds_is_uncertain_too() -> None:
    one = straight(250)
    steeper = fake_fit(one.model, TABLE, {"A": 2.5, "alpha": 0.4, "sigma": SIGMA}, draws=250, sd=0.01)
    both = bs.Ensemble({"one": one, "steeper": steeper}, {"one": 0.5, "steeper": 0.5})
    spread = [float(np.sum(joint_normal(f, PILOTS, {"params": FAR}, kind="mean").targets ** 2)) for f in (one, steeper, both)]
    assert spread[2] > 0.5 * (spread[0] + spread[1]) + 0.9 * (0.2 * np.log(1e3) / 2) ** 2
    plan = bs.next_runs(both, PILOTS, target={"params": FAR}, budget=16.0, kind="mean")
    assert plan["variance_removed"].iloc[-1] > 0.9


def test_a_run_of_ones_own_family_tells_more_than_one_of_another() -> None:
    table = pd.concat([TABLE.assign(family=f) for f in ("Llama", "Mamba")], ignore_index=True)
    model = bs.ScalingModel("power_law", axes={"x": "params"}, pooling={"A": bs.NoPooling("family")}, noise=bs.Gaussian())
    fit = fake_fit(model, table, {"A": {"Llama": 2.5, "Mamba": 2.6}, "alpha": 0.2, "sigma": 0.002}, sd=0.05)
    pilots = pd.DataFrame({"params": 1e9, "family": ["Llama", "Mamba"], "cost": 1.0})
    ranked = bs.next_runs(fit, pilots, target={"params": 1e9, "family": "Mamba"}, budget=1.0, batch=False, kind="mean")
    assert ranked["family"].tolist() == ["Mamba", "Llama"]
    assert ranked["variance_removed"].iloc[0] > 0.9 and ranked["variance_removed"].iloc[1] < 0.1
    chosen = bs.next_runs(fit.select(family="Mamba"), pilots.drop(columns="family"), target={"params": 1e9}, budget=1.0)
    assert len(chosen) == 1


class TestNoise:
    def test_of_student_t_runs_tells_more_than_their_variance(self) -> None:
        nu = np.full((4, 200), 4.0)
        fit = straight(200, bs.StudentT(), nu=nu)
        joint = joint_normal(fit, PILOTS, {"params": FAR})
        np.testing.assert_allclose(joint.noise, SIGMA**2 * 7 / 5, rtol=1e-9)
        np.testing.assert_allclose(joint.scatter, (SIGMA * stats.t.ppf(stats.norm.cdf(1), 4)) ** 2, rtol=1e-9)

    def test_of_the_law_alone_is_none(self) -> None:
        assert joint_normal(straight(100), PILOTS, {"params": FAR}, kind="mean").scatter.tolist() == [0.0]

    def test_of_a_measurement_adds(self) -> None:
        known = PILOTS.assign(loss_sd=[np.nan, np.nan, np.nan, np.nan, 0.3])
        joint = joint_normal(straight(100), known, {"params": FAR})
        np.testing.assert_allclose(joint.noise[:4], SIGMA**2, rtol=1e-9)
        assert joint.noise[4] == pytest.approx(SIGMA**2 + (0.3 / (2.5 * 100**-0.2)) ** 2, rel=0.05)

    def test_replicates_pay_where_noise_is_large_and_can_be_forbidden(self) -> None:
        fit = straight(200, sigma=np.full((4, 200), 0.2))
        few = PILOTS.loc[["a"]]
        again = bs.next_runs(fit, few, target={"params": FAR}, budget=5.0)
        assert again["candidate"].tolist() == ["a"] * 5
        assert again["sd_after"].is_monotonic_decreasing
        assert len(bs.next_runs(fit, few, target={"params": FAR}, budget=5.0, replicates=False)) == 1

    def test_of_single_runs_effects_does_not_teach_the_law(self) -> None:
        table = pd.concat([TABLE.assign(run=f"r{i}", tokens=2e10 * (i + 1)) for i in range(3)], ignore_index=True)
        effect = bs.RunEffect(size=bs.Param.positive(0.1, 0.1))
        model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.StudentT(), discrepancy=effect)
        fit = fake_fit(model, table, {"sigma": 0.01, "nu": 50.0, effect.site: 0.1})
        told = joint_normal(fit, {"params": [1e9], "tokens": 2e10}, {"params": FAR, "tokens": 2e10}).noise
        assert told[0] == pytest.approx(0.1**2 + 0.01**2 * 53 / 51, rel=0.05)


class TestChoice:
    def joint(self, candidates: int = 6, targets: int = 2) -> Joint:
        rng = np.random.default_rng(3)
        theta = rng.standard_normal((500, 4)) / np.sqrt(499)
        x, t = rng.standard_normal((candidates, 4)), rng.standard_normal((targets, 4))
        return Joint(
            theta @ x.T, theta @ t.T, rng.uniform(0.1, 0.5, candidates), np.zeros(targets), np.zeros(targets), log=False
        )

    def test_updates_are_those_of_a_normal(self) -> None:
        joint = self.joint()
        chosen = choose(joint, np.ones(6), 9.0)
        rows = list(chosen.rows)
        both = np.hstack([joint.candidates, joint.targets])
        covariance = both.T @ both
        seen = covariance[np.ix_(rows, rows)] + np.diag(joint.noise[rows])
        cross = covariance[np.ix_(rows, [6, 7])]
        left = covariance[6:, 6:] - cross.T @ np.linalg.solve(seen, cross)
        np.testing.assert_allclose(chosen.variances[-1], np.diag(left), rtol=1e-9)
        assert len(rows) == 9

    def test_the_first_is_the_best_of_all(self) -> None:
        joint = self.joint()
        gain = ((joint.targets**2).sum(axis=0) - alone(joint)) @ joint.weights
        assert choose(joint, np.ones(6), 1.0).rows == (int(gain.argmax()),)

    def test_one_dear_run_beats_many_cheap_ones_that_tell_little(self) -> None:
        theta = np.random.default_rng(4).standard_normal((500, 1)) / np.sqrt(500)
        joint = Joint(theta * [0.3, 1.0], theta, np.array([1.0, 0.001]), np.zeros(1), np.zeros(1), log=False)
        assert choose(joint, np.array([1.0, 20.0]), 20.0).rows == (1,)

    def test_stops_where_nothing_more_is_told(self) -> None:
        theta = np.random.default_rng(5).standard_normal((500, 2)) / np.sqrt(500)
        joint = Joint(theta[:, :1], theta[:, :1], np.array([1e-9]), np.zeros(1), np.zeros(1), log=False)
        assert choose(joint, np.ones(1), 1e6).rows == (0,)

    def test_a_candidate_that_tells_nothing_is_not_bought(self) -> None:
        constant = Joint(np.zeros((100, 1)), np.ones((100, 1)), np.ones(1), np.zeros(1), np.zeros(1), log=False)
        assert choose(constant, np.ones(1), 10.0).rows == ()

    def test_chance_correlations_of_few_draws_are_shrunk(self) -> None:
        z = np.random.default_rng(6).standard_normal((60, 20))
        assert shrinkage(z - z.mean(axis=0)) > 0.7
        line = np.outer(z[:, 0], np.ones(20)) + 0.05 * z
        assert shrinkage(line - line.mean(axis=0)) < 0.02


class TestValue:
    @pytest.mark.parametrize(("limit", "win", "lose"), [(0.3, 1.0, 1.0), (-0.5, 5.0, 2.0), (1.0, 0.1, 0.9)])
    def test_against_quadrature(self, limit: float, win: float, lose: float) -> None:
        center, before, after = 0.1, 0.8, 0.3
        learnt = np.sqrt(before**2 - after**2)

        def gain(m: float) -> float:
            p = stats.norm.cdf((limit - m) / after)
            return max(win * p - lose * (1 - p), 0.0) * stats.norm.pdf(m, center, learnt)

        line = limit - stats.norm.ppf(lose / (win + lose)) * after
        later, _ = integrate.quad(gain, center - 9 * learnt, center + 9 * learnt, points=[line], limit=200)
        p = stats.norm.cdf((limit - center) / before)
        expected = later - max(win * p - lose * (1 - p), 0.0)
        found = value_of_information(Stakes(win, lose), limit, center, before, np.array([after]))
        assert found[0] == pytest.approx(expected, rel=1e-7)

    def test_bivariate_normal_against_scipy(self) -> None:
        for h, k, rho in [(0.0, 0.0, 0.5), (0.4, -1.2, 0.9), (-0.3, 0.0, 0.2), (1.5, 2.0, 0.0), (-1.0, -0.2, 0.99)]:
            exact = stats.multivariate_normal.cdf([h, k], cov=[[1, rho], [rho, 1]])
            assert float(both_below(h, np.array([k]), np.array([rho]))[0]) == pytest.approx(exact, abs=2e-6), (h, k, rho)

    def test_grows_with_what_is_learnt_up_to_knowing_all(self) -> None:
        found = value_of_information(Stakes(0.1, 0.9), 0.0, -0.5, 1.0, np.linspace(1, 0, 30))
        assert found[0] == 0 and (np.diff(found) >= 0).all()
        p = stats.norm.cdf(0.5)
        assert found[-1] == pytest.approx(0.1 * p - max(0.1 * p - 0.9 * (1 - p), 0))

    def test_of_a_decision_that_does_not_turn_on_the_target_is_none(self) -> None:
        for stakes in (Stakes(-1.0, 2.0), Stakes(2.0, -1.0)):
            assert value_of_information(stakes, 0.0, 0.0, 1.0, np.array([0.2])).tolist() == [0.0]

    def test_of_a_utility_is_in_its_unit(self) -> None:
        rule = Utility("loss<=1.0", value=5e6, cost=1e6, wrong=5e5, missed=1e5, no_go=2e5, unit="USD")
        assert stakes_of(rule, {"params": FAR}) == Stakes(5e6 + 1e5 - 1e6 - 2e5, 5e5 + 1e6 + 2e5)
        fit = straight(250)
        near = float(bs.predict(fit, {"params": FAR})["loss"].median())
        plan = bs.next_runs(fit, PILOTS, target=Utility(f"loss<={near}", value=2e6, cost=1e6), at={"params": FAR}, budget=30.0)
        assert plan["value"].is_monotonic_increasing
        assert 1e5 < plan["value"].iloc[-1] < 1e6

    def test_of_a_threshold_far_from_the_forecast_is_small(self) -> None:
        fit = straight(250)
        near = float(bs.predict(fit, {"params": FAR})["loss"].median())
        values = [
            bs.next_runs(fit, PILOTS, target=f"loss<={level}", at={"params": FAR}, budget=30.0)["value"].iloc[-1]
            for level in (near, 3 * near, near / 3)
        ]
        assert values[0] > 0.01 and max(values[1:]) < 0.001

    def test_a_target_from_below(self) -> None:
        fit = straight(250)
        near = float(bs.predict(fit, {"params": FAR})["loss"].median())
        plans = [
            bs.next_runs(fit, PILOTS, target=bs.Threshold("loss", op, near, 0.500001), at={"params": FAR}, budget=30.0)
            for op in ("<=", ">=")
        ]
        np.testing.assert_allclose(plans[0]["value"], plans[1]["value"], rtol=0.05)


class TestCosts:
    def test_are_flops_where_nothing_is_said(self) -> None:
        model = bs.ScalingModel("chinchilla")
        grid = pd.DataFrame({"params": [1e8, 1e9, 4e9, 1e10], "tokens": [2e9, 8e10, 2e10, 1e11]})
        fit = fake_fit(model, grid.assign(loss=[3.4, 2.6, 2.5, 2.2]), sd=0.1)
        plan = bs.next_runs(fit, grid, target={"params": 7e10, "tokens": 1.4e12}, budget=1e22)
        np.testing.assert_allclose(plan["cost"], 6 * plan["params"] * plan["tokens"])

    def test_may_be_a_column_a_cost_or_a_function(self) -> None:
        fit, where = straight(100), {"params": FAR}
        named = PILOTS.rename(columns={"cost": "hours"})
        plans = [
            bs.next_runs(fit, PILOTS, target=where, budget=20.0),
            bs.next_runs(fit, named, target=where, budget=20.0, cost="hours"),
            bs.next_runs(fit, named, target=where, budget=20.0, cost=lambda t: t["hours"]),
            bs.next_runs(fit, named, target=where, budget=20.0, cost=Cost("hours")),
        ]
        for plan in plans[1:]:
            assert plan["candidate"].tolist() == plans[0]["candidate"].tolist()
            assert plan["cumulative_cost"].tolist() == plans[0]["cumulative_cost"].tolist()


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "said"),
        [
            ({"budget": 0.5}, SpecError, "buys none of the 5 candidates: the cheapest, in row 0, costs 1"),
            ({"budget": -3.0}, SpecError, "a budget is a finite number above 0"),
            ({"budget": np.nan}, SpecError, "a budget is a finite number above 0"),
            ({"candidates": PILOTS.iloc[:0]}, DataError, "there is no candidate"),
            ({"candidates": PILOTS.assign(cost=[1, -2, 3, 4, 5])}, DataError, "above 0, got -2 in row 1"),
            ({"candidates": PILOTS.assign(cost=[1, 2, None, 4, 5])}, DataError, "got nothing in row 2"),
            ({"candidates": PILOTS.assign(cost=["1", "x", "3", "4", "5"])}, DataError, "expected a number, got text"),
            ({"candidates": PILOTS[["params"]]}, DataError, "cannot be priced"),
            ({"cost": "hours"}, DataError, "unknown column 'hours'"),
            ({"cost": 3}, SpecError, "cost is a column, a Cost or a function"),
            ({"candidates": PILOTS.rename(columns={"params": "parms"})}, DataError, "Did you mean 'parms'"),
            ({"target": "loss"}, SpecError, "a target is"),
            ({"target": "accuracy>=0.7", "at": {"params": FAR}}, SpecError, "speaks of 'accuracy'"),
            ({"target": "loss<=2"}, SpecError, "where must loss<=2 be met"),
            ({"target": 2.0}, SpecError, "a target is points"),
            ({"at": {"params": FAR}}, SpecError, "`at` gives points too"),
            ({"target": "loss<=2", "at": {"params": [FAR, 1e13]}}, SpecError, "decided at one point, got 2"),
            ({"target": {"tokens": 1e9}}, DataError, "there is no 'params'"),
            ({"most": 0}, SpecError, "at least 1"),
            ({"least": 0.0}, SpecError, "least is a share"),
            ({"kind": "law"}, SpecError, "unknown word 'law'"),
        ],
    )
    def test_is_told(self, change: dict[str, Any], error: type[Exception], said: str) -> None:
        asked = {"candidates": PILOTS, "target": {"params": FAR}, "budget": 10.0} | change
        with pytest.raises(error) as told:
            bs.next_runs(straight(60), asked.pop("candidates"), **asked)
        assert said in str(told.value)

    def test_rules_that_have_no_value_in_closed_form(self) -> None:
        asked: dict[str, Any] = {"at": {"params": FAR}, "budget": 10.0}
        with pytest.raises(SpecError, match="a function of draws"):
            bs.next_runs(straight(60), PILOTS, target=Utility(function=lambda draws: 0), **asked)
        with pytest.raises(SpecError, match="one target, got 2"):
            bs.next_runs(straight(60), PILOTS, target=AllOf(["loss<=2", "loss>=1"]), **asked)

    def test_points_where_draws_are_not_finite(self) -> None:
        empty = straight(60)
        empty.tree["posterior"]["A"].values[:] = 0.0  # of which the noise's scale has no logarithm
        with pytest.raises(DataError, match="draws are finite"):
            bs.next_runs(empty, PILOTS, target={"params": FAR}, budget=10.0)

    def test_a_model_is_no_fit(self) -> None:
        with pytest.raises(SpecError, match="expected a Fit"):
            bs.next_runs(bs.ScalingModel("power_law"), PILOTS, target={"params": FAR}, budget=5.0)

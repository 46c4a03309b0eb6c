"""Efficiency of families, informative tasks, which model is better, what prompting gains: against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.prediction.scores import score_draws
from tests.fake_evals import CEILING, INTERCEPTS, fake_capability_fit, scores_table

SLOPE = 0.5 / 0.7 + 0.5 / 0.6


def fake(parameters: dict[str, Any] | None = None, table: pd.DataFrame | None = None, **more: Any) -> bs.CapabilityFit:
    return fake_capability_fit(bs.CapabilityModel(1), scores_table() if table is None else table, parameters, **more)


@pytest.fixture(scope="module")
def prompted() -> bs.CapabilityFit:
    """One task was asked in two ways."""
    table = scores_table()
    hard = table[table["task"] == "hard"]
    both = pd.concat([table.assign(prompt="direct"), hard.assign(prompt="cot")], ignore_index=True)
    return fake({"prompt_intercept": [0.5], "prompt_loading": [[0.4]]}, both)


class TestEfficiency:
    def test_families_that_are_alike_have_factor_one(self) -> None:
        found = bs.efficiency(fake(sd=0.05), reference="F1", at_flops=1e22)
        np.testing.assert_allclose(found["factor"], 1.0, rtol=1e-12)
        np.testing.assert_allclose(found["equivalent_flops"], 1e22, rtol=1e-12)

    @pytest.mark.parametrize("task", [None, "hard"])
    def test_a_gap_of_capability_is_a_factor_of_compute(self, task: str | None) -> None:
        fit = fake({"loading": {"code": [1.0], "easy": [1.0], "hard": [2.0]}}, family_effect=[[0.0], [0.4], [-0.7]])
        found = bs.efficiency(fit, reference="F0", task=task)
        for family, gap in (("F0", 0.0), ("F1", 0.4), ("F2", -0.7)):
            np.testing.assert_allclose(found["factor"].sel(family=family), 10 ** (gap / SLOPE), rtol=1e-9)
        assert found["rank_probability"].sel(family="F1", rank=1) == 1.0
        assert found["rank_probability"].sel(family="F2", rank=3) == 1.0
        np.testing.assert_allclose(found["rank_probability"].sum("rank"), 1.0)

    def test_the_reference_gets_there_at_so_much_compute(self) -> None:
        """With a bend, asked of ``scale_for``: the reference's scale is the factor times that of the other."""
        fit = fake({"effect": [[0.8, 0.7, 0.2]]}, family_effect=[[0.0], [0.5], [-0.2]], sd=0.02)
        path = {"tokens_per_param": 20}
        where = bs.scale_for(fit, "accuracy>=0.5", path=path, at={"task": "hard", "family": ["F0", "F1"]})["flops"]
        draw = {"chain": 1, "draw": 7}
        own, other = (float(where.isel(point=i, **draw)) for i in (0, 1))
        factor = bs.efficiency(fit, reference="F0", path=path, at_flops=other)["factor"].sel(family="F1").isel(**draw)
        assert float(factor) == pytest.approx(own / other, rel=1e-7)

    def test_what_the_reference_never_reaches_is_infinite(self) -> None:
        fit = fake({"effect": [[0.8, 0.7, -0.5]]}, family_effect=[[0.0], [50.0], [0.0]])
        found = bs.efficiency(fit, reference="F0", at_flops=1e21)
        assert np.isposinf(found["factor"].sel(family="F1")).all()
        assert bs.summarize(found["factor"]).loc["F1", "p_never"] == 1.0

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"reference": "F9"}, "F0, F1"),
            ({"task": "esy"}, "'easy'"),
            ({"at_flops": -1.0}, "at_flops"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, more: dict[str, Any], said: str) -> None:
        with pytest.raises(SpecError, match=said):
            bs.efficiency(fake(), **{"reference": "F0", **more})


class TestInformative:
    def test_it_is_the_share_of_variance_of_the_linear_model(self) -> None:
        loading = {"code": [0.5], "easy": [1.0], "hard": [1.5]}
        fit = fake({"loading": loading, "sigma": 0.02, "jitter": {"code": 0.1, "easy": 0.1, "hard": 0.3}})
        found = bs.informative_tasks(fit, "easy")
        spread = 0.5**2 + 0.3**2
        for task, jitter in (("code", 0.1), ("hard", 0.3)):
            own = loading[task][0]
            middle, slope = (0.25 + CEILING) / 2, (CEILING - 0.25) / 4
            noise = (0.02**2 + middle * (1 - middle) / 500) / slope**2 + jitter**2
            share = (own * spread) ** 2 / ((spread + 0.04) * (own**2 * spread + 0.04 + noise))
            assert found.loc[task, "median"] == pytest.approx(share, rel=1e-9)
        assert (found["scores"] == 12).all()

    def test_the_task_of_a_common_factor_comes_first(self) -> None:
        loading = {"code": [0.0, 1.5], "easy": [1.0, 0.0], "hard": [0.2, 1.0]}
        model = bs.CapabilityModel(2, anchors=("easy", "hard"))
        fit = fake_capability_fit(model, scores_table(), {"loading": loading}, sd=0.1, draws=200)
        found = bs.informative_tasks(fit, "code")
        assert found.index.tolist() == ["hard", "easy"]
        assert found.loc["easy", "median"] == 0.0
        assert (found["lower"] <= found["median"]).all()
        assert found.loc["hard", "lower"] < found.loc["hard", "upper"] < 1

    def test_nearer_the_ceiling_noise_hides_more(self) -> None:
        middle, end = (bs.informative_tasks(fake(), "easy", share=s)["median"] for s in (0.5, 0.99))
        assert (end < middle).all()

    @pytest.mark.parametrize("more", [{"task": "x"}, {"share": 1.0}, {"prob": 90}])
    def test_what_makes_no_sense_is_refused(self, more: dict[str, Any]) -> None:
        with pytest.raises(SpecError):
            bs.informative_tasks(fake(), **{"task": "easy", **more})


class TestBetter:
    def test_the_two_orders_add_up_to_one(self) -> None:
        fit = fake(own=0.3, sd=0.05, draws=400)
        a, b = {"family": "F0", "params": 1e10, "tokens": 2.4e12}, {"model": "F1-2"}
        one, other = (bs.p_better(fit, *pair, "hard") for pair in ((a, b), (b, a)))
        assert one.probability + other.probability == pytest.approx(1.0, abs=1e-12)
        assert one.mcse == pytest.approx(other.mcse)
        assert 0.1 < one.probability < 0.9

    def test_like_models_are_even_and_a_larger_one_is_better(self) -> None:
        fit = fake(draws=800)
        like = {"family": "new", "params": 6e9, "tokens": 1e12}
        found = bs.p_better(fit, {**like, "model": "x"}, {**like, "model": "y"}, "hard")
        assert abs(found.probability - 0.5) < 5 * found.mcse
        larger = bs.p_better(fit, {**like, "params": 1e12}, {**like, "params": 1e8}, "hard")
        assert larger.probability > 0.99
        assert larger.mcse > 0

    def test_scores_on_the_same_items_share_their_noise(self) -> None:
        fit = fake(own=1e-9, sd=1e-9, draws=2000)
        at = {"model": ["F1-2", "F1-1"], "task": "hard", "n_items": 40}
        spread = {}
        for correlation in (1e-9, 0.8):
            drawn = score_draws(fit, at, "response", "population", 0, item_correlation=correlation)["accuracy"]
            spread[correlation] = float((drawn[..., 0] - drawn[..., 1]).std())
        # Of the variance of a difference between like accuracies a fifth is left.
        assert spread[0.8] / spread[1e-9] == pytest.approx(np.sqrt(0.2), rel=0.15)
        pair = [{"model": name, "n_items": 40} for name in at["model"]]
        alone, together = (bs.p_better(fit, *pair, "hard", item_correlation=c).probability for c in (0.0, 0.8))
        assert 0.5 < alone < together - 0.01

    @pytest.mark.parametrize("noise", ["normal", "beta", "beta_binomial"])
    def test_noise_that_is_shared_leaves_each_score_its_own_spread(self, noise: Any) -> None:
        fit = fake_capability_fit(bs.CapabilityModel(1, noise=noise), scores_table().assign(n_items=100), draws=4000)
        at = {"model": "F1-2", "task": "hard", "n_items": 25}
        alone, shared = (
            score_draws(fit, at, "response", "population", 0, item_correlation=c)["accuracy"].to_numpy() for c in (0.0, 0.5)
        )
        assert shared.std() == pytest.approx(alone.std(), rel=0.05)
        assert shared.mean() == pytest.approx(alone.mean(), abs=0.01)
        if noise == "beta_binomial":
            np.testing.assert_allclose(shared * 25, np.rint(shared * 25), atol=1e-9)

    def test_scores_on_other_items_do_not(self) -> None:
        at = {"model": ["F1-2", "F1-1"], "task": "hard", "n_items": [40, 50]}
        drawn = score_draws(fake(own=1e-9, sd=1e-9, draws=2000), at, "response", "population", 0, item_correlation=0.8)
        first, second = drawn["accuracy"].to_numpy().reshape(-1, 2).T
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.1

    def test_one_model_against_itself_is_even_but_for_noise(self) -> None:
        model = {"model": "F1-2"}
        assert bs.p_better(fake(), model, model, "easy", kind="mean").probability == 0.5

    def test_what_makes_no_sense_is_refused(self) -> None:
        with pytest.raises(SpecError, match="b is one model"):
            bs.p_better(fake(), {"model": "F1-2"}, {"model": ["F1-2", "F1-1"]}, "easy")
        with pytest.raises(SpecError, match="'easy'"):
            bs.p_better(fake(), {"model": "F1-2"}, {"model": "F1-1"}, "esy")
        with pytest.raises(SpecError, match="item_correlation"):
            bs.p_better(fake(), {"model": "F1-2"}, {"model": "F1-1"}, "easy", item_correlation=1.0)
        with pytest.raises(SpecError, match="item_correlation"):
            bs.p_better(fake(), {"model": "F1-2"}, {"model": "F1-1"}, "easy", item_correlation="half")
        with pytest.raises(SpecError, match="kind"):
            bs.p_better(fake(), {"model": "F1-2"}, {"model": "F1-1"}, "easy", kind="score")


class TestPrompts:
    def test_the_gain_is_that_of_the_two_sigmoids(self, prompted: bs.CapabilityFit) -> None:
        flops = np.array([1e21, 1e22, 1e24])
        found = bs.prompt_gain(prompted, "hard", ("direct", "cot"), flops.tolist(), family="F0")
        params = np.sqrt(flops / 120)
        at = (np.log10(params) - 9.8) / 0.7 + (np.log10(20 * params) - 11.8) / 0.6
        before = INTERCEPTS["hard"] + at
        gain = (CEILING - 0.25) * (expit(before + 0.5 + 0.4 * at) - expit(before))
        np.testing.assert_allclose(found["gain"], np.broadcast_to(gain, found["gain"].shape), atol=1e-12)
        assert found["flops"].to_numpy().tolist() == flops.tolist()
        back = bs.prompt_gain(prompted, "hard", ("cot", "direct"), flops.tolist(), family="F0")
        np.testing.assert_allclose(back["gain"], -found["gain"], atol=1e-12)
        assert bs.summarize(found)["flops"].tolist() == flops.tolist()

    def test_what_was_not_asked_is_refused(self, prompted: bs.CapabilityFit) -> None:
        with pytest.raises(SpecError, match="cot"):
            bs.prompt_gain(prompted, "hard", ("direct", "cott"))
        with pytest.raises(SpecError, match="Asked in several: hard"):
            bs.prompt_gain(prompted, "easy")
        with pytest.raises(SpecError, match="several ways"):
            bs.prompt_gain(fake(), "easy")
        with pytest.raises(SpecError, match="flops"):
            bs.prompt_gain(prompted, "hard", flops=[0.0])

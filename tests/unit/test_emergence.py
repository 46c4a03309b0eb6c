"""Where a task emerges: ``scale_for`` of a fit to scores and ``emergence_width``, against the inverse of the sigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import logit

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.prediction.score_curves import rising_root
from tests.fake_evals import CEILING, INTERCEPTS, fake_capability_fit, scores_table

#: Slope of the logit in log10 flops at a fixed number of tokens a parameter: half goes to size, half to data.
SLOPE = 0.5 / 0.7 + 0.5 / 0.6


def fake(parameters: dict[str, Any] | None = None, **more: Any) -> bs.CapabilityFit:
    return fake_capability_fit(bs.CapabilityModel(1), scores_table(), parameters, **more)


@pytest.fixture(scope="module")
def fitted() -> bs.CapabilityFit:
    bent = {"effect": [[0.9, 0.7, 0.15]], "model_sd": [1e-12], "task_sd": [1e-12] * 3}
    return fake(bent, family_effect=[[0.3], [0.0], [-0.3]], sd=0.02)


def share(accuracy: float) -> float:
    """Logit of the way from floor to ceiling."""
    return float(logit((accuracy - 0.25) / (CEILING - 0.25)))


class TestScale:
    @pytest.mark.parametrize("task", list(INTERCEPTS))
    def test_it_is_the_inverse_of_the_sigmoid(self, task: str) -> None:
        at = {"task": task, "family": "F1"}
        found = bs.scale_for(fake(), "accuracy>=0.6", along="params", path={"tokens": 10**11.8}, at=at)
        truth = 10 ** (9.8 + 0.7 * (share(0.6) - INTERCEPTS[task]))
        np.testing.assert_allclose(found["params"], truth, rtol=1e-9)
        assert found["params"].dims == ("chain", "draw")
        assert found.attrs["target"] == "accuracy>=0.6"
        assert (float(found["p_never"]), float(found["p_below"])) == (0.0, 0.0)

    def test_there_the_expected_accuracy_of_a_new_model_is_the_level(self, fitted: bs.CapabilityFit) -> None:
        at = {"task": ["easy", "hard", "hard"], "family": ["F0", "F2", "new"]}
        found = bs.scale_for(fitted, 0.5, path={"tokens_per_param": 30}, at=at, within=(1e18, 1e26), seed=3)
        assert found["flops"].dims == ("chain", "draw", "point")
        assert found["task"].to_numpy().tolist() == at["task"]
        for i in range(3):
            for chain, draw in ((0, 3), (1, 50)):
                flops = float(found["flops"].isel(chain=chain, draw=draw, point=i))
                params = np.sqrt(flops / 180)
                point = {"task": at["task"][i], "family": at["family"][i], "params": params, "tokens": 30 * params}
                mean = bs.predict(fitted, point, kind="mean", seed=3)["accuracy"].isel(chain=chain, draw=draw)
                assert float(mean.item()) == pytest.approx(0.5, abs=1e-8)

    def test_a_better_family_needs_less(self, fitted: bs.CapabilityFit) -> None:
        at = {"task": "hard", "family": ["F0", "F1", "F2"]}
        found = bs.scale_for(fitted, "accuracy>=0.5", path={"tokens_per_param": 20}, at=at)["flops"].median(("chain", "draw"))
        assert (np.diff(found.to_numpy()) > 0).all()

    def test_a_level_above_the_ceiling_is_never_passed(self) -> None:
        at = {"task": "easy", "family": "F0"}
        found = bs.scale_for(fake(), "accuracy>=0.96", path={"tokens_per_param": 20}, at=at)
        assert np.isposinf(found["flops"]).all()
        assert float(found["p_never"]) == 1.0
        low = bs.scale_for(fake(), "accuracy>=0.2", path={"tokens_per_param": 20}, at=at, within=(1e20, 1e24))
        assert (low["flops"] == 1e20).all()
        assert float(low["p_below"]) == 1.0

    def test_of_compute_alone_no_path_is_needed(self) -> None:
        fit = fake_capability_fit(bs.CapabilityModel(1, covariates="compute"), scores_table())
        found = bs.scale_for(fit, "accuracy>=0.6", at={"task": "hard", "family": "F0"})
        np.testing.assert_allclose(found["flops"], 10 ** (22.4 + 1.1), rtol=1e-9)

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"along": "flops", "at": {"task": "easy"}}, "tokens_per_param"),
            ({"along": "flop", "at": {"task": "easy"}}, "'flops'"),
            ({"path": "optimal", "at": {"task": "easy"}}, "no optimum"),
            ({"path": {"tokens": 1e12, "params": 1e9}, "at": {"task": "easy"}}, "params, tokens"),
            ({"path": {"flops": 1e22}, "at": {"task": "easy"}}, "is the axis"),
            ({"path": {"tokens": -1.0}, "at": {"task": "easy"}}, "above 0"),
            ({"path": {"tokens": 1e12}, "at": {"task": "easy", "model": "F0-1"}}, "name its family"),
            ({"path": {"tokens": 1e12}, "at": {"task": "easy"}, "within": (2.0, 1.0)}, "within"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, more: dict[str, Any], said: str) -> None:
        with pytest.raises(SpecError, match=said):
            bs.scale_for(fake(), "accuracy>=0.6", **more)

    def test_task_and_response_must_be_those_of_the_fit(self) -> None:
        with pytest.raises(DataError, match="Valid tasks"):
            bs.scale_for(fake(), "accuracy>=0.6", path={"tokens": 1e12})
        with pytest.raises(SpecError, match="loss"):
            bs.scale_for(fake(), "loss<=2.0", path={"tokens": 1e12}, at={"task": "easy"})


class TestWidth:
    def test_it_is_the_distance_of_two_logits(self) -> None:
        found = bs.emergence_width(fake(), "hard", family="F0", low=0.2, high=0.7)
        np.testing.assert_allclose(found["width"], (logit(0.7) - logit(0.2)) / SLOPE, rtol=1e-9)
        ratio = found["flops_high"] / found["flops_low"]
        np.testing.assert_allclose(np.log10(ratio), found["width"], rtol=1e-9)
        assert float(found["p_none"]) == 0.0

    def test_a_loading_twice_as_large_halves_it(self) -> None:
        steep = fake({"loading": {"code": [2.0], "easy": [1.0], "hard": [1.0]}})
        wide, narrow = (bs.emergence_width(steep, task)["width"] for task in ("easy", "code"))
        np.testing.assert_allclose(narrow, wide / 2, rtol=1e-9)

    def test_what_does_not_rise_has_none(self) -> None:
        found = bs.emergence_width(fake({"effect": [[-1.0, -1.0, 0.0]]}), "easy")
        assert np.isnan(found["width"]).all()
        assert float(found["p_none"]) == 1.0

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"task": "esy"}, "'easy'"),
            ({"family": "F9"}, "F0, F1"),
            ({"low": 0.9}, "below high"),
            ({"high": 90}, "between 0 and 1"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, more: dict[str, Any], said: str) -> None:
        with pytest.raises(SpecError, match=said):
            bs.emergence_width(fake(), **{"task": "easy", **more})

    def test_it_asks_a_fit_to_scores(self) -> None:
        with pytest.raises(SpecError, match="CapabilityModel"):
            bs.emergence_width("fit", "easy")


def test_the_root_on_the_rising_side() -> None:
    rng = np.random.default_rng(0)
    level, slope, bend = rng.normal(size=(3, 400))
    bend[:100] *= 1e-9
    root = rising_root(level, slope, bend)
    there = np.isfinite(root)
    assert 0 < there.sum() < 400
    u = root[there]
    size = np.abs(level[there]) + np.abs(slope[there] * u) + np.abs(bend[there] * u**2)
    assert np.abs((level + slope * np.where(there, root, 0) + bend * np.where(there, root, 0) ** 2)[there] / size).max() < 1e-9
    assert (slope[there] + 2 * bend[there] * u > 0).all()
    assert (slope[~there] ** 2 <= 4 * bend[~there] * level[~there]).all()


@pytest.mark.parametrize("size", [{"params": 1e10, "tokens": 2e11}, {"flops": 1.2e22, "tokens_per_param": 20.0}])
def test_size_and_data_are_completed_from_any_two(size: dict[str, float]) -> None:
    fit = fake_capability_fit(bs.CapabilityModel(1, anchors=("easy",), task_effects=False), scores_table())
    asked = {"family": "F0", "task": "hard"}
    given = bs.predict(fit, asked | {"params": 1e10, "tokens_per_param": 20.0}, kind="mean")
    np.testing.assert_allclose(given["accuracy"], bs.predict(fit, asked | size, kind="mean")["accuracy"])

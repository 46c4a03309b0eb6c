"""Planning before any run exists: prior draws that answer like posterior ones, and grids to fill in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import SavedFileError, SpecError
from bayescale.prediction.prior_draws import prior_fit


def test_prior_draws_are_those_of_the_model() -> None:
    """Medians and spreads on the link scale, and the population of a group, within Monte Carlo error."""
    model = bs.ScalingModel("power_law", axes={"x": "params"}, pooling={"A": bs.PartialPooling("family")})
    grid = pd.DataFrame({"params": [1e8, 1e9, 1e10, 1e9], "family": ["a", "a", "b", "b"]})
    fit = prior_fit(model, grid, typical=2.5, seed=3)
    assert fit.posterior.sizes == {"chain": 4, "draw": 250, "family": 2}
    assert fit.binding.reference["x"] == pytest.approx(10**9)
    alpha, mu = (np.log(fit.posterior["alpha"]), fit.posterior["A_mu"])
    assert float(alpha.mean()) == pytest.approx(np.log(0.2), abs=4 * 0.8 / np.sqrt(1000))
    assert float(alpha.std()) == pytest.approx(0.8, rel=0.1)
    assert float(mu.mean()) == pytest.approx(np.log(2.5), abs=4 * 0.5 / np.sqrt(1000))
    offsets = (np.log(fit.posterior["A"]) - mu) / fit.posterior["A_tau"]
    assert float(offsets.std()) == pytest.approx(1.0, rel=0.1)
    assert np.corrcoef(offsets.to_numpy().reshape(-1, 2).T)[0, 1] == pytest.approx(0.0, abs=4 / np.sqrt(1000))


class TestPlanRuns:
    def test_a_grid_before_any_run_exists(self) -> None:
        grid = bs.make_grid([1e18, 1e19, 1e20, 1e21])
        goal = {"params": 7e10, "tokens": 1.4e12}
        plan = bs.plan_runs(bs.ScalingModel("chinchilla"), grid, target=goal, budget=3e21)
        assert list(plan)[:4] == ["candidate", "params", "tokens", "flops"]
        assert list(plan)[-1] == "loss" and plan["loss"].isna().all()
        assert plan["cost"].sum() <= 3e21 * (1 + 1e-9)
        assert not plan["candidate"].duplicated().any()
        assert plan["variance_removed"].iloc[-1] > 0.5
        again = bs.plan_runs(bs.ScalingModel("chinchilla"), grid, target=goal, budget=3e21)
        pd.testing.assert_frame_equal(plan, again)
        # Filled in, it is a table to fit.
        filled = plan.assign(loss=1.8 + 480 * plan["params"] ** -0.35 + 2000 * plan["tokens"] ** -0.36)
        assert len(bs.Runs.from_frame(filled)) == len(plan)

    def test_a_rule_about_a_law_without_a_unit_asks_for_the_size_of_the_response(self) -> None:
        grid = bs.make_grid([1e19])
        with pytest.raises(SpecError, match="typical"):
            bs.plan_runs(
                bs.ScalingModel("coupled_power_law"), grid, target="loss<=2", at={"params": 7e10, "tokens": 1e12}, budget=1e20
            )

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"budget": 1e3}, "buys none"),
            ({"typical": -1.0}, "typical is"),
            ({"model": "chinchilla"}, "model is a ScalingModel"),
        ],
    )
    def test_bad_input_is_told(self, change: dict[str, Any], said: str) -> None:
        asked = {"model": bs.ScalingModel("chinchilla"), "budget": 1e20} | change
        with pytest.raises(SpecError, match=said):
            bs.plan_runs(asked.pop("model"), bs.make_grid([1e19]), target={"params": 7e10, "tokens": 1e12}, **asked)


class TestMakeGrid:
    def test_every_run_costs_its_budget(self) -> None:
        grid = bs.make_grid([1e20, 1e18])
        np.testing.assert_allclose(6 * grid["params"] * grid["tokens"], grid["flops"])
        assert grid["flops"].tolist() == [1e18] * 5 + [1e20] * 5
        np.testing.assert_allclose((grid["tokens"] / grid["params"])[:5], [80, 40, 20, 10, 5])
        assert grid["loss"].isna().all()

    def test_is_written_as_csv(self, tmp_path: Any) -> None:
        grid = bs.make_grid(1e18, path=tmp_path / "grid.csv", response="accuracy")
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "grid.csv"), grid, check_exact=False)
        with pytest.raises(SavedFileError, match="cannot be written"):
            bs.make_grid(1e18, path=tmp_path / "nowhere" / "grid.csv")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (([],), "flops: expected"),
            ((-1e18,), "flops: expected"),
            (("many",), "flops: expected"),
            ((1e18, [1e13]), "none of the sizes"),
            ((1e18, [0.0]), "params: expected"),
        ],
    )
    def test_bad_input_is_told(self, words: tuple[Any, ...], said: str) -> None:
        with pytest.raises(SpecError, match=said):
            bs.make_grid(*words)

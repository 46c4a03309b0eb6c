"""The number of factors is chosen by held-out scores, with the models as the unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.core.names import ROW
from bayescale.evaluate import factors as module
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.scores import score
from tests.fake_evals import scores_table

MODELS, TASKS = 8, 5


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Backtests in which two factors are much better than one, and three a little better than two."""
    calls: list[dict[str, Any]] = []
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.7, MODELS * TASKS)
    lucky = 0.003 * rng.standard_normal(MODELS).repeat(TASKS)

    def backtest(model: bs.CapabilityModel, data: Any, **more: Any) -> Backtest:
        calls.append({"model": model, **more})
        off = {1: 0.15, 2: 0.02, 3: 0.02}[model.factors] + (lucky if model.factors == 3 else 0.0)
        draws = truth + off + 0.05 * np.random.default_rng(1).standard_normal((400, len(truth)))
        points = score(draws, truth, log=False).assign(cutoff=1e22, distance=0.5, converged=True, factor=1.0)
        points[ROW], points["model"] = np.arange(len(truth)), np.arange(MODELS).repeat(TASKS).astype(str)
        return Backtest(model, points, "flops", None, ("model",))

    monkeypatch.setattr(module, "backtest", backtest)
    return calls


def test_the_fewest_factors_that_forecast_as_well_are_chosen(asked: list[dict[str, Any]]) -> None:
    shared = bs.CapabilityModel(1, noise="beta", task_effects=False)
    found = bs.compare_factors(scores_table(), factors=(3, 1, 2), model=shared, cutoffs=1e22, tasks=["hard"], seed=4)
    assert found.index.tolist() == [1, 2, 3]
    assert found["chosen"].tolist() == [False, True, False]
    assert found["difference"].max() == 0.0
    assert found.loc[1, "difference"] < -10 * found.loc[1, "se"] < 0
    assert abs(found.loc[2, "difference"]) <= found.loc[2, "se"] or found.loc[2, "difference"] == 0
    assert found["weight"].sum() == pytest.approx(1.0)
    # The prior of the weights, worth one forecast among some 15, holds them together a little.
    assert found.loc[1, "weight"] < 0.15 < found.loc[[2, 3], "weight"].min()
    assert found.loc[1, "error"] == pytest.approx(15.0, abs=0.5)
    assert (found["n"] == MODELS * TASKS).all() and (found["converged"] == 1).all()
    assert [call["model"].factors for call in asked] == [1, 2, 3]
    assert all(call["model"].noise == "beta" and not call["model"].task_effects for call in asked)
    assert all((call["cutoffs"], call["tasks"], call["seed"]) == (1e22, ["hard"], 4) for call in asked)


def test_an_error_has_models_as_its_unit() -> None:
    rng = np.random.default_rng(0)
    alike = rng.standard_normal(400).repeat(10)
    assert module.clustered_error(alike, np.arange(400).repeat(10)) == pytest.approx(1 / np.sqrt(400), rel=0.1)
    assert module.clustered_error(alike, np.arange(4000)) == pytest.approx(1 / np.sqrt(4000), rel=0.1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"factors": (2,)}, "two different numbers"),
        ({"factors": (2, 2)}, "two different numbers"),
        ({"factors": "12"}, "two different numbers"),
        ({"factors": (1, "2")}, "two different numbers"),
        ({"factors": (1, 9)}, "factors is a whole number from 1 to 6, got 9"),
        ({"model": bs.ScalingModel("power_law")}, "CapabilityModel, got ScalingModel"),
    ],
)
def test_what_is_no_number_of_factors_is_refused(asked: list[dict[str, Any]], more: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        bs.compare_factors(pd.DataFrame(scores_table()), **more)
    assert not asked

"""The truth behind the benchmark of optimal sizes, without a fit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.decisions import allocation
from benchmarks.recovery import LAWS


def test_the_optimal_size_is_the_minimum_along_the_budget() -> None:
    for seed in range(5):
        runs, truth, best = allocation.simulate(seed)
        reference = np.exp(np.log(runs[["params", "tokens"]]).mean())
        params = best * np.geomspace(0.9, 1.1, 2001)
        tokens = allocation.BEYOND * allocation.BUDGETS[-1] / (6 * params)
        parameters = {name: truth[name] for name in allocation.MODEL.law.params}
        loss = LAWS["chinchilla"](params=params / reference.params, tokens=tokens / reference.tokens, **parameters)
        assert abs(params[np.argmin(loss)] / best - 1) < 1e-3


def test_every_budget_of_the_design_is_spent() -> None:
    runs = allocation.design()
    np.testing.assert_allclose(np.unique((6 * runs.params * runs.tokens).round(-10)), allocation.BUDGETS, rtol=1e-6)


def test_coverage_by_hand() -> None:
    found = pd.DataFrame({"covered": [True, True, True, False], "width": [2.0, 2.0, 4.0, 4.0], "converged": True})
    said = allocation.printed(found)
    assert "covers 75.0% (s.e. 21.7%), median width a factor of 3.00; 100% of the fits" in said

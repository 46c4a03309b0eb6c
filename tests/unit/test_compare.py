"""``compare``: leave-one-out by ArviZ beside held-out scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.infer.fit import Fit
from bayescale.models.scaling import ScalingModel
from tests.fakes import fake_fit
from tests.unit.test_stacking import backtest_of

GAUSSIAN = ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    params = np.geomspace(1e8, 1e10, 12)
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(12))
    return pd.DataFrame({"params": params, "loss": 2.5 * (params / 1e9) ** -0.1 * noise})


@pytest.fixture(scope="module")
def fits(table) -> dict[str, Fit]:
    right, wrong = ({"A": 2.5, "alpha": alpha, "sigma": 0.01} for alpha in (0.1, 0.12))
    return {"wrong": fake_fit(GAUSSIAN, table, wrong, sd=1e-6), "right": fake_fit(GAUSSIAN, table, right, sd=1e-6)}


def test_known_densities(fits, table) -> None:
    """Draws that are all but equal: leaving a run out changes nothing, and elpd is the log density itself."""
    found = bs.compare(fits)
    law = 2.5 * (table["params"] / 1e9) ** -0.1
    density = stats.norm.logpdf(np.log(table["loss"] / law), scale=0.01) - np.log(table["loss"])
    assert list(found.index) == ["right", "wrong"]
    assert found.loc["right", "elpd"] == pytest.approx(density.sum(), abs=1e-2)
    assert found.loc["right", "p"] == pytest.approx(0, abs=1e-2)
    assert found.loc["right", "elpd_diff"] == 0
    assert found.loc["wrong", "elpd_diff"] == pytest.approx(found.loc["wrong", "elpd"] - found.loc["right", "elpd"])
    assert found.loc["right", "weight_loo"] > 0.95


def test_held_out_scores_come_beside_and_order(fits) -> None:
    rows = np.array([0.5, -1.0, 0.2])
    backtests = {"wrong": backtest_of(rows + 1, model=GAUSSIAN), "right": backtest_of(rows, model=GAUSSIAN)}
    found = bs.compare(fits, backtests=backtests)
    assert list(found.index) == ["wrong", "right"], "the better of the held-out runs first"
    assert found["held_out_log_score"].tolist() == pytest.approx([rows.mean() + 1, rows.mean()])
    assert found["held_out_n"].tolist() == [3, 3]
    assert found.loc["right", "elpd"] > found.loc["wrong", "elpd"]


def test_fits_of_unlike_runs(fits, table) -> None:
    other = fake_fit(GAUSSIAN, table.iloc[:-1])
    with pytest.raises(SpecError, match="they are of 12 and of 11 rows") as caught:
        bs.compare({"all": fits["right"], "fewer": other})
    assert fits["right"].data.digest[:12] in str(caught.value)
    assert other.data.digest[:12] in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: {"right": b["right"]}, "there is no backtest of 'wrong'"),
        (lambda b: {**b, "third": b["right"]}, "unknown fit 'third'"),
        (lambda b: {**b, "right": 1}, "the backtest of 'right' is none but int"),
        (lambda b: {**b, "right": backtest_of(np.zeros(3), model=ScalingModel("power_law"))}, "of another model than the fit"),
        (lambda b: {**b, "right": backtest_of(np.zeros(2), model=GAUSSIAN)}, "2 forecasts of other runs or cut-offs"),
    ],
)
def test_backtests_that_do_not_go_with_the_fits(fits, change, said) -> None:
    backtests = {name: backtest_of(np.zeros(3), model=GAUSSIAN) for name in fits}
    with pytest.raises(SpecError, match=said):
        bs.compare(fits, backtests=change(backtests))


@pytest.mark.parametrize(
    ("given", "said"), [({}, "two at least; got 0"), ([], "got list"), ({"a": 1, "b": 2}, "'a' is no Fit but int")]
)
def test_no_fits(given, said) -> None:
    with pytest.raises(SpecError, match=said):
        bs.compare(given)

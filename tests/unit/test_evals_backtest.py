"""``backtest``, ``review``, ``forecast`` of a model of capability, on fits whose draws are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.core.findings import Status
from bayescale.decision import forecast as forecast_module
from bayescale.evaluate import evals_backtest as module
from bayescale.plots.calibration import calibration_table
from tests.fake_evals import fake_capability_fit, scores_table

MODEL = bs.CapabilityModel(1)
#: Compute of the sizes of :func:`scores_table`.
FLOPS = sorted(scores_table().eval("6 * params * tokens").unique())


class Fitter:
    """Stands for ``fit``: a fit whose draws are those that made the table."""

    def __init__(self, **fake: Any) -> None:
        self.seen: list[bs.Evals] = []
        self.fake = fake

    def __call__(self, model: bs.CapabilityModel, data: bs.Evals, **more: Any) -> bs.CapabilityFit:
        self.seen.append(data)
        return fake_capability_fit(model, data, sd=0.01, draws=300, **self.fake)


@pytest.fixture
def fitter(monkeypatch: pytest.MonkeyPatch) -> Fitter:
    fitter = Fitter()
    monkeypatch.setattr(module, "fit", fitter)
    return fitter


class TestBacktest:
    def test_the_scores_of_models_above_are_hidden_and_forecast(self, fitter: Fitter) -> None:
        table = scores_table()
        found = bs.backtest(MODEL, table, cutoffs=[FLOPS[1]], progress=False)
        (below,) = fitter.seen
        assert below.table["flops"].max() == pytest.approx(FLOPS[1])
        assert len(below) == 18
        assert sorted(found.points["row"]) == table.index[table.eval("6 * params * tokens") > FLOPS[1] * 1.01].tolist()
        points = found.points.set_index("row")
        np.testing.assert_allclose(points["observed"], table["accuracy"].loc[points.index])
        np.testing.assert_allclose(points["distance"], np.log(points["flops"] / FLOPS[1]))
        assert (points["model"] == table["model"].loc[points.index]).all()
        assert found.coverage(0.9) > 0.9
        assert (points["median"] - points["observed"]).abs().max() < 0.03

    def test_only_the_tasks_that_are_asked_for_are_hidden(self, fitter: Fitter) -> None:
        found = bs.backtest(MODEL, bs.Evals.from_frame(scores_table()), cutoffs=[FLOPS[1]], tasks=["hard"], progress=False)
        (below,) = fitter.seen
        assert set(found.points["task"]) == {"hard"}
        assert len(below) == 36 - 6
        # What a model is good at otherwise is known: it was fitted.
        assert set(found.points["model"]) <= set(below.models)

    def test_models_of_unknown_compute_keep_their_scores(self, fitter: Fitter) -> None:
        table = scores_table()
        table.loc[table["family"] == "F2", "tokens"] = np.nan
        found = bs.backtest(MODEL, table, cutoffs=[FLOPS[1]], progress=False)
        assert "F2-3" in fitter.seen[0].models
        assert "F2" not in set(found.points["family"])

    def test_rolling_cut_offs(self, fitter: Fitter) -> None:
        table = scores_table(sizes=8)
        found = bs.backtest(MODEL, table, along="params", cutoffs=2, progress=False)
        assert found.points["cutoff"].nunique() == 2
        sizes = np.unique(table["params"])
        assert set(found.points["cutoff"]) <= set(sizes[1:-1])
        assert found.points["params"].gt(found.points["cutoff"]).all()

    def test_compute_that_differs_by_rounding_is_on_one_side(self, fitter: Fitter) -> None:
        table = scores_table()
        table.loc[table["family"] == "F1", "params"] *= 1 + 1e-15
        found = bs.backtest(MODEL, table, cutoffs=[FLOPS[1]], progress=False)
        assert len(found.points) == 18
        assert found.points["distance"].min() > 0.1

    def test_what_nothing_is_left_of_is_told(self, fitter: Fitter) -> None:
        table = scores_table()
        late = table[(table["task"] != "code") | (table["params"] > 9e9)]
        found = bs.backtest(MODEL, late, cutoffs=[FLOPS[1]], progress=False)
        assert set(found.points["task"]) == {"easy", "hard"}
        assert "code" in found.notes[0]
        cot = table.assign(prompt=np.where(table["params"] > 9e9, "cot", "direct"))
        with pytest.raises(DataError, match="cot"):
            bs.backtest(MODEL, cot, cutoffs=[FLOPS[1]], progress=False)

    def test_the_result_shows_itself(self, fitter: Fitter) -> None:
        found = bs.backtest(MODEL, scores_table(), cutoffs=[FLOPS[0], FLOPS[1]], progress=False)
        assert "1 capability factor along flops: 2 cut-offs" in repr(found)
        assert "points" in repr(found)
        assert found.summary("task").index.tolist() == ["code", "easy", "hard"]
        assert found.summary("distance")["n"].sum() == len(found.points)
        assert found.runs == 27
        table = calibration_table(found)
        assert table["coverage"].is_monotonic_increasing
        assert "scores" in bs.plot_calibration(found).get_ylabel()

    @pytest.mark.parametrize(
        ("more", "error", "said"),
        [
            ({"along": "loss"}, SpecError, "flops"),
            ({"tasks": ["esy"]}, SpecError, "easy"),
            ({"tasks": []}, SpecError, "tasks"),
            ({"cutoffs": [1e30]}, DataError, "above"),
            ({"cutoffs": [1e10]}, DataError, "no model below"),
            ({"by": "family"}, SpecError, "by"),
            ({"recalibrate": "conformal"}, SpecError, "recalibrate"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, fitter: Fitter, more: dict[str, Any], error: Any, said: str) -> None:
        with pytest.raises(error, match=said):
            bs.backtest(MODEL, scores_table(), progress=False, **more)
        assert not fitter.seen

    def test_a_model_that_does_not_fit_what_is_left_is_refused_first(self, fitter: Fitter) -> None:
        table = scores_table()
        late = table[(table["task"] != "code") | (table["params"] > 9e9)]
        with pytest.raises(SpecError, match="code"):
            bs.backtest(bs.CapabilityModel(1, anchors=("code",)), late, cutoffs=[FLOPS[1]], progress=False)
        assert not fitter.seen

    def test_runs_have_no_tasks(self) -> None:
        runs = pd.DataFrame({"params": [1e8, 1e9, 1e10, 1e11], "loss": [3.0, 2.5, 2.2, 2.0]})
        with pytest.raises(SpecError, match="tasks"):
            bs.backtest(bs.ScalingModel("power_law"), runs, along="params", tasks=["easy"])
        with pytest.raises(SpecError, match="CapabilityModel"):
            bs.backtest(bs.ScalingModel("power_law"), bs.Evals.from_frame(scores_table()))


def finding(found: bs.Review, check: str) -> bs.Finding:
    (one,) = [f for f in found if f.check == check]
    return one


def fake(**more: Any) -> bs.CapabilityFit:
    return fake_capability_fit(MODEL, scores_table(), sd=0.01, draws=400, **more)


NEAR = {"family": "F0", "params": 3e10, "tokens": 5e12, "task": "easy"}


class TestReview:
    def test_a_fit_that_made_its_table_passes(self, fitter: Fitter) -> None:
        checked = bs.backtest(MODEL, scores_table(), cutoffs=[FLOPS[1]], progress=False)
        found = bs.review(fake(), NEAR, checked)
        assert found.status is Status.PASS, str(found)
        assert {"convergence", "approximation", "posterior predictive", "signal", "calibration"} <= {f.check for f in found}

    def test_heavy_tails_of_the_weights_are_told(self) -> None:
        ratio = np.zeros((2, 400, 3))
        ratio[..., 1] = 4 * np.random.default_rng(0).standard_exponential((2, 400))
        one = finding(bs.review(fake(log_ratio=ratio)), "approximation")
        assert one.status is Status.REVIEW
        assert "F1" in one.message
        assert one.value is not None
        assert one.value > 0.7
        # A heavy tail of weights that are nearly alike corrects next to nothing.
        ratio[..., 1] = np.log1p(0.001 * np.random.default_rng(0).pareto(1.0, (2, 400)))
        alike = finding(bs.review(fake(log_ratio=ratio)), "approximation")
        assert alike.status is Status.PASS

    def test_a_forecast_from_afar_and_of_an_unseen_family(self) -> None:
        found = bs.review(fake(), {**NEAR, "params": 1e12, "family": "new"})
        assert finding(found, "extrapolation").status is Status.REVIEW
        assert "of point 0" in finding(found, "extrapolation").message
        assert finding(found, "groups").status is Status.REVIEW
        assert finding(bs.review(fake(), {"task": "easy"}), "extrapolation").status is Status.NOT_ASSESSED

    def test_a_task_that_no_model_can_do_is_told(self) -> None:
        table = scores_table()
        table.loc[table["task"] == "code", "accuracy"] = 0.25
        fit = fake_capability_fit(MODEL, table, {"intercept": {"code": -9.0, "easy": 1.0, "hard": -1.0}}, sd=0.01, draws=400)
        found = bs.review(fit, {**NEAR, "task": ["easy", "code"]})
        one = finding(found, "signal")
        assert one.status is Status.REVIEW
        assert "code" in one.message
        assert "easy" not in one.message

    def test_a_fit_too_sure_of_itself_fails(self) -> None:
        fit = fake_capability_fit(MODEL, scores_table(), {"intercept": [3.0, 3.0, 3.0]}, sd=0.01, draws=400)
        assert finding(bs.review(fit), "posterior predictive").status is Status.FAIL

    def test_little_data_is_told(self) -> None:
        table = scores_table(families=2)
        table = table[(table["task"] != "code") | table["model"].isin(["F0-3", "F1-3"])]
        found = bs.review(fake_capability_fit(MODEL, table, sd=0.01, draws=400))
        assert [f.status for f in found if f.check == "data"] == [Status.REVIEW] * 2

    def test_chains_that_do_not_agree_fail(self) -> None:
        found = bs.review(fake_capability_fit(MODEL, scores_table(), sd=0.01, draws=40))
        assert finding(found, "convergence").status is Status.FAIL
        assert finding(found, "approximation").status is Status.NOT_ASSESSED

    def test_a_backtest_of_another_model_or_not_so_far_is_told(self, fitter: Fitter) -> None:
        other = bs.backtest(bs.CapabilityModel(2), scores_table(), cutoffs=[FLOPS[1]], progress=False)
        found = bs.review(fake(), {**NEAR, "params": 1e14}, other)
        told = [f.message for f in found.only(Status.REVIEW)]
        assert any("2 capability factors there, 1 capability factor here" in message for message in told)
        assert any("times beyond the largest fitted flops" in message for message in told)

    def test_runs_and_scores_are_not_mixed_up(self) -> None:
        runs = bs.Runs.from_frame(pd.DataFrame({"params": [1e8, 1e9], "loss": [3.0, 2.5]}))
        with pytest.raises(SpecError, match="runs"):
            bs.review(fake(), runs)


def test_a_decision_about_an_accuracy(fitter: Fitter) -> None:
    fit = fake()
    found = bs.review(fit, NEAR, bs.backtest(MODEL, scores_table(), cutoffs=[FLOPS[1]], progress=False))
    assert bs.decide(bs.predict(fit, NEAR), "accuracy>=0.7", found).verdict == "GO"
    assert bs.decide(bs.predict(fit, NEAR), "accuracy>=0.97", found).verdict == "NO_GO"


def test_forecast_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "fit", Fitter())
    evals = bs.Evals.from_frame(scores_table())
    made = bs.forecast(evals, NEAR, target="accuracy>=0.7", model=MODEL)
    assert isinstance(made.draws, xr.Dataset)
    assert made.decision is not None
    assert made.decision.verdict == "GO"
    assert "1 capability factor of params, tokens" in str(made)
    assert "36 scores" in str(made)
    assert bs.forecast(evals, NEAR).model == bs.CapabilityModel()
    with pytest.raises(SpecError, match="accuracy"):
        bs.forecast(evals, NEAR, target="loss<=2.0")
    with pytest.raises(DataError, match="task"):
        bs.forecast(evals, {"params": 1e9})
    with pytest.raises(SpecError, match="ScalingModel"):
        bs.forecast(evals, NEAR, model=bs.ScalingModel("power_law"))

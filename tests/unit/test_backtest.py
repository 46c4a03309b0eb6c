"""``backtest``, on fits whose draws are known; its check and its figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayescale.core.errors import DataError, SpecError
from bayescale.core.findings import Status
from bayescale.data.runs import Runs
from bayescale.decision.backtest_checks import check_backtest, check_reach, shortfall
from bayescale.evaluate import backtest as module
from bayescale.evaluate.backtest import backtest
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.scores import LEVELS
from bayescale.infer.fit import Fit
from bayescale.models.binding import bind
from bayescale.models.noise import Gaussian
from bayescale.models.scaling import ScalingModel
from bayescale.plots.calibration import calibration_table
from tests.fakes import at_reference, fake_fit

TRUTH = {"E": 1.8, "A": 20.0, "alpha": 0.2}
MODEL = ScalingModel("power_law_offset", axes={"x": "params"}, noise=Gaussian())
SIGMA = 0.01


def curve(runs: int = 40, seed: int = 0, sigma: float = SIGMA, low: float = 7.0, high: float = 10.0) -> pd.DataFrame:
    params = np.logspace(low, high, runs)
    noise = np.exp(np.random.default_rng(seed).normal(0, sigma, runs))
    return pd.DataFrame({"params": params, "loss": (1.8 + 20.0 * params**-0.2) * noise})


def families() -> pd.DataFrame:
    parts = [curve(9, i, high=9.0 + i).assign(family=name) for i, name in enumerate(("a", "b", "c"))]
    return pd.concat(parts, ignore_index=True)


class Fits:
    """Stands in for ``fit`` and ``fit_many``: draws at the truth, and a record of what was seen."""

    def __init__(self, sigma: float = SIGMA) -> None:
        self.sigma = sigma
        self.seen: list[Runs] = []

    def fit(self, model: ScalingModel, data: Runs, **settings: Any) -> Fit:
        assert settings["strict"] is False
        self.seen.append(data)
        given = at_reference(bind(model, data), **TRUTH) | {"sigma": self.sigma}
        return fake_fit(model, data, given, sd=1e-4)

    def many(self, models: Mapping[str, ScalingModel], data: Mapping[str, Runs], **settings: Any) -> dict[str, Fit]:
        return {key: self.fit(models[key], runs, **settings) for key, runs in data.items()}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    made = Fits()
    monkeypatch.setattr(module, "fit", made.fit)
    monkeypatch.setattr(module, "fit_many", made.many)
    return made


def test_each_cut_off_fits_what_is_below_it_and_scores_what_is_above(fits: Fits) -> None:
    table = curve().sample(frac=1, random_state=0)
    found = backtest(MODEL, table, along="params", cutoffs=[1e8, 1e9])
    assert [runs.table["params"].max() <= cut for runs, cut in zip(fits.seen, (1e8, 1e9), strict=True)] == [True, True]
    for runs, cut in zip(fits.seen, (1e8, 1e9), strict=True):
        above = table[table["params"] > cut]
        scored = found.points[found.points["cutoff"] == cut]
        assert len(runs) + len(above) == len(table)
        assert scored["params"].tolist() == above["params"].tolist()
        assert scored["observed"].tolist() == above["loss"].tolist()
        largest = table["params"][table["params"] <= cut].max()
        np.testing.assert_allclose(scored["distance"], np.log(above["params"] / largest))


def test_a_run_on_the_cut_off_is_fitted(fits: Fits) -> None:
    table = curve()
    backtest(MODEL, table, along="params", cutoffs=[table["params"][10]])
    assert len(fits.seen[0]) == 11


def test_nothing_above_the_cut_off_leaks(fits: Fits) -> None:
    table = curve()
    first = backtest(MODEL, table, along="params", cutoffs=[1e9])
    other = table.assign(loss=np.where(table["params"] > 1e9, 3 * table["loss"], table["loss"]))
    second = backtest(MODEL, other, along="params", cutoffs=[1e9])
    assert fits.seen[0].digest == fits.seen[1].digest
    forecast = ["median", *(f"{end}_{100 * p:.0f}" for p in LEVELS for end in ("lower", "upper"))]
    pd.testing.assert_frame_equal(first.points[forecast], second.points[forecast])
    assert (first.points["log_score"] > second.points["log_score"]).all()


@pytest.mark.parametrize("given", [True, False])
def test_the_model_is_chosen_below_the_cut_off(fits: Fits, given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Runs] = []

    def choose(runs: Runs) -> ScalingModel:
        asked.append(runs)
        return MODEL

    monkeypatch.setattr(module, "recommended", choose)
    found = backtest(choose if given else None, curve(), along="params", cutoffs=2)
    assert [a.digest for a in asked] == [s.digest for s in fits.seen]
    assert found.model == MODEL
    with pytest.raises(SpecError, match="expected a ScalingModel"):
        backtest(lambda runs: "chinchilla", curve(), along="params")


def test_calibrated_forecasts_cover_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    cover = {}
    for sigma in (SIGMA, SIGMA / 4):
        monkeypatch.setattr(module, "fit", Fits(sigma).fit)
        cover[sigma] = backtest(MODEL, curve(300), along="params", cutoffs=[2e8]).coverage(0.9)
    assert stats.binom.ppf(1e-4, 160, 0.9) / 160 < cover[SIGMA] < stats.binom.ppf(1 - 1e-4, 160, 0.9) / 160
    assert cover[SIGMA / 4] < 0.6  # normal noise, intervals a quarter as wide: 32 %


@pytest.mark.parametrize(("number", "expected"), [(None, 3), (1, 1), (5, 5)])
def test_rolling_cut_offs(fits: Fits, number: int | None, expected: int) -> None:
    table = curve()
    found = backtest(MODEL, table, along="params", cutoffs=number)
    cuts = found.points["cutoff"].unique()
    assert len(cuts) == len(fits.seen) == expected
    assert set(cuts) <= set(table["params"])
    assert all(len(runs) >= 20 for runs in fits.seen)


def test_few_values_give_fewer_cut_offs_and_two_give_none(fits: Fits) -> None:
    backtest(MODEL, curve(3), along="params")
    assert [len(runs) for runs in fits.seen] == [2]
    with pytest.raises(DataError, match="no cut-off has two values below and one above it"):
        backtest(MODEL, curve(2), along="params")


def test_one_group_is_cut_and_the_others_stay_whole(fits: Fits) -> None:
    table = families()
    found = backtest(MODEL, table, along="params", by="family", cutoffs=1)
    assert len(fits.seen) == 3
    for runs, name in zip(fits.seen, "abc", strict=True):
        sizes = runs.table["family"].value_counts()
        assert sizes[name] < 9
        assert set(sizes.drop(name)) == {9}
        scored = found.points[found.points["family"] == name]
        assert len(scored) == 9 - sizes[name]
        np.testing.assert_allclose(scored["distance"], np.log(scored["params"] / scored["cutoff"]))
    assert found.summary("group").index.tolist() == ["a", "b", "c"]


def test_a_group_that_cannot_be_cut_is_told(fits: Fits) -> None:
    found = backtest(MODEL, families(), along="params", by="family", cutoffs=[2e9])
    assert found.points["family"].unique().tolist() == ["b", "c"]
    (note,) = found.notes
    assert "cut-off 2e+09 has nothing above it: params of a runs from 1e+07 to 1e+09" in note


def test_numbers_may_name_groups(fits: Fits) -> None:
    table = families()
    table["width"] = table["family"].map({"a": 1, "b": 2, "c": 3})
    found = backtest(MODEL, table.drop(columns="family"), along="params", by="width", cutoffs=1)
    assert found.points["width"].unique().tolist() == ["1", "2", "3"]


def test_separate_tables_are_cut_and_fitted_on_their_own(fits: Fits) -> None:
    tables = {name: part.drop(columns="family") for name, part in families().groupby("family")}
    found = backtest(MODEL, tables, along="params", cutoffs=2, by="curve")
    assert all(len(runs) < 9 for runs in fits.seen)
    assert found.fits[["curve", "cutoff"]].drop_duplicates().shape == (6, 2)
    assert found.summary("group").index.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("cutoffs", "words"),
    [
        ([1e6], "cut-off 1e\\+06 has nothing below it: params of the table runs from 1e\\+07 to 1e\\+10"),
        ([1e10], "cut-off 1e\\+10 has nothing above it"),
        ([1e9, 1e12], "cut-off 1e\\+12 has nothing above it"),
        ([1e9, 1.001e9], "cut-off 1.001e\\+09 has the same runs below it as 1e\\+09"),
    ],
)
def test_a_cut_off_with_nothing_on_one_side(fits: Fits, cutoffs: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        backtest(MODEL, curve(), along="params", cutoffs=cutoffs)
    assert not fits.seen


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"along": "param"}, "unknown axis 'param'. Did you mean 'params'"),
        ({"along": "loss"}, "unknown axis 'loss'"),
        ({"along": "flops"}, "unknown axis 'flops'"),
        ({"by": "famly"}, "unknown group column 'famly'. Did you mean 'family'"),
        ({"cutoffs": 0}, "at least one"),
        ({"cutoffs": [-1.0]}, "values of the axis above 0"),
        ({"cutoffs": True}, "values of the axis above 0"),
        ({"cutoffs": "1e9"}, "values of the axis above 0"),
        ({"recalibrate": "conform"}, "Did you mean 'conformal'"),
    ],
)
def test_requests_that_make_no_sense(fits: Fits, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        backtest(MODEL, families(), **({"along": "params"} | settings))
    assert not fits.seen


def test_columns_and_response_are_named(fits: Fits) -> None:
    table = curve().rename(columns={"params": "n", "loss": "nats"})
    plain = backtest(MODEL, curve(), along="params", cutoffs=[1e9])
    named = backtest(MODEL, table, along="params", cutoffs=[1e9], columns={"params": "n", "loss": "nats"})
    pd.testing.assert_frame_equal(plain.points, named.points)


def test_any_positive_column_is_an_axis(fits: Fits) -> None:
    table = curve().assign(hours=np.arange(40.0))
    with pytest.raises(DataError, match="hours"):
        backtest(MODEL, table, along="hours")
    found = backtest(MODEL, table.assign(hours=np.arange(1.0, 41.0)), along="hours", cutoffs=[30.0])
    assert found.points["hours"].tolist() == list(np.arange(31.0, 41.0))
    assert found.points["cutoff"].unique().tolist() == [30.0]


def test_the_summary_is_of_the_points(fits: Fits) -> None:
    found = backtest(MODEL, curve(), along="params", cutoffs=[1e8, 1e9])
    points = found.points
    row = found.summary().iloc[0]
    assert row["n"] == len(points)
    assert found.runs == (curve()["params"] > 1e8).sum()
    assert row["rmsle"] == pytest.approx(np.sqrt(np.mean(np.log(points["median"] / points["observed"]) ** 2)))
    inside = (points["lower_80"] <= points["observed"]) & (points["observed"] <= points["upper_80"])
    assert row["coverage_80"] == pytest.approx(inside.mean()) == found.coverage(0.8)
    assert row["width_90"] == pytest.approx(np.log(points["upper_90"] / points["lower_90"]).mean())
    by = found.summary("distance")
    assert by["n"].sum() == len(points)
    assert by.index.tolist() == ["1x to 2x", "2x to 5x", "5x to 10x", "10x to 30x", "over 30x"]
    assert by.loc["1x to 2x", "n"] == (points["distance"] <= np.log(2)).sum()
    assert found.summary("cutoff").index.tolist() == [1e8, 1e9]
    assert "2 cut-offs" in repr(found)
    with pytest.raises(SpecError, match="there are no groups"):
        found.summary("group")
    with pytest.raises(SpecError, match="Did you mean 'distance'"):
        found.summary("distnce")
    with pytest.raises(SpecError, match="between 0 and 1"):
        found.coverage(90)


def test_a_fit_that_missed_the_rule_counts_and_is_told(fits: Fits, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(model: ScalingModel, data: Runs, **settings: Any) -> Fit:
        made = fits.fit(model, data, **settings)
        draws = made.posterior["sigma"].to_numpy() * np.array([1.0, 1.0, 1.0, 5.0])[:, None]
        return fake_fit(model, data, at_reference(made, **TRUTH) | {"sigma": draws}, sd=1e-4)

    monkeypatch.setattr(module, "fit", torn)
    found = backtest(MODEL, curve(), along="params", cutoffs=[1e9])
    assert not found.points["converged"].any()
    assert "0 of 1 fits converged" in repr(found)
    assert any("1 of 1 fits" in f.message and f.status is Status.REVIEW for f in check_backtest(found))


def test_recalibration_learns_from_what_was_known_at_the_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fit", Fits(SIGMA / 4).fit)
    table, cuts = curve(300), [1e8, 1e9]
    raw = backtest(MODEL, table, along="params", cutoffs=cuts)
    mended = backtest(MODEL, table, along="params", cutoffs=cuts, recalibrate="conformal")
    first, later = (mended.points[mended.points["cutoff"] == cut] for cut in cuts)
    assert raw.recalibration is None
    assert set(raw.points["factor"]) == {1.0} == set(first["factor"])
    (factor,) = later["factor"].unique()
    assert factor == pytest.approx(4.0, rel=0.25)
    assert mended.recalibration == pytest.approx(4.0, rel=0.25)
    before = raw.points[raw.points["cutoff"] == 1e9]
    np.testing.assert_allclose(later["width_90"], factor * before["width_90"])
    inside = (later["lower_90"] <= later["observed"]) & (later["observed"] <= later["upper_90"])
    assert inside.mean() > 0.75

    # Outcomes above the later cut-off were not known when it was made.
    moved = table.assign(loss=np.where(table["params"] > 1e9, 2 * table["loss"], table["loss"]))
    again = backtest(MODEL, moved, along="params", cutoffs=cuts, recalibrate="conformal")
    assert again.points["factor"].unique().tolist() == [1.0, factor]


def made_up(hits: int, runs: int, groups: int) -> Backtest:
    """Forecasts of which some are inside all of their intervals, and the others outside of all."""
    inside = np.arange(runs) < hits
    ends = {f"{end}_{100 * p:.0f}": np.full(runs, v) for p in LEVELS for end, v in (("lower", 1.9), ("upper", 2.1))}
    points = {"cutoff": 1.0, "family": [f"f{i % groups}" for i in range(runs)], "row": np.arange(runs), "converged": True}
    scored = {"observed": np.where(inside, 2.0, 3.0), "pit": np.where(inside, 0.5, 1.0), "distance": 1.0}
    return Backtest(MODEL, pd.DataFrame({**points, **scored, **ends}), "params", "family", ("family",))


@pytest.mark.parametrize(
    ("hits", "runs", "groups", "status"),
    [
        (90, 100, 10, Status.PASS),
        (75, 100, 10, Status.REVIEW),
        (40, 100, 10, Status.FAIL),
        (0, 100, 1, Status.FAIL),
        (12, 20, 20, Status.FAIL),
        (12, 20, 1, Status.NOT_ASSESSED),
        (1, 1, 1, Status.NOT_ASSESSED),
    ],
)
def test_coverage_is_judged_by_independent_forecasts(hits: int, runs: int, groups: int, status: Status) -> None:
    made = made_up(hits, runs, groups)
    (finding,) = check_backtest(made)
    assert (finding.check, finding.status) == ("calibration", status), finding
    assert finding.value == pytest.approx(shortfall(hits / runs, made.effective_n))
    assert f"cover {hits / runs:.0%} of {runs} forecasts" in finding.message
    assert bool(finding.advice) == (status is not Status.PASS)


def test_runs_of_one_group_are_not_independent() -> None:
    assert made_up(5, 30, 30).effective_n == pytest.approx(30)
    assert made_up(5, 30, 3).effective_n == pytest.approx(30 / (1 + 0.3 * 9))


def test_shortfall_is_the_binomial_tail() -> None:
    for hits in range(10):
        assert shortfall(hits / 10, 10) == pytest.approx(stats.binom.cdf(hits, 10, 0.9))
    assert shortfall(1.0, 10) == 1.0


def test_without_a_backtest_or_with_another_models(fits: Fits) -> None:
    (none,) = check_backtest(None)
    assert (none.check, none.status) == ("calibration", Status.NOT_ASSESSED)
    made = made_up(90, 100, 10)
    other = ScalingModel("power_law", axes={"x": "params"})
    assert len(check_backtest(made, model=MODEL)) == 1
    assert check_backtest(made, model=other)[1].status is Status.REVIEW


def test_the_table_of_the_figure() -> None:
    table = calibration_table(made_up(75, 100, 100))
    assert set(table["coverage"]) == {0.75}
    nine = table[np.isclose(table["nominal"], 0.9)].iloc[0]
    assert (nine["lower"], nine["upper"]) == tuple(stats.binom.ppf([0.05, 0.95], 100, 0.9) / 100)


@pytest.mark.parametrize(("asked", "status"), [(2.0, Status.PASS), (50.0, Status.REVIEW)])
def test_a_forecast_farther_than_the_backtest_looked_is_for_review(asked: float, status: Status) -> None:
    made = made_up(90, 100, 10)
    reached = float(np.exp(made.points["distance"].max()))
    assert 2.0 < reached < 50.0
    runs = pd.DataFrame({made.along: [1e8, 1e9]})
    (finding,) = check_reach(made, runs, pd.DataFrame({made.along: [1e9 * asked]}))
    assert (finding.check, finding.status, finding.value) == ("backtest reach", status, asked)
    assert check_reach(made, runs, pd.DataFrame({"other": [1.0]})) == []

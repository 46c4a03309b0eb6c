"""``review`` of an ensemble: whose finding it is, what the weights rest on, whether the members and their average agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.decision.ensemble_checks import disagreement, weights
from bayescale.decision.thresholds import Thresholds
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.fit import Fit
from tests.fakes import fake_fit
from tests.unit.test_stacking import backtest_of

AT = {"params": 2e10}
PLAIN = bs.ScalingModel("power_law", axes={"x": "params"})
OFFSET = bs.ScalingModel("power_law_offset", axes={"x": "params"})


def table() -> pd.DataFrame:
    params = np.logspace(7, 10, 30)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.01, 30))
    return pd.DataFrame({"params": params, "loss": 2.2 * (params / 10**8.5) ** -0.08 * noise, "family": ["a", "b"] * 15})


@cache
def plain(alpha: float = 0.08) -> Fit:
    return fake_fit(PLAIN, table(), {"A": 2.2, "alpha": alpha}, sd=0.002, draws=300)


@cache
def offset() -> Fit:
    return fake_fit(OFFSET, table(), {"E": 0.01, "A": 2.19, "alpha": 0.08}, sd=0.002, draws=300)


def apart(fit: Fit) -> Fit:
    """The same fit, its chains at odds."""
    moved = fit.posterior.assign(A=fit.posterior["A"] + xr.DataArray([0.0, 0.1, 0.2, 0.3], dims="chain"))
    tree = xr.DataTree.from_dict({name: node.to_dataset() for name, node in fit.tree.children.items()} | {"posterior": moved})
    tree.attrs |= fit.tree.attrs
    return Fit(fit.model, fit.data, tree)


def both(weight: float = 0.5, **fits: Fit) -> Ensemble:
    made = fits or {"plain": plain(), "offset": offset()}
    first, second = made
    return Ensemble(made, {first: weight, second: 1 - weight})


def told(found: Review, check: str) -> list[Finding]:
    return [finding for finding in found if finding.check == check]


def test_findings_have_the_name_of_their_member_and_are_told_once_where_they_are_one() -> None:
    found = bs.review(both(), AT)
    assert [f.message.split(":")[0] for f in told(found, "convergence")] == ["plain", "offset"]
    tails = [f.message.split(": the largest")[0] for f in told(found, "posterior predictive") if "residual" in f.message]
    assert tails == ["plain", "offset"]
    (data,) = told(found, "data")
    assert data.message == "30 runs without anything worrying"
    (far,) = told(found, "extrapolation")
    assert far.message.startswith("every point is within a factor of 3")
    assert found.status is Status.NOT_ASSESSED, found


def test_members_without_a_draw_are_not_judged() -> None:
    assert bs.review(both(1.0, plain=plain(), bad=apart(offset())), AT).status is not Status.FAIL
    found = bs.review(both(0.9, plain=plain(), bad=apart(offset())), AT)
    (failed,) = found.only(Status.FAIL)
    assert failed.message.startswith("bad: the chains do not agree")
    unread = {f.check for f in found.only(Status.NOT_ASSESSED) if f.message.startswith("bad: not assessed: it reads draws")}
    assert unread == {"posterior predictive", "influence", "priors"}


def test_go_is_for_an_ensemble_too() -> None:
    ensemble = both()
    draws = bs.predict(ensemble, AT)
    assert bs.decide(draws, "loss<=2.0", bs.review(ensemble, AT)).verdict == "GO"
    bad = both(0.5, plain=plain(), bad=apart(offset()))
    assert bs.decide(draws, "loss<=2.0", bs.review(bad, AT)).verdict == "HOLD"


class TestWeights:
    def test_stated_ones_are_no_evidence(self) -> None:
        (finding,) = weights(both(0.75))
        assert finding.status is Status.NOT_ASSESSED
        assert finding.message == "weights: plain 0.75, offset 0.25; they were stated, not found"
        assert "stack(" in finding.advice

    @pytest.mark.parametrize("hurts", [False, True])
    def test_an_average_that_hurts_is_told(self, hurts: bool) -> None:
        gap, advice = (-0.4, ("averaging hurts: it scores below 'plain' alone",)) if hurts else (0.2, ())
        evidence = pd.DataFrame({"difference": [gap], "difference_se": [0.1]}, index=["stacked"])
        made = both()
        (finding,) = weights(Ensemble(made.fits, made.weights, evidence, advice))
        assert (finding.value, finding.threshold) == (gap, -0.1)
        assert finding.status is (Status.REVIEW if hurts else Status.PASS)
        assert ("averaging hurts" in finding.message) == hurts
        assert bool(finding.advice) == hurts


class TestDisagreement:
    def test_like_members_agree(self) -> None:
        (finding,) = told(bs.review(both(), AT), "disagreement")
        assert finding.status is Status.PASS
        assert finding.value is not None
        assert finding.value < 0.3

    def test_unlike_ones_are_told_at_the_point_where_they_part_most(self) -> None:
        made = both(0.5, plain=plain(), steep=plain(0.12))
        (finding,) = disagreement(made, {"params": [10**8.5, 2e10, 1e9]}, Thresholds())
        at = {name: float(np.median(bs.predict(fit, AT)["loss"])) for name, fit in made.fits.items()}
        assert finding.status is Status.REVIEW
        assert "at point 1 their median loss lies from " in finding.message
        (low, who), (high, other) = [
            (float(number), name) for number, name in re.findall(r"([\d.]+) \((\w+)\)", finding.message)
        ]
        assert (who, other) == ("steep", "plain")
        assert (low, high) == (pytest.approx(at["steep"], rel=0.01), pytest.approx(at["plain"], rel=0.01))
        assert finding.advice

    def test_the_measure_is_the_distance_in_widths_of_the_members_own_intervals(self) -> None:
        made = both(0.5, plain=plain(), steep=plain(0.12))
        edges = [np.quantile(bs.predict(fit, AT)["loss"], [0.05, 0.5, 0.95]) for fit in made.fits.values()]
        expected = abs(edges[0][1] - edges[1][1]) / np.mean([high - low for low, _, high in edges])
        (finding,) = disagreement(made, AT, Thresholds())
        assert finding.value == pytest.approx(expected, rel=0.15)  # half of the draws of each
        higher = Thresholds(disagreement=2 * float(finding.value or 0))
        (passed,) = disagreement(made, AT, higher)
        assert passed.status is Status.PASS

    def test_a_member_that_is_not_heard_does_not_disagree(self) -> None:
        (finding,) = disagreement(both(0.97, plain=plain(), steep=plain(0.3)), AT, Thresholds())
        assert (finding.status, finding.message) == (Status.PASS, "one member makes the forecast: plain")

    def test_without_points_it_is_not_assessed(self) -> None:
        (finding,) = disagreement(both(), None, Thresholds())
        assert finding.status is Status.NOT_ASSESSED


class TestCalibration:
    @staticmethod
    def backtests(models: Mapping[str, bs.ScalingModel], **kwargs: Any) -> dict[str, bs.Backtest]:
        """Forecasts of sixty runs, a cut-off each, whose outcome the intervals about ``loc`` cover or miss."""
        return {
            name: backtest_of([0.0] * 60, model=model, cutoffs=list(range(60)), loc=kwargs.get(name, 0.0))
            for name, model in models.items()
        }

    def test_the_coverage_is_that_of_the_average(self) -> None:
        tested = self.backtests({"plain": PLAIN, "offset": OFFSET}, plain=0.5)
        (alone,) = [f for f in told(bs.review(plain(), AT, tested["plain"]), "calibration") if f.status is Status.FAIL]
        assert "cover 0%" in alone.message
        (finding,) = told(bs.review(both(), AT, tested), "calibration")
        assert finding.status is Status.PASS
        assert finding.message.startswith("the 90% intervals of the average of the backtest cover 100% of 60 forecasts")

    def test_what_else_a_backtest_says_has_the_name_of_its_member(self) -> None:
        tested = self.backtests({"plain": PLAIN, "offset": PLAIN})
        found = told(bs.review(both(), AT, tested), "calibration")
        assert [f.message.split(":")[0] for f in found if f.status is Status.REVIEW] == ["offset"]

    def test_one_of_a_member_alone_says_nothing_of_the_average(self) -> None:
        tested = self.backtests({"plain": PLAIN})["plain"]
        average, own = told(bs.review(both(), AT, tested), "calibration")
        assert average.status is Status.NOT_ASSESSED
        assert "no backtest of offset" in average.message
        assert own.status is Status.PASS
        assert "cover 100% of 60" in own.message

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (object(), "or one of each member, got object"),
            ({"plan": None}, "Did you mean 'plain'"),
            ({"plain": None}, "that of 'plain' is a NoneType"),
            (backtest_of([0.0], model=bs.ScalingModel("chinchilla")), "of the model of no member"),
        ],
    )
    def test_what_is_no_backtest_of_a_member(self, given: Any, said: str) -> None:
        with pytest.raises(SpecError, match=said):
            bs.review(both(), AT, given)


def test_a_selection_and_points_that_cannot_be_read() -> None:
    grouped = bs.ScalingModel("power_law", axes={"x": "params"}, pooling={"A": bs.PartialPooling("family")})
    made = both(0.5, plain=plain(), grouped=fake_fit(grouped, table(), {"A": [2.2, 2.2], "alpha": 0.08}, sd=0.002, draws=300))
    (finding,) = told(bs.review(made.select(family="a"), AT), "groups")
    assert finding.message == "grouped: the groups of every point were fitted"
    with pytest.raises(DataError, match="member 'plain' of the ensemble"):
        bs.review(made, {"size": 1e9})

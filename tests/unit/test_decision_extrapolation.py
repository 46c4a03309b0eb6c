"""``review`` of the points to forecast: how far they lie from what was seen, and whether their groups were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.findings import Finding, Status
from bayescale.decision.review import review
from bayescale.decision.thresholds import Thresholds
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from tests.fakes import fake_fit


def one_variable(**tops: float) -> pd.DataFrame:
    """A family a keyword, 1e7 params to its largest."""
    parts = [pd.DataFrame({"family": f, "params": np.logspace(7, np.log10(top), 8)}) for f, top in tops.items()]
    df = pd.concat(parts, ignore_index=True)
    return df.assign(loss=1.8 + 0.4 * (df["params"] / 1e8) ** -0.3)


def fitted(table: pd.DataFrame, **pooling: Any) -> Fit:
    return fake_fit(ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling), table, draws=200)


def found(fit: Fit, at: Any, check: str = "extrapolation", **lines: float) -> list[Finding]:
    return [f for f in review(fit, at, thresholds=Thresholds(**lines)) if f.check == check]


@pytest.mark.parametrize(
    ("params", "status", "words"),
    [
        (1e9, Status.PASS, "within a factor of 3"),
        (2.9e10, Status.PASS, "within a factor of 3"),
        (3.1e10, Status.REVIEW, "the forecast extrapolates: "),
        (2.9e11, Status.REVIEW, "the forecast extrapolates: "),
        (3.1e11, Status.REVIEW, "the forecast goes far beyond what was seen: "),
    ],
)
def test_the_farther_the_stronger(params: float, status: Status, words: str) -> None:
    (finding,) = found(fitted(one_variable(a=1e10)), {"params": params})
    assert finding.status is status
    assert words in finding.message
    assert finding.value == pytest.approx(max(params / 1e10, 1e7 / params))
    assert bool(finding.advice) == (status is Status.REVIEW)


def test_the_farthest_point_counts() -> None:
    (finding,) = found(fitted(one_variable(a=1e10)), {"params": [2e10, 5e11, 1e8]})
    said = "params of point 1 (5e+11) is 50 times the largest fitted (1e+10)"
    assert finding.message == f"the forecast goes far beyond what was seen: {said}"
    assert (finding.value, finding.threshold) == (pytest.approx(50), 30)


def test_smaller_than_the_smallest_is_far_too() -> None:
    (finding,) = found(fitted(one_variable(a=1e10)), {"params": 1e6})
    assert finding.message.endswith("params of point 0 (1e+06) is 1/10 of the smallest fitted (1e+07)")
    assert finding.value == pytest.approx(10)


def test_the_lines_can_be_drawn_elsewhere() -> None:
    (finding,) = found(fitted(one_variable(a=1e10)), {"params": 5e11}, far_extrapolation=100.0)
    assert "extrapolates" in finding.message


def test_a_group_is_held_against_its_own_runs() -> None:
    """Others were seen there: that is told, and it is what pooling is for."""
    fit = fitted(one_variable(a=1e8, b=1e11), alpha=PartialPooling("family"))
    own, others = found(fit, {"params": 1e10, "family": "a"})
    assert own.message == (
        "the forecast goes far beyond what was seen: "
        "params of point 0 (1e+10) is 100 times the largest fitted of its group (1e+08)"
    )
    assert others.status is Status.PASS
    assert others.message.startswith("other groups were seen at such scale")
    (finding,) = found(fit, {"params": 1e10, "family": "b"})
    assert finding.status is Status.PASS


def test_where_nobody_was_seen_pooling_does_not_help() -> None:
    fit = fitted(one_variable(a=1e8, b=1e8), alpha=PartialPooling("family"))
    own, others = found(fit, {"params": 1e10, "family": "a"})
    assert "goes far beyond what was seen" in own.message
    assert others.status is Status.REVIEW
    assert others.value == pytest.approx(100)
    assert others.message.startswith("no run of any group was seen at such scale: params of point 0 (1e+10) is 100 times")
    assert "narrower, not truer" in others.advice


def test_the_group_is_that_of_the_exponent() -> None:
    table = one_variable(a=1e8, b=1e11).assign(dataset=lambda t: np.where(t.index % 2, "x", "y"))
    fit = fitted(table, E=NoPooling("dataset"), alpha=PartialPooling("family"), A=PartialPooling(("family", "dataset")))
    assert found(fit, {"params": 1e10, "family": "a", "dataset": "y"})[0].value == pytest.approx(100)
    levels_only = fitted(table, A=PartialPooling("family"))
    assert found(levels_only, {"params": 1e10, "family": "a"})[0].value == pytest.approx(100)


def test_an_unseen_group_is_held_against_all_runs() -> None:
    fit = fitted(one_variable(a=1e8, b=1e9), alpha=PartialPooling("family"))
    (finding,) = found(fit, {"params": 1e11, "family": "new"})
    assert finding.value == pytest.approx(100)
    assert "of its group" not in finding.message


def plane(largest: float = 1e10) -> pd.DataFrame:
    grid = [(n, d) for n in np.logspace(8, np.log10(largest), 4) for d in np.logspace(10, 11, 4)]
    df = pd.DataFrame(grid, columns=["params", "tokens"])
    return df.assign(loss=1.8 + 480 * df["params"] ** -0.35 + 2000 * df["tokens"] ** -0.36)


def test_exponents_of_different_groups() -> None:
    """The group of a point is what its labels have in common; where no run does, or a label is unseen, it is wider."""
    labels = {1e9: ("a", "x"), 1e10: ("a", "y"), 3e10: ("b", "x")}
    table = pd.concat([plane(top).assign(family=f, dataset=d) for top, (f, d) in labels.items()], ignore_index=True)
    over = {"across_conventions": True}
    pooling = {"alpha": PartialPooling("family", **over), "beta": PartialPooling("dataset", **over)}
    fit = fake_fit(ScalingModel("chinchilla", pooling=pooling), table, draws=200)

    def largest(family: str, dataset: str) -> float:
        (value,) = {f.value for f in found(fit, {"params": 1e12, "tokens": 1e10, "family": family, "dataset": dataset})[:1]}
        assert value is not None
        return 1e12 / value

    assert largest("a", "x") == pytest.approx(1e9)
    assert largest("b", "y") == pytest.approx(3e10)
    assert largest("new", "y") == pytest.approx(1e10)
    assert largest("new", "new") == pytest.approx(3e10)


def test_size_and_data_together_are_compute() -> None:
    (finding,) = found(fake_fit(ScalingModel("chinchilla"), plane(), draws=200), {"params": 2.5e10, "tokens": 2.5e11})
    assert finding.message.startswith("the forecast extrapolates: flops of point 0 (3.75e+22) is 6.25 times the largest")


def test_the_ratio_of_data_to_size_may_be_far_off_alone() -> None:
    (finding,) = found(fake_fit(ScalingModel("chinchilla"), plane(), draws=200), {"params": 1e8, "tokens": 3e11, "loss": 1.0})
    assert finding.value == pytest.approx(3)
    (finding,) = found(fake_fit(ScalingModel("chinchilla"), plane(), draws=200), {"params": 4e7, "tokens": 2.9e11})
    assert "tokens_per_param of point 0 (7.25e+03) is 7.25 times the largest fitted (1e+03)" in finding.message


def test_groups_that_were_fitted_pass() -> None:
    fit = fitted(one_variable(a=1e9, b=1e9), alpha=PartialPooling("family"))
    (finding,) = found(fit, {"params": 1e9, "family": ["a", "b"]}, "groups")
    assert finding.status is Status.PASS
    assert not found(fitted(one_variable(a=1e9)), {"params": 1e9}, "groups")
    assert [f.status for f in review(fit.select(family="a"), {"params": 1e9}) if f.check == "groups"] == [Status.PASS]


def test_an_unseen_group_is_told() -> None:
    fit = fitted(one_variable(a=1e9, b=1e9), alpha=PartialPooling("family"), A=PartialPooling("family"))
    (finding,) = found(fit, {"params": 1e9, "family": ["a", "c", "d"]}, "groups")
    assert finding.status is Status.REVIEW
    assert finding.message == "unseen family in 2 of 3 points (c, d): alpha and A drawn from its population"
    assert finding.value == 2
    (finding,) = found(fit, {"params": 1e9}, "groups")
    assert finding.message == "unseen family in 1 of 1 points (no label): alpha and A drawn from its population"


def test_an_unseen_group_without_pooling_has_the_prior_alone() -> None:
    fit = fitted(one_variable(a=1e9, b=1e9), E=NoPooling("family"))
    (finding,) = found(fit, {"params": 1e9, "family": "c"}, "groups")
    assert "E drawn from the prior, since it is not pooled" in finding.message

"""``Threshold`` and ``Thresholds``: what is asked, and the lines of the checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bayescale.core.errors import SpecError
from bayescale.decision.rules import Threshold, as_threshold
from bayescale.decision.thresholds import Thresholds


def test_text_and_rule_are_the_same_target() -> None:
    assert as_threshold("loss<=2.0") == Threshold("loss", "<=", 2.0, probability=0.9)
    assert as_threshold("accuracy >= 0.7", 0.8) == Threshold("accuracy", ">=", 0.7, 0.8)
    rule = Threshold("loss", "<", np.float64(2.5), 0.75)
    assert as_threshold(rule, 0.99) is rule
    assert str(rule) == "loss < 2.5 with probability 0.75"
    assert hash(rule) == hash(Threshold("loss", "<", 2.5, 0.75))


@pytest.mark.parametrize("probability", [0.5, 1.0, 0.0, -0.1, 1.5, math.nan, True, "0.9", None])
def test_a_probability_that_no_decision_can_have(probability: Any) -> None:
    with pytest.raises(SpecError, match=r"between 0\.5 and 1.*wrong as often as right"):
        Threshold("loss", "<=", 2.0, probability)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("loss", "=", 2.0), "comparison '='"),
        (("loss", "<=", math.nan), "finite number"),
        (("loss", "<=", math.inf), "finite number"),
        (("loss", "<=", "2"), "finite number"),
        (("", "<=", 2.0), "name of a column"),
        ((None, "<=", 2.0), "name of a column"),
    ],
)
def test_a_target_that_makes_no_sense(fields: tuple[Any, Any, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Threshold(*fields)


@pytest.mark.parametrize("target", ["loss", "loss==2", "loss<=two", 2.0, None])
def test_what_is_no_target(target: Any) -> None:
    with pytest.raises(SpecError, match=r"loss<=2\.0"):
        as_threshold(target)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pareto_k": -0.1}, "pareto_k is a positive number, got -0.1"),
        ({"sensitivity": math.nan}, "sensitivity is a positive number"),
        ({"tail_review": 1.0}, "tail_review is a probability below 1, got 1.0"),
        ({"coverage_fail": 0.5}, "coverage_fail .0.5. is at most coverage_review .0.01."),
        ({"extrapolation": 50.0}, "1 <= extrapolation <= far_extrapolation is needed, got 50.0 and 30.0"),
        ({"extrapolation": 0.5}, "got 0.5 and 30.0"),
    ],
)
def test_lines_that_make_no_sense(change: dict[str, float], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Thresholds(**change)

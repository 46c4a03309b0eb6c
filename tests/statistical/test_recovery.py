"""Intervals cover: tables simulated from parameters drawn from the prior, so that a right posterior covers 90 % exactly.

See :mod:`benchmarks.recovery`. Replicates are independent, the parameters of one are not (the share that one replicate covers
has a standard deviation of 0.15 to 0.20), so the replicate is the unit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import least_squares

import bayescale as bs
from bayescale.infer.fit import Fit
from benchmarks import checkpoints
from benchmarks.recovery import CASES, coverage, replicates, simulate

#: Each assertion raises a false alarm at most once in 10 000 changes of seed.
RATE = 1e-4


def scores_are_normal(found: pd.DataFrame) -> None:
    """Sum of squares and mean of the normal scores of each scalar parameter; RATE shared by all of these tests.

    Intervals that are too narrow make scores too large, those too wide too small, a bias shifts them. More powerful than
    coverage, and exact with few replicates.
    """
    alone = found.groupby(["replicate", "parameter"]).filter(lambda rows: len(rows) == 1)
    scores = alone.pivot(index="replicate", columns="parameter", values="score")
    n, rate = len(scores), RATE / (3 * scores.shape[1])
    low, high = stats.chi2.ppf([rate, 1 - rate], n)
    squares = (scores**2).sum()
    assert ((low < squares) & (squares < high)).all(), squares
    assert (scores.mean().abs() * np.sqrt(n) < stats.norm.isf(rate / 2)).all(), scores.mean()


def test_a_few_curves(one_family: Fit) -> None:
    """Coverage within 5 standard errors of a share of sd 0.20, over 30 replicates: 4 would be RATE without its skew."""
    found = pd.concat(replicates(CASES["one family"], 30, bs.Nuts(draws=300, max_draws=300)))
    share, _ = coverage(found)
    assert share > 0.9 - 5 * 0.20 / np.sqrt(30)
    scores_are_normal(found)


def test_a_few_tables_of_twelve_families(twelve_families: Fit) -> None:
    """Coverage within 5 standard errors of a share of sd 0.16, over 4 replicates: 4 would be RATE without its skew."""
    found = pd.concat(replicates(CASES["twelve families"], 4, bs.Nuts(draws=200, max_draws=200)))
    share, _ = coverage(found)
    assert share > 0.9 - 5 * 0.16 / np.sqrt(4)
    scores_are_normal(found)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "number"), [("one family", 400), ("chinchilla", 400), ("twelve families", 300)])
def test_many_tables(case: str, number: int) -> None:
    """86 to 94 % of true values: 4 standard errors or more, so that RATE holds (3.9 of a normal) with the skew of the share."""
    found = pd.concat(replicates(CASES[case], number))
    share, error = coverage(found)
    assert error * 4 < 0.04, "too few replicates for the rate of false alarms"
    assert 0.86 < share < 0.94
    scores_are_normal(found)
    assert found.groupby("replicate")["converged"].first().mean() > 0.9


def test_runs_almost_on_the_curve_give_its_parameters(one_family: Fit) -> None:
    """Against least squares, which knows no priors: they agree where the runs say everything."""
    case = CASES["one family"]
    table = simulate(case, 0)[0]
    x = table["params"] / stats.gmean(table["params"])
    truth = np.array([1.8, 0.4, 0.3])
    noise = np.exp(1e-4 * np.random.default_rng(1).standard_normal(len(x)))
    table["loss"] = (truth[0] + truth[1] * x ** -truth[2]) * noise
    best = least_squares(lambda p: np.log(table["loss"] / (p[0] + p[1] * x ** -p[2])), truth * 1.1, xtol=1e-14, ftol=1e-14).x
    fitted = bs.fit(case.model, table, progress=False)
    for name, expected in zip(("E", "A", "alpha"), best, strict=True):
        drawn = fitted.posterior[name]
        assert abs(drawn.median() - expected) < drawn.std(), name
        assert drawn.std() < 0.01 * expected, name


@pytest.mark.slow
def test_checkpoints_are_no_runs_of_their_own() -> None:
    """Of 100 runs with memory: covered as stated within 4 standard errors of a share of sd 0.3, and far from it without."""
    found = dict(iter(checkpoints.measure(100, progress=False).groupby("model")))
    share, _ = checkpoints.coverage(found["with memory"])
    naive, error = checkpoints.coverage(found["rows independent"])
    assert abs(share - 0.9) < 4 * 0.3 / np.sqrt(100)
    assert naive + 4 * error < 0.9
    assert found["with memory"]["converged"].mean() > 0.95

"""``check``: what is wrong or worrying about a table, as a review."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.findings import Review, Status
from bayescale.data.inspection import inspect_runs
from bayescale.data.runs import Runs
from bayescale.decision.checks import TABLE_CHECKS, check


def table() -> pd.DataFrame:
    grid = [(f, n, d) for f in "AB" for n in np.logspace(8, 10, 5) for d in (1e10, 2e11)]
    df = pd.DataFrame(grid, columns=["family", "params", "tokens"])
    return df.assign(loss=1.7 + 400 * df["params"] ** -0.34 + 410 * df["tokens"] ** -0.28)


def test_a_good_table_passes() -> None:
    found = check(table())
    assert found.status is Status.PASS
    assert found.findings == inspect_runs(table())


def test_the_checks_of_a_table_are_known_by_name() -> None:
    """``decide`` tells by these names that it was given no review of a fit."""
    assert {finding.check for finding in check(table())} == TABLE_CHECKS


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(),
        pd.DataFrame({"params": [], "loss": []}),
        pd.DataFrame({"params": ["many", 1e9], "loss": [2.0, np.nan]}),
        table().assign(loss=-1.0),
        table().assign(params=lambda t: t["params"] / 1e9),
        table().rename(columns={"params": "parms"}),
        [1, 2, 3],
        None,
    ],
)
def test_faults_are_findings_and_raise_nothing(data: Any) -> None:
    found = check(data)
    assert isinstance(found, Review)
    assert found.status is Status.FAIL
    assert all(finding.message for finding in found)


def test_what_the_caller_said_is_passed_on() -> None:
    df = table().rename(columns={"loss": "nats"})
    assert check(df).status is Status.FAIL
    assert check(df, columns={"loss": "nats"}).status is Status.PASS
    assert check(df, response="nats").status is Status.PASS
    assert check(df, response="nats", groups=["tribe"]).status is Status.FAIL
    assert check(df.assign(nats=df["nats"] - 3), response="nats").status is Status.FAIL
    assert check(df.assign(nats=df["nats"] - 3), response="nats", positive_response=False).status is Status.PASS
    holes = df.assign(steps=np.nan, tokens=np.nan)
    assert check(holes.assign(steps=-1.0), response="nats", covariates=["params"]).status is not Status.FAIL
    mixed = df.assign(unit=["nats", "bits"] * 10)
    assert "conventions" in {f.check for f in check(mixed, response="nats", units={"nats": "unit"}).only(Status.REVIEW)}
    kinds = df.assign(kind=["total", "other"] * 10)
    assert check(kinds, response="nats", conventions={"params": "kind"}).status is Status.REVIEW


def test_runs_are_taken_as_they_are() -> None:
    runs = Runs.from_frame(table().rename(columns={"loss": "error"}), response="error")
    assert check(runs).status is Status.PASS

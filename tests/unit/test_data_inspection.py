"""``inspect_runs``: what is wrong or worrying about a table, as findings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.findings import Finding, Status
from bayescale.data.inspection import inspect_runs
from bayescale.data.runs import Runs


def table(sizes: int = 5) -> pd.DataFrame:
    """A table that nothing is wrong with: two families, sizes crossed with data."""
    grid = [(f, n, d) for f in "AB" for n in np.logspace(8, 10, sizes) for d in (1e10, 2e11)]
    df = pd.DataFrame(grid, columns=["family", "params", "tokens"])
    return df.assign(loss=1.7 + 400 * df["params"] ** -0.34 + 410 * df["tokens"] ** -0.28)


def findings(df: Any, check: str, **asked: Any) -> list[Finding]:
    return [finding for finding in inspect_runs(df, **asked) if finding.check == check]


def only(df: Any, check: str, status: Status = Status.REVIEW, **asked: Any) -> Finding:
    (finding,) = findings(df, check, **asked)
    assert finding.status is status, finding
    return finding


def test_a_good_table_passes_every_check() -> None:
    found = inspect_runs(table())
    assert {finding.status for finding in found} == {Status.PASS}
    assert [finding.check for finding in found] == [
        "columns",
        "scales",
        "variation",
        "collinearity",
        "trend",
        "groups",
        "replicates",
        "rounding",
        "conventions",
    ]


def test_runs_are_taken_as_they_are() -> None:
    runs = Runs.from_frame(table().rename(columns={"loss": "error"}), response="error")
    assert inspect_runs(runs) == inspect_runs(table().rename(columns={"loss": "error"}), response="error")


def test_faults_become_failures_and_the_rest_is_not_assessed() -> None:
    found = inspect_runs(table().assign(loss=lambda t: -t["loss"]), groups=["famly"])
    assert [finding.status for finding in found] == [Status.FAIL, Status.FAIL, Status.NOT_ASSESSED]
    assert {finding.check for finding in found[:2]} == {"columns", "response"}
    assert "Did you mean 'family'?" in found[0].message
    assert inspect_runs([1, 2])[0].message.startswith("expected a pandas DataFrame")


@pytest.mark.parametrize(
    ("change", "said", "value"),
    [
        ({"params": 2e14}, "more params than any model has had in row 3", 2e14),
        ({"tokens": 5e5, "params": 1e5}, "fewer than a million tokens in row 3", 5e5),
        ({"params": 1e13, "tokens": 1e10}, "few tokens for the size in row 3", 1e-3),
        ({"params": 1e6, "tokens": 1e12}, "many tokens for the size in row 3", 1e6),
    ],
)
def test_odd_scales(change: dict[str, float], said: str, value: float) -> None:
    df = table()
    for column, odd in change.items():
        df.loc[3, column] = odd
    found = [finding for finding in findings(df, "scales") if finding.message == said]
    assert len(found) == 1, findings(df, "scales")
    assert found[0].status is Status.REVIEW
    assert found[0].value == pytest.approx(value)
    assert "Check the unit" in found[0].advice


def test_compute_that_was_counted_otherwise() -> None:
    df = table().assign(flops=lambda t: 6 * t["params"] * t["tokens"])
    df.loc[[2, 5], "flops"] /= 4
    assert only(df, "scales").message == "flops are more than 3 times off 6·params·tokens in rows 2 and 5"
    assert only(df, "scales").value == pytest.approx(4)
    df.loc[[2, 5], "flops"] *= 2
    only(df, "scales", Status.PASS)


def test_a_family_with_one_run() -> None:
    df = pd.concat([table(), pd.DataFrame({"family": ["C"], "params": [1e9], "tokens": [1e10], "loss": [2.9]})])
    found = only(df, "groups")
    assert found.message == "1 of 3 labels of family have one run: C"
    assert "come from the population" in found.advice


def test_a_single_family() -> None:
    found = only(table().assign(family="A").drop_duplicates(), "groups")
    assert found.message == "a single family (A)"
    assert "unseen one" in found.advice


def test_names_of_runs_are_no_groups() -> None:
    found = only(table().assign(model=lambda t: [f"m{i}" for i in range(len(t))]), "groups", Status.PASS)
    assert "model" not in found.message


def test_a_covariate_that_never_varies() -> None:
    found = only(table().query("tokens == 1e10"), "variation")
    assert found.message == "not identified: tokens do not vary (1e+10 in every run)"
    assert "No exponent of tokens can be estimated" in found.advice
    assert found.value == 0


def test_a_range_of_less_than_a_decade() -> None:
    found = findings(table().query("params >= 3e9"), "variation")
    assert [f.message.split(" spans")[0] for f in found] == ["params"]
    assert found[0].value == pytest.approx(0.5)


def test_size_and_data_that_grow_together() -> None:
    df = table().assign(tokens=lambda t: 20 * t["params"] * np.where(t.index % 2, 1.01, 1))
    found = only(df, "collinearity")
    assert found.message.startswith("not identified: a separate data exponent; params and tokens move together")
    assert found.value is not None
    assert found.value > 0.99
    only(table().drop(columns="tokens").drop_duplicates(["family", "params"]), "collinearity", Status.NOT_ASSESSED)


def test_a_loss_that_does_not_fall() -> None:
    found = only(table().assign(loss=lambda t: 1 + 0.1 * np.log(t["params"])), "trend")
    assert found.message.startswith("loss does not fall with flops within groups (slope 0.0")


@pytest.mark.parametrize(("response", "judged"), [("exact_match", False), ("pass@1", False), ("melody_loss", True)])
def test_what_should_fall_is_told_by_whole_words(response: str, judged: bool) -> None:
    found = inspect_runs(table().rename(columns={"loss": response}), response=response)
    (trend,) = [f for f in found if f.check == "trend"]
    assert (trend.status is not Status.NOT_ASSESSED) == judged


def test_the_trend_is_judged_within_groups() -> None:
    df = table()
    small = df[df["family"] == "A"].query("params < 2e9")
    large = df[df["family"] == "B"].query("params > 4e8").assign(loss=lambda t: t["loss"] + 5)
    assert only(pd.concat([small, large]), "trend", Status.PASS).status is Status.PASS


def test_a_score_that_rises_is_as_it_should_be() -> None:
    df = table().assign(accuracy=lambda t: 0.1 + 0.05 * np.log10(t["params"]))
    assert only(df, "trend", Status.NOT_ASSESSED, response="accuracy").status is Status.NOT_ASSESSED


def test_replicates() -> None:
    df = pd.concat([table(), table().iloc[[0]].assign(loss=4.0)])
    found = only(df, "replicates")
    assert found.message == "2 runs share all covariates and groups with another: rows 0 and 20"
    only(table().assign(seed=1), "replicates", Status.PASS)
    seeds = pd.concat([table().assign(seed=s, loss=lambda t, s=s: t["loss"] + 0.01 * s) for s in (1, 2)])
    assert "40 runs share" in only(seeds, "replicates").message


def test_mixed_units() -> None:
    df = table().assign(unit=["nats", "bits"] * 10)
    found = only(df, "conventions", units={"loss": "unit"})
    assert found.message == "mixed units of loss: bits, nats (column unit)"
    only(df.assign(unit="nats"), "conventions", Status.PASS, units={"loss": "unit"})


def test_mixed_conventions() -> None:
    df = table().assign(kind=["total", "non-embedding"] * 10)
    found = only(df, "conventions", conventions={"params": "kind"})
    assert found.message == "mixed conventions of params: non-embedding, total (column kind)"


def test_what_was_left_out_is_told() -> None:
    df = table().assign(tokens=lambda t: t["tokens"].where(t["family"] == "A"), note=[None] * 19 + ["x"])
    df = df.drop_duplicates(["family", "params"])
    assert only(df, "columns").message == "tokens left out: not known for family B (5 runs)"


def test_the_users_frame_is_untouched() -> None:
    df = table()
    before = df.copy(deep=True)
    inspect_runs(df)
    pd.testing.assert_frame_equal(df, before)

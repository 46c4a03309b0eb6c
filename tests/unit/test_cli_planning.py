"""``bayescale plan`` and ``next-runs``: what they print and write, and how they refuse."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bayescale.decision.grid import make_grid
from tests.unit.test_cli import Run, files, made, run  # noqa: F401 - fixtures

PILOTS = "--candidate params=2e9,tokens=4e10,cost=3 --candidate params=2e10,tokens=4e11,cost=30"
GOAL = "--at params=7e10,tokens=1.4e12"


@pytest.mark.usefixtures("files")
def test_next_runs_prints_a_plan_and_writes_it(run: Run) -> None:  # noqa: F811
    done = run(*f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget 40 --target loss<=2 -o plan.csv".split())
    assert done.status == 0, done.err
    assert "off the variance" in done.out and "written to plan.csv" in done.out
    plan = pd.read_csv("plan.csv")
    assert {"order", "candidate", "cost", "cumulative_cost", "sd_before", "sd_after", "variance_removed", "value"} <= set(plan)
    assert plan["cumulative_cost"].max() <= 40


@pytest.mark.usefixtures("files")
def test_one_ranks_each_candidate_alone(run: Run) -> None:  # noqa: F811
    done = run(*f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget 40 --one --json".split())
    assert [row["cumulative_cost"] for row in done.json["plan"]] == [row["cost"] for row in done.json["plan"]]
    assert sorted(row["candidate"] for row in done.json["plan"]) == [0, 1]


@pytest.mark.usefixtures("files")
def test_a_law_that_may_be_off_leaves_more_open(run: Run) -> None:  # noqa: F811
    words = f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget 40 --json"
    trusting, doubting = (run(*words.split(), *more).json["plan"] for more in ((), ("--misfit", "0.1")))
    assert doubting[0]["sd_before"] > trusting[0]["sd_before"]
    planned = "plan --flops 1e18 --flops 1e20 --budget 1e20 --at params=7e10,tokens=1.4e12 --json"
    default, stated = (run(*planned.split(), *more).json["plan"] for more in ((), ("--misfit", "0.02")))
    assert default == stated


@pytest.mark.usefixtures("files")
def test_a_file_of_candidates_and_a_named_cost(run: Run) -> None:  # noqa: F811
    pd.DataFrame({"params": [2e9, 2e10], "tokens": [4e10, 4e11], "hours": [3, 30]}).to_csv("pilots.csv", index=False)
    words = f"next-runs chinchilla.nc --candidate pilots.csv {GOAL} --budget 40 --cost hours --no-replicates --json"
    plan = run(*words.split()).json["plan"]
    assert 1 <= len(plan) <= 2 and {row["cost"] for row in plan} <= {3, 30}


def test_a_grid_alone_needs_no_model(run: Run) -> None:  # noqa: F811
    words = "plan --flops 1e18 --flops 1e20 --params 1e8 --params 1e9 -o grid.csv"
    done = run(*words.split())
    assert done.status == 0, done.err
    pd.testing.assert_frame_equal(pd.read_csv("grid.csv"), make_grid([1e18, 1e20], [1e8, 1e9]))


@pytest.mark.parametrize(
    "words",
    [
        "plan",
        "plan --flops many",
        f"plan --flops 1e18 {GOAL}",
        "plan --flops 1e18 --budget 1e19",
        "plan --flops 1e18 -o plan.xlsx",
        f"next-runs chinchilla.nc {GOAL} --budget 40",
        f"next-runs chinchilla.nc {PILOTS} {GOAL}",
        f"next-runs chinchilla.nc {PILOTS} --budget 40",
        f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget much",
    ],
)
@pytest.mark.usefixtures("files")
def test_a_command_line_that_makes_no_sense_is_2(run: Run, words: str) -> None:  # noqa: F811
    done = run(*words.split())
    assert (done.status, done.out) == (2, "")
    assert "Usage" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget 1", "buys none of the 2 candidates"),
        (f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget 40 --target 2.0", "a target is"),
        (f"next-runs chinchilla.nc {PILOTS} {GOAL} --budget 40 --cost hours", "unknown column 'hours'"),
        (f"plan --flops 1e18 --budget 1e17 {GOAL}", "buys none of the 5 candidates"),
        (f"plan --flops 1e18 --budget 1e19 {GOAL} --law chincila", "Did you mean 'chinchilla'"),
    ],
)
@pytest.mark.usefixtures("files")
def test_an_error_is_one_message(run: Run, words: str, said: str) -> None:  # noqa: F811
    done = run(*words.split())
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("bayescale: ") and said in " ".join(done.err.split())


def test_nothing_is_left_behind_by_a_refusal(run: Run, tmp_path: Path) -> None:  # noqa: F811
    run("plan", "--flops", "0", "-o", "plan.csv")
    assert list(tmp_path.iterdir()) == []

"""What the benchmark of decisions counts, without a fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.decisions import go_no_go


def test_every_target_of_every_run_is_a_decision() -> None:
    draws = np.array([[1.0, 3.0], [2.0, 3.0]])
    found = go_no_go.decisions("a", draws, 2.0, np.array([1.5, 2.5]))
    assert len(found) == 2 * len(go_no_go.STEPS)
    first = found.iloc[0]  # the first run, at the best that was shown
    assert (first.p, first.met) == (1.0, True)
    assert found.iloc[len(go_no_go.STEPS)].p == 0.0  # the second run, at the same
    assert found.p.iloc[1] == 0.5  # 2 % lower: one draw of two


def test_right_probabilities_are_met_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    found = pd.DataFrame({"source": np.arange(len(p)).astype(str), "p": p, "met": rng.uniform(size=len(p)) < p})
    table = go_no_go.summary(found)
    assert (abs(table["met"] - table["mean p"]) < 4 * table["s.e."]).all()
    assert table.loc["p from 0.9", "met"] == pytest.approx(0.95, abs=0.02)
    sure = found.assign(met=rng.uniform(size=len(p)) < np.sqrt(p))
    assert go_no_go.summary(sure).loc["p within 0.025 of 0.6", "met"] > 0.7


def test_a_source_counts_once_however_many_targets_it_has() -> None:
    found = pd.DataFrame({"source": ["a"] * 99 + ["b"], "p": 0.9, "met": [True] * 99 + [False]})
    assert go_no_go.summary(found).loc["p from 0.9", "met"] == 0.5
    assert go_no_go.summary(found).loc["p within 0.025 of 0.6", "decisions"] == 0


def test_only_the_part_that_is_asked_for_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in go_no_go.PARTS:
        frame = pd.DataFrame({"source": [part], "p": 0.5, "met": True, "fit": part, "converged": True})
        monkeypatch.setattr(go_no_go, f"_{part}", lambda seed, frame=frame: [frame])
    assert go_no_go.measure(["curves"]).source.tolist() == ["curves"]
    assert go_no_go.measure().source.tolist() == ["curves", "tables"]
    with pytest.raises(SystemExit, match="no such part: curve; there are curves, tables"):
        go_no_go.measure(["curve"])

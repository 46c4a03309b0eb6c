"""Tables of benchmark scores: what is read, what is refused, and how it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import DataError
from bayescale.data.eval_recipes import EVAL_RECIPES
from bayescale.data.evals import Evals, melt


def _scores(**changes: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "family": ["A", "A", "B", "B"],
            "model": ["A-1", "A-2", "B-1", "B-2"],
            "params": [1e9, 7e9, 1e9, 7e9],
            "tokens": [1e12, 1e12, 2e12, np.nan],
            "task": "mmlu",
            "accuracy": [0.3, 0.5, 0.28, 0.6],
            "chance": 0.25,
            "n_items": 1000,
        }
    )
    return frame.assign(**changes)


def test_compute_is_derived_and_what_is_not_known_is_noted() -> None:
    evals = Evals.from_frame(_scores())
    np.testing.assert_allclose(evals.table["flops"], [6e21, 4.2e22, 1.2e22, np.nan])
    assert any("1 models is not known" in note for note in evals.notes)
    assert Evals.from_frame(_scores()).digest == evals.digest != Evals.from_frame(_scores(n_items=900)).digest
    assert evals.subset(np.array([True, True, False, False])).families == ("A",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy": [30.0, 50.0, 28.0, 60.0]}, "looks like per cent: divide by 100"),
        ({"accuracy": [0.3, 1.2, 0.28, 0.6]}, "got 1.2 in row 1"),
        ({"accuracy": [0.3, -0.1, 0.28, 0.6]}, "got -0.1 in row 1"),
        ({"accuracy": [0.3, np.inf, 0.28, 0.6]}, "finite number"),
        ({"accuracy": ["a", 0.2, 0.28, 0.6]}, "'a' in row 0"),
        ({"model": ["A-1", "A-1", "B-1", "B-2"], "params": 1e9}, "has the scores 0.3 and 0.5 in rows 0 and 1"),
        ({"model": ["A-1", "A-2", "A-1", "B-2"]}, "is in the families 'A', 'B'"),
        ({"task": ["mmlu", "mmlu", "mmlu", "other"]}, "'other': one model has a score"),
        ({"chance": [0.25, 0.25, 0.2, 0.25]}, "one rate a task, got 0.2, 0.25 for 'mmlu'"),
        ({"params": [7, 7e9, 1e9, 7e9]}, "looks like billions"),
        ({"n_items": 0}, "n_items: expected a count"),
        ({"family": ["A", "", "B", "B"]}, "empty cell in row 1"),
    ],
)
def test_faults_name_the_rows(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match="cannot be used") as caught:
        Evals.from_frame(_scores(**changes))
    assert said in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        Evals.from_frame(_scores(accuracy=[0.3, 1.2, 0.28, 0.6], n_items=0, chance=[0.25, 0.2, 0.25, 0.25]))
    assert len(caught.value.faults) == 3


def test_columns_are_named_and_missed() -> None:
    renamed = _scores().rename(columns={"accuracy": "score"})
    assert len(Evals.from_frame(renamed, columns={"accuracy": "score"})) == 4
    with pytest.raises(DataError, match="there is no column 'accuracy'"):
        Evals.from_frame(renamed)
    with pytest.raises(DataError, match="Did you mean 'accuracy'"):
        Evals.from_frame(renamed, columns={"acuracy": "score"})


def test_scores_below_chance_and_absent_ones_are_noted() -> None:
    evals = Evals.from_frame(_scores(accuracy=[0.24, 0.5, np.nan, 0.6]))
    assert len(evals) == 3
    assert any("below chance (row 0)" in note for note in evals.notes)
    assert any("1 rows without a score" in note for note in evals.notes)
    assert not any("no floor" in note for note in evals.notes)


def test_scores_that_no_guess_explains_are_told_apart() -> None:
    notes = Evals.from_frame(_scores(accuracy=[0.24, 0.5, 0.1, 0.6])).notes
    (note,) = (note for note in notes if "no floor" in note)
    assert "1 scores of" in note
    assert "(row 2)" in note
    assert "chance 0" in note
    # Of twenty items a guesser has so few right now and then.
    few = Evals.from_frame(_scores(accuracy=[0.24, 0.5, 0.1, 0.6], n_items=20)).notes
    assert not any("no floor" in note for note in few)
    assert any("below chance (row" in note for note in few)


def test_a_part_with_a_task_of_one_model_is_noted() -> None:
    whole = Evals.from_frame(_scores())
    task, model = whole.table["task"], whole.table["model"]
    first = sorted(set(task))[0]
    part = whole.subset(~((task == first) & (model != model[task == first].iloc[0])).to_numpy())
    assert set(part.notes) - set(whole.notes) == {
        f"{first!r}: one model has a score, which says nothing of others; drop the task or add models"
    }
    assert part.subset(np.ones(len(part), dtype=bool)).notes == part.notes
    assert whole.subset(np.ones(len(whole), dtype=bool)).notes == whole.notes
    with pytest.raises(DataError, match="keeps none"):
        whole.subset(np.zeros(len(whole), dtype=bool))


def test_a_wide_table_is_melted() -> None:
    wide = pd.DataFrame({"family": ["A", "A"], "model": ["a", "b"], "params": [1e9, 2e9], "x": [0.3, 0.5], "y": [0.2, np.nan]})
    evals = Evals.from_wide(wide.assign(z=[0.1, 0.2]), ["x", "z"], chance={"x": 0.25}, n_items={"z": 100})
    assert len(evals) == 4
    assert evals.table.groupby("task")["chance"].first().to_dict() == {"x": 0.25, "z": 0.0}
    with pytest.raises(DataError, match="unknown column 'q'"):
        melt(wide, ["q"])


@pytest.mark.parametrize("name", EVAL_RECIPES)
def test_recommended_rows_are_scores(name: str, request: pytest.FixtureRequest) -> None:
    if name.startswith("observational"):
        request.getfixturevalue("mirror")
    evals = Evals.from_frame(bs.load_dataset(name, evals=True))
    assert len(evals) > 500
    assert evals.table["tokens"].max() < 1e14

"""Bad tables: each fault is named with its rows, all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import BayescaleError, DataError
from bayescale.data.runs import Runs, as_runs
from bayescale.data.schema import near, rows_text


def table() -> pd.DataFrame:
    params = np.array([1e8, 2e8, 4e8, 1e9, 3e9])
    return pd.DataFrame({"family": list("aabbb"), "params": params, "tokens": 20 * params, "loss": [3.3, 3.1, 2.9, 2.7, 2.5]})


def faults_of(df: Any, **asked: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        Runs.from_frame(df, **asked)
    assert isinstance(caught.value, BayescaleError)
    assert isinstance(caught.value, ValueError)
    for fault in caught.value.faults:
        assert fault in str(caught.value)
    return caught.value.faults


def with_cells(column: str, cells: dict[int, Any]) -> pd.DataFrame:
    df = table()
    df[column] = df[column].astype(object)
    for row, cell in cells.items():
        df.loc[row, column] = cell
    return df


@pytest.mark.parametrize(
    ("column", "cells", "said"),
    [
        ("params", {2: np.nan}, "params: expected a number, got NaN in row 2 (fill the cells in, or drop the rows)"),
        ("params", {2: None}, "params: expected a number, got NaN in row 2 (fill the cells in, or drop the rows)"),
        ("params", {2: ""}, "params: expected a number, got NaN in row 2 (fill the cells in, or drop the rows)"),
        (
            "tokens",
            {0: pd.NA, 4: pd.NA},
            "tokens: expected a number, got NaN in rows 0 and 4 (fill the cells in, or drop the rows)",
        ),
        ("loss", {3: np.nan}, "loss: expected a number, got NaN in row 3 (fill the cells in, or drop the rows)"),
        ("params", {1: np.inf}, "params: expected a finite number, got inf in row 1"),
        ("tokens", {1: -np.inf}, "tokens: expected a finite number, got -inf in row 1"),
        ("loss", {1: np.inf}, "loss: expected a finite number, got inf in row 1"),
        ("params", {4: 0}, "params: expected a number above 0, got 0 in row 4"),
        ("tokens", {0: -5e9, 1: -1}, "tokens: expected a number above 0, got -5e+09, -1 in rows 0 and 1"),
        ("params", {1: "1,000"}, "params: expected a number, got text: '1,000' in row 1"),
        ("params", {1: "70B", 3: "7B"}, "params: expected a number, got text: '70B' in row 1, '7B' in row 3"),
        ("loss", {0: "n/a"}, "loss: expected a number, got text: 'n/a' in row 0"),
        ("loss", {0: True}, "loss: expected a number, got text: 'True' in row 0"),
        ("loss", {0: [1, 2]}, "loss: expected a number, got text: '[1, 2]' in row 0"),
    ],
)
def test_a_bad_cell_is_named(column: str, cells: dict[int, Any], said: str) -> None:
    assert faults_of(with_cells(column, cells)) == (said,)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_response_of_zero_or_below_has_no_logarithm(value: float) -> None:
    (said,) = faults_of(with_cells("loss", {2: value}))
    assert said.startswith(f"loss: expected a response above 0, since the noise is on its logarithm, got {value:g} in row 2")
    assert "noise=StudentT(on='plain')" in said


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("loss_sd", 0.0, "loss_sd: expected a number above 0, got 0 in row 1"),
        ("loss_sd", -0.1, "loss_sd: expected a number above 0, got -0.1 in row 1"),
        ("loss_sd", np.inf, "loss_sd: expected a finite number, got inf in row 1"),
        ("params_sd", -1.0, "params_sd: expected a number of at least 0, got -1 in row 1"),
        ("tokens_sd", np.inf, "tokens_sd: expected a finite number, got inf in row 1"),
        ("step", -1.0, "step: expected a number of at least 0, got -1 in row 1"),
    ],
)
def test_standard_errors_and_steps_have_rules_of_their_own(column: str, value: float, said: str) -> None:
    assert faults_of(table().assign(**{column: [0.1, value, 0.1, 0.1, 0.1]})) == (said,)


def test_params_in_billions() -> None:
    (said,) = faults_of(table().assign(params=[0.1, 0.2, 0.4, 1, 3]))
    assert said == (
        "params: expected a count of parameters of at least 10000, got 0.1 to 3 in rows 0, 1, 2 … (5 in all); "
        "looks like billions: multiply by 1e9 (millions: by 1e6)"
    )


@pytest.mark.parametrize("df", [table().iloc[:0], table()[table()["loss"] > 9]])
def test_an_empty_table(df: pd.DataFrame) -> None:
    assert faults_of(df) == ("the table is empty: expected at least one run a row, got 0 rows",)


def test_a_table_without_anything() -> None:
    said = faults_of(pd.DataFrame())
    assert "the table is empty" in said[0]
    assert any("there is no column 'loss' (the response)" in fault for fault in said)


@pytest.mark.parametrize("data", [None, [1, 2], {"params": [1e9], "loss": [2.0]}, np.ones((3, 2)), "runs.csv", table()["loss"]])
def test_what_is_no_table(data: object) -> None:
    with pytest.raises(DataError, match=f"expected a pandas DataFrame or a Runs, got {type(data).__name__}"):
        as_runs(data)


@pytest.mark.parametrize(
    ("rename", "asked", "said"),
    [
        ({"loss": "loss_nats"}, {}, "there is no column 'loss' (the response). Did you mean 'loss_nats'?"),
        ({"loss": "los"}, {}, "Did you mean 'los'? Then say columns={'loss': 'los'}."),
        ({"params": "parms"}, {}, "column 'parms' is not known. Did you mean 'params'? Then say columns={'params': 'parms'}"),
        ({"params": "Params"}, {}, "column 'Params' is not known. Did you mean 'params'?"),
        ({"tokens": "token"}, {}, "column 'token' is not known. Did you mean 'tokens'?"),
        (
            {},
            {"columns": {"params": "parms"}},
            "columns={'params': 'parms'}: there is no column 'parms'. Did you mean 'params'?",
        ),
        ({}, {"groups": ["familly"]}, "there is no column 'familly' (the group). Did you mean 'family'?"),
        ({"tokens": "words"}, {"covariates": ["params", "tokens"]}, "there is no column 'tokens' (the covariate)."),
        ({"tokens": "words"}, {"covariates": ["flops"]}, "there is no column 'flops' (the covariate)."),
        ({}, {"units": {"los": "nats"}}, "units['los']: 'los' is not among the columns used. Did you mean 'loss'?"),
        (
            {},
            {"conventions": {"parms": "total"}},
            "conventions['parms']: 'parms' is not among the columns used. Did you mean 'params'?",
        ),
        ({}, {"groups": ["params"]}, "'params' is a number, so it cannot be a group"),
    ],
)
def test_a_missing_or_misspelt_column_suggests_the_near_name(rename: dict[str, str], asked: dict[str, Any], said: str) -> None:
    faults = faults_of(table().rename(columns=rename), **asked)
    assert any(said in fault for fault in faults), faults


def test_a_missing_column_lists_those_that_are_there() -> None:
    assert faults_of(table(), columns={"loss": "xyz"}) == (
        "columns={'loss': 'xyz'}: there is no column 'xyz'. Columns of the table: family, params, tokens, loss",
    )


def test_a_table_without_a_covariate() -> None:
    (said,) = faults_of(table()[["family", "loss"]])
    assert said.startswith("there is no covariate: expected at least one of params, tokens, flops")


def test_other_numbers_are_ignored_however_odd() -> None:
    df = table().assign(gflops=-1.0, n_params=0.0, wall_time=np.inf, learning_rate=np.nan)
    assert Runs.from_frame(df).covariates == ("params", "tokens", "flops", "tokens_per_param")


def test_text_in_a_covariate_of_the_users_own() -> None:
    df = table().assign(width=["256", "512", "wide", "1024", "2048"])
    assert faults_of(df, columns={"width": "width"}) == ("width: expected a number, got text: 'wide' in row 2",)


def test_a_column_of_dates_is_no_number() -> None:
    (said,) = faults_of(table().assign(params=pd.date_range("2020-01-01", periods=5)))
    assert said.startswith("params: expected numbers, got a column of datetime64")


def test_numbers_that_came_as_text_are_numbers() -> None:
    df = table().assign(params=["1e8", "2e8", " 4e8 ", "1000000000", "3e9"])
    np.testing.assert_array_equal(Runs.from_frame(df).table["params"], table()["params"])


def test_integers_beyond_64_bits_are_numbers() -> None:
    flops = [5695677343708741632000 * (i + 1) for i in range(5)]
    assert Runs.from_frame(table().assign(flops=pd.Series(flops, dtype=object))).table["flops"].iloc[0] == float(flops[0])


def test_nullable_columns_are_numbers() -> None:
    assert Runs.from_frame(table().astype({"params": "Int64"})).table["params"].dtype == np.float64
    df = table().astype({"params": "Int64"})
    df.loc[1, "params"] = pd.NA
    assert "got NaN in row 1" in faults_of(df)[0]


def test_a_column_that_is_there_twice() -> None:
    df = pd.concat([table(), table()[["params"]]], axis=1)
    assert faults_of(df) == ("column 'params' is there 2 times: rename or drop all but one",)


def test_the_same_run_twice() -> None:
    df = pd.concat([table(), table().iloc[[1, 3]]])
    (said,) = faults_of(df)
    assert said.startswith("the same run is there more than once: rows 1 and 5; 3 and 6 are equal in every column")
    assert faults_of(pd.concat([table(), table().iloc[[1, 1]]]))[0].startswith(
        "the same run is there more than once: rows 1 and 5 and 6"
    )


@pytest.mark.parametrize("column", ["seed", "run", "step", "family", "tokens", "loss"])
def test_runs_that_differ_somewhere_are_not_the_same(column: str) -> None:
    other: Any = {"seed": 2, "run": "x", "step": 2, "family": "z", "tokens": 1e9, "loss": 2.0}[column]
    df = table().assign(seed=1, run="r", step=1)
    twice = pd.concat([df, df.iloc[[1]]], ignore_index=True)
    assert len(faults_of(twice)) == 1
    twice[column] = [*twice[column][:5], other]
    assert len(Runs.from_frame(twice)) == 6


def test_a_column_that_pandas_wrote_as_the_index_does_not_hide_a_copy() -> None:
    df = pd.concat([table(), table().iloc[[1]]], ignore_index=True)
    df["Unnamed: 0"] = range(6)
    assert "rows 1 and 5" in faults_of(df)[0]


def test_runs_that_differ_in_a_column_left_out_are_not_the_same() -> None:
    df = pd.concat([table(), table().iloc[[1]]], ignore_index=True)
    df["tokens"] = [0.0, 1e9, 2e9, 3e9, 4e9, 5e9]
    assert len(Runs.from_frame(df, covariates=["params"])) == 6


def test_every_fault_is_told_at_once() -> None:
    df = with_cells("params", {0: "many", 1: 0}).assign(tokens=[np.nan, 1e9, np.inf, 1e9, 1e9], loss=[1, -1, np.nan, 1, 1])
    faults = faults_of(df, groups=["famly"], columns={"width": "wide"}, units={"lss": "nats"})
    assert len(faults) == 9
    for part in (
        "'many' in row 0",
        "params: expected a number above 0, got 0 in row 1",
        "tokens: expected a number, got NaN in row 0",
        "tokens: expected a finite number, got inf in row 2",
        "loss: expected a number, got NaN in row 2",
        "loss: expected a response above 0",
        "no column 'famly'",
        "no column 'wide'",
        "units['lss']",
    ):
        assert any(part in fault for fault in faults), part
    with pytest.raises(DataError, match="the table of 5 rows cannot be used, 9 faults:"):
        Runs.from_frame(df, groups=["famly"], columns={"width": "wide"}, units={"lss": "nats"})


def test_many_rows_are_counted_not_listed() -> None:
    df = pd.DataFrame({"params": np.linspace(1e8, 1e9, 50), "loss": 0.0})
    assert "got 0 … in rows 0, 1, 2 … (50 in all)" in faults_of(df)[0]


@pytest.mark.parametrize(
    ("rows", "text"),
    [([3], "row 3"), ([3, 4], "rows 3 and 4"), ([3, 4, 5], "rows 3, 4 and 5"), (range(9), "rows 0, 1, 2 … (9 in all)")],
)
def test_rows_text(rows: Any, text: str) -> None:
    assert rows_text(rows) == text


@pytest.mark.parametrize(("name", "meant"), [("los", "loss"), ("loss_nats_c4_validation", "loss"), ("zzz", None)])
def test_near(name: str, meant: str | None) -> None:
    assert near(name, ["loss", "params"]) == meant

"""``Runs``: what it takes, what it derives, and that the user's frame is left alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError
from bayescale.data.runs import Runs, as_runs


def table(n: int = 6) -> pd.DataFrame:
    params = np.logspace(8, 10, n)
    tokens = np.tile([2e10, 2e11, 1e11], n)[:n]
    family = np.where(np.arange(n) % 2 == 0, "A", "B")
    return pd.DataFrame({"family": family, "params": params, "tokens": tokens, "loss": 2 + 50 * params**-0.2})


def test_known_columns_are_kept_in_float64_and_the_index_counts_rows() -> None:
    runs = Runs.from_frame(table().assign(params=lambda t: t["params"].astype(int)).set_index(pd.Index(list("uvwxyz"))))
    assert list(runs.table) == ["loss", "params", "tokens", "flops", "tokens_per_param", "family"]
    assert (runs.table[list(runs.covariates)].dtypes == np.float64).all()
    assert runs.table.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert runs.table.index.name == "run"
    assert runs.groups == ("family",)
    assert runs.response == "loss"
    assert len(runs) == 6


def test_flops_are_derived_and_the_convention_recorded() -> None:
    runs = Runs.from_frame(table())
    np.testing.assert_array_equal(runs.table["flops"], 6 * runs.table["params"] * runs.table["tokens"])
    assert runs.conventions["flops"] == "6ND"
    assert runs.notes == ("flops derived as 6·params·tokens",)
    np.testing.assert_array_equal(runs.table["tokens_per_param"], runs.table["tokens"] / runs.table["params"])


def test_recorded_flops_are_kept_as_they_are() -> None:
    runs = Runs.from_frame(table().assign(flops=np.arange(1, 7) * 1e20))
    np.testing.assert_array_equal(runs.table["flops"], np.arange(1, 7) * 1e20)
    assert "flops" not in runs.conventions
    assert runs.notes == ()


def test_tokens_are_never_derived() -> None:
    runs = Runs.from_frame(table().assign(flops=1e20 * np.arange(1, 7)).drop(columns="tokens"))
    assert "tokens" not in runs.table


def test_columns_map_our_name_to_the_tables() -> None:
    df = table().rename(columns={"loss": "loss_nats", "params": "n", "family": "kind"})
    runs = Runs.from_frame(df, columns={"loss": "loss_nats", "params": "n", "family": "kind"})
    np.testing.assert_array_equal(runs.table["params"], df["n"])
    assert runs.groups == ("family",)


def test_a_mapped_column_wins_over_one_of_our_name() -> None:
    df = table().assign(other=lambda t: 2 * t["params"])
    np.testing.assert_array_equal(Runs.from_frame(df, columns={"params": "other"}).table["params"], df["other"])


def test_the_response_may_have_any_name() -> None:
    runs = Runs.from_frame(table().rename(columns={"loss": "error"}).assign(loss=7.0, error_sd=0.1), response="error")
    assert runs.response == "error"
    assert "loss" not in runs.table
    assert runs.table["error_sd"].tolist() == [0.1] * 6


def test_numbers_that_nobody_knows_are_kept_out_and_one_that_is_named_is_a_covariate() -> None:
    df = table().assign(width=[256, 512, 768, 1024, 1536, 2048], learning_rate=1e-3)
    assert not {"width", "learning_rate"} & set(Runs.from_frame(df).table)
    runs = Runs.from_frame(df, columns={"width": "width"})
    assert "width" in runs.covariates
    assert Runs.from_frame(df, covariates=["width"]).table["width"].dtype == np.float64


def test_numbers_named_as_groups_become_labels() -> None:
    runs = Runs.from_frame(table().assign(width=[256, 256, 512, 512, 1024, 1024.0]), groups=["width"])
    assert runs.groups == ("width", "family")
    assert runs.table["width"].tolist() == ["256", "256", "512", "512", "1024", "1024"]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pd.Categorical(["x", "y", "x", "y", "x", "y"]), ["x", "y", "x", "y", "x", "y"]),
        ([True, False, True, False, True, False], ["True", "False"] * 3),
        ([" x ", "y"] * 3, ["x", "y"] * 3),
    ],
)
def test_text_categories_and_truth_values_are_group_columns(column: object, labels: list[str]) -> None:
    runs = Runs.from_frame(table().assign(kind=column))
    assert runs.groups == ("family", "kind")
    assert runs.table["kind"].tolist() == labels


def test_a_group_column_with_holes_is_left_out_unless_it_is_asked_for() -> None:
    df = table().assign(note=[None, "odd", None, None, None, None])
    runs = Runs.from_frame(df)
    assert runs.groups == ("family",)
    assert "note left out as a group column: 5 of 6 rows have no label" in runs.notes
    with pytest.raises(DataError, match=r"note: expected a label, got none in rows 0, 2, 3 … \(5 in all\)"):
        Runs.from_frame(df, groups=["note"])


def test_identifiers_are_labels_that_may_be_missing() -> None:
    runs = Runs.from_frame(table().assign(seed=[1, 2, None, 1, 2, 3], run=list("abcdef"), step=[0, 10, 20, 30, 40, 50]))
    assert runs.table["seed"].tolist() == ["1", "2", "", "1", "2", "3"]
    assert runs.table["step"].dtype == np.float64
    assert runs.groups == ("family",)
    assert runs.table.index.name == "row"


def test_units_and_conventions_are_words_or_columns() -> None:
    df = table().assign(kind=["total", "non-embedding"] * 3)
    runs = Runs.from_frame(df, units={"loss": "nats/token"}, conventions={"params": "kind"})
    assert runs.units["loss"] == "nats/token"
    assert runs.units["tokens"] == "tokens"
    assert runs.conventions["params"] == "kind"
    assert "kind" in runs.groups


def test_a_word_is_not_mistaken_for_a_column_of_numbers() -> None:
    runs = Runs.from_frame(table(), units={"tokens": "tokens"})
    assert runs.table["tokens"].dtype == np.float64


def test_a_column_of_units_with_holes_is_a_fault() -> None:
    with pytest.raises(DataError, match="kind: expected a label, got none in row 1"):
        Runs.from_frame(table().assign(kind=["a", None, "a", "a", "b", "b"]), units={"loss": "kind"})


def test_standard_errors_are_kept_and_may_be_unknown_for_some() -> None:
    runs = Runs.from_frame(table().assign(loss_sd=[0.1, None, 0.1, 0.1, 0.1, 0.1], params_sd=0.0, tokens_sd=1e9))
    assert list(runs.table)[5:8] == ["loss_sd", "params_sd", "tokens_sd"]
    assert "loss_sd is not known for 1 of 6 runs" in runs.notes
    assert "loss_sd" not in runs.covariates


def test_a_response_that_may_be_negative() -> None:
    df = table().assign(loss=[-1.0, 0, 1, 2, 3, 4])
    assert Runs.from_frame(df, positive_response=False).table["loss"].min() == -1


def test_runs_that_differ_in_the_response_alone_are_replicates() -> None:
    df = pd.concat([table(), table().iloc[[2, 4]].assign(loss=3.0)], ignore_index=True)
    assert "4 runs share all covariates and groups with another: taken as replicates" in Runs.from_frame(df).notes


def test_an_ignored_column_tells_runs_of_equal_loss_apart() -> None:
    df = pd.concat([table(), table().iloc[[2]]], ignore_index=True).assign(learning_rate=np.arange(7))
    runs = Runs.from_frame(df)
    assert any("same loss too; ignored columns differ (learning_rate)" in note for note in runs.notes)


def test_a_covariate_unknown_for_whole_families_is_left_out() -> None:
    df = table().assign(tokens=lambda t: t["tokens"].where(t["family"] == "A"))
    runs = Runs.from_frame(df)
    assert runs.covariates == ("params",)
    assert runs.notes == ("tokens left out: not known for family B (3 runs)",)
    with pytest.raises(DataError, match=r"tokens: expected a number, got NaN in rows 1, 3 and 5"):
        Runs.from_frame(df, covariates=["params", "tokens"])
    with pytest.raises(DataError, match=r"tokens: expected a number, got NaN"):
        Runs.from_frame(df, columns={"tokens": "tokens"})


def test_a_stray_hole_is_a_fault_although_each_run_has_a_name_of_its_own() -> None:
    df = table().assign(tokens=lambda t: t["tokens"].where(t.index != 2), model=list("uvwxyz"))
    with pytest.raises(DataError, match=r"tokens: expected a number, got NaN in row 2"):
        Runs.from_frame(df)


def test_an_empty_column_is_as_good_as_none() -> None:
    runs = Runs.from_frame(table().assign(tokens=np.nan))
    assert runs.covariates == ("params",)
    assert "tokens left out: the column is empty" in runs.notes


def test_faults_of_covariates_that_are_not_used_leave_those_out() -> None:
    df = table().assign(tokens=[0, 1e9, 1e9, 1e9, 1e9, 1e9])
    runs = Runs.from_frame(df, covariates=["params"])
    assert runs.covariates == ("params",)
    assert any(note.startswith("tokens left out, as it was not asked for and cannot be used") for note in runs.notes)
    with pytest.raises(DataError, match="tokens: expected a number above 0, got 0 in row 0"):
        Runs.from_frame(df, covariates=["flops"])


def test_the_users_frame_is_untouched() -> None:
    df = table().assign(note=["x", None] * 3, text_number="5", flops=lambda t: t["params"].astype(object))
    before, columns, dtypes = df.copy(deep=True), list(df), df.dtypes.tolist()
    runs = Runs.from_frame(df, groups=["family"], columns={"flops": "flops"})
    runs.table.loc[:, "loss"] = -99.0
    pd.testing.assert_frame_equal(df, before)
    assert list(df) == columns
    assert df.dtypes.tolist() == dtypes


def test_the_digest_follows_the_content_alone() -> None:
    runs = Runs.from_frame(table())
    assert len(runs.digest) == 64
    assert (
        runs.digest == Runs.from_frame(table().set_index(pd.Index(range(6, 12)))[["loss", "tokens", "family", "params"]]).digest
    )
    assert runs.digest != Runs.from_frame(table().assign(loss=lambda t: t["loss"] + 1e-12)).digest
    assert runs.digest != Runs.from_frame(table().replace({"family": {"A": "C"}})).digest
    assert runs.digest != Runs.from_frame(table(), units={"loss": "bits"}).digest
    assert runs.digest != Runs.from_frame(table().iloc[::-1]).digest


def test_subset_keeps_the_row_numbers_and_the_metadata() -> None:
    runs = Runs.from_frame(table(), units={"loss": "nats/token"})
    part = runs.subset(runs.table["family"] == "B")
    assert part.table.index.tolist() == [1, 3, 5]
    assert (part.units, part.notes, part.groups) == (runs.units, runs.notes, runs.groups)
    assert part.digest != runs.digest
    assert len(runs) == 6


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros(6, bool), "the mask keeps none of the runs"),
        ([True], r"boolean mask of shape \(6,\), got bool of shape \(1,\)"),
        ([0, 1, 2, 3, 4, 5], r"boolean mask of shape \(6,\), got int64"),
    ],
)
def test_subset_refuses_what_is_no_mask(mask: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Runs.from_frame(table()).subset(mask)


def test_codes_count_labels_in_alphabetical_order() -> None:
    codes, labels = Runs.from_frame(table()).codes("family")
    assert labels == ("A", "B")
    assert codes.tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(DataError, match=r"unknown group column 'famly'\. Did you mean 'family'\?"):
        Runs.from_frame(table()).codes("famly")


def test_it_shows_itself() -> None:
    runs = Runs.from_frame(table(), units={"loss": "<nats>"})
    assert repr(runs) == "Runs(6 runs, loss ~ params, tokens, flops, tokens_per_param, by family)"
    html = runs._repr_html_()
    assert "<b>6 runs</b>" in html
    assert "flops derived as 6·params·tokens" in html
    assert "&lt;nats&gt;" in html


def test_as_runs_gives_runs_back_unchanged() -> None:
    runs = Runs.from_frame(table(), conventions={"params": "total"})
    assert as_runs(runs) is runs
    assert (
        as_runs(runs, groups=["family"], covariates=["flops"], conventions={"params": "total"}, columns={"params": "p"}) is runs
    )
    assert as_runs(table()).digest == Runs.from_frame(table()).digest


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"response": "error"}, "these runs have the response 'loss', not 'error'"),
        ({"groups": ["famly"]}, "unknown group column 'famly'. Did you mean 'family'?"),
        ({"groups": ["params"]}, "unknown group column 'params'"),
        ({"covariates": ["width"]}, "unknown covariate 'width'"),
        ({"columns": {"width": "w"}}, "unknown column 'width'"),
        ({"units": {"loss": "bits"}}, "units of 'loss' were read as None, not 'bits'"),
    ],
)
def test_as_runs_says_what_given_runs_lack(asked: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        as_runs(Runs.from_frame(table()), **asked)


def test_as_runs_checks_the_sign_of_given_runs() -> None:
    runs = Runs.from_frame(table().assign(loss=[-1.0, 1, 1, 1, 1, 1]), positive_response=False)
    with pytest.raises(DataError, match="loss: expected a response above 0"):
        as_runs(runs)


def test_importing_the_data_layer_loads_neither_jax_nor_what_is_slow() -> None:
    code = (
        "import sys, bayescale.data.runs, bayescale.data.inspection, bayescale.data.datasets, bayescale.data.bundled, "
        "bayescale.data.recipes, bayescale.data.remote, bayescale.data.tidy_training\n"
        "print([name for name in ('jax', 'numpyro', 'pandera', 'pooch', 'requests', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

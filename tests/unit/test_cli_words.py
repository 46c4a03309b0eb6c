"""From words of the command line to values, and from values to JSON and text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

import bayescale as bs
from bayescale.cli import parse, show


def test_pairs_are_read_and_slips_are_usage_errors() -> None:
    assert parse.pairs(["loss=loss_nats", " params = n "], "--column", "A=B") == {"loss": "loss_nats", "params": "n"}
    for words in (["loss"], ["=x"], ["x="], ["a=b", "a=c"]):
        with pytest.raises(typer.BadParameter):
            parse.pairs(words, "--column", "A=B")


def test_a_point_holds_numbers_and_labels() -> None:
    table = parse.points(["params=7e10,tokens=1.4e12,family=Mamba"])
    assert table.to_dict("records") == [{"params": 7e10, "tokens": 1.4e12, "family": "Mamba"}]


def test_a_label_that_looks_like_a_number_stays_a_label() -> None:
    assert parse.points(["params=1e9,width=512"], labels=["width"]).to_dict("records") == [{"params": 1e9, "width": "512"}]


def test_a_label_with_a_comma_is_quoted() -> None:
    assert parse.points(['params=1e9,"text=Pile, test"'])["text"].tolist() == ["Pile, test"]


@pytest.mark.parametrize("name", ["points.csv", "points.tsv", "points.parquet"])
def test_a_file_of_points_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"params": [1e9, 2e9], "family": ["a", "b"]})
    parse.write_table(table, tmp_path / name)
    pd.testing.assert_frame_equal(parse.points([str(tmp_path / name)]), table)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_columns_of_nested_groups_are_split() -> None:
    got = parse.poolings(["alpha=architecture/family", "A=family"], ["E=dataset"])
    expected = {
        "alpha": bs.PartialPooling(("architecture", "family")),
        "A": bs.PartialPooling("family"),
        "E": bs.NoPooling("dataset"),
    }
    assert got == expected


def test_a_probe_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "fit.nc"
    kept.write_bytes(b"earlier")
    before = kept.stat().st_mtime_ns
    assert parse.writable(kept) == kept
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == (b"earlier", before)
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(bs.SavedFileError, match="cannot be made"):
        parse.folder(tmp_path / below)


def test_json_has_no_nan_and_no_infinity() -> None:
    value = {
        "nan": float("nan"),
        "up": np.inf,
        "down": -np.inf,
        "array": np.array([1.5, np.nan]),
        "frame": pd.DataFrame({"a": [1.0, np.inf], "b": ["x", None], "c": pd.array([1, None], dtype="Int64")}),
        "status": bs.Status.PASS,
        "finding": bs.Finding("data", bs.Status.FAIL, "bad"),
        "path": Path("fit.nc"),
        "flag": np.bool_(True),
        "none": None,
    }
    got = json.loads(show.as_json(value), parse_constant=lambda word: pytest.fail(word))
    assert (got["nan"], got["up"], got["down"], got["array"]) == (None, "inf", "-inf", [1.5, None])
    assert got["frame"] == [{"a": 1.0, "b": "x", "c": 1}, {"a": "inf", "b": None, "c": None}]
    assert (got["status"], got["path"], got["flag"], got["none"]) == ("PASS", "fit.nc", True, None)
    assert got["finding"]["status"] == "FAIL"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Then say columns={'loss': 'nats'}.", "Then say --column loss=nats."),
        ("columns={'loss': \"the model's loss\"}: none", """--column 'loss=the model'"'"'s loss': none"""),
        ("axes={'x': 'params'} or axes={'x': 'tokens'}", "--axis x=params or --axis x=tokens"),
        ("priors={...} changes them, columns are as they were", "priors={...} changes them, columns are as they were"),
    ],
)
def test_advice_is_in_the_words_of_the_command_line(said: str, shown: str) -> None:
    assert show.in_options(said) == shown


def test_numbers_of_a_column_have_as_many_decimals() -> None:
    assert show.cells([1.65, 1.572, float("nan")]) == ["1.650", "1.572", "–"]
    assert show.cells([0.2647, 0.3]) == ["0.2647", "0.3000"]
    assert show.cells([7e10, float("inf")]) == ["7e+10", "never"]
    assert show.cells([3, 12]) == ["3", "12"]
    assert show.cells([True, False]) == ["yes", "no"]


def test_a_table_in_a_pipe_has_no_padding_and_keeps_long_labels(capsys: pytest.CaptureFixture[str]) -> None:
    label = "linear attention, data-independent decay (TNL)"
    show.table(
        pd.DataFrame({"architecture": [label], "alpha": [0.31234]}), "a title that is longer than the table is wide " * 2
    )
    out = capsys.readouterr().out
    assert label in out
    assert "0.3123" in out
    assert all(line == line.rstrip() for line in out.splitlines()[1:])

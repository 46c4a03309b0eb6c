"""``fit``, ``compare`` and ``stack`` on the command line: what they pass on, keep and save. No sampling here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import bayescale as bs
from tests.fakes import fake_fit
from tests.unit.test_cli import Run, files, made, no_sampling, run, runs_table  # noqa: F401 - fixtures

LAWS = ["power_law.nc", "power_law_offset.nc"]


@pytest.mark.usefixtures("files")
def test_fit_takes_the_words_of_the_model(run: Run, no_sampling: list[dict[str, Any]]) -> None:  # noqa: F811
    table = runs_table().rename(columns={"loss": "loss_nats"}).assign(architecture="dense", text="web")
    table.to_parquet("runs.parquet")
    words = (
        "fit runs.parquet --law power_law_offset -c loss=loss_nats -x x=params -p alpha=architecture/family --no-pool E=text"
    )
    words += " --noise gaussian --priors literature --sampler hmc --draws 200 --seed 7 --no-strict -o out.nc --json"
    done = run(*words.split())
    (call,) = no_sampling
    pooling = {"alpha": bs.PartialPooling(("architecture", "family")), "E": bs.NoPooling("text")}
    expected = bs.ScalingModel(
        "power_law_offset", axes={"x": "params"}, pooling=pooling, noise=bs.Gaussian(), priors="literature"
    )
    assert call["model"] == expected
    assert (call["sampler"], call["seed"], call["strict"]) == (bs.Hmc(draws=200), 7, False)
    assert list(call["runs"].table["loss"]) == list(table["loss_nats"])
    assert bs.load("out.nc").model == expected
    assert done.json["file"] == "out.nc"
    assert {row["parameter"] for row in done.json["parameters"]} == {"E", "A", "alpha", "sigma"}


@pytest.mark.usefixtures("files")
def test_fit_shows_every_parameter_of_the_noise(run: Run, no_sampling: list[dict[str, Any]]) -> None:  # noqa: F811
    done = run("fit", "runs.csv", "-l", "power_law", "-x", "x=params", "-o", "out.nc", "--json")
    rows = {row["parameter"]: row for row in done.json["parameters"]}
    assert set(rows) == {"A", "alpha", "sigma", "nu"}
    assert rows["nu"]["median"] == pytest.approx(float(bs.load("out.nc").posterior["nu"].median()))
    assert rows["nu"]["lower"] < rows["nu"]["median"] < rows["nu"]["upper"]


@pytest.mark.usefixtures("files")
def test_draws_that_do_not_agree_are_kept_and_so_is_what_was_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def fit(model: bs.ScalingModel, data: Any, **settings: Any) -> bs.Fit:
        raise bs.ConvergenceError("the chains do not agree", fake_fit(model, data))

    before = Path("fit.nc").read_bytes()
    monkeypatch.setattr(bs, "fit", fit)
    done = run("fit", "runs.csv", "--law", "power_law", "-x", "x=params", "-o", "fit.nc")
    assert done.status == 1
    assert "kept in fit.unconverged.nc" in done.err
    assert "the chains do not agree" in done.err
    assert bs.load("fit.unconverged.nc").model.law.name == "power_law"
    assert Path("fit.nc").read_bytes() == before


@pytest.mark.usefixtures("files")
def test_compare_says_what_the_public_function_says(run: Run) -> None:  # noqa: F811
    expected = bs.compare({Path(name).stem: bs.load(name) for name in LAWS})
    done = run("compare", *LAWS, "--json")
    assert [row["fit"] for row in done.json["fits"]] == list(expected.index)
    assert [row["elpd"] for row in done.json["fits"]] == list(expected["elpd"])
    assert "forecasts of larger runs" in run("compare", *LAWS).out


@pytest.mark.usefixtures("files")
def test_stack_saves_what_other_commands_take(run: Run, no_sampling: list[dict[str, Any]]) -> None:  # noqa: F811
    words = "--along params --cutoffs 1e9,3e9 --by family --seed 5 -o all.nc --json"
    done = run("stack", *LAWS, *words.split())
    assert [call["model"].law.name for call in no_sampling] == ["power_law", "power_law_offset"]
    for call in no_sampling:
        assert (call["along"], call["cutoffs"], call["by"], call["seed"]) == ("params", [1e9, 3e9], "family", 5)
    ensemble = bs.load("all.nc")
    assert isinstance(ensemble, bs.Ensemble)
    assert done.json["weights"] == dict(ensemble.weights)
    assert [row["candidate"] for row in done.json["evidence"]] == [*ensemble.weights, "stacked", "picked"]
    predicted = run("predict", "all.nc", "--at", "params=2e10", "--json").json["points"][0]
    assert predicted["median"] == bs.summarize(bs.predict(ensemble, {"params": 2e10}))["median"].item()
    findings = run("review", "all.nc", "--at", "params=2e10", "--json").json["findings"]
    assert {"weights", "disagreement"} <= {finding["check"] for finding in findings}
    assert run("decide", "all.nc", "-t", "loss<=9", "--at", "params=2e10").status in (0, 20)
    again = run("stack", *LAWS, "all.nc")
    assert again.status == 1
    assert "all.nc is an ensemble: name the files of its members (power_law, power_law_offset)" in again.err


@pytest.mark.usefixtures("files")
def test_stack_picks_and_counts(run: Run, no_sampling: list[dict[str, Any]]) -> None:  # noqa: F811
    Path("other").mkdir()
    shutil.copy("power_law.nc", "other/power_law_offset.nc")
    done = run("stack", "power_law_offset.nc", "other/power_law_offset.nc", "--pick", "--cutoffs", "2", "--json")
    assert {call["cutoffs"] for call in no_sampling} == {2}
    assert done.json["weights"] == {"power_law_offset": 0.0, "other/power_law_offset": 1.0}

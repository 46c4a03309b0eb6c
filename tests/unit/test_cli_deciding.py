"""``decide`` and ``optimal`` on the command line: several targets, stakes, what a budget pays for. No sampling here."""

from __future__ import annotations

from typing import Any

import pytest

import bayescale as bs
from tests.unit.test_cli import Run, files, made, run  # noqa: F401 - fixtures


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["-t", "loss<=2.05", "-t", "loss>=1.5", "--probability", "0.8"], bs.AllOf(["loss<=2.05", "loss>=1.5"], 0.8)),
        (
            ["-t", "loss<=2.05", "--value", "5e6", "--cost", "1e6", "--wrong", "2e6", "--missed", "3e5", "--unit", "USD"],
            bs.Utility("loss<=2.05", value=5e6, cost=1e6, wrong=2e6, missed=3e5, unit="USD"),
        ),
        (["-t", "loss<=2.05", "-t", "loss>=1.5", "--value", "2"], bs.Utility(bs.AllOf(["loss<=2.05", "loss>=1.5"]), value=2)),
    ],
    ids=["several", "utility", "utility of several"],
)
def test_decide_takes_several_targets_and_what_they_are_worth(run: Run, words: list[str], rule: Any) -> None:  # noqa: F811
    fitted, where = bs.load("fit.nc"), {"params": [3e10], "family": ["Mamba"]}
    expected = bs.decide(bs.predict(fitted, where), rule, bs.review(fitted, where))
    done = run("decide", "fit.nc", *words, "--at", "params=3e10,family=Mamba", "--json")
    assert (done.json["rule"], done.json["verdict"]) == (str(expected.rule), expected.verdict)
    assert (done.json["probability"], done.json["utility"]) == (expected.probability, expected.utility)


@pytest.mark.usefixtures("files")
def test_stakes_without_a_value_are_refused(run: Run) -> None:  # noqa: F811
    done = run("decide", "fit.nc", "-t", "loss<=2", "--wrong", "5", "--unit", "USD", "--at", "params=3e10,family=Mamba")
    assert done.status == 2
    assert "--wrong, --unit" in done.err
    assert "--value" in done.err


@pytest.mark.usefixtures("files")
def test_optimal_takes_serving_and_the_data_there_are(run: Run) -> None:  # noqa: F811
    fitted, cost = bs.load("chinchilla.nc"), bs.Cost(inference_tokens=1e13)
    expected = bs.summarize(bs.compute_optimal(fitted, [1e23], cost=cost, max_tokens=1e12))
    done = run("optimal", "chinchilla.nc", "--flops", "1e23", "--inference-tokens", "1e13", "--max-tokens", "1e12", "--json")
    medians = {row["quantity"]: row["median"] for row in done.json["optima"]}
    assert medians["params"] == pytest.approx(expected.xs("params", level="quantity")["median"].item())
    assert medians["tokens"] <= 1e12

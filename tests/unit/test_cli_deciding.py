"""``decide`` and ``optimal`` on the command line: several targets, stakes, what a budget pays for. No sampling here."""

from __future__ import annotations

from typing import Any

import pytest

import bayescale as bs
from tests.fake_evals import INTERCEPTS, fake_capability_fit, scores_table
from tests.unit.test_cli import Run, files, made, run  # noqa: F401 - fixtures

TASK = next(iter(INTERCEPTS))


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
def test_a_utility_is_told_in_words(run: Run) -> None:  # noqa: F811
    said = run("decide", "fit.nc", "-t", "loss<=2.05", "--value", "5", "--at", "params=3e10,family=Mamba").out
    assert "expected utility of GO less that of NO_GO" in said
    assert "Target(" not in said


@pytest.mark.usefixtures("files")
def test_a_target_below_the_floor_has_a_reason(run: Run) -> None:  # noqa: F811
    done = run("decide", "fit.nc", "-t", "loss<=1", "--at", "params=3e10,family=Mamba", "--json")
    assert (done.json["verdict"], done.json["probability"]) == ("NO_GO", 0.0)
    assert "lies below what any scale reaches" in " ".join(f["message"] for f in done.json["findings"])
    allowed = run("decide", "fit.nc", "-t", "loss<=2.2", "--at", "params=3e10,family=Mamba", "--json")
    assert "floor" not in {f["check"] for f in allowed.json["findings"]}


def test_decide_takes_a_fit_to_scores(run: Run) -> None:  # noqa: F811
    fitted = fake_capability_fit(bs.CapabilityModel(1), scores_table(), sd=0.01)
    bs.save(fitted, "scores.nc")
    point = {"family": "F1", "params": 1e11, "tokens": 1e13, "task": TASK}
    expected = bs.decide(bs.predict(fitted, point), "accuracy>=0.2", bs.review(fitted, point))
    done = run("decide", "scores.nc", "-t", "accuracy>=0.2", "--at", f"family=F1,params=1e11,tokens=1e13,task={TASK}", "--json")
    assert (done.json["verdict"], done.json["probability"]) == (expected.verdict, expected.probability)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "words",
    [
        ["report", "fit.nc"],
        ["forecast", "runs.csv"],
        ["next-runs", "fit.nc", "--candidate", "params=1e9,family=Mamba,cost=1", "--budget", "1"],
        ["plan", "--flops", "1e19", "--budget", "1e20"],
    ],
    ids=lambda words: words[0],
)
def test_a_second_target_is_not_lost_without_a_word(run: Run, words: list[str]) -> None:  # noqa: F811
    done = run(*words, "-t", "loss<=2.2", "-t", "loss<=2.0", "--at", "params=3e10,family=Mamba")
    assert done.status == 2
    assert "expected one target, got 2" in done.err


@pytest.mark.usefixtures("files")
def test_optimal_says_whether_to_rely_on_it(run: Run) -> None:  # noqa: F811
    found = {f["check"]: f for f in run("optimal", "chinchilla.nc", "--flops", "1e30", "--json").json["findings"]}
    assert "lies outside what was run" in found["inside the runs"]["message"]
    assert "inside the runs" in run("optimal", "chinchilla.nc", "--flops", "1e30").out


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

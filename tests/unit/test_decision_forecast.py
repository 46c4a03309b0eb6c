"""``forecast``: the whole way from a table to a decision, and how it shows itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.core.frozen import FrozenMap
from bayescale.data.runs import Runs
from bayescale.decision import forecast as module
from bayescale.decision.decide import decide
from bayescale.decision.forecast import Forecast, describe, forecast
from bayescale.decision.rules import Threshold
from bayescale.evaluate.recommend import recommended
from bayescale.infer.fit import Fit
from bayescale.models.noise import StudentT
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.predict import predict
from tests.fakes import fake_fit


def table(runs: int = 30, seed: int = 0) -> pd.DataFrame:
    """Runs of 1e7 to 1e10 params with 1 % of noise."""
    params = np.logspace(7, 10, runs)
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.01, runs))
    return pd.DataFrame({"params": params, "loss": (1.8 + 0.4 * (params / 10**8.5) ** -0.3) * noise})


#: The truth as the recommended law states it, about the largest run: no plateau, and a floor that is most of the response.
FAKE = {"level": 1.942, "floor": 0.927, "bend": -20.0, "width": 0.6, "alpha": 0.3}


def truth(params: float) -> float:
    return float(1.8 + 0.4 * (params / 10**8.5) ** -0.3)


@pytest.fixture
def no_sampling(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """``fit`` replaced by a fake of known draws; what it was called with."""
    calls: list[dict[str, Any]] = []

    def fake(model: ScalingModel, data: Runs, **asked: Any) -> Fit:
        calls.append({"model": model, "data": data, **asked})
        return fake_fit(model, data, FAKE, sd=0.002, draws=300)

    monkeypatch.setattr(module, "fit", fake)
    return calls


def test_from_a_table_to_a_decision() -> None:
    """One real fit, the only one here: its 90 % intervals hold the truth, inside the runs and a little outside."""
    found = forecast(table(), {"params": [1e9, 2e10]}, target="loss<=2.3", progress=False)
    assert found.model == recommended(table())
    assert found.draws["loss"].dims == ("chain", "draw", "point")
    shown = found.table()
    assert shown["params"].tolist() == [1e9, 2e10]
    for row, params in enumerate([1e9, 2e10]):
        assert shown["lower"].iloc[row] < truth(params) < shown["upper"].iloc[row]
    assert (found.table(0.5)["lower"] > shown["lower"]).all()
    assert not found.review.only(Status.FAIL), found.review
    assert found.decision is not None
    assert found.decision.verdict == "GO"
    assert found.decision.findings == found.review.findings
    assert decide(found.draws, "loss<=1.9", found.review).verdict == "NO_GO"


def test_what_is_passed_on(no_sampling: list[dict[str, Any]]) -> None:
    found = forecast(table(), {"params": 2e10}, seed=5, progress=False)
    assert found.decision is None
    (call,) = no_sampling
    assert call["model"] == recommended(table())
    assert (call["seed"], call["progress"], call["strict"]) == (5, False, False)
    same = forecast(table(), {"params": 2e10}, seed=5)
    other = forecast(table(), {"params": 2e10}, seed=6)
    assert found.draws.identical(same.draws)
    assert not found.draws.identical(other.draws)


def test_a_target_in_words_and_as_a_rule(no_sampling: list[dict[str, Any]]) -> None:
    at = {"params": 2e10}
    in_words, as_rule = (forecast(table(), at, target=t).decision for t in ("loss<=2.2", Threshold("loss", "<=", 2.2)))
    assert in_words is not None
    assert in_words == as_rule
    assert in_words.verdict == "GO"


def test_chains_that_disagree_hold(no_sampling: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(model: ScalingModel, data: Runs, **asked: Any) -> Fit:
        drawn = np.random.default_rng(0).normal(1.94, 0.001, (4, 300)) + np.array([[0.0], [0.01], [0.02], [0.03]])
        return fake_fit(model, data, FAKE | {"level": drawn}, sd=0.002, draws=300)

    monkeypatch.setattr(module, "fit", apart)
    found = forecast(table(), {"params": 2e10}, target="loss<=2.5")
    assert found.review.status is Status.FAIL
    assert found.decision is not None
    assert found.decision.verdict == "HOLD"
    assert "the review fails (convergence)" in str(found)


def test_a_model_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns are read, and its noise says whether the response may be negative."""
    calls: list[Runs] = []

    def reached(model: ScalingModel, data: Runs, **asked: Any) -> Fit:
        calls.append(data)
        raise InterruptedError

    monkeypatch.setattr(module, "fit", reached)
    df = pd.DataFrame({"width": [64.0, 128.0, 256.0], "excess": [0.2, 0.1, -0.1], "team": ["a", "a", "b"]})
    own = ScalingModel("power_law", axes={"x": "width"}, noise=StudentT(on="plain"), pooling={"A": PartialPooling("team")})
    with pytest.raises(InterruptedError):
        forecast(df, {"width": 1e9, "team": "a"}, model=own, response="excess")
    assert (calls[0].response, calls[0].covariates) == ("excess", ("width",))


def test_columns_and_runs_are_taken(no_sampling: list[dict[str, Any]]) -> None:
    df = table().rename(columns={"loss": "nats"})
    mapped = forecast(df, {"params": 2e10}, columns={"loss": "nats"})
    assert mapped.draws.identical(forecast(table(), {"params": 2e10}).draws)
    runs = Runs.from_frame(df, response="nats")
    assert list(forecast(runs, {"params": 2e10}, target="nats<=2").draws) == ["nats"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"target": "los<=2"}, SpecError, "the target is one for 'los', and the response is 'loss'"),
        ({"target": "loss=2"}, SpecError, "a target is"),
        ({"at": {"size": 1e9}}, DataError, "there is no 'params'"),
        ({"at": {"params": -1.0}}, DataError, "expected a number above 0"),
        ({"data": pd.DataFrame()}, DataError, "the table is empty"),
        ({"data": table().assign(loss=-1.0)}, DataError, "expected a response above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_fit(
    change: dict[str, Any], error: type[Exception], said: str, no_sampling: list[dict[str, Any]]
) -> None:
    asked = {"data": table(), "at": {"params": 2e10}, "target": "loss<=2"} | change
    with pytest.raises(error, match=said):
        forecast(asked.pop("data"), asked.pop("at"), **asked)
    assert not no_sampling


def test_it_shows_itself(no_sampling: list[dict[str, Any]]) -> None:
    found = forecast(table(), {"params": [2e10, 1e12]}, target="loss<=2.2")
    text, html = str(found), found._repr_html_()
    assert repr(found) == text and text.splitlines()[0] == "Forecast of loss at 2 points, from 30 runs: GO"
    for said in (
        "Model: bent_power_law(params)",
        "law bent_power_law along params, which varies",
        "90 % intervals",
        "GO: P(loss <= 2.2) = 1",
        "goes far beyond what was seen",
        "calibration: not assessed",
    ):
        assert said in text
    assert "R-hat" not in text
    assert "<table" in html
    assert "GO: P(loss &lt;= 2.2) = 1" in html
    assert "goes far beyond what was seen" in html
    assert str(forecast(table(), {"params": 2e10})).startswith("Forecast of loss at 1 point, from 30 runs\n")


def test_what_a_user_wrote_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    df = pd.concat([table().assign(family=f) for f in (evil, "b")], ignore_index=True)
    df["loss"] *= 1 + 1e-6 * df.index
    model = ScalingModel("power_law_offset", axes={"x": "params"}, pooling={"A": PartialPooling("family")}, reasons=(evil,))
    fit = fake_fit(model, df)
    draws = predict(fit, {"params": 1e9, "family": evil})
    review = Review((Finding(evil, Status.REVIEW, evil, advice=evil),))
    decision = replace(decide(draws, "loss<=2", review), reasons=(evil,))
    html = Forecast(model, fit, review, draws, decision)._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 6


def test_a_model_in_one_line() -> None:
    pooling = {"E": NoPooling(("dataset", "tokenizer")), "alpha": PartialPooling("family")}
    model = ScalingModel("power_law_offset", axes=FrozenMap({"x": "flops"}), pooling=pooling)
    assert describe(model) == "power_law_offset(flops); E one a dataset / tokenizer; alpha partly pooled by family"
    assert describe(ScalingModel("chinchilla")) == "chinchilla(params, tokens)"

"""``scale_for`` and the targets it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import SpecError
from bayescale.core.targets import Target, as_target, higher_is_better, parse_target
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.cost import Cost
from bayescale.prediction.inverse import scale_for
from bayescale.prediction.summary import summarize
from tests.fakes import at_reference, fake_fit

PAPER = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def sizes(response: str = "loss") -> pd.DataFrame:
    params = np.geomspace(1e8, 1e10, 5)
    return pd.DataFrame({"params": params, response: 2 + 50 * params**-0.2})


def offset(sd: float = 0.0, **parameters: Any) -> Fit:
    model = ScalingModel("power_law_offset", axes={"x": "params"})
    return fake_fit(model, sizes(), {"E": 1.5, "A": 1.0, "alpha": 0.3} | parameters, sd=sd)


def test_the_inverse_of_the_law() -> None:
    found = scale_for(offset(), "loss<=2.0")
    np.testing.assert_allclose(found["params"], 1e9 * 2 ** (1 / 0.3), rtol=1e-10)
    assert found["params"].dims == ("chain", "draw")
    assert (found["p_never"].item(), found["p_below"].item()) == (0.0, 0.0)
    assert found.attrs["target"] == "loss<=2"


def test_each_draw_has_its_own() -> None:
    fit = offset(sd=0.05)
    E, A, alpha = (fit.posterior[name] for name in ("E", "A", "alpha"))
    np.testing.assert_allclose(scale_for(fit, 2.0)["params"], 1e9 * (A / (2.0 - E)) ** (1 / alpha), rtol=1e-9)


def test_what_a_target_costs() -> None:
    fit, price = offset(sd=0.05), Cost(lambda t: 3.0 * t["params"], unit="USD")
    found = scale_for(fit, "loss<=2.0", along="cost", cost=price)
    np.testing.assert_allclose(found["cost"], 3.0 * scale_for(fit, "loss<=2.0")["params"], rtol=1e-6)
    assert found["p_never"].item() == scale_for(fit, "loss<=2.0")["p_never"].item()
    near = scale_for(fit, "loss<=2.0", along="cost", cost=price, within=(1e8, 1e9))
    assert near["p_never"].item() == 1.0


def test_a_cost_goes_with_the_axis_and_one_point() -> None:
    price = Cost(lambda t: 3.0 * t["params"], unit="USD")
    with pytest.raises(SpecError, match=r"along='cost' needs cost=Cost\(...\)"):
        scale_for(offset(), "loss<=2.0", along="cost")
    with pytest.raises(SpecError, match="a cost goes with along='cost'"):
        scale_for(offset(), "loss<=2.0", cost=price)
    with pytest.raises(SpecError, match="asked at one point, got 2"):
        scale_for(offset(), "loss<=2.0", along="cost", cost=price, at={"family": ["a", "b"]})


def test_a_target_under_the_floor_is_never_met() -> None:
    floors = np.where(np.arange(200) < 80, 2.1, 1.5) * np.ones((4, 200))
    found = scale_for(offset(E=floors), "loss<=2.0")
    assert found["p_never"].item() == pytest.approx(0.4)
    assert (np.isinf(found["params"]) == (floors > 2)).all()
    row = summarize(found, prob=0.5).loc["params"]
    assert row["p_never"] == pytest.approx(0.4)
    assert row["upper"] == np.inf
    assert row["median"] == pytest.approx(1e9 * 2 ** (1 / 0.3))


def test_beyond_the_range_is_never_and_below_it_is_the_end() -> None:
    found = scale_for(offset(), "loss<=2.0", within=(1e8, 2e9))
    assert found["p_never"].item() == 1.0
    found = scale_for(offset(), "loss<=2.0", within=(1e11, 1e12))
    np.testing.assert_array_equal(found["params"], 1e11)
    assert found["p_below"].item() == 1.0


def test_rows_of_at_are_points() -> None:
    frame = pd.concat([sizes().assign(family="a"), sizes().assign(family="b", loss=lambda t: t["loss"] * 1.1)])
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("family")})
    fit = fake_fit(model, frame, {"A": {"a": 2.2, "b": 2.4}, "alpha": 0.1}, sd=0.0)
    found = scale_for(fit, "loss<=2.0", at={"family": ["b", "a"]})
    assert found["params"].dims == ("chain", "draw", "point")
    assert found["p_never"].dims == ("point",)
    np.testing.assert_allclose(found["params"].mean(("chain", "draw")), [1e9 * 1.2**10, 1e9 * 1.1**10], rtol=1e-10)
    one = scale_for(fit.select(family="a"), "loss<=2.0")
    assert one["params"].mean().item() == pytest.approx(1e9 * 1.1**10)
    assert one["family"].item() == "a"
    assert summarize(one).loc["params", "family"] == "a"
    assert summarize(found)["family"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("along", "path", "expected"),
    [
        (None, {"tokens_per_param": 20}, 2.475666319612e23),
        (None, "optimal", 2.474802447264e23),
        ("params", {"tokens": 1e12}, None),
        ("tokens", {"params": 7e10}, None),
    ],
)
def test_paths_of_a_law_of_size_and_data(along: str | None, path: Any, expected: float | None) -> None:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 4)
    tokens = 20 * params * np.tile(np.geomspace(0.3, 3.0, 4), 4)
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": 2 + 50 * params**-0.2 + np.arange(16) * 1e-4})
    truth = at_reference(fake_fit(ScalingModel("chinchilla"), frame), **PAPER)
    fit = fake_fit(ScalingModel("chinchilla"), frame, truth, sd=0.0, draws=50)
    found = scale_for(fit, "loss<=2.0", along=along, path=path)[along or "flops"].mean().item()
    if along is None:
        N = np.sqrt(found / 120)
        assert path == "optimal" or pytest.approx(2.0, rel=1e-9) == 1.8172 + 482.01 * N**-0.3478 + 2085.43 * (20 * N) ** -0.3658
        assert found == pytest.approx(expected, rel=1e-8)
    elif along == "params":
        assert pytest.approx(2.0, rel=1e-9) == 1.8172 + 482.01 * found**-0.3478 + 2085.43 * 1e12**-0.3658
    else:
        assert pytest.approx(2.0, rel=1e-9) == 1.8172 + 482.01 * 7e10**-0.3478 + 2085.43 * found**-0.3658
    with pytest.raises(SpecError, match="path='optimal'"):
        scale_for(fit, "loss<=2.0")


def test_targets_are_read() -> None:
    assert parse_target("loss<=2.0") == ("loss", "<=", 2.0)
    assert parse_target("  accuracy >  7e-1 ") == ("accuracy", ">", 0.7)
    assert parse_target("loss<2") == ("loss", "<", 2.0)
    assert parse_target("loss>=-2") == ("loss", ">=", -2.0)
    assert str(parse_target("loss <= 2.0")) == "loss<=2"


@pytest.mark.parametrize(
    "text", ["loss", "loss=2", "loss==2", "<=2", "loss<=", "loss<=two", "loss<=nan", "loss<=inf", "1<loss<2", 2.0, ""]
)
def test_targets_that_are_none(text: Any) -> None:
    with pytest.raises(SpecError, match="a target is RESPONSE OP NUMBER"):
        parse_target(text)


def test_a_number_alone_is_the_level_to_reach() -> None:
    assert as_target(2, "loss") == Target("loss", "<=", 2.0)
    assert as_target(0.7, "accuracy") == Target("accuracy", ">=", 0.7)
    assert [higher_is_better(w) for w in ("loss", "error", "passkey_loss", "pass@1", "mmlu_accuracy")] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_a_rule_that_states_a_target() -> None:
    @dataclass(frozen=True)
    class Rule:
        response: str = "loss"
        op: str = "<="
        value: float = 2.0
        probability: float = 0.9

    assert as_target(Rule(), "loss") == Target("loss", "<=", 2.0)
    np.testing.assert_array_equal(scale_for(offset(), Rule())["params"], scale_for(offset(), 2.0)["params"])


@pytest.mark.parametrize(
    ("target", "said"), [("accuracy>=0.7", "response of the fit is 'loss'"), (None, "a target is"), ("x", "a target is")]
)
def test_targets_that_do_not_fit(target: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        scale_for(offset(), target)


def test_a_rising_target_is_met_at_once_or_never() -> None:
    assert scale_for(offset(), "loss>=2.0")["p_below"].item() == 1.0
    assert scale_for(offset(), "loss>9.0", within=(1e9, 1e12))["p_never"].item() == 1.0

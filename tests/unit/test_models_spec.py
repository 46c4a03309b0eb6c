"""A model as plain data and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bayescale.core.errors import SpecError
from bayescale.laws.base import get_law, list_laws
from bayescale.laws.param import Param
from bayescale.models.discrepancy import RunEffect, SlopeDrift
from bayescale.models.noise import BestOf, BestSoFar, Gaussian, StudentT
from bayescale.models.pooling import CompletePooling, NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.models.spec import FORMAT, from_spec, to_spec

NESTED = PartialPooling(("architecture", "family"), across_conventions=True, centered=False)
MODELS = {
    "plain": ScalingModel("power_law"),
    "pooled": ScalingModel("power_law_offset", axes={"x": "params"}, pooling={"alpha": NESTED, "E": NoPooling("text")}),
    "one pooling": ScalingModel("chinchilla", pooling=PartialPooling("family")),
    "complete": ScalingModel("chinchilla", pooling={"alpha": CompletePooling()}),
    "normal": ScalingModel("power_law", noise=Gaussian(on="plain", sigma=Param.positive(0.1, 0.2))),
    "t": ScalingModel("power_law", noise=StudentT(df=np.float32(4), sigma=Param.positive(np.float32(0.1), 0.2))),
    "drift": ScalingModel(
        "power_law", noise=BestSoFar(raw=1.2), discrepancy=SlopeDrift(along="flops", rate=Param.positive(0.3, 0.5))
    ),
    "all options": ScalingModel(
        "power_law",
        noise=StudentT(trend=Param.real(0.0, 0.1), memory=Param.fraction(0.5, 1.0), rounding=np.float64(0.01)),
        discrepancy=(RunEffect(), RunEffect(by="evaluation")),
    ),
    "best of a column": ScalingModel("power_law", noise=BestOf(tries="sweep"), discrepancy=SlopeDrift()),
    "best of a number": ScalingModel("power_law", noise=BestOf(tries=np.int64(8), sigma=Param.positive(0.02, 0.5))),
    "literature": ScalingModel("chinchilla", priors="literature"),
    "own priors": ScalingModel("power_law", priors={"alpha": Param.positive(0.1, 0.3, unit="", doc="mine", group_sd=0.4)}),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_there_and_back_through_json(model: ScalingModel) -> None:
    back = from_spec(json.loads(json.dumps(to_spec(model))))
    assert back == model
    assert hash(back) == hash(model)


@pytest.mark.parametrize("law", list_laws().index)
def test_every_law_survives(law: str) -> None:
    if get_law(law).function.__module__.startswith("bayescale."):
        assert from_spec(json.loads(json.dumps(to_spec(ScalingModel(law))))).law is get_law(law)


def test_a_specification_of_before_there_was_drift_is_read() -> None:
    spec = to_spec(ScalingModel("power_law"))
    assert from_spec({name: value for name, value in spec.items() if name != "discrepancy"}) == ScalingModel("power_law")


def test_reasons_survive_though_they_are_no_part_of_equality() -> None:
    assert from_spec(to_spec(ScalingModel("power_law", reasons=("a", "b")))).reasons == ("a", "b")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "CapabilityModel"}, "CapabilityModel"),
        ({"kind": None}, "expected the specification"),
        ({"format": FORMAT + 1}, "upgrade bayescale"),
        ({"format": "one"}, "format 'one'"),
        ({"noise": {"kind": "StudenT", "on": "log", "sigma": None}}, r"noise 'StudenT'.*'StudentT'"),
        ({"noise": None}, "not whole"),
        ({"pooling": {"alpha": {"kind": "some", "by": ["family"]}}}, "pooling 'some'"),
        ({"axes": {"y": "params"}}, "covariate 'y'"),
        ({"priors": "strong"}, "strong"),
    ],
)
def test_what_is_no_specification_is_refused(change: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        from_spec(to_spec(MODELS["plain"]) | change)


@pytest.mark.parametrize("key", ["law", "axes", "pooling", "noise", "priors", "reasons"])
def test_a_part_that_is_missing_is_named(key: str) -> None:
    spec = to_spec(MODELS["plain"])
    del spec[key]
    with pytest.raises(SpecError, match=rf"not whole.*{key}"):
        from_spec(spec)

"""``uncertainty_shares``: each source alone, and that they add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import SpecError
from bayescale.infer.ensemble import Ensemble
from bayescale.models.discrepancy import SmoothMisfit
from bayescale.models.noise import Gaussian
from bayescale.models.pooling import PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.predict import predict
from bayescale.prediction.shares import SOURCES, uncertainty_shares
from tests.fakes import fake_fit

SIZES = np.geomspace(1e8, 1e10, 6)
RUNS = pd.DataFrame({"params": SIZES, "loss": 2 * (SIZES / 1e9) ** -0.1})
AT = {"params": [1e9, 1e12]}


def power(sd: float = 0.01, sigma: float = 0.01, A: float = 2.0, seed: int = 0) -> object:
    model = ScalingModel("power_law", axes={"x": "params"}, noise=Gaussian())
    return fake_fit(model, RUNS, {"A": A, "alpha": 0.1, "sigma": sigma}, sd=sd, draws=500, seed=seed)


def test_parameters_and_noise() -> None:
    fit = power()
    found = uncertainty_shares(fit, AT)
    np.testing.assert_allclose(found[[f"share_{name}" for name in SOURCES]].sum(axis=1), 1.0)
    # log y = log A - alpha log(x / x0): both scatter by 1 %, the exponent in proportion.
    lever = np.log(1e12 / 1e9) * 0.1
    parameters = 1e-4 * (1 + np.array([0.0, lever]) ** 2)
    np.testing.assert_allclose(found["share_parameters"], parameters / (parameters + 1e-4), rtol=0.1)
    np.testing.assert_allclose(found["sd"], np.sqrt(parameters + 1e-4), rtol=0.05)
    assert (found[["share_family", "share_law", "share_misfit"]] == 0).all(axis=None)
    drawn = np.log(predict(fit, AT)["loss"]).std(("chain", "draw"))
    np.testing.assert_allclose(found["sd"], drawn, rtol=0.05)


def test_an_unseen_family() -> None:
    frame = pd.concat([RUNS.assign(family=f, loss=RUNS["loss"] * g) for f, g in (("a", 0.9), ("b", 1.0), ("c", 1.1))])
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": PartialPooling("family")}, noise=Gaussian())
    fit = fake_fit(model, frame, {"A": [1.8, 2.0, 2.2], "A_mu": 0.7, "A_tau": 0.1, "alpha": 0.1}, sd=0.001, draws=500)
    found = uncertainty_shares(fit, {"params": 1e9, "family": ["a", "new"]})
    assert found["family"].tolist() == ["a", "new"]
    assert found["share_family"][0] == 0.0
    # tau = 0.1 against a noise of 0.01
    assert found["share_family"][1] == pytest.approx(0.99, abs=0.005)
    np.testing.assert_allclose(found[[f"share_{name}" for name in SOURCES]].sum(axis=1), 1.0)


def test_laws_of_an_ensemble() -> None:
    fits = {"one": power(sd=0.001, sigma=0.001), "two": power(sd=0.001, sigma=0.001, A=2.2)}
    found = uncertainty_shares(Ensemble(fits, {"one": 0.5, "two": 0.5}), {"params": 1e9})
    assert found["sd"][0] == pytest.approx(np.log(1.1) / 2, rel=0.01)
    assert found["share_law"][0] > 0.99
    assert uncertainty_shares(Ensemble(fits, {"one": 1.0, "two": 0.0}), {"params": 1e9})["share_law"][0] == 0.0


def test_members_on_different_scales_are_refused() -> None:
    plain = ScalingModel("power_law", axes={"x": "params"}, noise=Gaussian(on="plain"))
    other = fake_fit(plain, RUNS, {"A": 2.0, "alpha": 0.1, "sigma": 0.02}, draws=200)
    both = Ensemble({"log": power(), "plain": other}, {"log": 0.5, "plain": 0.5})
    with pytest.raises(SpecError, match=r"different scales \(log, plain\)"):
        uncertainty_shares(both, {"params": 1e9})


def test_misfit_grows_with_distance() -> None:
    model = ScalingModel("power_law", axes={"x": "params"}, noise=Gaussian(), discrepancy=SmoothMisfit("params"))
    fit = fake_fit(model, RUNS, {"A": 2.0, "alpha": 0.1}, sd=0.001, draws=200)
    found = uncertainty_shares(fit, {"params": [1e9, 1e13]})
    assert found["share_misfit"][1] > found["share_misfit"][0]
    assert found["share_misfit"][1] > 0.05
    np.testing.assert_allclose(found[[f"share_{name}" for name in SOURCES]].sum(axis=1), 1.0)


def test_the_same_seed_gives_the_same_shares() -> None:
    fit = power()
    pd.testing.assert_frame_equal(uncertainty_shares(fit, AT, seed=3), uncertainty_shares(fit, AT, seed=3))
    with pytest.raises(SpecError, match="seed"):
        uncertainty_shares(fit, AT, seed=-1)

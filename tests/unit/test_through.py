"""Two stages: the forecast of a task is the second law at every draw of the first, with the noise of both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, SpecError
from bayescale.decision.decide import decide
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.fit import Fit
from bayescale.models.discrepancy import SlopeDrift
from bayescale.models.noise import Gaussian
from bayescale.models.pooling import NoPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.predict import predict
from bayescale.prediction.summary import summarize
from bayescale.prediction.through import predict_through
from tests.fakes import fake_fit

PARAMS = np.geomspace(1e8, 1e10, 8)
#: Gadre et al., 17 tasks by loss on C4.
EPS, K, GAMMA = 0.850, 2.079, 0.756


def table() -> pd.DataFrame:
    loss = 1.8 + 1.0 * (PARAMS / 1e9) ** -0.3
    family = np.where(np.arange(8) < 4, "a", "b")
    return pd.DataFrame({"family": family, "params": PARAMS, "loss": loss, "error": EPS - K * np.exp(-GAMMA * loss)})


def of_loss(sd: float = 0.0, **more: float) -> Fit:
    model = ScalingModel("power_law_offset", axes={"x": "params"}, noise=Gaussian())
    return fake_fit(model, table(), {"E": 1.8, "A": 1.0, "alpha": 0.3} | more, sd=sd, chains=2, draws=300)


def of_error(sd: float = 0.0, **more: float) -> Fit:
    model = ScalingModel("downstream_error_exp", axes={"loss": "loss"}, noise=Gaussian())
    bare = fake_fit(model, table(), response="error")
    reference = bare.binding.reference["loss"]
    truth = {"eps": EPS, "gain": K * np.exp(-GAMMA * reference), "gamma": GAMMA * reference}
    return fake_fit(model, table(), truth | more, sd=sd, response="error")


def error_of(loss: np.ndarray) -> np.ndarray:
    return EPS - K * np.exp(-GAMMA * loss)


AT = pd.DataFrame({"params": [1e9, 1e11], "loss": [99.0, 99.0]})


def test_the_second_law_is_asked_at_the_forecast_of_the_first() -> None:
    found = predict_through(of_loss(), of_error(), AT, kind="mean")
    loss = predict(of_loss(), AT, kind="mean")["loss"].to_numpy()[0, 0]
    assert dict(found.sizes) == {"chain": 4, "draw": 200, "point": 2}
    np.testing.assert_allclose(found["error"], np.broadcast_to(error_of(loss), (4, 200, 2)), rtol=1e-10)
    assert error_of(np.array([3.0])) == pytest.approx(0.634784, abs=1e-3)  # the authors' own value
    assert found.attrs["law"] == "downstream_error_exp of loss"
    assert "loss" not in found.coords


def test_what_the_first_stage_leaves_open_is_carried() -> None:
    """The spread of the forecast is that of the first law, by the slope of the second, and its draws are paired at random."""
    first = of_loss(sd=0.02)
    loss = predict(first, AT, kind="mean")["loss"].stack(all=("chain", "draw")).transpose("all", "point").to_numpy()
    found = predict_through(first, of_error(), AT, kind="mean")["error"].stack(all=("chain", "draw")).transpose("all", "point")
    slope = GAMMA * K * np.exp(-GAMMA * loss.mean(axis=0))
    np.testing.assert_allclose(found.std("all"), slope * loss.std(axis=0), rtol=0.1)
    exact = np.sort(error_of(loss), axis=0)
    np.testing.assert_allclose(
        np.quantile(found, [0.1, 0.5, 0.9], axis=0), np.quantile(exact, [0.1, 0.5, 0.9], axis=0), rtol=0.005
    )


def test_a_new_run_has_the_noise_of_both_stages() -> None:
    quiet = predict_through(of_loss(sigma=1e-9), of_error(sigma=1e-9), AT)["error"].std(("chain", "draw"))
    of_first = predict_through(of_loss(sigma=0.02), of_error(sigma=1e-9), AT)["error"].std(("chain", "draw"))
    of_both = predict_through(of_loss(sigma=0.02), of_error(sigma=0.02), AT)["error"].std(("chain", "draw"))
    loss = predict(of_loss(), AT, kind="mean")["loss"].to_numpy()[0, 0]
    slope = GAMMA * K * np.exp(-GAMMA * loss) * loss
    assert (quiet < 1e-8).all()
    np.testing.assert_allclose(of_first, 0.02 * slope, rtol=0.1)
    np.testing.assert_allclose(of_both, 0.02 * np.hypot(slope, error_of(loss)), rtol=0.1)


def test_its_draws_are_draws_like_others() -> None:
    found = predict_through(of_loss(sd=0.02), of_error(sd=0.02), {"params": 1e11}, seed=3)
    assert summarize(found).loc[0, "lower"] < error_of(np.array([1.8 + 100**-0.3])) < summarize(found).loc[0, "upper"]
    assert decide(found, "error<=0.9").probability == 1.0
    again = predict_through(of_loss(sd=0.02), of_error(sd=0.02), {"params": 1e11}, seed=3)
    np.testing.assert_array_equal(found["error"], again["error"])


def test_groups_of_either_stage_are_read() -> None:
    model = ScalingModel("power_law_offset", axes={"x": "params"}, pooling={"A": NoPooling("family")}, noise=Gaussian())
    first = fake_fit(model, table(), {"E": 1.8, "A": [1.0, 2.0], "alpha": 0.3}, sd=0.0)
    by_family = predict_through(first, of_error(), {"params": [1e9, 1e9], "family": ["a", "b"]}, kind="mean")["error"][0, 0]
    chosen = predict_through(first.select(family="b"), of_error(), {"params": 1e9}, kind="mean")["error"][0, 0]
    assert by_family[0] < by_family[1] == pytest.approx(chosen.item())
    # The labels of either selection hold for both stages.
    second = ScalingModel("downstream_error_exp", axes={"loss": "loss"}, pooling={"eps": NoPooling("family")}, noise=Gaussian())
    of_task = fake_fit(second, table(), {"eps": [0.8, 0.9], "gain": 0.2, "gamma": 2.0}, sd=0.0, response="error")
    by_label = [
        predict_through(a, b, {"params": 1e9} | more, kind="mean")["error"].to_numpy()
        for a, b, more in (
            (first.select(family="b"), of_task, {}),
            (first, of_task.select(family="b"), {}),
            (first.select(family="b"), of_task.select(family="b"), {}),
            (first, of_task, {"family": "b"}),
        )
    ]
    for one in by_label:
        np.testing.assert_allclose(one, by_label[0], rtol=1e-12)
    with pytest.raises(SpecError, match="the two selections differ in family"):
        predict_through(first.select(family="a"), of_task.select(family="b"), {"params": 1e9})
    with pytest.raises(DataError, match="family"):
        predict_through(first, of_error(), {"params": 1e9}, unseen="error")


def test_stages_that_do_not_meet_are_refused() -> None:
    with pytest.raises(SpecError, match="reads params, not what the first forecasts"):
        predict_through(of_loss(), of_loss(), AT)
    drift = ScalingModel("downstream_error_exp", axes={"loss": "loss"}, noise=Gaussian(), discrepancy=SlopeDrift(along="loss"))
    with pytest.raises(SpecError, match="without a discrepancy"):
        predict_through(of_loss(), fake_fit(drift, table(), response="error"), AT)
    with pytest.raises(SpecError, match="each member"):
        predict_through(of_loss(), Ensemble({"one": of_error()}, {"one": 1.0}), AT)
    with pytest.raises(DataError, match="params"):
        predict_through(of_loss(), of_error(), {"tokens": 1e9})

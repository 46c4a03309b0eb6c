"""``predict``: known draws give known answers, points keep their order, and bad points are refused with reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayescale.core.errors import DataError, SpecError
from bayescale.data.runs import Runs
from bayescale.infer.fit import Fit
from bayescale.laws import base
from bayescale.laws.base import Law, law
from bayescale.laws.param import Param
from bayescale.models.noise import Gaussian, StudentT
from bayescale.models.pooling import PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction import values
from bayescale.prediction.predict import predict
from bayescale.prediction.values import law_values
from tests.fakes import at_reference, fake_fit

PAPER = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def runs() -> pd.DataFrame:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 4)
    tokens = 20 * params * np.tile(np.geomspace(0.3, 3.0, 4), 4)
    loss = PAPER["E"] + PAPER["A"] * params ** -PAPER["alpha"] + PAPER["B"] * tokens ** -PAPER["beta"]
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})


def chinchilla(sd: float = 0.0, noise: object = None, **more: object) -> Fit:
    model = ScalingModel("chinchilla", noise=noise)
    truth = at_reference(fake_fit(model, runs()), **PAPER)
    return fake_fit(model, runs(), truth | more, sd=sd)


def families(sd: float = 0.01) -> Fit:
    params = np.tile(np.geomspace(1e8, 1e10, 3), 2)
    frame = pd.DataFrame({"family": ["a"] * 3 + ["b"] * 3, "params": params, "loss": 4.0 - 0.1 * np.arange(6)})
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": PartialPooling("family")})
    return fake_fit(model, frame, {"A": {"a": 2.0, "b": 3.0}, "alpha": 0.1}, sd=sd)


def test_the_mean_is_the_law_at_each_point_in_the_order_given() -> None:
    fit, at = chinchilla(), runs().iloc[::-1]
    drawn = predict(fit, at, kind="mean")
    assert drawn["loss"].dims == ("chain", "draw", "point")
    np.testing.assert_allclose(drawn["loss"].isel(chain=1, draw=5), at["loss"], rtol=1e-12)
    np.testing.assert_array_equal(drawn["point"], np.arange(16))
    np.testing.assert_array_equal(drawn["params"], at["params"])
    assert (drawn.attrs["kind"], drawn.attrs["seed"]) == ("mean", 0)
    assert drawn["loss"].attrs["units"] == fit.data.units["loss"] if "loss" in fit.data.units else True


def test_the_published_anchor() -> None:
    # laws.md: Besiroglu's refit at 1e9 parameters and 2e10 tokens.
    got = predict(chinchilla(), {"params": 1e9, "tokens": 2e10}, kind="mean")["loss"]
    assert got.mean().item() == pytest.approx(2.530050, abs=1e-6)


@pytest.mark.parametrize("given", [{"tokens_per_param": 20.0}, {"flops": 1.2e20}])
def test_what_follows_from_two_covariates_need_not_be_given(given: dict[str, float]) -> None:
    got = predict(chinchilla(), {"params": 1e9, **given}, kind="mean")
    assert got["loss"].mean().item() == pytest.approx(2.530050, abs=1e-6)
    assert got["tokens"].item() == pytest.approx(2e10)


def test_numbers_and_lists_broadcast() -> None:
    got = predict(chinchilla(), {"params": [1e9, 2e9, 3e9], "tokens": 2e10}, kind="mean")
    assert got.sizes["point"] == 3
    np.testing.assert_array_equal(got["tokens"], [2e10] * 3)


def test_the_response_of_the_table_is_ignored_and_the_table_left_alone() -> None:
    at = runs().head(2).assign(loss=[np.nan, -1.0])
    before = at.copy()
    predict(chinchilla(), at)
    pd.testing.assert_frame_equal(at, before)
    predict(chinchilla(), Runs.from_frame(runs()))


@pytest.mark.parametrize("noise", [Gaussian(), StudentT(df=4.0), StudentT(df=4.0, on="plain")])
def test_a_new_run_scatters_about_the_mean_as_the_noise_says(noise: Gaussian | StudentT) -> None:
    fit = fake_fit(ScalingModel("chinchilla", noise=noise), runs(), {"sigma": 0.03}, sd=0.0, draws=2500)
    at = {"params": 1e9, "tokens": 2e10}
    mean, drawn = predict(fit, at, kind="mean")["loss"], predict(fit, at)["loss"]
    errors = (drawn - mean if noise.on == "plain" else np.log(drawn / mean)).to_numpy().ravel() / 0.03
    expected = stats.norm() if isinstance(noise, Gaussian) else stats.t(4.0)
    assert stats.kstest(errors, expected.cdf).pvalue > 1e-4


def test_a_known_standard_error_widens_the_noise() -> None:
    fit = fake_fit(ScalingModel("chinchilla", noise=Gaussian()), runs(), {"sigma": 0.03}, sd=0.0, draws=2500)
    drawn = predict(fit, {"params": 1e9, "tokens": 2e10, "loss_sd": [np.nan, 0.1, np.nan]})["loss"]
    mean = predict(fit, {"params": 1e9, "tokens": 2e10}, kind="mean")["loss"].mean().item()
    expected = np.array([0.03, np.hypot(0.03, 0.1 / mean), 0.03])
    np.testing.assert_allclose(np.log(drawn).std(("chain", "draw")), expected, rtol=0.04)


def test_groups_are_looked_up_by_label_and_kept_as_coordinates() -> None:
    got = predict(families(0.0), {"params": 1e9, "family": ["b", "a"]}, kind="mean")
    np.testing.assert_allclose(got["loss"].isel(chain=0, draw=0), [3.0, 2.0])
    assert got["family"].to_numpy().tolist() == ["b", "a"]


def test_a_selection_holds_at_every_point() -> None:
    fit = families()
    got = predict(fit.select(family="b"), {"params": [1e9, 1e10]}, kind="mean")
    np.testing.assert_array_equal(got["loss"], predict(fit, {"params": [1e9, 1e10], "family": "b"}, kind="mean")["loss"])
    with pytest.raises(DataError, match="'b' by the selection"):
        predict(fit.select(family="b"), {"params": 1e9, "family": "a"})


def test_the_same_seed_gives_the_same_draws() -> None:
    fit, at = families(), {"params": [1e9, 1e12]}
    np.testing.assert_array_equal(predict(fit, at, seed=3)["loss"], predict(fit, at, seed=3)["loss"])
    assert not np.allclose(predict(fit, at, seed=3)["loss"], predict(fit, at, seed=4)["loss"])


def test_every_fault_of_the_points_is_told_at_once() -> None:
    at = {"params": [1e9, -1.0, np.nan], "token": 1e10}
    with pytest.raises(DataError) as caught:
        predict(chinchilla(), at)
    said = str(caught.value)
    assert "got -1 in row 1" in said
    assert "got NaN in row 2" in said
    assert "no 'tokens', which the law 'chinchilla' needs. Did you mean 'token'?" in said


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"params": [1e9, "lots"], "tokens": 1e10}, "expected a number, got text: 'lots' in row 1"),
        ({"params": 7.0, "tokens": 1e10}, "looks like billions"),
        ({"params": [1e9, 2e9], "tokens": [1e9, 2e9, 3e9]}, "one length"),
        ({"params": [], "tokens": 1e9}, "not be empty"),
        (pd.DataFrame({"params": [], "tokens": []}), "empty table"),
        ([1e9, 2e9], "DataFrame or a dict"),
    ],
)
def test_points_that_make_no_sense(at: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        predict(chinchilla(), at)


def test_a_misspelt_group_column_is_not_an_unseen_group() -> None:
    with pytest.raises(DataError, match=r"column 'famly' is not known. Did you mean 'family'"):
        predict(families(), {"params": 1e9, "famly": "a"})


def test_words_that_are_none() -> None:
    with pytest.raises(SpecError, match=r"unknown word 'means'. Did you mean 'mean'"):
        predict(families(), {"params": 1e9}, kind="means")
    with pytest.raises(SpecError, match="expected a Fit"):
        predict("fit", {"params": 1e9})


def test_laws_of_one_text_and_different_numbers_stay_apart() -> None:
    def make(power: float) -> Law:
        @law("of_a_loop", A=Param.positive(1.0, 1.0))
        def of_a_loop(x: Any, *, A: Any) -> Any:
            return A * x**power

        return of_a_loop

    before = dict(base._REGISTRY)
    made = [make(1.0), make(2.0)]
    base._REGISTRY.clear()
    base._REGISTRY.update(before)
    got = [law_values(item, {"x": np.array([3.0])}, {"A": np.array([1.0])}).item() for item in made]
    assert got == [3.0, 9.0]


def test_pieces_and_blocks_give_what_one_call_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    item, rng = chinchilla().model.law, np.random.default_rng(0)
    ratios = {"params": rng.uniform(0.1, 10, (1, 70)), "tokens": rng.uniform(0.1, 10, (1, 70))}
    drawn = {name: rng.uniform(0.2, 1.0, (300, 1)) for name in item.params}
    expected = drawn["E"] + drawn["A"] * ratios["params"] ** -drawn["alpha"] + drawn["B"] * ratios["tokens"] ** -drawn["beta"]
    np.testing.assert_allclose(law_values(item, ratios, drawn), expected, rtol=1e-13)
    monkeypatch.setattr(values, "BLOCK", 1000)
    np.testing.assert_allclose(law_values(item, ratios, drawn), expected, rtol=1e-13)

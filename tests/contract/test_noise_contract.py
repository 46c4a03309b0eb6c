"""What every kind of noise owes the rest: the density it states, and draws from it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayescale.core.errors import DataError, SpecError
from bayescale.data.runs import Runs
from bayescale.laws.param import Param
from bayescale.models.binding import Binding, bind
from bayescale.models.noise import BestOf, BestSoFar, Gaussian, Noise, StudentT, from_noise_scale, to_noise_scale
from bayescale.models.scaling import ScalingModel
from tests.contract.reference_density import log_likelihood, model_side, reference, size

TREND, MEMORY = Param.real(0.0, 0.3), Param.fraction(0.5, 1.0)
KINDS: dict[str, Noise] = {
    "t": StudentT(),
    "t of known tails": StudentT(df=3.0),
    "t of known scale": StudentT(sigma=Param.positive(0.1, 0.2)),
    "t plain": StudentT(on="plain"),
    "normal": Gaussian(),
    "normal plain": Gaussian(on="plain", sigma=Param.positive(0.5, 1.0)),
    "t with trend": StudentT(trend=TREND, rounding=0.1),
    "t with memory": StudentT(on="plain", memory=MEMORY, df=4.0),
    "normal with all": Gaussian(trend=TREND, memory=MEMORY, rounding=0.2),
    "best of five": BestOf(tries=5),
}


def bound(noise: Noise, *, sd: bool = False, negative: bool = False) -> tuple[Binding, pd.DataFrame]:
    params = np.logspace(8, 10, 6)
    frame = pd.DataFrame({"params": params, "loss": 2.0 * (params / 1e9) ** -0.3 - 2.5 * negative})
    if sd:
        frame["loss_sd"] = np.linspace(0.01, 0.4, 6)
    runs = Runs.from_frame(frame, positive_response=not negative)
    return bind(ScalingModel("power_law", axes={"x": "params"}, noise=noise), runs), runs.table


def test_every_kind_is_here() -> None:
    """Running minima, which are no noise of a run alone, have tests of their own (tests/unit/test_drift.py)."""
    alone = set(get_args(Noise)) - {BestSoFar}
    assert {type(noise) for noise in KINDS.values()} == alone
    for kind in alone - {BestOf}:
        assert {noise.on for noise in KINDS.values() if isinstance(noise, kind)} == {"log", "plain"}


@pytest.mark.parametrize("sd", [False, True], ids=["", "known errors"])
@pytest.mark.parametrize("kind", KINDS)
def test_density_is_the_stated_one(kind: str, sd: bool) -> None:
    binding, frame = bound(KINDS[kind], sd=sd)
    flats = np.random.default_rng(1).normal(0.0, 0.7, (3, size(binding)))
    parameters, ours = model_side(binding, flats)
    theirs = np.array([reference(binding, frame, at, binding.model.law) for at in parameters])
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [name for name, noise in KINDS.items() if noise.on == "plain"])
def test_plain_noise_takes_a_negative_response(kind: str) -> None:
    binding, frame = bound(KINDS[kind], negative=True)
    parameters, ours = model_side(binding, np.zeros((1, size(binding))))
    assert np.isfinite(ours).all()
    assert np.isfinite(log_likelihood(binding, frame, parameters[0])).all()


@pytest.mark.parametrize("kind", [name for name, noise in KINDS.items() if noise.on == "log"])
def test_noise_on_logs_refuses_a_response_of_zero_or_below(kind: str) -> None:
    with pytest.raises(DataError, match=r"positive loss; rows \[2, 3, 4, 5\].*StudentT\(on='plain'\)"):
        bound(KINDS[kind], negative=True)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_of_the_stated_distribution(kind: str) -> None:
    """Kolmogorov-Smirnov over 20 000 draws; one false alarm in 10 000."""
    noise = KINDS[kind]
    nu = np.full(20_000, 5.0) if isinstance(noise, StudentT) and noise.df is None else None
    drawn = noise.draw(np.random.default_rng(0), np.full(20_000, 0.3), nu)
    df = 5.0 if nu is not None else getattr(noise, "df", None)
    expected = stats.norm(scale=0.3) if df is None else stats.t(df, scale=0.3)
    assert stats.kstest(drawn, expected.cdf).pvalue > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_to_the_scale_of_the_noise_and_back(kind: str) -> None:
    y = np.array([0.5, 2.0])
    np.testing.assert_allclose(from_noise_scale(KINDS[kind], to_noise_scale(KINDS[kind], y)), y)
    assert (to_noise_scale(KINDS[kind], y) == y).all() == (KINDS[kind].on == "plain")


def test_far_tails_are_infinite_without_a_warning() -> None:
    assert from_noise_scale(StudentT(), np.array([1e4])) == np.inf


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(SpecError, match="'log' or the 'plain'"):
        StudentT(on="logit")
    with pytest.raises(SpecError, match="degrees of freedom are positive"):
        StudentT(df=0.0)
    for kind in get_args(Noise):
        with pytest.raises(SpecError, match=r"Param\.positive"):
            kind(sigma=Param.real(0.0, 1.0))

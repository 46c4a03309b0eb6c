"""Draws of a discrepancy that is kept as coefficients: at the runs, beyond them, and of what was not fitted."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import bayescale as bs
from bayescale.core.numerics import double_precision
from bayescale.laws.param import Param
from bayescale.models import kalman
from bayescale.models.coefficients import prior_root
from bayescale.models.kalman import Drift
from bayescale.prediction.coefficients import Coefficients
from bayescale.prediction.discrepancy import discrepancy_draws
from tests.fakes import fake_fit

Array = NDArray[np.float64]
RATE, SIZE, EFFECT, MISFIT = 0.6, 0.5, 0.03, 0.02
KNOWN = {"sigma": 0.01, "drift_rate": RATE, "drift_size": SIZE, "effect_size": EFFECT, "misfit_size": MISFIT}
GROWING = bs.SlopeDrift(along="flops", growth=Param.positive(0.15, 0.5))
TILTING = bs.SmoothMisfit(tilt=Param.positive(0.01, 0.5))
PARTS: dict[str, Any] = {
    "drift": bs.SlopeDrift(),
    "drift that grows": GROWING,
    "misfit": bs.SmoothMisfit(),
    "misfit that tilts": TILTING,
    "effect": bs.RunEffect(),
    "all": (GROWING, TILTING, bs.RunEffect()),
}


def table() -> pd.DataFrame:
    """Two families; runs of three checkpoints."""
    rows = [
        (family, f"{family}{i}", n, ratio * n)
        for family, first in (("a", 0), ("b", 1))
        for i, n in enumerate(np.logspace(8, 9.5, 4)[first:])
        for ratio in (5, 20, 90)
    ]
    out = pd.DataFrame(rows, columns=["family", "run", "params", "tokens"])
    out["flops"] = 6 * out["params"] * out["tokens"]
    out["tokens_per_param"] = out["tokens"] / out["params"]
    return out.assign(loss=1.7 + 400 * out["params"] ** -0.34 + 410 * out["tokens"] ** -0.28)


def fitted(parts: Any, coefficients: Any = None, *, pooled: bool = False, seed: int = 0, draws: int = 200) -> bs.Fit:
    """Each draw with coefficients of its own, unless they are given."""
    pooling = {"level": bs.NoPooling("family")} if pooled else {}
    model = bs.ScalingModel("coupled_power_law", discrepancy=parts, pooling=pooling)
    known = {name: value for name, value in KNOWN.items() if name in {*model.assumptions.values()}}
    plain = fake_fit(model, table(), known, sd=0.0, draws=2)
    basis = plain.binding.design.basis
    assert basis is not None
    if coefficients is None:
        coefficients = np.random.default_rng(seed).standard_normal((4, draws, basis.columns.shape[1]))
    return fake_fit(model, table(), known | {"coefficients": coefficients}, sd=0.0, draws=draws)


def root_of(fit: bs.Fit) -> Array:
    """What the model takes for the prior of the coefficients, at the parameters that are the same in all draws."""
    at = {name: float(fit.posterior[name][0, 0]) for part in fit.model.parts for name in part.priors}
    runs, binding = fit.data.table, fit.binding
    values = {}
    for name in fit.model.law.params:
        given = fit.posterior[name][0, 0].to_numpy()
        values[name] = given[np.asarray(binding.design.slots[name].rows)[: len(runs)]] if given.ndim else given
    with double_precision():
        law = fit.model.law(*(np.exp(binding.design.log_x[c][: len(runs)]) for c in ("params", "tokens")), **values)
        loc = np.pad(np.log(np.asarray(law)), (0, len(binding.design.y) - len(runs)))
        return np.asarray(prior_root(binding.design.basis, {n: jnp.asarray(v) for n, v in at.items()}, jnp.asarray(loc)))


def points(number: int = 1, **columns: Any) -> pd.DataFrame:
    """Points like the largest run of the first family, but for what is named."""
    start = table().query("family == 'a'").nlargest(1, "flops")
    return pd.concat([start] * number, ignore_index=True).assign(**columns)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("parts", PARTS)
def test_at_the_runs_draws_are_columns_times_coefficients(parts: str, pooled: bool) -> None:
    """As the model has them: the same order of parts, the same roots."""
    fit = fitted(PARTS[parts], pooled=pooled, draws=20)
    drawn = Coefficients(fit).draw(fit.data.table, np.random.default_rng(0))
    given = fit.tree["discrepancy"]["coefficients"].to_numpy()
    expected = given @ (fit.binding.design.basis.columns[: len(fit.data)] @ root_of(fit)).T
    # The misfit's places leave open up to two per cent of its variance between them, which a draw fills.
    left = 0.0
    if fit.binding.frame.places:
        left = np.sqrt(fit.binding.frame.smooth(np.log(fit.data.table["tokens_per_param"].to_numpy()))[1])
        left = 5 * left * np.hypot(MISFIT, 0.01)
    assert (np.abs(drawn - expected) <= 1e-9 + left).all()
    assert drawn.std() > 1e-4
    np.testing.assert_array_equal(discrepancy_draws(fit, fit.data.table, np.random.default_rng(0)), drawn)


@pytest.mark.parametrize("parts", ["drift", "drift that grows"])
def test_beyond_the_end_the_slope_goes_on_and_reverts(parts: str) -> None:
    """Means, spreads and correlation of 8,000 draws from one set of coefficients, within five standard errors."""
    given = np.random.default_rng(5).standard_normal(8)
    fit = fitted(PARTS[parts], given, draws=2000)
    root = root_of(fit)
    start = (root @ given)[0]
    top, ahead = table()["flops"].max(), np.array([0.5, 3.0])
    drawn = Coefficients(fit).draw(points(2, flops=top * np.exp(ahead)), np.random.default_rng(0)).reshape(-1, 2)
    # The slope of the first knot comes from the stationary distribution of the process.
    process = Drift(np.float64(RATE), np.sqrt(2 * RATE) * root[0, 0])
    mean = (1 - np.exp(-RATE * ahead)) / RATE * start
    variance = np.array([kalman.transition(np, process, step)[2] for step in ahead])
    assert (np.abs(drawn.mean(0) - mean) < 5 * np.sqrt(variance / 8000)).all()
    np.testing.assert_allclose(drawn.var(0) / variance, 1.0, atol=5 * np.sqrt(2 / 8000))
    # Points of one curve are of one path: the covariance is what has come in by the first, carried on.
    _, _, qll, qlw, _ = kalman.transition(np, process, ahead[0])
    carried = qll + qlw * (1 - np.exp(-RATE * np.diff(ahead)[0])) / RATE
    assert np.cov(drawn.T)[0, 1] == pytest.approx(carried, rel=0.1)


def test_the_drift_is_nought_at_the_end_and_joins_on() -> None:
    fit = fitted(PARTS["drift"], pooled=True)
    top = table().query("family == 'b'")["flops"].max()
    at = points(3, flops=top * np.exp([-1e-7, 0.0, 1e-7]), family="b")
    np.testing.assert_allclose(Coefficients(fit).draw(at, np.random.default_rng(0)), 0.0, atol=1e-6)


def test_a_run_keeps_its_effect_and_a_new_one_draws_its_own() -> None:
    fit = fitted(PARTS["effect"], draws=2000)
    at = points(6, run=["b1", "new", "a0", "new", "other", "b1"])
    drawn = Coefficients(fit).draw(at, np.random.default_rng(0))
    effects = EFFECT * fit.tree["discrepancy"]["coefficients"].to_numpy()
    labels = fit.binding.frame.labels["effect_size"]
    np.testing.assert_allclose(drawn[..., 0], effects[..., labels.index("b1")])
    np.testing.assert_allclose(drawn[..., 2], effects[..., labels.index("a0")])
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 5])
    np.testing.assert_array_equal(drawn[..., 1], drawn[..., 3])
    flat = drawn.reshape(-1, 6)
    np.testing.assert_allclose(flat[:, [1, 4]].std(0), EFFECT, rtol=5 / np.sqrt(2 * 8000))
    assert np.abs(np.corrcoef(flat[:, [0, 1, 2, 4]].T) - np.eye(4)).max() < 5 / np.sqrt(8000)
    # Without a column of runs every point is of one new run.
    bare = Coefficients(fit).draw(at.drop(columns="run"), np.random.default_rng(0))
    assert np.ptp(bare, axis=-1).max() == 0
    assert bare.std() == pytest.approx(EFFECT, rel=0.05)


def test_an_unseen_curve_is_nought_at_the_top() -> None:
    fit = fitted(PARTS["drift that grows"], pooled=True, draws=2000)
    top = table()["flops"].max()
    at = points(4, flops=top * np.exp([-3.0, 0.0, 1.0, 3.0]), family=["new"] * 4)
    at = pd.concat([at, points(1, flops=top * np.exp(3.0), family="a")], ignore_index=True)
    drawn = Coefficients(fit).draw(at, np.random.default_rng(0)).reshape(-1, 5)
    np.testing.assert_allclose(drawn[:, 1], 0.0, atol=1e-12)
    spread = drawn.std(0)
    assert 0 < spread[2] < spread[3]
    assert spread[0] == pytest.approx(spread[3], rel=0.08)  # its own mirror image
    assert np.corrcoef(drawn[:, 0], drawn[:, 3])[0, 1] < -0.3  # one path: the slope at the top is common
    assert abs(np.corrcoef(drawn[:, 3], drawn[:, 4])[0, 1]) < 5 / np.sqrt(8000)


def test_beyond_the_ratios_the_misfit_is_new_to_either_side() -> None:
    fit = fitted(PARTS["misfit"], draws=2000)
    ratio = np.array([1e-6, 1e-7, 20.0, 1e8, 1e9])
    drawn = Coefficients(fit).draw(points(5, tokens_per_param=ratio), np.random.default_rng(0)).reshape(-1, 5)
    anchor = fit.binding.frame.anchor
    expected = MISFIT * np.sqrt(1 + anchor @ anchor)  # about the mean over the reference runs, which varies too
    np.testing.assert_allclose(drawn.std(0)[[0, 1, 3, 4]], expected, rtol=5 / np.sqrt(2 * 8000))
    assert drawn.std(0)[2] < expected
    shares = np.corrcoef(drawn.T)
    assert shares[0, 1] > 0.999 and shares[3, 4] > 0.999  # to one side it is one function
    assert shares[0, 3] == pytest.approx(anchor @ anchor / (1 + anchor @ anchor), abs=5 / np.sqrt(8000))


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("parts", PARTS)
def test_there_is_no_nan_anywhere(parts: str, pooled: bool) -> None:
    fit, base = fitted(PARTS[parts], pooled=pooled, draws=20), table()
    far = pd.concat(
        [base.assign(**{c: base[c] * factor for c in ("params", "flops")}) for factor in (1e-3, 1.0, 1e6)], ignore_index=True
    )
    far["tokens_per_param"] = far["tokens"] / far["params"]
    far.loc[::3, ["family", "run"]] = "new"
    drawn = Coefficients(fit).draw(far, np.random.default_rng(0))
    assert drawn.shape == (4, 20, len(far))
    assert np.isfinite(drawn).all()
    loss = bs.predict(fit, far)["loss"].to_numpy()
    assert np.isfinite(loss).all() and (loss > 0).all()


def test_a_forecast_has_the_discrepancy_added() -> None:
    """On the logarithm, the same for points that are alike."""
    zero, one = (fitted(PARTS["effect"], np.full(7, value), draws=20) for value in (0.0, 1.0))
    at = points(1, run="a0")
    before, after = (bs.predict(fit, at)["loss"].to_numpy() for fit in (zero, one))
    np.testing.assert_allclose(after / before, np.exp(EFFECT), rtol=1e-9)


def test_a_saved_fit_forecasts_the_same(tmp_path: Any) -> None:
    fit = fitted(PARTS["all"], draws=20)
    back = bs.load(bs.save(fit, tmp_path / "fit.nc"))
    assert back.model == fit.model
    at = points(2, run=["a0", "new"], flops=1e22)
    np.testing.assert_array_equal(bs.predict(back, at)["loss"], bs.predict(fit, at)["loss"])

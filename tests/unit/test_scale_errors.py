"""Known errors of covariates add to the noise what they move the law by."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from numpyro.handlers import seed, substitute, trace

import bayescale as bs
from bayescale.core.numerics import double_precision
from bayescale.infer.fit import read_runs
from bayescale.models.binding import bind

TABLE = pd.DataFrame(
    {
        "params": [1e8, 3e8, 1e9, 3e9, 1e10],
        "params_sd": [1e7, 0.0, 1e8, 3e8, np.nan],
        "loss": [3.4, 3.0, 2.7, 2.5, 2.35],
    }
)
MODEL = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian())
GIVEN = {"A_latent": np.array([1.0]), "alpha_latent": np.array([np.log(0.3)]), "sigma": 0.01}


def traced(table: pd.DataFrame, model: bs.ScalingModel = MODEL) -> dict:
    with double_precision():
        design = jax.tree.map(jax.numpy.asarray, bind(model, read_runs(model, table)).design)
        return trace(substitute(seed(model, jax.random.key(0)), GIVEN)).get_trace(design, pointwise=True)


def test_the_variance_is_the_square_of_slope_times_relative_error() -> None:
    sd = np.asarray(traced(TABLE)["loss_noise"]["value"])[:5]
    alpha = 0.3
    relative = np.array([0.1, 0.0, 0.1, 0.1, 0.0])
    np.testing.assert_allclose(sd, np.sqrt(0.01**2 + (alpha * relative) ** 2), rtol=1e-6)


def test_without_errors_nothing_is_added() -> None:
    assert "loss_noise" not in traced(TABLE.drop(columns="params_sd"))
    assert "loss_noise" not in traced(TABLE.assign(params_sd=0.0))


@pytest.mark.parametrize("discrepancy", [None, bs.SlopeDrift("params"), bs.SmoothMisfit("params")])
def test_errors_of_scale_widen_the_likelihood_under_every_discrepancy(discrepancy: object) -> None:
    model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian(), discrepancy=discrepancy)
    far = TABLE.assign(loss=[3.4, 3.0, 4.0, 2.5, 2.35])  # the third run is off, and its size is known badly

    def density(table: pd.DataFrame) -> float:
        made = traced(table, model)
        with double_precision():
            sites = [s for s in made.values() if s["type"] == "sample" and s["is_observed"]]
            return float(sum(s["fn"].log_prob(s["value"]).sum() for s in sites))

    exact, badly = far.drop(columns="params_sd"), far.assign(params_sd=[0.0, 0.0, 1e9, 0.0, 0.0])
    assert density(badly) > density(exact) + 10

"""Curves that no falling law suits: an honest wide interval, never a NaN. One compiled program serves them all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

X = 100.0 * np.arange(1, 13)
NOISE = np.random.default_rng(0).standard_normal(12)
CURVES = {
    "two points": (X[:2], np.array([2.0, 1.8])),
    "rising": (X, 1.0 + 0.001 * X + 0.01 * NOISE),
    "noise alone": (X, 2.0 + 0.1 * NOISE),
    "repeated and unsorted scales": (np.repeat(X[:6], 2)[::-1], (2.0 - 0.1 * np.log(np.repeat(X[:6], 2)) + 0.02 * NOISE)[::-1]),
}
#: Least width of the 90 % interval at eight times the largest scale, in log units.
WIDE = {"two points": 0.3, "rising": 0.1, "noise alone": 0.1, "repeated and unsorted scales": 0.03}


@pytest.mark.parametrize("name", CURVES)
def test_the_interval_is_finite_and_wide(name: str) -> None:
    x, y = CURVES[name]
    table = pd.DataFrame({"steps": x, "loss": y})
    model = bs.recommended(table, along="steps")
    fit = bs.fit(model, table, sampler=bs.Nuts(draws=150, max_draws=150), strict=False, progress=False)
    draws = np.log(bs.predict(fit, {"steps": [X.max() * 1.01, X.max() * 8]})["loss"].to_numpy())
    assert np.isfinite(draws).all()
    assert all(np.isfinite(fit.tree["log_likelihood"]["loss"]).to_numpy().ravel())
    near, far = np.quantile(draws, 0.95, axis=(0, 1)) - np.quantile(draws, 0.05, axis=(0, 1))
    assert far > max(near, WIDE[name])

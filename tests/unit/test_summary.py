"""``summarize``: the numbers of a table of draws, with draws that have no value or are infinite."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.prediction.summary import summarize

DIMS = ("chain", "draw", "point")


def draws(values: np.ndarray, **more: object) -> xr.Dataset:
    return xr.Dataset({"loss": (DIMS[: values.ndim], values)}, **more)


def test_a_row_a_point_with_its_coordinates_first() -> None:
    values = np.random.default_rng(0).normal([2.0, 3.0], 0.1, (4, 1000, 2))
    made = draws(values, coords={"params": ("point", [1e9, 1e10]), "family": ("point", ["a", "b"])})
    table = summarize(made, prob=0.8)
    assert list(table.columns) == ["params", "family", "mean", "median", "sd", "lower", "upper", "mcse"]
    assert table.index.name == "point"
    flat = values.reshape(-1, 2)
    np.testing.assert_allclose(table["mean"], flat.mean(0))
    np.testing.assert_allclose(table["sd"], flat.std(0, ddof=1))
    np.testing.assert_allclose(table[["lower", "median", "upper"]].T, np.quantile(flat, [0.1, 0.5, 0.9], axis=0))
    np.testing.assert_allclose(table["mcse"], 0.1 / np.sqrt(4000), rtol=0.15)


def test_the_monte_carlo_error_knows_of_autocorrelation() -> None:
    rng, values = np.random.default_rng(0), np.zeros((4, 1000, 1))
    for i in range(1, 1000):
        values[:, i] = 0.9 * values[:, i - 1] + rng.standard_normal((4, 1))
    table = summarize(draws(values))
    # AR(1) with 0.9 has an effective size of 1/19 of the draws.
    assert table["mcse"].item() == pytest.approx(table["sd"].item() * np.sqrt(19 / 4000), rel=0.3)


def test_infinite_draws_are_beyond_every_quantile() -> None:
    values = np.full((2, 50), np.inf)
    values.ravel()[:60] = np.linspace(1.0, 2.0, 60)
    table = summarize(xr.Dataset({"flops": (("chain", "draw"), values), "p_never": 0.4}), prob=0.9)
    row = table.loc["flops"]
    assert row["p_never"] == pytest.approx(0.4)
    assert row["upper"] == np.inf
    assert row["median"] == pytest.approx(np.quantile(np.linspace(1.0, 2.0, 60), 0.5 * 99 / 59))
    assert row["mean"] == pytest.approx(1.5)
    assert np.isfinite(row["mcse"])


def test_draws_without_a_value_are_left_out_and_counted() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, (4, 100))
    values[0, :40] = np.nan
    row = summarize(xr.Dataset({"params": (("chain", "draw"), values), "p_none": 0.1})).loc["params"]
    there = values[np.isfinite(values)]
    assert row["p_none"] == pytest.approx(0.1)
    assert row["mean"] == pytest.approx(there.mean())
    assert row["lower"] == pytest.approx(np.quantile(there, 0.05))


def test_no_draw_with_a_value_at_all() -> None:
    row = summarize(xr.Dataset({"params": (("chain", "draw"), np.full((2, 5), np.nan)), "p_none": 1.0})).loc["params"]
    assert row["p_none"] == 1.0
    assert np.isnan(row[["mean", "median", "lower", "upper", "mcse"]].to_numpy(float)).all()


def test_several_variables_are_told_apart() -> None:
    made = xr.Dataset(
        {
            "params": (DIMS, np.ones((2, 5, 2))),
            "tokens": (DIMS, np.full((2, 5, 2), 7.0)),
            "exponent": (DIMS[:2], np.full((2, 5), 0.5)),
            "p_none": ("point", [0.0, 0.0]),
        },
        coords={"flops": ("point", [1e20, 1e21])},
    )
    table = summarize(made)
    assert table.index.names == ["quantity", "point"]
    assert table.loc[("tokens", 1), "flops"] == 1e21
    assert table.loc[("tokens", 1), ["mean", "sd", "mcse", "p_none"]].tolist() == [7.0, 0.0, 0.0, 0.0]
    assert len(table.loc["exponent"]) == 1


def test_one_variable_alone() -> None:
    values = np.random.default_rng(0).normal(size=(2, 50, 3))
    array = draws(values)["loss"]
    np.testing.assert_allclose(summarize(array)["mean"], values.mean((0, 1)))


@pytest.mark.parametrize("prob", [0, 1, 90, -0.5, True, "0.9"])
def test_a_probability_lies_between_0_and_1(prob: object) -> None:
    with pytest.raises(SpecError, match="prob lies between 0 and 1"):
        summarize(draws(np.ones((2, 5, 1))), prob=prob)


def test_something_without_draws() -> None:
    with pytest.raises(SpecError, match=r"no variable with dims \(chain, draw\): loss"):
        summarize(xr.Dataset({"loss": ("point", [1.0])}))

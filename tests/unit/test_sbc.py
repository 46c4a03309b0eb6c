"""Simulation-based calibration, with fits that cost nothing: the prior itself, and what is wrong on purpose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.evaluate import sbc as module
from bayescale.evaluate.sbc import Calibration
from benchmarks.recovery import PRIORS

DESIGN = pd.DataFrame({"params": np.geomspace(3e7, 3e10, 12)})
MODEL = bs.ScalingModel("power_law_offset", axes={"x": "params"}, priors=PRIORS)


def ranks(pit: np.ndarray, parameter: str = "alpha") -> pd.DataFrame:
    """Ranks of one parameter, a replicate each."""
    rank = np.floor(pit * 100).astype(int)
    fixed = {"parameter": parameter, "truth": 0.0, "converged": True}
    return pd.DataFrame({"replicate": range(len(pit)), "rank": rank, "pit": pit, **fixed})


def test_uniform_ranks_pass_and_others_do_not() -> None:
    uniform = (np.arange(200) + 0.5) / 200
    good = Calibration(MODEL, ranks(uniform), 99)
    assert good.p_value == 1.0
    assert good.coverage(0.9)[0] == pytest.approx(0.9, abs=0.01)
    # Intervals that are too narrow have the truth outside more often; draws that lie too low have it above them.
    narrow = Calibration(MODEL, ranks(np.clip(0.5 + 2 * (uniform - 0.5), 0.001, 0.999)), 99)
    low = Calibration(MODEL, ranks(np.sqrt(uniform)), 99)
    assert narrow.p_value < 1e-6 > low.p_value
    assert narrow.coverage(0.9)[0] == pytest.approx(0.45, abs=0.01)
    assert low.summary().loc["alpha", "mean_pit"] == pytest.approx(2 / 3, abs=0.01)
    assert narrow.summary().loc["alpha", "coverage_50"] == pytest.approx(0.25, abs=0.01)


def test_the_test_counts_its_parameters() -> None:
    skew = ranks(((np.arange(40) + 0.5) / 40) ** 1.7, "E")
    one = Calibration(MODEL, skew, 99)
    both = Calibration(MODEL, pd.concat([skew, ranks((np.arange(40) + 0.5) / 40)]), 99)
    assert 0 < one.p_value < 0.5
    assert both.p_value == pytest.approx(2 * one.p_value)
    assert both.replicates == 40
    assert list(both.summary().index) == ["E", "alpha"]


def test_a_standard_error_takes_the_replicate_as_its_unit() -> None:
    half = np.where(np.arange(40) < 20, 0.5, 0.99)
    one = Calibration(MODEL, ranks(half), 99)
    twice = Calibration(MODEL, pd.concat([ranks(half), ranks(half, "E")]), 99)
    assert one.coverage(0.9) == twice.coverage(0.9) == (0.5, pytest.approx(0.5 / np.sqrt(39)))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """Fits whose posterior is draws of the prior: whoever learns nothing is calibrated. The tables that were fitted."""
    seen: list[pd.DataFrame] = []
    drawn = module.prior_fit(MODEL, DESIGN, seed=123).posterior
    rng = np.random.default_rng(0)

    def fit(model: bs.ScalingModel, table: pd.DataFrame, **_: Any) -> Any:
        seen.append(table)
        shuffled = drawn.isel(draw=rng.permutation(drawn.sizes["draw"]))
        return SimpleNamespace(posterior=shuffled, convergence=SimpleNamespace(faults=("one",) if len(seen) == 1 else ()))

    monkeypatch.setattr(module, "fit", fit)
    return seen


def test_tables_are_of_the_parameters_that_are_ranked(fitted: list[pd.DataFrame]) -> None:
    found = bs.sbc(MODEL, DESIGN.assign(loss=1e9), n=60, progress=False)
    truth = found.ranks.pivot(index="replicate", columns="parameter", values="truth")
    assert list(truth.columns) == ["A", "E", "alpha", "nu", "sigma"]
    ratios = DESIGN["params"].to_numpy() / np.exp(np.log(DESIGN["params"]).mean())
    law = [row.E + row.A * ratios**-row.alpha for row in truth.itertuples()]
    errors = np.log([table["loss"] for table in fitted]) - np.log(law)
    scales = np.median(np.abs(errors), axis=1) / truth["sigma"]
    # The median of |t| is 0.67 to 1 for any degrees of freedom; of twelve it scatters.
    assert 0.5 < np.median(scales) < 1.0
    assert scales.max() < 4
    assert found.converged == pytest.approx(59 / 60)


def test_whoever_learns_nothing_is_calibrated(fitted: list[pd.DataFrame]) -> None:
    found = bs.sbc(MODEL, DESIGN, n=200, progress=False)
    share, error = found.coverage(0.9)
    assert abs(share - 0.9) < 4 * max(error, 0.01)
    assert found.p_value > 1e-4
    assert "200 simulated tables, 5 parameters" in repr(found)
    assert "mean_pit" in found._repr_html_()
    again = bs.sbc(MODEL, DESIGN, n=40, progress=False)
    assert (again.ranks["truth"] == found.ranks["truth"][: len(again.ranks)]).all()


def test_parameters_of_groups_are_ranked_each() -> None:
    coords = {"chain": [0, 1], "draw": range(60), "family": ["a", "b"]}
    drawn = np.random.default_rng(0).standard_normal((2, 60, 2))
    posterior = xr.Dataset({"alpha": (("chain", "draw", "family"), drawn)}, coords=coords)
    truth = xr.Dataset({"alpha": ("family", [-9.0, 9.0])}, coords={"family": ["a", "b"]})
    found = module._ranks(posterior, truth, np.random.default_rng(0)).set_index("parameter")["rank"]
    assert found.to_dict() == {"alpha[a]": 0, "alpha[b]": module.RANKED}


@pytest.mark.parametrize(
    ("model", "n", "said"),
    [
        (bs.ScalingModel("power_law_offset", axes={"x": "params"}), 40, "multiples of the table's typical loss"),
        (bs.ScalingModel("power_law_offset", noise=bs.BestSoFar(), priors=PRIORS), 40, "best of several runs"),
        (bs.ScalingModel("power_law_offset", noise=bs.Gaussian(), discrepancy=bs.SlopeDrift(), priors=PRIORS), 40, "drift"),
        (
            bs.ScalingModel("power_law_offset", axes={"x": "params"}, noise=bs.StudentT(on="plain"), priors=PRIORS),
            40,
            "of sigma",
        ),
        (bs.ScalingModel("power_law_offset", noise=bs.Gaussian(rounding=0.1), priors=PRIORS), 40, "without rounding"),
        (
            bs.ScalingModel("power_law_offset", noise=bs.StudentT(memory=bs.Param.fraction(0.9, 0.3)), priors=PRIORS),
            40,
            "memory",
        ),
        (MODEL, 39, "from 40"),
        (MODEL, 10_000, "to 1000"),
        (MODEL, True, "from 40"),
        (bs.CapabilityModel(), 40, "ScalingModel, got CapabilityModel"),
    ],
)
def test_what_cannot_be_simulated_is_refused(model: Any, n: int, said: str) -> None:
    with pytest.raises(bs.SpecError, match=said):
        bs.sbc(model, DESIGN, n=n)


def test_a_design_is_a_table_without_errors_of_its_scales() -> None:
    with pytest.raises(bs.SpecError, match="params_sd and tokens_sd"):
        bs.sbc(MODEL, DESIGN.assign(params_sd=1e7), n=40)
    with pytest.raises(bs.DataError, match="got dict"):
        bs.sbc(MODEL, {"params": [1e8]}, n=40)  # type: ignore[arg-type]  # which is what is refused
    with pytest.raises(bs.SpecError, match="seed"):
        bs.sbc(MODEL, DESIGN, n=40, seed=-1)


def test_what_every_draw_has_was_not_learnt() -> None:
    coords = {"chain": [0, 1], "draw": range(60)}
    posterior = xr.Dataset({"fixed": (("chain", "draw"), np.ones((2, 60)))}, coords=coords)
    assert module._ranks(posterior, xr.Dataset({"fixed": 1.0}), np.random.default_rng(0)).empty


def test_a_probability_is_one() -> None:
    with pytest.raises(bs.SpecError, match="between 0 and 1"):
        Calibration(MODEL, ranks(np.full(40, 0.5)), 99).coverage(90)


@pytest.mark.slow
def test_the_sampler_is_calibrated() -> None:
    """Chinchilla's law on twenty runs, 100 tables: uniform ranks with a false alarm in 10 000, coverage within 4 s.e."""
    design = pd.DataFrame({"params": np.geomspace(5e7, 5e9, 20), "tokens": np.geomspace(1e9, 1e12, 20)[np.arange(20) * 7 % 20]})
    found = bs.sbc(bs.ScalingModel("chinchilla"), design, n=100, progress=False)
    share, error = found.coverage(0.9)
    assert abs(share - 0.9) < 4 * error < 0.1
    assert found.p_value > 1e-4
    assert found.converged > 0.9

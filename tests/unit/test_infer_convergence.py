"""The rule that refuses: against ArviZ, and what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.infer.convergence import Agreement, Convergence, diagnose


def posterior(shift: float = 0.0, draws: int = 500) -> xr.Dataset:
    rng = np.random.default_rng(0)
    apart = shift * np.arange(4.0)[:, None]
    dims = ("chain", "draw", "family")
    nested = (*dims, "text")
    return xr.Dataset(
        {
            "alpha": (("chain", "draw"), rng.standard_normal((4, draws)) + apart),
            "A": (dims, rng.standard_cauchy((4, draws, 3))),
            "B": (nested, rng.standard_normal((4, draws, 3, 2))),
        },
        coords={"family": ["x", "y", "z"]},
    )


def none(data: xr.Dataset) -> np.ndarray:
    return np.zeros((4, data.sizes["draw"]), dtype=bool)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_numbers_are_arvizs(shift: float) -> None:
    import arviz as az

    data = posterior(shift)
    found = diagnose(data, none(data))
    theirs = az.summary(data, round_to="none")
    assert sorted(found.table.index[:4]) == ["A[x]", "A[y]", "A[z]", "alpha"]
    for ours, name in (("alpha", "alpha"), ("A[y]", "A[y]")):
        assert found.table.loc[ours, "r_hat"] == pytest.approx(theirs.loc[name, "r_hat"], rel=1e-6)
        assert found.table.loc[ours, "ess_bulk"] == pytest.approx(theirs.loc[name, "ess_bulk"], rel=1e-6)
    tail = az.ess(data, method="tail", prob=(0.05, 0.95))
    assert found.table.loc["alpha", "ess_tail"] == pytest.approx(float(tail["alpha"]), rel=1e-6)
    assert len(found.table) == 1 + 3 + 6


def test_chains_that_agree_pass() -> None:
    data = posterior()
    found = diagnose(data, none(data))
    assert found.faults == ()
    assert found.agreement is Agreement.AGREED
    assert found.draws == 2000


def test_chains_apart_are_told_with_the_parameter_and_its_numbers() -> None:
    data = posterior(shift=1.0)
    found = diagnose(data, none(data))
    assert found.agreement is Agreement.APART
    assert f"R-hat of alpha is {found.worst_rhat:.3f} (at most 1.01)" in found.faults[0]
    row = found.table.loc["alpha"]
    assert any(f"effective sample size of alpha is bulk {row.ess_bulk:.0f}, tail {row.ess_tail:.0f}" in f for f in found.faults)


def test_few_draws_are_near_not_apart() -> None:
    data = posterior(draws=60)
    found = diagnose(data, none(data))
    assert found.agreement is Agreement.NEAR
    assert any("effective sample size" in fault and "at least 400" in fault for fault in found.faults)


def test_divergences_are_a_fault_above_one_in_a_thousand() -> None:
    data = posterior()
    few, many = none(data), none(data)
    few[0, :2] = many[0, :3] = True
    assert diagnose(data, few).faults == ()
    assert diagnose(data, many).faults == ("3 of 2000 draws diverged (at most 0.1%)",)


def test_a_chain_that_stands_still_is_a_fault() -> None:
    data = posterior()
    data["alpha"][:] = 1.0
    data["alpha"][0] = 2.0
    assert any("alpha" in fault for fault in diagnose(data, none(data)).faults)


def test_numbers_that_are_missing_are_a_fault() -> None:
    table = pd.DataFrame({"r_hat": [np.nan], "ess_bulk": [np.nan], "ess_tail": [500.0]}, index=["alpha"])
    found = Convergence(table, 0, 1000)
    assert found.faults
    assert found.agreement is not Agreement.AGREED


def test_the_others_are_named_too() -> None:
    table = pd.DataFrame({"r_hat": [1.02, 1.05, 1.03], "ess_bulk": 500.0, "ess_tail": 500.0}, index=["a", "b", "c"])
    assert Convergence(table, 0, 1000).faults == ("R-hat of b is 1.050 (at most 1.01), and 2 more: c, a",)


def test_some_parameters_alone_have_the_diagnostics_that_they_have_among_all() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 300, 2)) + np.array([0.0, 1.0])[:, None].repeat(2, 0)[:, :, None] * np.array([0.0, 1.0])
    posterior = xr.Dataset(
        {"a": (("chain", "draw"), rng.standard_normal((4, 300))), "b": (("chain", "draw", "family"), values)},
        coords={"family": ["x", "y"]},
    )
    whole = diagnose(posterior)
    assert whole.missed == ("b[y]",)
    assert whole.agreement is Agreement.APART
    some = diagnose(posterior, names=whole.missed)
    pd.testing.assert_frame_equal(some.table, whole.table.loc[["b[y]"]])

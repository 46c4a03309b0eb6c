"""``fit_many``: tables that share a program, what is told of bad ones, and what is compiled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import ConvergenceError, DataError, SpecError
from bayescale.infer import batch
from tests.compilations import compilations

MODEL = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian())
SHORT = bs.Hmc(draws=200, max_steps=8)
ALPHA = {"a": 0.1, "b": 0.3, "c": 0.2}


def table(alpha: float, runs: int, seed: int) -> pd.DataFrame:
    x = np.logspace(8, 10, runs)
    noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(runs))
    return pd.DataFrame({"params": x, "loss": 2.0 * (x / 1e9) ** -alpha * noise})


TABLES = {"a": table(0.1, 12, 0), "b": table(0.3, 9, 1), "c": table(0.2, 12, 2)}


@pytest.fixture(scope="module")
def fits() -> dict[str, bs.Fit]:
    return bs.fit_many(MODEL, TABLES, sampler=SHORT, seed=3)


def test_each_table_has_a_fit_of_its_own(fits: dict[str, bs.Fit]) -> None:
    assert list(fits) == list(TABLES)
    for key, fit in fits.items():
        assert not fit.convergence.faults
        alpha = fit.posterior["alpha"]
        assert abs(float(alpha.mean()) - ALPHA[key]) < 4 * float(alpha.std())
        assert fit.data.digest == bs.Runs.from_frame(TABLES[key]).digest
        assert fit.tree["log_likelihood"]["loss"].sizes["run"] == len(TABLES[key])


def test_a_batch_agrees_with_a_fit_alone(fits: dict[str, bs.Fit]) -> None:
    """Means within six standard errors of their difference."""
    alone = bs.fit(MODEL, TABLES["b"], sampler=bs.Hmc(draws=400), progress=False)
    for name in ("A", "alpha", "sigma"):
        one, other = fits["b"].posterior[name], alone.posterior[name]
        error = float(one.std()) * np.sqrt(1 / fits["b"].convergence.worst_ess + 1 / alone.convergence.worst_ess)
        assert abs(float(one.mean() - other.mean())) < 6 * error


def test_the_same_seed_and_nothing_compiled_again(fits: dict[str, bs.Fit]) -> None:
    with compilations() as compiled:
        again = bs.fit_many(MODEL, TABLES, sampler=SHORT, seed=3)
    assert not compiled
    for key, fit in fits.items():
        np.testing.assert_array_equal(fit.posterior["alpha"], again[key].posterior["alpha"])


def test_tables_that_miss_the_rule_get_more_draws_and_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    few = bs.Hmc(draws=50, max_steps=8)
    monkeypatch.setattr(batch, "PASSES", 0)
    with pytest.raises(ConvergenceError, match=r"the chains of 3 of 3 tables do not agree:\n  - a: ") as refused:
        bs.fit_many(MODEL, TABLES, sampler=few, seed=3)
    assert set(refused.value.fit) == set(TABLES)
    monkeypatch.setattr(batch, "PASSES", 1)
    again = bs.fit_many(MODEL, TABLES, sampler=few, seed=3, strict=False)
    assert {fit.posterior.sizes["draw"] for fit in again.values()} == {100}


def test_every_bad_table_is_named_at_once() -> None:
    bad = TABLES | {"b": TABLES["b"].drop(columns="loss"), "c": TABLES["c"].iloc[:0]}
    with pytest.raises(DataError) as refused:
        bs.fit_many(MODEL, bad)
    assert "2 of 3 tables cannot be used" in str(refused.value)
    assert all(f"- {key}: " in str(refused.value) for key in ("b", "c"))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: bs.fit_many(MODEL, {}), DataError, "one table at least"),
        (lambda: bs.fit_many(MODEL, TABLES, sampler=bs.Nuts()), SpecError, "Hmc"),
        (lambda: bs.fit_many({"a": MODEL}, TABLES), SpecError, "none for 'b', 'c'"),
        (lambda: bs.fit_many("power_law", TABLES), SpecError, r"expected a ScalingModel.*'a' \(str\)"),
    ],
)
def test_calls_that_make_no_sense(call, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()

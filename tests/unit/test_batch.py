"""``fit_many``: tables that share a program, what is told of bad ones, and what is compiled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayescale as bs
from bayescale.core.errors import ConvergenceError, DataError, SpecError
from bayescale.infer import batch
from bayescale.infer.batches import read_all
from bayescale.infer.convergence import Convergence
from bayescale.infer.sample import Draws
from tests.compilations import compilations

MODEL = bs.ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian())
SHORT = bs.Hmc(draws=400, max_steps=8)
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


def posterior_on_a_grid(fit: bs.Fit) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each parameter by summing over a grid: the model is three logarithms about a line."""
    names, binding, n = ("A", "alpha", "sigma"), fit.binding, len(fit.data)
    centers = [(float(np.log(v).mean()), 7 * float(np.log(v).std())) for v in (fit.posterior[name] for name in names)]
    grid = np.meshgrid(*(np.linspace(c - w, c + w, 81) for c, w in centers), indexing="ij")
    priors = [binding.design.priors[name] for name in names]
    log_density = sum(stats.norm.logpdf(at, float(p.loc), float(p.scale)) for at, p in zip(grid, priors, strict=True))
    amplitude, exponent, sigma = np.exp(grid)
    for x, y in zip(binding.design.log_x["x"][:n], np.log(binding.design.y[:n]), strict=True):
        log_density = log_density + stats.norm.logpdf(y, np.log(amplitude) - exponent * x, sigma)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    values = {"A": amplitude, "alpha": exponent, "sigma": sigma}
    means = {name: float((weight * value).sum()) for name, value in values.items()}
    return {name: (means[name], float(np.sqrt((weight * (v - means[name]) ** 2).sum()))) for name, v in values.items()}


@pytest.mark.parametrize("key", TABLES)
def test_draws_of_a_batch_are_of_the_posterior(fits: dict[str, bs.Fit], key: str) -> None:
    """Means within five Monte Carlo errors, standard deviations within a tenth, of sums over a grid."""
    for name, (mean, sd) in posterior_on_a_grid(fits[key]).items():
        drawn = fits[key].posterior[name]
        assert abs(float(drawn.mean()) - mean) < 5 * sd / np.sqrt(fits[key].convergence.worst_ess), name
        assert float(drawn.std()) == pytest.approx(sd, rel=0.1), name


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


class TestLaterPasses:
    """What a table takes of the draws of a pass, by what is said of them."""

    @staticmethod
    def take(
        monkeypatch: pytest.MonkeyPatch, *passes: dict[str, float], diverging: bool = False
    ) -> tuple[Any, list[np.ndarray]]:
        """A table after passes of 50 draws, each with the R-hat of what it takes ``together`` and ``alone``."""
        rng, drawn = np.random.default_rng(0), list[np.ndarray]()
        table = batch._Table(*[None] * 7)
        monkeypatch.setattr(batch, "finish", lambda made, flat, design: {"alpha": flat})
        for said in passes:

            def judged(
                table: Any, flat: np.ndarray, info: dict[str, np.ndarray], results: Any, said: dict[str, float] = said
            ) -> Draws:
                row = {"r_hat": said["together" if flat.shape[1] > 50 else "alone"], "ess_bulk": 500.0, "ess_tail": 500.0}
                found = Convergence(pd.DataFrame(row, index=["alpha"]), 0, 0).with_divergences(info["diverging"])
                np.testing.assert_array_equal(results["alpha"], flat)
                return Draws(flat, info, flat, results, found)

            monkeypatch.setattr(batch, "_judged", judged)
            drawn.append(rng.standard_normal((4, 50, 3)))
            batch._take(table, drawn[-1], {"diverging": np.full((4, 50), diverging)})
        return table, drawn

    def test_chains_that_nearly_agree_add_to_what_they_drew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table, drawn = self.take(monkeypatch, {"alone": 1.02}, {"together": 1.005, "alone": 1.02})
        assert table.agreed
        np.testing.assert_array_equal(table.drawn.flat, np.concatenate(drawn, axis=1))

    def test_what_came_before_was_a_warm_up_where_the_rest_agrees_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table, drawn = self.take(monkeypatch, {"alone": 1.05}, {"together": 1.03, "alone": 1.005})
        assert table.agreed
        np.testing.assert_array_equal(table.drawn.flat, drawn[1])

    def test_what_nearly_agrees_is_kept_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table, drawn = self.take(monkeypatch, {"alone": 1.05}, {"together": 1.03, "alone": 1.02})
        assert not table.agreed
        assert table.keeps
        np.testing.assert_array_equal(table.drawn.flat, np.concatenate(drawn, axis=1))

    def test_chains_that_are_apart_begin_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table, drawn = self.take(monkeypatch, {"alone": 2.0}, {"alone": 1.005})
        assert table.agreed
        assert table.stretch == 1.0
        np.testing.assert_array_equal(table.drawn.flat, drawn[1])

    def test_chains_that_diverge_begin_again_with_a_shorter_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table, drawn = self.take(monkeypatch, {"alone": 1.005}, {"alone": 1.005}, diverging=True)
        assert not table.agreed
        assert table.stretch == pytest.approx(batch.SHORTER**2)
        np.testing.assert_array_equal(table.drawn.flat, drawn[1])


class TestInterrupted:
    @staticmethod
    def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
        """Ctrl-C while the table after so many is on its way, one at a time; the keys of those that were begun."""
        begun, work = list[str](), batch._pass

        def counted(members: list[batch._Table], *args) -> None:
            begun.append(members[0].bound.key)
            if len(begun) > after:
                raise KeyboardInterrupt
            work(members, *args)

        monkeypatch.setattr(batch, "_pass", counted)
        monkeypatch.setattr(batch, "THREADS", 1)
        monkeypatch.setattr(batch, "_calls", lambda waiting: [[table] for table in waiting])
        return begun

    def test_what_was_finished_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begun = self.interrupt(monkeypatch, after=1)
        said = r"^interrupted, with 1 of 3 tables fitted: .*Left: 'b', 'c'$"
        with pytest.raises(ConvergenceError, match=said) as stopped:
            bs.fit_many(MODEL, TABLES, sampler=bs.Hmc(draws=400, max_steps=8), seed=3)
        assert begun[:2] == ["a", "b"]
        assert list(stopped.value.fit) == ["a"]
        kept = stopped.value.fit["a"]
        assert not kept.convergence.faults
        assert abs(float(kept.posterior["alpha"].mean()) - ALPHA["a"]) < 4 * float(kept.posterior["alpha"].std())
        assert kept.tree.attrs["interrupted"] == 0

    def test_draws_that_wait_for_more_are_kept_and_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interrupt(monkeypatch, after=4)
        found = bs.fit_many(MODEL, TABLES, sampler=bs.Hmc(draws=50, max_steps=8), seed=3, strict=False)
        assert [fit.posterior.sizes["draw"] for fit in found.values()] == [100, 50, 50]
        assert [fit.tree.attrs["interrupted"] for fit in found.values()][1:] == [1, 1]

    def test_before_the_first_table_there_is_nothing_to_keep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interrupt(monkeypatch, after=0)
        with pytest.raises(KeyboardInterrupt):
            bs.fit_many(MODEL, TABLES, sampler=SHORT, seed=3, strict=False)

    def test_curves_drawn_alone_are_no_siblings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interrupt(monkeypatch, after=2)
        with pytest.raises(KeyboardInterrupt):
            bs.fit_many(MODEL, TABLES, sampler=SHORT, seed=3, siblings=True, strict=False)

    def test_siblings_that_were_drawn_together_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interrupt(monkeypatch, after=4)
        found = bs.fit_many(MODEL, TABLES, sampler=SHORT, seed=3, siblings=True, strict=False)
        assert {key: fit.tree.attrs["siblings"] for key, fit in found.items()} == {"a": "all"}

    def test_calls_on_their_way_end_at_their_next_chunk(self) -> None:
        bar = batch._Bar(lambda *_: None, 10, "")
        bar()
        bar.stopped = True
        with pytest.raises(KeyboardInterrupt):
            bar()
        assert bar.done == 1


def test_tables_with_and_without_known_errors_of_a_covariate_are_apart() -> None:
    """One program takes one set of arrays, of one shape."""
    sized = TABLES["c"].assign(params_sd=1e7)
    bound = read_all(MODEL, TABLES | {"c": sized, "d": sized}, None, "loss", 0)
    assert [bool(one.binding.design.x_se) for one in bound] == [False, False, True, True]
    tables = [SimpleNamespace(made=None, design=one.binding.design, key=one.key) for one in bound]
    calls = list(batch._calls(tables))
    assert [[table.key for table in call] for call in calls] == [["a", "b"], ["c", "d"]]
    for call in calls:
        jax.tree.map(lambda *arrays: np.stack(arrays), *(table.design for table in call))


def test_a_long_table_among_short_ones_without_errors_is_not_padded_for_them() -> None:
    long = table(0.1, 24, 0).assign(params_sd=1e7)
    rows = {one.key: len(one.binding.design.y) for one in read_all(MODEL, TABLES | {"d": long}, None, "loss", 0)}
    assert rows == {"a": 16, "b": 16, "c": 16, "d": 24}


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

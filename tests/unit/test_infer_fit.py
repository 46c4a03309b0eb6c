"""``fit`` on real draws: what it returns, what it costs a second time, what it leaves behind."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpyro.infer import HMC, MCMC
from scipy import stats

import bayescale as bs
from bayescale.core.errors import ConvergenceError, DataError, SpecError
from bayescale.data.runs import Runs
from bayescale.infer import fit as module
from bayescale.infer.fit import Fit
from bayescale.laws import base
from benchmarks.recovery import CASES, simulate
from tests.compilations import compilations
from tests.contract.reference_density import log_likelihood

CASE = CASES["one family"]
SHORT = bs.Nuts(draws=50, max_draws=50)
GROUPS = {
    "prior",
    "prior_predictive",
    "posterior",
    "sample_stats",
    "log_likelihood",
    "log_prior",
    "posterior_predictive",
    "observed_data",
    "constant_data",
    "runs",
}


def table(runs: int = 12, seed: int = 0) -> pd.DataFrame:
    return simulate(CASE, seed)[0].iloc[:runs]


def again(data=None, sampler=SHORT, model=CASE.model, **kwargs) -> Fit:
    """A fit that compiles nothing, as ``one_family`` was made before."""
    return bs.fit(model, table() if data is None else data, sampler=sampler, strict=False, **kwargs)


class TestTree:
    @pytest.fixture(params=["one_family", "twelve_families"])
    def fitted(self, request: pytest.FixtureRequest) -> Fit:
        return request.getfixturevalue(request.param)

    def test_every_group_is_there_and_is_numpys(self, fitted: Fit) -> None:
        assert set(fitted.tree.children) == GROUPS
        for node in fitted.tree.subtree:
            for name, variable in node.to_dataset(inherit=False).variables.items():
                assert type(variable.data) is np.ndarray, (node.path, name)
                assert variable.dtype.kind in "biUO" or variable.dtype == np.float64, (node.path, name)

    def test_draws_have_their_dimensions(self, fitted: Fit) -> None:
        n = len(fitted.data)
        for group in ("prior_predictive", "log_likelihood", "posterior_predictive"):
            assert fitted.tree[group]["loss"].dims == ("chain", "draw", "run")
            assert fitted.tree[group].sizes["run"] == n
        assert fitted.tree["observed_data"]["loss"].dims == ("run",)
        np.testing.assert_array_equal(fitted.tree["observed_data"]["loss"], fitted.data.table["loss"])
        np.testing.assert_array_equal(fitted.tree["posterior_predictive"]["run"], fitted.data.table.index)
        shape = {"chain": 4, "draw": fitted.posterior.sizes["draw"]}
        for group in ("sample_stats", "log_prior"):
            assert dict(fitted.tree[group].sizes) == shape
        assert fitted.tree["sample_stats"]["diverging"].dtype == bool
        assert set(fitted.tree["sample_stats"].data_vars) >= {"energy", "n_steps", "acceptance_rate", "step_size"}
        assert fitted.tree["constant_data"]["x_reference"] == pytest.approx(stats.gmean(fitted.data.table["params"]))

    def test_prior_has_the_variables_of_the_posterior(self, fitted: Fit) -> None:
        prior = fitted.tree["prior"].to_dataset()
        assert {k: v.dims for k, v in prior.items()} == {k: v.dims for k, v in fitted.posterior.items()}
        param = fitted.binding.params["E"]
        drawn = np.log(prior["E"].to_numpy().ravel())
        assert stats.kstest(drawn, stats.norm(param.loc, param.scale).cdf).pvalue > 1e-4

    @pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # families of two runs
    def test_arviz_takes_it(self, fitted: Fit) -> None:
        import arviz as az

        assert (az.summary(fitted.tree)["r_hat"] <= 1.01).all()
        assert np.isfinite(az.loo(fitted.tree).elpd)
        names = list(fitted.tree["log_prior"].data_vars)
        assert "diagnosis" in az.psense_summary(fitted.tree, var_names=["E"], prior_var_names=names).columns

    def test_log_likelihood_is_that_of_the_stated_noise(self, fitted: Fit) -> None:
        for draw in (0, -1):
            at = {k: v[0, draw].to_numpy() for k, v in fitted.posterior.items()}
            ours = fitted.tree["log_likelihood"]["loss"][0, draw]
            np.testing.assert_allclose(ours, log_likelihood(fitted.binding, fitted.data.table, at), rtol=1e-9)

    def test_log_prior_is_that_of_the_stated_priors(self, fitted: Fit) -> None:
        posterior, prior = fitted.posterior, fitted.tree["log_prior"]
        assert set(prior.data_vars) == set(fitted.model.assumptions.values())
        floor = fitted.binding.params["E"]
        np.testing.assert_allclose(prior["E"], stats.norm.logpdf(np.log(posterior["E"]), floor.loc, floor.scale))
        np.testing.assert_allclose(prior["sigma"], stats.lognorm.logpdf(posterior["sigma"], 1.0, scale=0.01))
        if "alpha_tau" in posterior:
            np.testing.assert_allclose(prior["alpha_tau"], stats.halfnorm.logpdf(posterior["alpha_tau"], scale=0.2))

    def test_runs_are_kept(self, fitted: Fit) -> None:
        kept = fitted.tree["runs"].to_dataset().to_dataframe()
        for name in fitted.data.table:
            assert kept[name].tolist() == fitted.data.table[name].tolist()

    def test_its_diagnostics_are_those_of_its_draws(self, fitted: Fit) -> None:
        assert "convergence" in vars(fitted)
        again = Fit(fitted.model, fitted.data, fitted.tree).convergence
        pd.testing.assert_frame_equal(fitted.convergence.table, again.table)
        assert (fitted.convergence.divergences, fitted.convergence.draws) == (again.divergences, again.draws)

    def test_it_says_how_it_was_made(self, fitted: Fit) -> None:
        assert fitted.tree.attrs["seed"] == 0
        assert "Nuts" in fitted.tree.attrs["sampler"]
        assert fitted.tree.attrs["digest"] == fitted.data.digest
        assert fitted.tree.attrs["interrupted"] == 0
        assert "converged (R-hat 1.0" in repr(fitted)

    def test_groups_are_selected_by_label(self, twelve_families: Fit) -> None:
        assert twelve_families.select(family="f03").labels == {"family": "f03"}
        with pytest.raises(SpecError, match=r"family 'f3'.*Did you mean"):
            twelve_families.select(family="f3")
        with pytest.raises(SpecError, match=r"'famly'\. Did you mean 'family'"):
            twelve_families.select(famly="f03")


@pytest.mark.usefixtures("one_family")
class TestDraws:
    def test_the_same_seed_gives_the_same_draws(self) -> None:
        one, same, other = again(seed=3), again(seed=3), again(seed=4)
        for group in GROUPS - {"observed_data", "constant_data", "runs"}:
            assert one.tree[group].to_dataset().identical(same.tree[group].to_dataset()), group
        assert not np.isin(one.posterior["alpha"], other.posterior["alpha"]).any()

    def test_a_table_is_fitted_alike_however_it_is_given(self) -> None:
        one = again()
        renamed = table().rename(columns={"params": "N", "loss": "nats"}).sample(frac=1, axis=1, random_state=0)
        others = [
            again(Runs.from_frame(table())),
            again(renamed, columns={"params": "N", "loss": "nats"}),
            again(table().assign(remark="none", notes=object())),
        ]
        for other in others:
            xr.testing.assert_identical(one.posterior, other.posterior)

    def test_a_second_fit_of_like_shape_compiles_nothing_and_is_quick(self) -> None:
        again()
        with compilations() as compiled:
            began = time.process_time()
            again(table(11, seed=5), sampler=bs.Nuts(), seed=9)
        assert compiled == []
        assert time.process_time() - began < 3.0  # 0.3 on a quiet machine

    def test_it_goes_on_until_the_chains_agree(self) -> None:
        fitted = again(sampler=bs.Nuts(draws=100, max_draws=1000))
        assert 100 < fitted.posterior.sizes["draw"] <= 1000
        assert fitted.convergence.faults == ()

    def test_a_column_called_run_is_a_label_like_another(self) -> None:
        fitted = again(table().assign(run=[f"run {i}" for i in range(12)]))
        assert "run 3" in fitted.tree["runs"].to_dataset().to_dataframe().to_numpy()
        assert fitted.tree["posterior_predictive"]["run"].values.tolist() == list(range(12))

    def test_a_law_defined_anew_over_another_constant_is_another_law(self, monkeypatch) -> None:
        """As when a notebook's cell ``K = 0.3`` is changed and the law's cell run again."""
        monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))

        def define(k: float) -> base.Law:
            @bs.law(A=bs.Param.positive(1.0, 1.0, unit="response"))
            def my_law(x, *, A):
                return A * x**-k

            return my_law

        assert bs.ScalingModel(define(0.3)) != bs.ScalingModel(define(3.0))


@pytest.mark.usefixtures("one_family")
class TestStrict:
    def test_draws_that_miss_the_rule_are_refused_by_name_and_number_and_kept(self) -> None:
        with pytest.raises(ConvergenceError) as caught:
            bs.fit(CASE.model, table(), sampler=SHORT)
        said, kept = str(caught.value), caught.value.fit
        row = (
            kept.convergence.table.assign(least=lambda t: t[["ess_bulk", "ess_tail"]].min(axis=1)).sort_values("least").iloc[0]
        )
        assert f"effective sample size of {row.name} is bulk {row.ess_bulk:.0f}, tail {row.ess_tail:.0f} (at least 400)" in said
        if kept.convergence.worst_rhat > 1.01:
            assert f"is {kept.convergence.worst_rhat:.3f} (at most 1.01)" in said
        assert "draw more" in said
        assert "strict=False" in said
        assert kept.posterior.sizes["draw"] == 50
        assert "NOT converged" in repr(kept)
        assert isinstance(caught.value, RuntimeError)

    def test_or_returned_when_asked(self) -> None:
        assert again().convergence.faults

    def test_few_runs_are_given_as_a_reason(self) -> None:
        with pytest.raises(ConvergenceError, match="fewer runs than parameters"):
            bs.fit(CASE.model, table(3), sampler=SHORT)

    def test_data_are_checked_before_anything_runs(self) -> None:
        with pytest.raises(DataError, match=r"'params'.*Did you mean 'parms'"):
            bs.fit(CASE.model, table().rename(columns={"params": "parms"}))
        with pytest.raises(DataError, match="empty"):
            bs.fit(CASE.model, table().iloc[:0])
        with pytest.raises(DataError, match="DataFrame"):
            bs.fit(CASE.model, {"params": [1e9]})


@pytest.mark.usefixtures("one_family")
class TestInterrupted:
    @staticmethod
    def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        """Ctrl-C when so many chunks of draws are there."""
        seen = 0

        @contextmanager
        def bar(*_: object):
            def report(done: int, total: int, doing: str) -> None:
                nonlocal seen
                seen += doing == "sampling"
                if seen > after:
                    raise KeyboardInterrupt

            yield report

        monkeypatch.setattr(module, "progress_bar", bar)

    def test_what_was_drawn_is_kept(self, monkeypatch) -> None:
        whole = again(sampler=bs.Nuts(draws=300, max_draws=300))
        self.interrupt(monkeypatch, after=3)
        cut = again(sampler=bs.Nuts(draws=300, max_draws=300))
        assert cut.tree.attrs["interrupted"] == 1
        xr.testing.assert_identical(cut.posterior, whole.posterior.isel(draw=slice(150)))
        assert set(cut.tree.children) == GROUPS

    def test_too_little_of_it_is_refused_and_kept_all_the_same(self, monkeypatch) -> None:
        self.interrupt(monkeypatch, after=1)
        with pytest.raises(ConvergenceError) as caught:
            bs.fit(CASE.model, table())
        assert caught.value.fit.posterior.sizes["draw"] == 50

    def test_before_the_first_draw_it_is_ctrl_c(self, monkeypatch) -> None:
        self.interrupt(monkeypatch, after=0)
        with pytest.raises(KeyboardInterrupt):
            again()
        assert not jax.config.jax_enable_x64


@pytest.mark.usefixtures("one_family")
class TestLeftAlone:
    def test_no_setting_is_changed(self) -> None:
        before = dict(jax.config.values), np.random.get_state()[1].tolist(), random.getstate(), np.geterr()
        again()
        after = dict(jax.config.values), np.random.get_state()[1].tolist(), random.getstate(), np.geterr()
        assert before == after

    def test_the_users_frame_is_not_changed(self) -> None:
        frame = table()
        kept = frame.copy(deep=True)
        again(frame)
        pd.testing.assert_frame_equal(frame, kept)

    def test_nothing_is_printed_where_nobody_watches(self, capfd) -> None:
        again()
        assert capfd.readouterr() == ("", "")

    def test_a_users_own_float32_work_goes_on(self) -> None:
        """The same NumPyro sampler, and a function compiled before, give the same after a fit as before it."""
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        y = np.linspace(-1.0, 1.0, 8)
        group = np.arange(8) % 3

        def own(y):
            with numpyro.plate("groups", 3):
                level = numpyro.sample("level", dist.Normal(0.0, 1.0))
            numpyro.sample("y", dist.Normal(level[group], 1.0), obs=y)

        @jax.jit
        def double(x):
            return 2 * x

        def work():
            mcmc = MCMC(HMC(own, num_steps=3, trajectory_length=None), num_warmup=20, num_samples=20, progress_bar=False)
            mcmc.run(jax.random.key(1), y)
            return mcmc.get_samples()["level"], double(jnp.arange(3.0)), double(np.arange(3))

        before = work()
        again()
        after = work()
        again()
        for one, two in zip(before, after, strict=True):
            assert one.dtype == two.dtype
            assert one.dtype.itemsize == 4
            np.testing.assert_array_equal(one, two)

"""``fit``: a model and a table in, draws with their diagnostics out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import jax
import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import ConvergenceError, SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.core.numerics import double_precision
from bayescale.data.evals import Evals
from bayescale.data.runs import Runs, as_runs
from bayescale.infer.cache import compilation_cache_of_ours
from bayescale.infer.convergence import Convergence, diagnose
from bayescale.infer.evals_fit import SCORES_SAMPLER, CapabilityFit, fit_evals
from bayescale.infer.finish import finish, growing
from bayescale.infer.programs import programs
from bayescale.infer.progress import progress_bar
from bayescale.infer.sample import Draws, sample
from bayescale.infer.samplers import CHUNK, Hmc, Nuts, Sampler
from bayescale.infer.tree import constant_data, coordinates, draws_dataset, parameter_dims, runs_dataset
from bayescale.models.binding import Binding, bind
from bayescale.models.capability import CapabilityModel
from bayescale.models.discrepancy import SlopeDrift, SmoothMisfit
from bayescale.models.memory import remember
from bayescale.models.noise import BestOf, draw_errors, from_noise_scale, to_noise_scale
from bayescale.models.scaling import ScalingModel


@dataclass(frozen=True, eq=False)
class Fit:
    """A model fitted to a table.

    Parameters
    ----------
    model : ScalingModel
        What was believed.
    data : Runs
        What was seen.
    tree : DataTree
        Draws: ``prior``, ``prior_predictive``, ``posterior``, ``sample_stats``, ``log_likelihood``, ``log_prior``,
        ``posterior_predictive``, ``observed_data``, ``constant_data``.
    """

    model: ScalingModel
    data: Runs
    tree: xr.DataTree

    @cached_property
    def binding(self) -> Binding:
        """The model bound to the table: axes, reference run, groups."""
        return bind(self.model, self.data)

    @cached_property
    def convergence(self) -> Convergence:
        """Diagnostics of every scalar parameter."""
        # A fit that has just been drawn has them already (`Draws.known`).
        return diagnose(self.posterior, self.tree["sample_stats"]["diverging"].to_numpy())

    @property
    def posterior(self) -> xr.Dataset:
        """Posterior draws, dims (chain, draw[, group])."""
        return self.tree["posterior"].to_dataset()

    @property
    def response(self) -> str:
        """Name of the response."""
        return self.data.response

    def select(self, **labels: str) -> Selection:
        """This fit as seen by one group, for :func:`crossover` and :func:`predict`.

        Parameters
        ----------
        **labels : str
            Group column and label, e.g. ``family="Mamba"``.

        Raises
        ------
        SpecError
            When the column or label is unknown.
        """
        check_labels(labels, dict.fromkeys(self.data.groups, self.data.table))
        return Selection(self, FrozenMap(labels))

    def __repr__(self) -> str:
        sizes = self.posterior.sizes
        found = self.convergence
        state = "converged" if not found.faults else "NOT converged"
        groups = ", ".join(f"{sizes[d]} {d}" for d in sizes if d not in ("chain", "draw"))
        return (
            f"Fit of {self.model.law.name} to {len(self.data.table)} runs{f' ({groups})' if groups else ''}: "
            f"{sizes['chain']} x {sizes['draw']} draws, {state} "
            f"(R-hat {found.worst_rhat:.3f}, ESS {found.worst_ess:.0f}, {found.divergences} divergences)"
        )


def check_labels(labels: Mapping[str, str], tables: Mapping[str, pd.DataFrame]) -> None:
    """Refuse a group column that no table has, and a label that its table lacks; ``tables`` by group column.

    Raises
    ------
    SpecError
        Naming the near and the valid words.
    """
    for column, label in labels.items():
        if column not in tables:
            raise SpecError(unknown("group column", column, tables))
        known = tables[column][column].astype(str).unique()
        if label not in known:
            raise SpecError(unknown(column, label, known))


@dataclass(frozen=True, eq=False)
class Selection:
    """A fit as seen by one group of it."""

    fit: Fit
    labels: FrozenMap[str, str] = field(default_factory=FrozenMap)


@overload
def fit(
    model: ScalingModel,
    data: pd.DataFrame | Runs,
    *,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
    strict: bool = True,
) -> Fit: ...
@overload
def fit(
    model: CapabilityModel,
    data: pd.DataFrame | Evals,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
    strict: bool = True,
) -> CapabilityFit: ...
def fit(
    model: ScalingModel | CapabilityModel,
    data: pd.DataFrame | Runs | Evals,
    *,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
    strict: bool = True,
) -> Fit | CapabilityFit:
    """Fit a model to a table of runs, or of benchmark scores.

    Parameters
    ----------
    model : ScalingModel or CapabilityModel
        Law, pooling, noise and priors.
    data : DataFrame, Runs or Evals
        One row a run; one row a score.
    columns : mapping, optional
        Our name of a column to the table's: ``{"loss": "loss_nats"}``.
    response : str
        Name of the response column (ignored for a ``Runs``, which knows its own, and for scores, which are ``accuracy``).
    seed : int
        The same seed gives the same draws.
    sampler : Nuts or Hmc, optional
        By default ``Nuts()``: 4 chains of 600 draws, more where the chains need them to agree. For scores ``Hmc``: 4 chains of
        500 draws, of short trajectories, and more where they need them.
    progress : bool
        Show progress on a terminal or in a notebook.
    strict : bool
        Refuse draws that miss the convergence rule: R-hat at most 1.01, bulk and tail effective sample size at least 400
        for every parameter, at most 0.1 % divergences.

    Raises
    ------
    DataError, SpecError
        When the table, or the model for this table, makes no sense.
    ConvergenceError
        When ``strict`` and the rule is missed; its ``fit`` holds the draws.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> sorted(fitted.posterior)
    ['A', 'E', 'alpha', 'nu', 'sigma']
    """
    sampler = sampler or (SCORES_SAMPLER if isinstance(model, CapabilityModel) else Nuts())
    _check_call(model, seed, sampler)
    if isinstance(model, CapabilityModel) or isinstance(data, Evals):
        if not isinstance(model, CapabilityModel) or isinstance(data, Runs):
            raise SpecError("fit: a ScalingModel takes runs, a CapabilityModel takes scores (Evals.from_frame)")
        found = fit_evals(model, data, columns, seed, sampler, progress)
        if strict and found.convergence.faults:
            raise ConvergenceError(refusal(found), found)
        return found
    runs = read_runs(model, data, columns=columns, response=response)
    binding = bind(model, runs)
    dims, coords = parameter_dims(binding), coordinates(binding, runs)
    with double_precision(), compilation_cache_of_ours(), progress_bar(progress, "chunk") as report:
        design = jax.tree.map(jax.numpy.asarray, binding.design)
        made = programs(model, sampler, design, runs.response)

        def judge(results: dict[str, Any], names: Collection[str] | None) -> Convergence:
            return judged(results, dims, coords, names)

        reported = growing(lambda flat: finish(made, flat, design))
        drawn = sample(made, design, sampler, seed, reported, judge, report)
        prior = finish(made, drawn.prior.reshape(sampler.chains, CHUNK, -1), design)
    fitted = assemble(binding, runs, drawn, prior, seed, sampler)
    if strict and fitted.convergence.faults:
        raise ConvergenceError(refusal(fitted), fitted)
    return fitted


def judged(
    results: dict[str, Any],
    dims: dict[str, tuple[str, ...]],
    coords: dict[str, Any],
    names: Collection[str] | None = None,
) -> Convergence:
    """The diagnostics of reported draws, of the named parameters or all, divergences apart."""
    return diagnose(draws_dataset(results["parameters"], dims, coords), names=names)


def assemble(binding: Binding, runs: Runs, drawn: Draws, prior: dict[str, Any], seed: int, sampler: Sampler) -> Fit:
    """A fit of what was drawn."""
    tree = _tree(binding, runs, drawn, prior, np.random.default_rng([seed, 1]))
    tree.attrs |= {"seed": seed, "sampler": repr(sampler), "digest": runs.digest, "interrupted": int(drawn.interrupted)}
    fitted = Fit(binding.model, runs, tree)
    vars(fitted).update(drawn.known)
    return fitted


def _check_call(model: object, seed: object, sampler: object) -> None:
    faults = []
    if not isinstance(model, ScalingModel | CapabilityModel):
        faults.append(f"model is a ScalingModel or a CapabilityModel, got {type(model).__name__}; fit(model, data)")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        faults.append(f"seed is an integer of at least 0, got {seed!r}")
    if not isinstance(sampler, Nuts | Hmc):
        faults.append(f"sampler is Nuts(...) or Hmc(...), got {sampler!r}")
    if faults:
        raise SpecError("fit: " + "; ".join(faults))


def read_runs(
    model: ScalingModel, data: pd.DataFrame | Runs, *, columns: Mapping[str, str] | None = None, response: str = "loss"
) -> Runs:
    """The table with what the model needs of it; columns that it does not use may be as they are."""
    counted = [model.noise.tries] if isinstance(model.noise, BestOf) and isinstance(model.noise.tries, str) else []
    if isinstance(data, Runs):
        positive = model.noise.on == "log"
        return as_runs(data, groups=model.labels, response=data.response, covariates=counted, positive_response=positive)
    needed = [model.axes.get(c, c) for c in model.law.covariates]
    more = [part.along for part in model.parts if isinstance(part, SlopeDrift | SmoothMisfit) and part.along]
    needed = [*dict.fromkeys((*needed, *more))]
    # A law of one variable whose axis is not named takes the one covariate that varies, so all of them are read.
    unnamed = needed == ["x"] and "x" not in {*(columns or {}), *getattr(data, "columns", ())}
    # Read, though it is no covariate of the law.
    named = {name: name for name in counted if name not in (columns or {})}
    return as_runs(
        data,
        columns={**(columns or {}), **named} if unnamed else columns,
        groups=model.labels,
        response=response,
        covariates=None if unnamed else [*needed, *counted],
        positive_response=model.noise.on == "log",
    )


def _replicate(binding: Binding, found: dict[str, Any], n: int, rng: np.random.Generator) -> np.ndarray:
    """The fitted rows run again: their mean, and what the runs leave open of the drift, with new noise."""
    noise, parameters = binding.model.noise, found["parameters"]
    loc = to_noise_scale(noise, found["mean"][..., :n])
    if "drift" in found:
        loc = loc + found["drift"][..., :n] + found["drift_sd"][..., :n] * rng.standard_normal(loc.shape)
    known = np.sqrt(parameters["sigma"][..., None] ** 2 + binding.design.se[:n] ** 2)
    sigma = found["noise"][..., :n] if "noise" in found else known
    nu = parameters["nu"][..., None] if "nu" in parameters else None
    errors = draw_errors(noise, rng, sigma, nu, None if binding.design.tries is None else binding.design.tries[:n])
    if binding.design.memory is not None:
        errors = sigma * remember(binding.design.memory, parameters["noise_memory"][..., None], errors / sigma)
    return from_noise_scale(noise, loc + errors)


def _coefficients(found: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """One draw of the discrepancy's coefficients for each of the parameters, in units of their prior."""
    mean, factor = found["coefficients"], found["precision"]
    z = rng.standard_normal(mean.shape)
    drawn: np.ndarray = mean + np.linalg.solve(np.swapaxes(factor, -1, -2), z[..., None])[..., 0]
    return drawn


def _tree(
    binding: Binding,
    runs: Runs,
    drawn: Draws,
    prior: dict[str, Any],
    rng: np.random.Generator,
) -> xr.DataTree:
    dims, coords = parameter_dims(binding), coordinates(binding, runs)
    results, name, n = drawn.results, runs.response, len(runs.table)
    row: dict[str, tuple[str, ...]] = {name: ("run",)}

    def rows(values: np.ndarray) -> xr.Dataset:
        return draws_dataset({name: values[..., :n]}, row, coords)

    observed = xr.Dataset({name: ("run", runs.table[name].to_numpy(float))}, coords={"run": runs.table.index.to_numpy()})
    groups = {
        "prior": draws_dataset(prior["parameters"], dims, coords),
        "prior_predictive": rows(_replicate(binding, prior, n, rng)),
        "posterior": draws_dataset(results["parameters"], dims, coords),
        "sample_stats": draws_dataset(drawn.info, {}, {}),
        "log_likelihood": rows(results["log_likelihood"]),
        "log_prior": draws_dataset(results["log_prior"], {}, {}),
        "posterior_predictive": rows(_replicate(binding, results, n, rng)),
        "observed_data": observed,
        "constant_data": constant_data(binding, runs),
        "runs": runs_dataset(runs),
    }
    if "coefficients" in results:
        groups["discrepancy"] = draws_dataset(
            {"coefficients": _coefficients(results, rng)}, {"coefficients": ("coefficient",)}, {}
        )
    return xr.DataTree.from_dict(groups)


def refusal(fitted: Fit | CapabilityFit) -> str:
    """Why the draws of a fit are refused, and what to try."""
    faults = "\n".join(f"  - {fault}" for fault in fitted.convergence.faults)
    few = len(fitted.data.table) < len(fitted.convergence.table)
    advice = ["draw more (sampler=Nuts(draws=2000), or a target_accept closer to 1, such as 0.95 or 0.99, against divergences)"]
    if few:
        advice.append("pool more or choose a law of fewer parameters (there are fewer runs than parameters)")
    advice.append("strict=False returns these draws; they are also in the error's `fit`")
    return f"the chains do not agree:\n{faults}\nTry: " + "; ".join(advice) + "."

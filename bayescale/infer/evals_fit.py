"""A model of capability fitted to a table of scores: its draws with their names, dimensions and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.names import CHAIN, DRAW, ROW
from bayescale.core.numerics import double_precision
from bayescale.data.evals import Evals, as_evals
from bayescale.infer.cache import compilation_cache_of_ours
from bayescale.infer.convergence import Convergence, diagnose
from bayescale.infer.finish import finish, growing
from bayescale.infer.programs import programs
from bayescale.infer.progress import progress_bar
from bayescale.infer.sample import Draws, sample
from bayescale.infer.samplers import CHUNK, Hmc, Sampler
from bayescale.infer.tree import draws_dataset
from bayescale.models.capability import CapabilityModel
from bayescale.models.capability_values import Asked, logits, new_scores
from bayescale.models.evals_binding import EvalsBinding, bind_evals

#: Name of what is measured, and of the dimension of the rows of the table.
ACCURACY, SCORE = "accuracy", "score"
#: Of each model, over its scores: convergence is judged on it beside what models share.
FORECAST = "mean_accuracy"

#: The sampler by default: a slope takes milliseconds, so there are no more draws than the convergence rule needs, and no chain
#: waits for one in a narrow place.
SCORES_SAMPLER = Hmc(draws=500, max_draws=2000, max_steps=12)

Dims = dict[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class CapabilityFit:
    """A model of capability fitted to a table of scores.

    Parameters
    ----------
    model : CapabilityModel
        What was believed.
    data : Evals
        What was seen.
    tree : DataTree
        Draws: ``posterior`` holds what models share (``loading``, ``intercept``, ``effect``, ``family_sd`` …), ``latents`` what
        they have of their own: ``capability`` (model, factor), ``family_effect`` (family, factor), ``task_effect`` (family,
        task), ``log_ratio`` (family; logarithm of the mean of the weights by which a draw was chosen), and the
        ``mean_accuracy`` (model) over the scores that a model has. Beside them ``prior``, ``prior_predictive``,
        ``sample_stats``, ``log_likelihood``, ``log_prior``, ``posterior_predictive``, ``observed_data``, ``constant_data``.
    """

    model: CapabilityModel
    data: Evals
    tree: xr.DataTree

    @cached_property
    def binding(self) -> EvalsBinding:
        """The model bound to the table: order of tasks, families, models."""
        return bind_evals(self.model, self.data)

    @cached_property
    def convergence(self) -> Convergence:
        """Diagnostics of every scalar parameter that is estimated, and of the mean accuracy that each model is said to have."""
        estimated = only_estimated(self.posterior, self.binding).assign({FORECAST: self.latents[FORECAST]})
        return diagnose(estimated, self.tree["sample_stats"]["diverging"].to_numpy())

    @property
    def posterior(self) -> xr.Dataset:
        """Posterior draws of what models share, dims (chain, draw[, task, factor, ...])."""
        return self.tree["posterior"].to_dataset()

    @property
    def latents(self) -> xr.Dataset:
        """Posterior draws of what families and models have of their own."""
        return self.tree["latents"].to_dataset()

    @property
    def response(self) -> str:
        """Name of what is measured."""
        return ACCURACY

    def __repr__(self) -> str:
        sizes, found = self.posterior.sizes, self.convergence
        state = "converged" if not found.faults else "NOT converged"
        return (
            f"Fit of {self.model.factors} capability factors to {repr(self.data)[6:-1]}: {sizes[CHAIN]} x {sizes[DRAW]} draws, "
            f"{state} (R-hat {found.worst_rhat:.3f}, ESS {found.worst_ess:.0f}, {found.divergences} divergences)"
        )


def fit_evals(
    model: CapabilityModel,
    data: pd.DataFrame | Evals,
    columns: Mapping[str, str] | None,
    seed: int,
    sampler: Sampler,
    progress: bool,
) -> CapabilityFit:
    """Fit a model of capability; whether the chains agree is left to the caller."""
    evals = as_evals(data, columns=columns)
    binding = bind_evals(model, evals)
    dims, coords = parameter_dims(binding), coordinates(binding)
    with double_precision(), compilation_cache_of_ours(), progress_bar(progress, "chunk") as report:
        design = jax.tree.map(jax.numpy.asarray, binding.design)
        made = programs(model, sampler, design, ACCURACY)

        def judge(results: dict[str, Any], names: Collection[str] | None) -> Convergence:
            estimated = only_estimated(draws_dataset(results["parameters"], dims, coords), binding)
            said = {FORECAST: results[FORECAST]}
            return diagnose(estimated.merge(draws_dataset(said, {FORECAST: ("model",)}, coords)), names=names)

        def kept(found: dict[str, Any]) -> dict[str, Any]:
            said = {FORECAST: mean_accuracy(binding, found.pop("mean"))}
            by_score = {name: found[name][(..., *binding.cell.T)] for name in ("eta", "log_likelihood")}
            return found | by_score | said

        reported = growing(lambda flat: finish(made, flat, design, kept))
        drawn = sample(made, design, sampler, seed, reported, judge, report)
        prior = finish(made, drawn.prior.reshape(sampler.chains, CHUNK, -1), design, kept)
    tree = _tree(binding, evals, drawn, prior, np.random.default_rng([seed, 1]))
    tree.attrs |= {"seed": seed, "sampler": repr(sampler), "digest": evals.digest, "interrupted": int(drawn.interrupted)}
    fitted = CapabilityFit(model, evals, tree)
    vars(fitted).update(drawn.known)
    return fitted


def coordinates(binding: EvalsBinding) -> dict[str, Any]:
    """Labels of every dimension."""
    sources = [f"{task} · {source}" for task, source in binding.sources]
    return {
        "task": list(binding.tasks),
        "factor": np.arange(1, binding.model.factors + 1),
        "covariate": list(binding.model.covariate_names),
        "prompt": list(binding.prompts[1:]),
        "source": sources,
        "family": list(binding.families),
        "model": list(binding.models),
    }


def parameter_dims(binding: EvalsBinding) -> Dims:
    """Dimensions of what models share."""
    by_task: Dims = dict.fromkeys(("intercept", "ceiling", "floor", "jitter"), ("task",))
    if binding.model.task_effects:
        by_task["task_sd"] = ("task",)
    by_factor: Dims = {"family_sd": ("factor",), "model_sd": ("factor",)}
    both: Dims = {"loading": ("task", "factor"), "effect": ("factor", "covariate"), "source_effect": ("source",)}
    return by_task | by_factor | both | {"prompt_intercept": ("prompt",), "prompt_loading": ("prompt", "factor")}


def only_estimated(posterior: xr.Dataset, binding: EvalsBinding) -> xr.Dataset:
    """The draws without the entries that are known, which are the same in every draw."""
    out = posterior
    for name, free in binding.free.items():
        if free.all():
            continue
        variable = posterior[name]
        kept = variable.to_numpy()[..., free]
        labels = [[str(v) for v in variable.coords[d].to_numpy()] for d in variable.dims[2:]]
        entries = [",".join(labels[i][j] for i, j in enumerate(place)) for place in np.argwhere(free)]
        dim = f"{name}_entry"
        out = out.drop_vars(name)
        if entries:
            out = out.assign({name: ((CHAIN, DRAW, dim), kept)}).assign_coords({dim: entries})
    return out


def mean_accuracy(binding: EvalsBinding, mean: np.ndarray) -> np.ndarray:
    """Mean over the scores of each model (chain, draw, model), from accuracies (chain, draw, repeat, slot, model)."""
    mask = np.asarray(binding.design.mask)[..., : len(binding.models)].astype(float)
    average: np.ndarray = np.einsum("cdrsm,rsm->cdm", mean[..., : mask.shape[-1]], mask) / mask.sum((0, 1))
    return average


def asked_of(binding: EvalsBinding) -> Asked:
    """The fitted scores as points, in the order of the table."""
    place, design = tuple(binding.cell.T), binding.design
    task = np.asarray(design.task)[place[1:]]
    return Asked(task, *(np.asarray(values)[place] for values in (design.prompt, design.source, design.per_item)))


def _prior_scores(binding: EvalsBinding, prior: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """The fitted scores as the prior would have them: families and models drawn anew."""
    parameters = {name: v.reshape(-1, *v.shape[2:]) for name, v in prior["parameters"].items()}
    design, asked = binding.design, asked_of(binding)
    draws, factors = len(parameters["intercept"]), binding.model.factors
    families, models = len(binding.families), len(binding.models)
    family = np.asarray(design.family)[:models]
    shared = parameters["family_sd"][:, None] * rng.standard_normal((draws, families, factors))
    own = parameters["model_sd"][:, None] * rng.standard_normal((draws, models, factors))
    latent = rng.standard_normal((draws, models, len(design.unknown)))
    x = design.x[:, :models].T + np.einsum("smu,upm->smp", latent, design.unknown[..., :models])
    capability = shared[:, family] + own + np.einsum("skp,smp->smk", parameters["effect"], x)
    effect = np.zeros((draws, len(asked.task)))
    who = binding.cell[:, 2]
    if "task_sd" in parameters:
        all_effects = rng.standard_normal((draws, families, len(binding.tasks)))
        effect = parameters["task_sd"][:, asked.task] * all_effects[:, family[who], asked.task]
    eta = logits(parameters, asked, capability[:, who], effect)
    scores = new_scores(binding.model.noise, rng, parameters, asked, eta)
    return scores.reshape(*prior["eta"].shape[:2], -1)


def _tree(binding: EvalsBinding, evals: Evals, drawn: Draws, prior: dict[str, Any], rng: np.random.Generator) -> xr.DataTree:
    dims, coords = parameter_dims(binding), coordinates(binding)
    coords[SCORE] = evals.table.index.to_numpy()
    results, asked = drawn.results, asked_of(binding)
    chains, draws = results["eta"].shape[:2]
    flat = {name: v.reshape(chains * draws, *v.shape[2:]) for name, v in results["parameters"].items()}
    again = new_scores(binding.model.noise, rng, flat, asked, results["eta"].reshape(chains * draws, -1))

    def rows(values: np.ndarray) -> xr.Dataset:
        return draws_dataset({ACCURACY: values}, {ACCURACY: (SCORE,)}, coords)

    index = {SCORE: coords[SCORE]}
    return xr.DataTree.from_dict(
        {
            "prior": draws_dataset(prior["parameters"], dims, coords),
            "prior_predictive": rows(_prior_scores(binding, prior, rng)),
            "posterior": draws_dataset(results["parameters"], dims, coords),
            "latents": _latents(binding, results, coords),
            "sample_stats": draws_dataset(drawn.info, {}, {}),
            "log_likelihood": rows(results["log_likelihood"]),
            "log_prior": draws_dataset(results["log_prior"], {}, {}),
            "posterior_predictive": rows(again.reshape(chains, draws, -1)),
            "observed_data": xr.Dataset({ACCURACY: (SCORE, evals.table["accuracy"].to_numpy())}, coords=index),
            "constant_data": _constants(binding, evals),
            "evals": evals_dataset(evals),
        }
    )


def _latents(binding: EvalsBinding, results: dict[str, Any], coords: dict[str, Any]) -> xr.Dataset:
    families, models = len(binding.families), len(binding.models)
    found = {
        "capability": results["capability"][:, :, :models],
        "family_effect": results["family_effect"][:, :, :families],
        "log_ratio": results["log_ratio"][:, :, :families],
        FORECAST: results[FORECAST],
    }
    dims: Dims = {"capability": ("model", "factor"), "family_effect": ("family", "factor"), "log_ratio": ("family",)}
    dims[FORECAST] = ("model",)
    if binding.model.task_effects:
        # A family's effect on a task that none of its models was scored on is not there: it is drawn when it is asked for.
        shape = (*found["log_ratio"].shape, len(binding.tasks))
        effects = np.full(shape, np.nan)
        for f, tasks in enumerate(seen_tasks(binding)):
            effects[:, :, f, tasks] = results["task_effect"][:, :, f, : len(tasks)]
        found["task_effect"], dims["task_effect"] = effects, ("family", "task")
    return draws_dataset(found, dims, coords)


def seen_tasks(binding: EvalsBinding) -> list[np.ndarray]:
    """Of each family the tasks that one of its models was scored on."""
    design = binding.design
    family = np.asarray(design.family)[binding.cell[:, 2]]
    task = asked_of(binding).task
    return [np.unique(task[family == f]) for f in range(len(binding.families))]


def _constants(binding: EvalsBinding, evals: Evals) -> xr.Dataset:
    """What was fixed in the fit: covariates of the models, chance rates of the tasks."""
    models = evals.table.drop_duplicates("model").set_index("model").loc[list(binding.models)]
    held = {name: ("model", models[name].to_numpy(float)) for name in ("params", "tokens", "flops")}
    labels = {"model": list(binding.models), "family": ("model", list(models["family"])), "task": list(binding.tasks)}
    return xr.Dataset({**held, "chance": ("task", np.asarray(binding.design.chance))}, coords=labels)


def evals_dataset(evals: Evals) -> xr.Dataset:
    """The validated table, one variable a column."""
    columns = {
        str(name): (ROW, column.to_numpy(float) if column.dtype == np.float64 else column.astype(str).to_numpy(object))
        for name, column in evals.table.items()
    }
    return xr.Dataset(columns, coords={ROW: evals.table.index.to_numpy()})

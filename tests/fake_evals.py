"""Fits of a model of capability built from known draws, without sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.data.evals import as_evals
from bayescale.infer.evals_fit import (
    ACCURACY,
    FORECAST,
    SCORE,
    CapabilityFit,
    asked_of,
    coordinates,
    evals_dataset,
    parameter_dims,
    seen_tasks,
)
from bayescale.infer.tree import draws_dataset
from bayescale.models.capability import CapabilityModel
from bayescale.models.capability_values import cells_of, logits, new_scores
from bayescale.models.eval_noise import mean_of
from bayescale.models.evals_binding import EvalsBinding, bind_evals
from tests.fakes import scattered

Values = dict[str, np.ndarray]

#: Intercept of each task of a fake fit, and their ceiling; chance is a quarter.
INTERCEPTS = {"code": -2.0, "easy": 1.0, "hard": -1.0}
CEILING = 0.95

#: Scatter of what is bounded, or is known in part, beside that of other parameters.
BOUNDED = 0.01


def scores_table(families: int = 3, sizes: int = 4) -> pd.DataFrame:
    """Scores without noise of models from 1e9 params on, as a fake fit with ``INTERCEPTS`` has them; families are alike."""
    rows = []
    for f in range(families):
        for i in range(sizes):
            params, tokens = 1e9 * 10 ** (0.5 * i), 10 ** (11.8 + 0.3 * i)
            at = (np.log10(params) - 9.8) / 0.7 + (np.log10(tokens) - 11.8) / 0.6
            for task, intercept in INTERCEPTS.items():
                score = 0.25 + (CEILING - 0.25) / (1 + np.exp(-(intercept + at)))
                rows.append((f"F{f}", f"F{f}-{i}", params, tokens, task, score, 500.0, 0.25))
    names = ["family", "model", "params", "tokens", "task", "accuracy", "n_items", "chance"]
    return pd.DataFrame(rows, columns=names)


def fake_capability_fit(
    model: CapabilityModel,
    table: pd.DataFrame,
    parameters: Mapping[str, Any] | None = None,
    *,
    family_effect: Any = 0.0,
    own: float = 0.0,
    log_ratio: Any = 0.0,
    sd: float = 0.0,
    chains: int = 2,
    draws: int = 100,
    seed: int = 0,
) -> CapabilityFit:
    """A fit whose posterior is known.

    Parameters
    ----------
    parameters : mapping of name to value
        Of the shapes that the posterior has without chain and draw; task by name, as ``{task: value}``, where that is all.
    family_effect : array (family, factor)
        In the order of ``binding.families``.
    own : float
        Standard deviation of the models' own residuals, which differ from draw to draw.
    log_ratio : array (chain, draw, family)
    sd : float
        Scatter of every parameter, relative where it must be positive; a hundredth of it for loadings and bounds.
    """
    evals = as_evals(table)
    binding = bind_evals(model, evals)
    rng = np.random.default_rng(seed)
    shape = (chains, draws)
    posterior = _parameters(binding, dict(parameters or {}), sd, shape, rng)
    families, models, factors = len(binding.families), len(binding.models), model.factors
    shared = np.broadcast_to(np.asarray(family_effect, float), (*shape, families, factors)).copy()
    x, family = np.asarray(binding.design.x)[:, :models], np.asarray(binding.design.family)[:models]
    residual = own * rng.standard_normal((*shape, models, factors))
    capability = shared[:, :, family] + np.einsum("cdkp,pm->cdmk", posterior["effect"], x) + residual
    latents: Values = {"capability": capability, "family_effect": shared}
    latents["log_ratio"] = np.broadcast_to(np.asarray(log_ratio, float), (*shape, families)).copy()
    latent_dims = {"capability": ("model", "factor"), "family_effect": ("family", "factor"), "log_ratio": ("family",)}
    if model.task_effects:
        effects = np.full((*shape, families, len(binding.tasks)), np.nan)
        for f, tasks in enumerate(seen_tasks(binding)):
            effects[:, :, f, tasks] = 0.0
        latents["task_effect"], latent_dims["task_effect"] = effects, ("family", "task")
    flat = {name: v.reshape(chains * draws, *v.shape[2:]) for name, v in posterior.items()}
    asked, who = asked_of(binding), binding.cell[:, 2]
    eta = logits(flat, asked, capability.reshape(-1, models, factors)[:, who], np.zeros((chains * draws, len(who))))
    again = new_scores(model.noise, rng, flat, asked, eta).reshape(*shape, -1)
    cells = cells_of(flat, asked)
    by_model = np.eye(models)[who] / np.bincount(who)
    latents[FORECAST] = (mean_of(np, eta, cells.floor, cells.ceiling) @ by_model).reshape(*shape, models)
    latent_dims[FORECAST] = ("model",)
    coords = coordinates(binding) | {SCORE: evals.table.index.to_numpy()}
    observed = xr.Dataset({ACCURACY: (SCORE, evals.table["accuracy"].to_numpy())}, coords={SCORE: coords[SCORE]})
    tree = xr.DataTree.from_dict(
        {
            "posterior": draws_dataset(posterior, parameter_dims(binding), coords),
            "latents": draws_dataset(latents, latent_dims, coords),
            "sample_stats": draws_dataset({"diverging": np.zeros(shape, bool)}, {}, {}),
            "posterior_predictive": draws_dataset({ACCURACY: again}, {ACCURACY: (SCORE,)}, coords),
            "observed_data": observed,
            "evals": evals_dataset(evals),
        }
    )
    tree.attrs |= {"seed": seed, "sampler": "fake", "digest": evals.digest, "interrupted": 0}
    return CapabilityFit(model, evals, tree)


def _parameters(
    binding: EvalsBinding, given: dict[str, Any], sd: float, shape: tuple[int, int], rng: np.random.Generator
) -> Values:
    model, tasks, factors = binding.model, binding.tasks, binding.model.factors
    prompts, sources = max(0, len(binding.prompts) - 1), len(binding.sources)
    effect = np.zeros((factors, len(model.covariate_names)))
    effect[0, : min(2, effect.shape[1])] = 1.0
    centres: dict[str, Any] = {
        "loading": np.tril(np.ones((len(tasks), factors))),
        "intercept": [INTERCEPTS.get(task, 0.0) for task in tasks],
        "effect": effect,
        "family_sd": np.full(factors, 0.5),
        "model_sd": np.full(factors, 0.3),
        "ceiling": np.full(len(tasks), CEILING),
        "floor": np.asarray(binding.design.chance),
        "sigma": 0.01,
        "jitter": np.full(len(tasks), 0.1),
    }
    centres |= {"task_sd": np.full(len(tasks), 0.2)} if model.task_effects else {}
    centres |= {"prompt_intercept": np.zeros(prompts), "prompt_loading": np.zeros((prompts, factors))} if prompts else {}
    centres |= {"source_effect": np.zeros(sources)} if sources else {}
    assert set(given) <= set(centres), f"no parameters of this model: {set(given) - set(centres)}"
    out = {}
    for name, centre in centres.items():
        value = given.get(name, centre)
        if isinstance(value, Mapping):
            value = [value[task] for task in tasks]
        value = np.broadcast_to(np.asarray(value, float), np.shape(centre))
        z = sd * scattered(rng, (*shape, *value.shape))
        if name in binding.free:
            z = np.where(binding.free[name], BOUNDED * z, 0.0)
        out[name] = value + (z if name in ("intercept", "effect") else value * z)
    return out

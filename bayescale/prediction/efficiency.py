"""Which families turn compute into capability best, and what a way of prompting gains along it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.models.evals_binding import prompting
from bayescale.prediction.parameters import generator
from bayescale.prediction.score_curves import (
    Array,
    capability_along,
    chains_of,
    coefficients,
    logits_along,
    middle_of,
    new_model_points,
    of_family,
    of_task,
    require_scores,
    rising_root,
    score_curves,
    usual_path,
)

FAMILY, RANK = "family", "rank"


def efficiency(
    fit: CapabilityFit,
    *,
    reference: str,
    task: str | None = None,
    at_flops: float | None = None,
    path: Mapping[str, float] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Compute that each family is worth in that of another :cite:p:`ruan2024`.

    The factor k of a family at compute C solves ``v_reference(k C) = v_family(C)``, where v is the capability of the first
    factor, or the logit of a task: what is above 1 is more efficient than the reference. ``k C`` are its equivalent FLOPs.

    Parameters
    ----------
    fit : CapabilityFit
    reference : str
        A fitted family.
    task : str, optional
        Compare the logit of this task, the family's own effect on it included, instead of the capability of the first factor.
    at_flops : float, optional
        Compute at which families are compared; by default the geometric mean of the fitted models.
    path : dict, optional
        How size and data move along compute, for all families: ``{"tokens_per_param": 20}`` (the default),
        ``{"tokens": 1e12}`` or ``{"params": 7e9}``.
    seed : int
        The same seed gives the same draws (of effects on tasks that a family was not scored on).

    Returns
    -------
    Dataset
        ``factor`` (chain, draw, family), ``inf`` in draws in which the reference never gets there, 0 where it is never so poor
        where it rises, NaN where it does not rise with compute; ``equivalent_flops``; ``rank_probability`` (family, rank), of
        being the most, second most, … capable at that compute.

    Raises
    ------
    SpecError
        When a family, the task, the compute or the path makes no sense.

    Examples
    --------
    Tests skip the fit, which takes minutes, and what follows it.

    >>> import bayescale as bs
    >>> table = bs.load_dataset("benchmark_accuracy", evals=True)
    >>> tasks = ["HellaSwag", "PIQA", "Winogrande", "ARC-E"]
    >>> fitted = bs.fit(bs.CapabilityModel(1), table[table.task.isin(tasks)])  # doctest: +SKIP
    >>> found = bs.efficiency(fitted, reference="Pythia", at_flops=1e22)  # doctest: +SKIP
    >>> float(found["factor"].sel(family="Pythia").mean())  # doctest: +SKIP
    1.0
    """
    fit = require_scores(fit, "efficiency")
    of_family(fit, reference, "reference")
    families = fit.binding.families
    about = fit.binding.tasks[0] if task is None else of_task(fit, task)
    at_flops = middle_of(fit, "flops", "at_flops=1e22") if at_flops is None else _flops(at_flops, "at_flops")
    generator(seed, 0)  # refuses what is no seed
    table = new_model_points(fit, {FAMILY: list(families), "task": about})
    asked = fit, table, "flops", usual_path(fit, path), at_flops, seed
    if task is None:
        level, slope, bend = coefficients(capability_along(*asked)[..., 0])
    else:
        (level, slope, bend), _, _ = logits_along(*asked)
    i = families.index(reference)
    gap = level - level[:, [i]]
    factor = _factor(gap, slope[:, [i]], bend[:, [i]])
    order = np.argsort(np.argsort(-gap, axis=1, kind="stable"), axis=1)
    chances = np.stack([(order == rank).mean(axis=0) for rank in range(len(families))], axis=1)
    chains = chains_of(fit)
    drawn = factor.reshape(*(len(chains[d]) for d in (CHAIN, DRAW)), -1)
    values = {
        "factor": ((CHAIN, DRAW, FAMILY), drawn),
        "equivalent_flops": ((CHAIN, DRAW, FAMILY), drawn * at_flops),
        "rank_probability": ((FAMILY, RANK), chances),
    }
    out = xr.Dataset(values, coords={**chains, FAMILY: list(families), RANK: np.arange(1, len(families) + 1)})
    return out.assign_attrs(reference=reference, task=task or "", at_flops=at_flops, seed=int(seed))


def prompt_gain(
    fit: CapabilityFit,
    task: str,
    prompts: Sequence[str] = ("direct", "cot"),
    flops: float | Sequence[float] = (1e21, 1e22, 1e23, 1e24),
    *,
    family: str | None = None,
    path: Mapping[str, float] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """What one way of asking gains over another as compute grows.

    The accuracy of a new model asked in the second way, less that of the same model asked in the first; without a model's own
    residual and the noise of a score. Both ways may be any that had effects in the fit, or its reference.

    Parameters
    ----------
    fit : CapabilityFit
    task : str
        A fitted task.
    prompts : (str, str)
        Before and after, as the column ``prompt`` (or ``shots``, where that is empty) names them.
    flops : float or sequence of float
        Compute of the models.
    family : str, optional
        A fitted family; by default one that is drawn from the population.
    path : dict, optional
        How size and data move along compute: ``{"tokens_per_param": 20}`` (the default), ``{"tokens": 1e12}`` or
        ``{"params": 7e9}``.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        ``gain`` (chain, draw, point), a fraction; ``flops`` along point.

    Raises
    ------
    SpecError
        When task, family, path, compute or a way of asking makes no sense.

    Examples
    --------
    Tests skip the table, which is downloaded, the fit, which takes minutes, and what follows it.

    >>> import bayescale as bs
    >>> table = bs.load_dataset("observational_post_training", evals=True)  # doctest: +SKIP
    >>> fitted = bs.fit(bs.CapabilityModel(1), table)  # doctest: +SKIP
    >>> bs.prompt_gain(fitted, "gsm8k", ("direct", "cot"), flops=[1e22, 1e24])["gain"].dims  # doctest: +SKIP
    ('chain', 'draw', 'point')
    """
    fit = require_scores(fit, "prompt_gain")
    of_task(fit, task)
    known = fit.binding.prompts
    if not known:
        raise SpecError("no way of prompting has an effect in this fit: it takes a task that was asked in several ways")
    ways = prompting(fit.data.table).groupby(fit.data.table["task"]).nunique()
    if ways[task] < 2:
        several = ", ".join(str(name) for name in ways.index[ways > 1])
        raise SpecError(f"{task} was asked in one way, which is all that the fit knows of it. Asked in several: {several}")
    if isinstance(prompts, str) or len(prompts) != 2:
        raise SpecError(f"prompts are two ways of asking, before and after; got {prompts!r}")
    if faults := [unknown("way of prompting", str(p), known) for p in prompts if p not in known]:
        raise SpecError("prompts: " + "; ".join(faults))
    label = "" if family is None else of_family(fit, family)
    budgets = np.array([_flops(v, "flops") for v in np.atleast_1d(np.asarray(flops, dtype=object))])
    if not budgets.size:
        raise SpecError("flops: expected at least one number")
    generator(seed, 0)  # refuses what is no seed
    table = new_model_points(fit, {"task": task, FAMILY: label, "prompt": list(prompts)})
    before, after = score_curves(fit, table, "flops", usual_path(fit, path), float(np.exp(np.log(budgets).mean())), seed)
    chains = chains_of(fit)
    gain = (after(budgets) - before(budgets)).reshape(*(len(chains[d]) for d in (CHAIN, DRAW)), -1)
    coords = {**chains, POINT: np.arange(len(budgets)), "flops": (POINT, budgets)}
    out = xr.Dataset({"gain": ((CHAIN, DRAW, POINT), gain)}, coords=coords)
    return out.assign_attrs(task=task, family=label, before=str(prompts[0]), after=str(prompts[1]), seed=int(seed))


def _factor(gap: Array, slope: Array, bend: Array) -> Array:
    """Factor on compute that makes up a gap of capability (draw, family)."""
    slope, bend = np.broadcast_to(slope, gap.shape), np.broadcast_to(bend, gap.shape)
    root = rising_root(-gap, slope, bend)
    with np.errstate(over="ignore"):  # infinitely more compute
        found = 10.0**root
    beyond = np.where(gap > 0, np.inf, 0.0)
    return np.where(slope > 0, np.where(np.isnan(root), beyond, found), np.nan)


def _flops(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < float(value) < np.inf:
        raise SpecError(f"{name} is a number above 0, got {value!r}")
    return float(value)

"""Accuracies that a model of capability foretells, of models and families that were fitted and of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import DataError, unknown
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.evals import Evals
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, TOKENS_PER_PARAM, near, read_labels, read_numbers, rows_text
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit, seen_tasks
from bayescale.models.capability_values import Asked, Floats, Ints, cells_of, logits, new_scores
from bayescale.models.eval_noise import draw_scores_on, mean_of
from bayescale.models.evals_binding import covariates_of, places, prompting
from bayescale.prediction.parameters import generator

_LABELS = ("family", "model", "task", "prompt", "shots", "eval_source")
_NUMBERS = ("params", "tokens", "flops", TOKENS_PER_PARAM, "n_items")

AtScores = pd.DataFrame | Evals | Mapping[str, Any]


def score_draws(
    fit: CapabilityFit, at: AtScores, kind: str, unseen: str, seed: int, *, item_correlation: float = 0.0
) -> xr.Dataset:
    """Draws of the accuracy at the points of ``at``, dims (chain, draw, point); see :func:`bayescale.predict`.

    With an ``item_correlation`` points of one task and number of items are scores on the same items.
    """
    table = read_score_points(fit, at, unseen)
    shape = tuple(fit.posterior.sizes[d] for d in (CHAIN, DRAW))
    parameters = {str(n): v.to_numpy().reshape(-1, *v.shape[2:]) for n, v in fit.posterior.data_vars.items()}
    asked = asked_at(fit, table)
    capability = _capability(fit, table, parameters, seed)
    eta = logits(parameters, asked, capability, task_effects(fit, table, asked.task, parameters, seed))
    cells = cells_of(parameters, asked)
    if kind == "mean":
        values = mean_of(np, eta, cells.floor, cells.ceiling)
    elif item_correlation:
        items = _item_noise(asked, eta.shape, item_correlation, seed)
        values = draw_scores_on(fit.model.noise, generator(seed, 1), eta, cells, items)
    else:
        values = new_scores(fit.model.noise, generator(seed, 1), parameters, asked, eta)
    coords = {POINT: np.arange(len(table)), **{name: (POINT, table[name].to_numpy()) for name in table}}
    coords |= {d: fit.posterior.coords[d].to_numpy() for d in (CHAIN, DRAW)}
    draws = xr.Dataset({ACCURACY: ((CHAIN, DRAW, POINT), values.reshape(*shape, -1))}, coords=coords)
    return draws.assign_attrs(kind=kind, seed=int(seed), response=ACCURACY)


def read_score_points(fit: CapabilityFit, at: AtScores, unseen: str = "population") -> pd.DataFrame:
    """The points as a table: labels as text (``""`` where there is none), numbers in float64, NaN where not known.

    Raises
    ------
    DataError
        Naming everything that is wrong, with the rows.
    """
    given = at.table if isinstance(at, Evals) else at
    frame = (given if isinstance(given, pd.DataFrame) else pd.DataFrame(_even(given))).reset_index(drop=True)
    faults: list[str] = [] if len(frame) else ["there is no point in `at`"]
    known = (*_LABELS, *_NUMBERS)
    for name in map(str, frame.columns):
        meant = near(name, [k for k in known if k not in frame]) if name not in (*known, ACCURACY, "chance", "shots") else None
        if meant and meant.startswith(name[:3]):
            faults.append(f"column {name!r} is not known. Did you mean {meant!r}? If not, drop or rename it")
    if "task" not in frame:
        faults.append(f"there is no column 'task'. Valid tasks: {', '.join(fit.binding.tasks)}")
    out: dict[str, Any] = {n: read_labels(frame[n])[0] if n in frame else [""] * len(frame) for n in _LABELS}
    for name in _NUMBERS:
        values, _, found = read_numbers(name, frame[name]) if name in frame else (np.full(len(frame), np.nan), None, [])
        faults += [fault.message for fault in found]
        if (bad := (values <= 0) | np.isinf(values)).any():
            faults.append(f"{name}: expected a finite number above 0 in {rows_text(np.flatnonzero(bad))}")
        out[name] = values
    table = pd.DataFrame(out)
    if "task" in frame:
        faults += [unknown("task", t, fit.binding.tasks) for t in dict.fromkeys(table["task"]) if t not in fit.binding.tasks]
    if prompts := fit.binding.prompts:
        asked = [p for p in dict.fromkeys(prompting(table)[_in_several_ways(fit, table)]) if p and p not in prompts]
        faults += [unknown("prompt", p, prompts) for p in asked]
    table = _completed(fit, table)
    if unseen == "error":
        new = [f for f in dict.fromkeys(table["family"]) if f not in fit.binding.families]
        faults += [f"{unknown('family', f, fit.binding.families)} (unseen='population' draws it)" for f in new]
    if faults:
        raise DataError("`at` cannot be used:", faults)
    return table


def _even(at: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and labels as often as the lists beside them are long."""
    lengths = {name: len(v) for name, v in at.items() if np.ndim(v)}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the lists in `at` must have one length, got {', '.join(f'{n} {k}' for n, k in lengths.items())}")
    size = next(iter(lengths.values()), 1)
    return {str(name): list(v) if np.ndim(v) else [v] * size for name, v in at.items()}


def _completed(fit: CapabilityFit, table: pd.DataFrame) -> pd.DataFrame:
    """What is known of fitted models filled in, and size, data and compute completed from each other."""
    fitted = fit.data.table.drop_duplicates("model").set_index("model")
    here = table["model"].isin(fitted.index).to_numpy()
    names = table.loc[here, "model"]
    table.loc[here, "family"] = fitted.loc[names, "family"].to_numpy()
    for name in ("params", "tokens", "flops"):
        table.loc[here, name] = table.loc[here, name].fillna(pd.Series(fitted.loc[names, name].to_numpy(), names.index))
    six, ratio = FLOP_PER_PARAM_TOKEN, table[TOKENS_PER_PARAM]
    table["params"] = table["params"].fillna(table["tokens"] / ratio).fillna((table["flops"] / (six * ratio)) ** 0.5)
    table["tokens"] = table["tokens"].fillna(table["params"] * ratio)
    table["flops"] = table["flops"].fillna(six * table["params"] * table["tokens"])
    table["tokens"] = table["tokens"].fillna(table["flops"] / (six * table["params"]))
    table["params"] = table["params"].fillna(table["flops"] / (six * table["tokens"]))
    return table


def _in_several_ways(fit: CapabilityFit, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the task of each point was asked in several ways: one that was not has its way in its intercept."""
    levels = prompting(fit.data.table).groupby(fit.data.table["task"]).nunique()
    several: NDArray[np.bool_] = (table["task"].map(levels) > 1).to_numpy(bool)
    return several


def asked_at(fit: CapabilityFit, table: pd.DataFrame) -> Asked:
    """What is asked at each point: the task, the way of asking, the source, the items."""
    binding = fit.binding
    task = places(binding.tasks, table["task"])
    prompt = np.where(_in_several_ways(fit, table), np.maximum(places(binding.prompts, prompting(table)), 0), 0)
    pairs = {pair: i + 1 for i, pair in enumerate(binding.sources)}
    source = np.array([pairs.get(pair, 0) for pair in zip(table["task"], table["eval_source"], strict=True)], dtype=np.int64)
    usual = fit.data.table.groupby("task")["n_items"].median()
    items = table["n_items"].fillna(table["task"].map(usual))
    return Asked(task, prompt, source, (1 / items).fillna(0.0).to_numpy())


def _capability(fit: CapabilityFit, table: pd.DataFrame, parameters: Mapping[str, Any], seed: int) -> Floats:
    """Capability at each point (draw, point, factor): of a fitted model its own, of another that of its family and size.

    Points of one model (its label, or its family, size and data) share what is drawn for it.
    """
    binding, latents = fit.binding, fit.latents
    sizes = [f"{n:.6g} {d:.6g} {c:.6g}" for n, d, c in table[["params", "tokens", "flops"]].to_numpy()]
    whose = zip(table["family"], table["model"], sizes, strict=True)
    codes, labels = pd.factorize(np.array([f"{family}\x1f{model or size}" for family, model, size in whose], dtype=object))
    first = table.iloc[np.unique(codes, return_index=True)[1]]
    known = places(binding.models, first["model"])
    families = family_effects(fit, list(first["family"]), parameters, seed)
    x, towards = covariates_of(fit.model, first)
    draws, factors = families.shape[0], fit.model.factors
    normal = _normal(seed, 3, labels, (draws, factors + 2))
    hidden = np.einsum("smu,mup->smp", normal[..., factors : factors + towards.shape[1]], towards)
    own = parameters["model_sd"][:, None] * normal[..., :factors]
    new = families + np.einsum("skp,smp->smk", parameters["effect"], x + hidden) + own
    fitted = latents["capability"].to_numpy().reshape(draws, -1, factors)
    out: Floats = np.where((known >= 0)[:, None], fitted[:, np.maximum(known, 0)], new)[:, codes]
    return out


def family_effects(fit: CapabilityFit, families: list[str], parameters: Mapping[str, Any], seed: int) -> Floats:
    """Effect on the factors of each family (draw, family, factor); one that was not fitted is drawn, once a label."""
    codes, labels = pd.factorize(np.array(families, dtype=object))
    known = places(fit.binding.families, labels)
    spread = parameters["family_sd"]
    new = spread[:, None] * _normal(seed, 2, labels, spread.shape)
    fitted = fit.latents["family_effect"].to_numpy().reshape(len(spread), -1, spread.shape[1])
    out: Floats = np.where((known >= 0)[:, None], fitted[:, np.maximum(known, 0)], new)[:, codes]
    return out


def task_effects(fit: CapabilityFit, table: pd.DataFrame, task: Ints, parameters: Mapping[str, Any], seed: int) -> Floats:
    """Effect of each point's family on its task (draw, point); drawn where none of the family's scores tells of it."""
    if not fit.model.task_effects:
        return np.zeros((len(parameters["intercept"]), len(table)))
    seen = seen_tasks(fit.binding)
    family = places(fit.binding.families, table["family"])
    codes, labels = pd.factorize(np.array(table["family"] + "\x1f" + table["task"], dtype=object))
    draws = len(parameters["task_sd"])
    new = parameters["task_sd"][:, task] * _normal(seed, 4, labels, (draws,))[:, codes]
    known = np.array([f >= 0 and t in seen[f] for f, t in zip(family, task, strict=True)])
    fitted = fit.latents["task_effect"].to_numpy().reshape(draws, len(seen), -1)[:, np.maximum(family, 0), task]
    out: Floats = np.where(known, fitted, new)
    return out


def _item_noise(asked: Asked, shape: tuple[int, ...], correlation: float, seed: int) -> Floats:
    """Standard normal noise of the items (draw, point), correlated between the points that are scored on the same ones."""
    rng = generator(seed, 5)
    _, which = np.unique(np.stack([asked.task, asked.per_item]), axis=1, return_inverse=True)
    shared = rng.standard_normal((shape[0], which.max() + 1))[:, which]
    total: Floats = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.standard_normal(shape)
    return total


def _normal(seed: int, stream: int, labels: Any, shape: tuple[int, ...]) -> Floats:
    """Standard normal draws (draw, label, ...) that depend on the label alone, not on what else is asked."""
    first = generator(seed, stream).integers(2**32)
    drawn = [np.random.default_rng([int(first), crc32(str(label).encode())]).standard_normal(shape) for label in labels]
    return np.stack(drawn, 1)

"""Backtest of a model of capability: scores of the models above a cut-off are hidden, and forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, ROW
from bayescale.data.evals import Evals, as_evals
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.cutoffs import rolling
from bayescale.evaluate.scores import score
from bayescale.infer.evals_fit import ACCURACY
from bayescale.infer.fit import fit
from bayescale.infer.progress import progress_bar
from bayescale.infer.samplers import Sampler
from bayescale.models.capability import CapabilityModel
from bayescale.models.evals_binding import bind_evals, prompting
from bayescale.prediction.predict import predict

AXES = ("flops", "params", "tokens")

#: Columns of labels that the points keep.
GROUPS = ("family", "model", "task")

#: Compute is derived by a product: models that differ by less have the same.
ROUNDING = 1e-9


def backtest_scores(
    model: Any,
    data: Any,
    along: str,
    cutoffs: int | list[float],
    tasks: Sequence[str] | None,
    columns: Mapping[str, str] | None,
    seed: int,
    sampler: Sampler | None,
    progress: bool,
) -> Backtest:
    """Hide the scores of the models above each cut-off, fit the rest, and score the forecasts; see :func:`backtest`.

    Models whose place on the axis is not known keep their scores. A task, or a way of prompting, of which nothing is left
    below a cut-off cannot be forecast from there: ``notes`` tell.

    Raises
    ------
    DataError
        When no cut-off has models below and scores to hide above it.
    SpecError
        When axis, tasks or model make no sense, or the model does not fit what is left.
    """
    if model is not None and not isinstance(model, CapabilityModel):
        raise SpecError(f"scores are backtested with a CapabilityModel, got {type(model).__name__}")
    if not isinstance(data, pd.DataFrame | Evals):
        raise SpecError(f"a CapabilityModel is backtested on one table of scores (Evals.from_frame), got {type(data).__name__}")
    if along not in AXES:
        raise SpecError("along: " + unknown("axis", str(along), AXES))
    chosen, evals = model or CapabilityModel(), as_evals(data, columns=columns)
    targets = evals.tasks if tasks is None else (tasks,) if isinstance(tasks, str) else tuple(map(str, tasks))
    if faults := [unknown("task", t, evals.tasks) for t in targets if t not in evals.tasks] or ([] if targets else ["none"]):
        raise SpecError("tasks: " + "; ".join(faults))
    places, left = _plan(evals, along, cutoffs, targets)
    if not places:
        raise DataError(f"no backtest along {along!r} can be made:", left)
    for cutoff, hidden in places:
        _bindable(chosen, evals.subset(~hidden), along, cutoff)
    parts = []
    with progress_bar(progress and len(places) > 1, "fit") as report:
        for i, (cutoff, hidden) in enumerate(places):
            report(i, len(places), f"up to {cutoff:.3g}")
            below, above = evals.subset(~hidden), evals.subset(hidden)
            found, notes = _forecast(chosen, below, above, cutoff, along, seed, sampler, progress and len(places) == 1)
            parts.append(found)
            left += notes
    points = pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else pd.DataFrame()
    if not len(points):
        raise DataError(f"no backtest along {along!r} can be made:", left)
    return Backtest(chosen, points, along, None, GROUPS, None, tuple(left))


def _plan(
    evals: Evals, along: str, cutoffs: int | list[float], targets: tuple[str, ...]
) -> tuple[list[tuple[float, np.ndarray]], list[str]]:
    """Cut-offs with the scores that each hides (score,), and why others cannot be made."""
    table = evals.table
    x = table[along].to_numpy(np.float64)
    sizes = table.drop_duplicates("model")[along].dropna().to_numpy(np.float64)
    if not sizes.size:
        return [], [f"no model has a known number of {along}"]
    span = f"{along} runs from {sizes.min():.6g} to {sizes.max():.6g}"
    places = rolling(sizes, cutoffs) if isinstance(cutoffs, int) else cutoffs
    if not places:
        return [], [f"no cut-off has two values below and one above it: {span}, {len(np.unique(sizes))} values in all"]
    asked = table["task"].isin(targets).to_numpy()
    found: list[tuple[float, np.ndarray]] = []
    left: list[str] = []
    for cutoff in places:
        edge = cutoff * (1 + ROUNDING)
        hidden = (x > edge) & asked
        if found and (found[-1][1] == hidden).all():
            left.append(f"cut-off {cutoff:.6g} hides the same scores as {found[-1][0]:.6g}, so that one would count twice")
        elif not hidden.any() or not (x[~hidden] <= edge).any():
            side = "no model below" if hidden.any() else "no score of the tasks above"
            left.append(f"cut-off {cutoff:.6g} has {side} it: {span}")
        else:
            found.append((cutoff, hidden))
    return found, left


def _bindable(model: CapabilityModel, below: Evals, along: str, cutoff: float) -> None:
    """Refuse what cannot be fitted before minutes are spent on the first of the fits."""
    try:
        bind_evals(model, below)
    except SpecError as error:
        raise SpecError(f"of the scores that are left up to {cutoff:.6g} {along}: {error}") from error


def _forecast(
    model: CapabilityModel,
    below: Evals,
    above: Evals,
    cutoff: float,
    along: str,
    seed: int,
    sampler: Sampler | None,
    progress: bool,
) -> tuple[pd.DataFrame, list[str]]:
    """The points of one cut-off, and what could not be forecast from it."""
    table = above.table
    seen = set(_ways(model, below.table))
    told = [pair in seen for pair in _ways(model, table)]
    notes = []
    if lacking := [f"{t} ({p})" if p else t for t, p in dict.fromkeys(_ways(model, table[~np.array(told)]))]:
        said = f"up to {cutoff:.6g} {along} no score is left of {', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}"
        notes.append(f"{said}: {len(told) - sum(told)} scores were not forecast")
    table = table[told]
    if not len(table):
        return pd.DataFrame(), notes
    found = fit(model, below, seed=seed, sampler=sampler, progress=progress, strict=False)
    at = table.drop(columns=[ACCURACY, "chance"])
    drawn = predict(found, at, seed=seed)[ACCURACY].transpose(CHAIN, DRAW, ...).to_numpy()
    scores = score(drawn.reshape(-1, len(table)), table[ACCURACY].to_numpy(), log=False)
    x = table[along].to_numpy(np.float64)
    fitted = below.table[along].to_numpy(np.float64)
    largest = fitted[fitted <= cutoff * (1 + ROUNDING)].max()
    row: dict[str, Any] = {"cutoff": cutoff, **{name: table[name].to_numpy() for name in GROUPS}, along: x}
    row |= {"distance": np.log(x / largest), **{str(name): values for name, values in scores.items()}}
    row |= {"converged": not found.convergence.faults, ROW: table.index.to_numpy(), "factor": 1.0}
    return pd.DataFrame(row), notes


def _ways(model: CapabilityModel, table: pd.DataFrame) -> list[tuple[str, str]]:
    """Task and way of prompting of each score, the latter as far as the model tells one from another."""
    how = prompting(table) if model.prompt_effects else [""] * len(table)
    return [(str(task), str(way)) for task, way in zip(table["task"], how, strict=True)]

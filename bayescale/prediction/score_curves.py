"""Accuracy along params, tokens or flops of new models of a family, as every draw of a fit to scores has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import SpecError, unknown
from bayescale.data.runs import Runs
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.models.capability_values import cells_of, logits
from bayescale.models.eval_noise import mean_of
from bayescale.models.evals_binding import covariates_of
from bayescale.prediction.points import LINKED, complete
from bayescale.prediction.scores import AtScores, asked_at, family_effects, read_score_points, task_effects

Array = NDArray[np.float64]

#: What a curve may go along.
AXES = ("flops", "params", "tokens")

#: Tokens a parameter where a question allows for a usual path.
USUAL = 20.0

#: A bend smaller than this share of a curve is rounding: covariates are then straight in the logarithm of the scale.
STRAIGHT = 1e-10


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """``floor + (ceiling - floor) sigmoid(level + slope u + bend u^2)`` with ``u = log10(scale / middle)``.

    Covariates are straight in u and their product is a parabola, so this is exact.

    Parameters
    ----------
    middle : float
        Scale at which u is 0.
    level, slope, bend : array (draw,)
        Of the logit.
    floor, ceiling : array (draw,)
        Accuracy of a model of no, and of every, capability.
    """

    middle: float
    level: Array
    slope: Array
    bend: Array
    floor: Array
    ceiling: Array

    def __call__(self, scale: Array) -> Array:
        """Accuracies (draw, scale) at scales of shape (1, scale) or (draw, scale)."""
        u = np.log10(np.atleast_2d(scale) / self.middle)
        eta = self.level[:, None] + u * (self.slope[:, None] + u * self.bend[:, None])
        return np.asarray(mean_of(np, eta, self.floor[:, None], self.ceiling[:, None]))

    def take(self, draws: NDArray[np.int64]) -> ScoreCurve:
        """The curve of some of the draws, or of all in another order."""
        chosen = {f.name: getattr(self, f.name)[draws] for f in fields(self) if f.name != "middle"}
        return replace(self, **chosen)


def rising_root(level: Array, slope: Array, bend: Array) -> Array:
    """Where ``bend u^2 + slope u + level`` is 0 and rises; NaN where it never does.

    Examples
    --------
    >>> rising_root(np.array([-2.0, -3.0, 1.0]), np.array([1.0, 2.0, -1.0]), np.array([0.0, 1.0, 0.0]))
    array([ 2.,  1., nan])
    """
    under = slope**2 - 4 * bend * level
    with np.errstate(divide="ignore", invalid="ignore"):  # what does not exist is told as NaN
        root = np.sqrt(under)
        # Of the two ways to write the root each loses digits where the other does not.
        found = np.where(slope > 0, -2 * level / (slope + root), (root - slope) / (2 * bend))
    return np.where((root > 0) & np.isfinite(found), found, np.nan)


def require_scores(fit: object, verb: str) -> CapabilityFit:
    """The fit, if it is one to scores."""
    if not isinstance(fit, CapabilityFit):
        raise SpecError(f"{verb} asks a fit of a CapabilityModel, fit(CapabilityModel(), evals); got {type(fit).__name__}")
    return fit


def flat_parameters(fit: CapabilityFit) -> dict[str, Any]:
    """Draws of what models share by name, (draw, …), the chains one after the other."""
    return {str(n): v.to_numpy().reshape(-1, *v.shape[2:]) for n, v in fit.posterior.data_vars.items()}


def chains_of(fit: CapabilityFit) -> dict[str, Any]:
    """Coordinates of chain and draw."""
    return {d: fit.posterior.coords[d].to_numpy() for d in ("chain", "draw")}


def of_family(fit: CapabilityFit, family: str, word: str = "family") -> str:
    """The label, if that family was fitted."""
    if family not in fit.binding.families:
        raise SpecError(f"{word}: {unknown('family', str(family), fit.binding.families)}")
    return family


def of_task(fit: CapabilityFit, task: str) -> str:
    """The task, if it was fitted."""
    if task not in fit.binding.tasks:
        raise SpecError(unknown("task", str(task), fit.binding.tasks))
    return task


def usual_path(fit: CapabilityFit, path: Mapping[str, float] | None) -> Mapping[str, float]:
    """The path, by default 20 tokens a parameter; none where capability grows with compute alone."""
    if path is not None:
        return path
    return {} if fit.model.covariates == "compute" else {"tokens_per_param": USUAL}


def new_model_points(fit: CapabilityFit, at: AtScores | Runs | None) -> pd.DataFrame:
    """Points of models that are not fitted: of a family, known or not, on a task.

    Raises
    ------
    DataError, SpecError
        When they cannot be read, or name a model.
    """
    if isinstance(at, Runs):
        raise SpecError("expected points of a model of capability, got runs: name a task, and a family")
    table = read_score_points(fit, {} if at is None else at)
    if named := [m for m in dict.fromkeys(table["model"]) if m]:
        raise SpecError(
            f"expected new models of a family, got the model {named[0]!r}, which has one size: name its family only"
        )
    return table


def coefficients(values: Array) -> tuple[Array, Array, Array]:
    """Level, slope and bend (draw, point) of parabolas from their values at u = -1, 0 and 1, shape (draw, point, 3)."""
    before, level, after = np.moveaxis(values, -1, 0)
    bend = (before + after) / 2 - level
    slope = (after - before) / 2
    bend = np.where(np.abs(bend) <= STRAIGHT * (np.abs(level) + np.abs(slope)), 0.0, bend)
    return level, slope, bend


def capability_along(
    fit: CapabilityFit, table: pd.DataFrame, along: str, path: Mapping[str, float] | None, middle: float, seed: int
) -> Array:
    """Capability (draw, point, 3, factor) of new models without their own residual at u = -1, 0, 1 along the axis.

    Raises
    ------
    SpecError
        When axis and path do not say where every covariate is.
    """
    scale = middle * np.array([0.1, 1.0, 10.0])
    moved = pd.concat([_moved(fit, row, along, path, scale) for row in table[list(AXES)].to_dict("records")])
    x, _ = covariates_of(fit.model, moved)
    parameters = flat_parameters(fit)
    shared = family_effects(fit, list(table["family"]), parameters, seed)
    grown = np.einsum("skp,mp->smk", parameters["effect"], x).reshape(len(shared), len(table), 3, -1)
    return np.asarray(shared[:, :, None] + grown)


def logits_along(
    fit: CapabilityFit, table: pd.DataFrame, along: str, path: Mapping[str, float] | None, middle: float, seed: int
) -> tuple[tuple[Array, Array, Array], Array, Array]:
    """Coefficients of the logit of each point's task, and its floor and ceiling, each (draw, point)."""
    capability, parameters = capability_along(fit, table, along, path, middle, seed), flat_parameters(fit)
    asked = asked_at(fit, table)
    beside = task_effects(fit, table, asked.task, parameters, seed)
    values = np.stack([logits(parameters, asked, capability[:, :, i], beside) for i in range(3)], -1)
    cells = cells_of(parameters, asked)
    return coefficients(values), cells.floor, cells.ceiling


def score_curves(
    fit: CapabilityFit, table: pd.DataFrame, along: str, path: Mapping[str, float] | None, middle: float, seed: int
) -> list[ScoreCurve]:
    """The curve of each point."""
    found, floor, ceiling = logits_along(fit, table, along, path, middle, seed)
    every = (*found, floor, ceiling)
    return [ScoreCurve(middle, *(values[:, i] for values in every)) for i in range(len(table))]


def fitted_along(fit: CapabilityFit, along: str) -> Array:
    """Where the fitted models lie along an axis, as far as it is known."""
    if along not in AXES:
        raise SpecError("along: " + unknown("axis", str(along), AXES))
    return np.asarray(fit.data.table.drop_duplicates("model")[along].dropna(), dtype=np.float64)


def middle_of(fit: CapabilityFit, along: str, words: str) -> float:
    """Geometric mean of the fitted models along an axis."""
    known = fitted_along(fit, along)
    if not known.size:
        raise SpecError(f"no fitted model has a known number of {along}: say {words}")
    return float(np.exp(np.log(known).mean()))


def _moved(
    fit: CapabilityFit, row: Mapping[Any, Any], along: str, path: Mapping[str, float] | None, scale: Array
) -> pd.DataFrame:
    """Params, tokens and flops along the axis."""
    known: dict[str, Array] = {name: np.full(len(scale), v) for name, v in _steady(row, along, path).items()}
    wanted: Sequence[str] = ("flops",) if fit.model.covariates == "compute" else ("params", "tokens")
    found = complete({**known, along: scale}, AXES)
    if lacking := [name for name in wanted if name not in found]:
        raise SpecError(
            f"along {along} it is not said how {' and '.join(lacking)} move: give path={{'tokens_per_param': 20}} or "
            f"{{'tokens': 1e12}}, or a number of params or tokens in `at`"
        )
    return pd.DataFrame({name: found.get(name, np.full(len(scale), np.nan)) for name in AXES})


def _steady(row: Mapping[Any, Any], along: str, path: Mapping[str, float] | None) -> dict[str, float]:
    """What stays as it is along the axis."""
    if isinstance(path, str):
        raise SpecError(f"path {path!r}: capability has no optimum at a given compute; path={{'tokens_per_param': 20}}")
    given = {str(k): v for k, v in (path or {}).items()}
    faults = [unknown("covariate", name, LINKED) for name in given if name not in LINKED]
    faults += [f"{name} is a number above 0, got {v!r}" for name, v in given.items() if not _positive(v)]
    if along in given:
        faults.append(f"{along} is the axis, and cannot stay as it is")
    # Compute of a point follows from its size and data, and says nothing beside the two.
    here = {str(name): float(row[name]) for name in ("params", "tokens") if name != along and np.isfinite(row[name])}
    both = {**given, **here}
    if not faults and len(both) > 1:
        faults.append(f"one covariate that stays as it is fixes the others along {along}, got {', '.join(sorted(both))}")
    if faults:
        raise SpecError("path: " + "; ".join(faults))
    return {name: float(v) for name, v in both.items()}


def _positive(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 < float(value) < np.inf

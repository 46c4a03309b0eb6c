"""A model meets a table: which column is which covariate, where the reference run lies, which row is in which group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.core.names import COVARIATES, EPOCHS, RUN
from bayescale.data.runs import Runs
from bayescale.data.schema import passes_below_one, rows_text
from bayescale.laws.base import Law
from bayescale.laws.param import Param
from bayescale.models.basis import Frame, make_basis, make_frame
from bayescale.models.design import Design, Prior, Slot, bucket, pad
from bayescale.models.discrepancy import RunEffect, SlopeDrift, SmoothMisfit
from bayescale.models.groups import Level, make_levels
from bayescale.models.literature import literature_priors
from bayescale.models.memory import make_memory
from bayescale.models.noise import BestOf, Gaussian, StudentT
from bayescale.models.path import make_path
from bayescale.models.pooling import CompletePooling, NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel

#: What a law of one variable calls it: any covariate.
ANY = "x"

#: From so many runs in a group its data say more of it than the population does, and it is sampled itself (a level) or
#: half-way between itself and its offset (an exponent, of which they say less); below, as an offset from the population.
#: As offsets, chains of 17 families of two runs do not agree (`benchmarks.extrapolation families` has this model). How far a
#: few groups lie apart is told badly, and levels sampled themselves narrow with it, to a funnel: four families of three runs
#: (`benchmarks.convergence --bundled`) agree where levels stop short of it.
CENTERED_FROM, CENTERED_LEVEL, CENTERED_SHAPE = 2, 1.0, 0.5
FEW_GROUPS, FEW_LEVEL = 8, 0.75


@dataclass(frozen=True, eq=False)
class Binding:
    """A model bound to a table.

    Parameters
    ----------
    model : ScalingModel
    axes : mapping of covariate to column
        Where each covariate of the law is read from.
    reference : mapping of covariate to float
        The reference run: geometric mean of the fitted rows.
    levels : mapping of columns to Level
        Groups of every nesting that the model pools over, and of its outer parts.
    response_scale : float
        Median size of the response, in which laws without a unit state their levels.
    params : mapping of str to Param
        Priors in force.
    design : Design
        The arrays that the model sees.
    frame : Frame, optional
        Where the coefficients of the discrepancy lie, in a model that has them.
    noise_reference : float, optional
        Where along its axis the scale of the noise is stated, in a model whose noise changes along it: the geometric mean of
        the reference runs.
    """

    model: ScalingModel
    axes: FrozenMap[str, str]
    reference: FrozenMap[str, float]
    levels: Mapping[tuple[str, ...], Level]
    response_scale: float
    params: FrozenMap[str, Param]
    design: Design
    frame: Frame | None = None
    noise_reference: float | None = None

    def level(self, name: str) -> Level | None:
        """Innermost groups of a parameter; None when it is completely pooled."""
        by = self.model.pooling_of(name).by
        return self.levels[tuple(by)] if by else None

    def prior_of(self, name: str) -> tuple[float, float, float]:
        """Location, scale and spread of a parameter's prior on its link scale, in the units of the response."""
        return in_units(self.params[name], self.response_scale)


def bind(model: ScalingModel, runs: Runs, *, rows: int | None = None) -> Binding:
    """Prepare a table for a model.

    Parameters
    ----------
    rows : int, optional
        Number of rows to pad to; by default the least power of two, from 16 on.

    Raises
    ------
    SpecError
        When a covariate of the law cannot be told, or exponents would be pooled over unlike conventions.
    DataError
        When a column that the model needs is missing.
    """
    axes = resolve_axes(model, runs)
    table = runs.table
    levels = make_levels(table, {tuple(p.by) for p in model.pooling.values()})
    _check_conventions(model, runs, axes)
    if (passes := epochs_column(model, axes)) and (faults := passes_below_one(passes, table[passes].to_numpy(float))):
        raise DataError(f"law {model.law.name!r} cannot take these runs:", [fault.message for fault in faults])
    logs = {c: np.log(table[column].to_numpy(float)) for c, column in axes.items()}
    axis = table[axis_of_path(model, axes, runs)].to_numpy(float) if model.reads_axis else None
    along = axis if model.along_path else None
    # With a discrepancy a law is stated where its forecasts begin; without one where the runs tell it best.
    near = np.ones(len(table), dtype=bool) if along is None else _largest(along)
    reference = {c: 1.0 if c in model.law.absolute else float(np.exp(v[near].mean())) for c, v in logs.items()}
    y = table[runs.response].to_numpy(float)
    if model.noise.on == "log" and (y <= 0).any():
        wrong = table.index[y <= 0].tolist()
        raise DataError(
            f"noise on the log scale needs a positive {runs.response}; rows {wrong[:5]} are not. "
            "For a response that may be negative use noise=StudentT(on='plain')."
        )
    scale = float(np.median(np.abs(y))) or 1.0
    params = _priors(model, runs)
    rows = rows or bucket(len(y))
    slots = {p: _slot(model, p, levels, runs, rows, along) for p in model.law.params}
    more = {**model.noise.priors, **{site: prior for part in model.parts for site, prior in part.priors.items()}}
    located = {p: in_units(v, scale) for p, v in {**params, **more}.items()}
    curves = make_curves(model, runs)
    frame, basis = None, None
    if along is not None and not model.filtered:
        columns = basis_columns(model, table)
        drifts, tilts = "drift_size" in more, "misfit_tilt" in more
        frame = make_frame(np.log(along), curves, near, *columns, drifts=drifts, tilts=tilts)
        basis = make_basis(frame, np.log(along), curves, *columns, rows)
    u0 = None if axis is None or "noise_trend" not in more else float(np.log(axis[near]).mean())
    design = Design(
        log_x={c: pad(v - np.log(reference[c]), rows, 0.0) for c, v in logs.items()},
        y=pad(y, rows, 1.0),
        se=pad(_standard_errors(model, runs, y), rows, 0.0),
        mask=np.arange(rows) < len(y),
        slots=slots,
        priors={p: Prior(*(np.asarray(v) for v in values)) for p, values in located.items()},
        x_se={c: pad(v, rows, 0.0) for c, v in scale_errors(axes, table).items()},
        path=make_path(along, y, curves, rows) if along is not None and model.filtered else None,
        basis=basis,
        trend=None if axis is None or u0 is None else pad(np.log(axis) - u0, rows, 0.0),
        memory=make_memory(axis, make_runs(table, curves), rows) if axis is not None and "noise_memory" in more else None,
        tries=pad(_tries(model.noise, table), rows, 1.0) if isinstance(model.noise, BestOf) else None,
    )
    fixed = FrozenMap(axes), FrozenMap(reference), levels, scale, FrozenMap(params)
    return Binding(model, *fixed, design, frame, None if u0 is None else float(np.exp(u0)))


def axis_of_path(model: ScalingModel, axes: Mapping[str, str], runs: Runs) -> str:
    """Column along which the runs of a curve are ordered, and their noise changes.

    Raises
    ------
    SpecError
        When that column is no covariate of the table.
    """
    named = next((part.along for part in model.parts if isinstance(part, SlopeDrift)), None)
    column = named or (next(iter(axes.values())) if len(axes) == 1 else "flops")
    if column not in _numeric(runs):
        what = "the drift goes" if model.along_path else "the noise goes"
        raise SpecError(f"{what} along {column!r}: " + unknown("column", column, _numeric(runs)))
    return column


def basis_columns(model: ScalingModel, table: pd.DataFrame) -> tuple[np.ndarray | None, dict[str, list[str]]]:
    """Logarithm of the second axis of a discrepancy, None where it has none; labels of the rows, for each size of effects.

    Raises
    ------
    SpecError
        When the table lacks the column of the second axis.
    """
    second, labels = None, {}
    for part in model.parts:
        if isinstance(part, SmoothMisfit):
            if part.along not in table:
                known = [str(c) for c in table.select_dtypes("number")]
                raise SpecError(f"the misfit goes along {part.along!r}: " + unknown("column", part.along, known))
            second = np.log(table[part.along].to_numpy(float))
        if isinstance(part, RunEffect):
            labels[part.site] = table[part.by].astype(str).tolist() if part.by in table else [""] * len(table)
    return second, labels


def make_curves(model: ScalingModel, runs: Runs) -> np.ndarray:
    """Which curve each row is of: a group of the finest grouping of the model."""
    columns = list(model.group_columns)
    if not columns:
        return np.zeros(len(runs.table), dtype=int)
    return runs.table.groupby(columns, sort=False).ngroup().to_numpy()


def make_runs(table: pd.DataFrame, curves: np.ndarray) -> np.ndarray:
    """Which run each row is a checkpoint of: a label of ``run`` within a curve; a row without one is a run alone."""
    if RUN not in table:
        return curves
    labels = table[RUN].astype(str).to_numpy()
    alone = np.where(labels == "", np.arange(len(table)), -1)
    return pd.DataFrame({"curve": curves, "run": labels, "alone": alone}).groupby(["curve", "run", "alone"]).ngroup().to_numpy()


def _tries(noise: BestOf, table: pd.DataFrame) -> np.ndarray:
    """How many runs each row is the best of."""
    if not isinstance(noise.tries, str):
        return np.full(len(table), float(noise.tries))
    if noise.tries not in table or table[noise.tries].dtype != np.float64:
        known = [str(c) for c in table.select_dtypes("number")]
        raise DataError(f"the column of tries: {unknown('column', noise.tries, known)}")
    tries = table[noise.tries].to_numpy(float)
    wrong = np.flatnonzero(~((tries >= 1) & np.isfinite(tries)))
    if len(wrong):
        got = f"{tries[wrong[0]]:g} in {rows_text(table.index[wrong])}"
        raise DataError(f"{noise.tries}: expected a number of tries of at least 1, got {got}")
    return tries


def _largest(along: np.ndarray) -> np.ndarray:
    """The top tenth of the runs, at least three."""
    number = min(len(along), max(3, len(along) // 10))
    chosen: np.ndarray = along >= np.sort(along)[-number]
    return chosen


def resolve_axes(model: ScalingModel, runs: Runs) -> dict[str, str]:
    """Column of each covariate of the model's law."""
    return {c: model.axes.get(c) or _default_axis(model.law, c, runs) for c in model.law.covariates} | _check_axes(model, runs)


def _check_axes(model: ScalingModel, runs: Runs) -> dict[str, str]:
    missing = [unknown("column", column, _numeric(runs)) for column in model.axes.values() if column not in _numeric(runs)]
    if missing:
        raise DataError("a covariate is read from a column that the table lacks:", missing)
    return dict(model.axes)


def _numeric(runs: Runs) -> list[str]:
    return [c for c in runs.table.select_dtypes("number").columns if c != runs.response]


def _default_axis(law: Law, covariate: str, runs: Runs) -> str:
    columns = _numeric(runs)
    if covariate in columns:
        return covariate
    if law.covariates != (ANY,):
        raise DataError(f"law {law.name!r} needs a column it does not find:", [unknown("column", covariate, columns)])
    derived = {"flops"} if any(note.startswith("flops derived") for note in runs.notes) else set()
    known = [c for c in columns if c in COVARIATES and c not in derived]
    varying = [c for c in known if runs.table[c].nunique() > 1]
    if len(varying) == 1:
        return varying[0]
    if not varying:
        raise SpecError(f"law {law.name!r} is of one variable, and no covariate varies (columns: {', '.join(columns)}).")
    candidates = " or ".join(f"axes={{{covariate!r}: {c!r}}}" for c in varying)
    raise SpecError(f"law {law.name!r} is of one variable, and several covariates vary: say {candidates}.")


def _priors(model: ScalingModel, runs: Runs) -> dict[str, Param]:
    params = dict(model.law.params)
    if model.priors == "literature":
        chosen: Mapping[str, Param] = literature_priors(model.law, runs.conventions)
    else:
        chosen = {} if isinstance(model.priors, str) else model.priors
    return {p: v.with_prior(chosen[p]) if p in chosen else v for p, v in params.items()}


def in_units(param: Param, scale: float) -> tuple[float, float, float]:
    """Location, scale and spread of a prior on the link scale, a level in multiples of the response made absolute."""
    if param.unit != "response":
        return param.loc, param.scale, param.spread
    if param.link == "log":
        return param.loc + float(np.log(scale)), param.scale, param.spread
    return param.loc * scale, param.scale * scale, param.spread * scale


def _slot(
    model: ScalingModel,
    name: str,
    levels: Mapping[tuple[str, ...], Level],
    runs: Runs,
    rows: int,
    along: np.ndarray | None,
) -> Slot:
    pooling, n = model.pooling_of(name), len(runs.table)
    parents: tuple[np.ndarray, ...] = ()
    if isinstance(pooling, CompletePooling):
        codes, size = np.zeros(n, dtype=int), 1
    else:
        by = tuple(pooling.by)
        level = levels[by]
        codes, size = level.codes(runs.table), level.size
        chain = [levels[by[: i + 1]] for i in range(len(by))]
        above = [inner.parent(outer) for outer, inner in pairwise(chain)]
        parents = (np.zeros(chain[0].size, dtype=int), *above)
    member = (codes[None, :] == np.arange(size)[:, None]).astype(float)
    counts = member.sum(axis=1)
    centered = np.ones(size)
    if isinstance(pooling, PartialPooling):
        level_of = FEW_LEVEL if size < FEW_GROUPS else CENTERED_LEVEL
        well_seen = level_of if model.law.params[name].unit else CENTERED_SHAPE
        by_default = np.where(counts >= CENTERED_FROM, well_seen, 0.0)
        centered = by_default if pooling.centered is None else np.full(size, float(pooling.centered))
    if along is not None and model.law.params[name].scales:
        # What scales the response is told by the runs about the reference, where the discrepancy is nought.
        for group in member:
            group[group > 0] = _largest(along[group > 0])
    share = member / member.sum(axis=1, keepdims=True)
    return Slot(pad(codes, rows, 0), pad(share, rows, 0.0), centered, parents)


def _standard_errors(model: ScalingModel, runs: Runs, y: np.ndarray) -> np.ndarray:
    column, noise = f"{runs.response}_sd", model.noise
    known = runs.table[column].fillna(0.0).to_numpy(float) if column in runs.table else np.zeros_like(y)
    if isinstance(noise, StudentT | Gaussian) and noise.rounding is not None:
        # Sheppard's correction: of a number that may lie anywhere within half a step of what was written down.
        known = np.hypot(known, noise.rounding / np.sqrt(12))
    return known / y if noise.on == "log" else known


def epochs_column(model: ScalingModel, axes: Mapping[str, str]) -> str | None:
    """The column of passes over the data, of a law that takes them as they are, and so knows of none below 1."""
    return axes.get(EPOCHS) if EPOCHS in model.law.absolute else None


def scale_errors(axes: Mapping[str, str], table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Known relative standard errors of the covariates at the rows of a table, by covariate; none where all are 0."""
    found = {}
    for covariate, column in axes.items():
        if f"{column}_sd" in table:
            error = table[f"{column}_sd"].fillna(0.0).to_numpy(float) / table[column].to_numpy(float)
            if error.any():
                found[covariate] = error
    return found


def _check_conventions(model: ScalingModel, runs: Runs, axes: Mapping[str, str]) -> None:
    """Refuse to pool exponents over groups that measure different things."""
    stated = {**runs.units, **runs.conventions}
    relevant = {q: stated[q] for q in {*axes.values(), runs.response} if stated.get(q) in runs.groups}
    shapes = [p for p, v in model.law.params.items() if not v.unit]
    for name in shapes:
        pooling = model.pooling_of(name)
        if isinstance(pooling, NoPooling) or (isinstance(pooling, PartialPooling) and pooling.across_conventions):
            continue
        for quantity, column in relevant.items():
            kinds = sorted(runs.table[column].astype(str).unique())
            if len(kinds) > 1:
                raise SpecError(
                    f"{name!r} would be pooled over groups whose {quantity} differ in convention ({', '.join(kinds)}; column "
                    f"{column!r}), and exponents of unlike conventions are not comparable. Convert or split the table, or say "
                    f"PartialPooling({tuple(pooling.by) or (column,)!r}, across_conventions=True)."
                )

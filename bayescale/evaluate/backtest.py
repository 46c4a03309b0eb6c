"""``backtest``: fit below a cut-off, forecast what lies above it, and score the forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, ROW
from bayescale.data.evals import Evals
from bayescale.data.runs import Runs, as_runs
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.cutoffs import rolling
from bayescale.evaluate.evals_backtest import backtest_scores
from bayescale.evaluate.recommend import is_positive, recommended
from bayescale.evaluate.scores import conformal_factor, relative_misses, score, stretched
from bayescale.infer.batch import fit_many
from bayescale.infer.fit import Fit, fit, read_runs
from bayescale.infer.progress import progress_bar
from bayescale.infer.samplers import Hmc, Sampler
from bayescale.models.capability import CapabilityModel
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.noise import as_measured
from bayescale.prediction.predict import predict

#: A model, or what chooses one for the runs below a cut-off.
Chooser = ScalingModel | Callable[[Runs], ScalingModel] | None
Table = pd.DataFrame | Runs

#: How many cut-offs there are where none are named.
CUTOFFS = 3

#: Column that tells separate tables apart.
TABLE = "table"


@dataclass(frozen=True, eq=False)
class _Cut:
    """Runs to fit, and runs to forecast."""

    unit: str
    cutoff: float
    below: Runs
    above: Runs
    largest: float


def backtest(
    model: Chooser | CapabilityModel,
    data: Table | Evals | Mapping[str, Table],
    *,
    along: str = "flops",
    cutoffs: int | float | Sequence[float] | None = None,
    by: str | None = None,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
    recalibrate: Literal["conformal"] | None = None,
    tasks: Sequence[str] | None = None,
) -> Backtest:
    """Fit the runs at or below each cut-off, forecast those above it, and score the forecasts.

    Nothing above a cut-off is seen by what forecasts it: the reference run, the choice of a model and every quantity computed
    from the table are made from the rows at or below it. Fits that miss the convergence rule count as they stand.

    Parameters
    ----------
    model : ScalingModel, callable or None; or CapabilityModel
        A callable is given the runs below a cut-off and returns the model for them; None stands for :func:`recommended`.
    data : DataFrame, Runs, or mapping of name to either; or Evals
        One table; or several, each cut and fitted on its own, in the batches of :func:`fit_many`. Of scores, those of the
        models above a cut-off are hidden and forecast (on their own scale, not the logarithm).
    along : str
        Axis of the cut-offs: a covariate, ``step``, or any other column of numbers above 0.
    cutoffs : int, number or sequence of numbers, optional
        Values of the axis; or, as an integer, how many rolling cut-offs: at quantiles from 0.5 to 0.8 of the axis, two of its
        values below and one above at least. By default three.
    by : str, optional
        Column of labels. One group at a time keeps only what is at or below a cut-off of its own, while the others stay whole,
        and its runs above are forecast. By default the whole table is cut at once. Of several tables, the name of the column
        that will hold the name of the table.
    columns, response, seed, progress
        As for :func:`fit`.
    sampler : Nuts or Hmc, optional
        As for :func:`fit`; of several tables as for :func:`fit_many`.
    recalibrate : {"conformal"}, optional
        Stretch the intervals of a cut-off, about the median and on the logarithm, by the 90 % conformal quantile of
        ``|log y - median| / (half the width at 90 %)`` :cite:p:`lei2018` over the forecasts from earlier cut-offs of the same
        group or table whose outcome lies at or below the present one. There is no such quantile of fewer than nine: the
        intervals then stay as they are.
    tasks : sequence of str, optional
        Of scores, the tasks whose scores are hidden: the other scores of a model above the cut-off then tell of it. By default
        all of them, so that its size and family are all that is known.

    Returns
    -------
    Backtest

    Raises
    ------
    DataError
        When a cut-off has nothing below or above it (with several groups or tables: when none can be cut; ``notes`` then tell
        which were left out), or the table has faults.
    SpecError
        When the axis, the group column or another argument is none.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> model = bs.ScalingModel("power_law_offset", axes={"x": "params"})
    >>> found = backtest(model, mamba, along="params", cutoffs=1)
    >>> found.points[["cutoff", "params", "converged"]].values.tolist()
    [[790000000.0, 1400000000.0, True], [790000000.0, 2800000000.0, True]]
    """
    if recalibrate not in (None, "conformal"):
        raise SpecError("recalibrate: " + unknown("way", str(recalibrate), ("conformal",)))
    asked, several = _asked(cutoffs), isinstance(data, Mapping)
    if isinstance(model, CapabilityModel) or isinstance(data, Evals):
        if by is not None or recalibrate is not None:
            raise SpecError("a backtest of scores has no `by` and no `recalibrate`: every model above a cut-off is held back")
        return backtest_scores(model, data, along, asked, tasks, columns, seed, sampler, progress)
    if tasks is not None:
        raise SpecError("tasks are those of a CapabilityModel and a table of scores")
    named: Mapping[str, Table] = data if isinstance(data, Mapping) else {"": data}
    tables = {str(k): _read(model, v, along, None if several else by, columns, response) for k, v in named.items()}
    if not tables:
        raise DataError("`data` is a mapping without any table")
    by = (by or TABLE) if several else by
    cuts, left = _plan(tables, along, None if several else by, asked)
    if left and (by is None or not cuts):
        raise DataError(f"no backtest along {along!r} can be made:", left)
    models = [_chosen(model, cut.below) for cut in cuts]
    fits = _fit_tables(models, cuts, seed, sampler, progress) if several else _fit(models, cuts, seed, sampler, progress)
    scored, factor = _score(zip(cuts, fits, strict=True), along, by, seed, recalibrate is not None)
    groups = dict.fromkeys(([by] if by else []) + [g for runs in tables.values() for g in runs.groups])
    first = [*([by] if by else []), "cutoff", *(g for g in groups if g != by), along, "distance"]
    points = scored[[*first, *(name for name in scored if name not in first)]]
    last = models[max(range(len(cuts)), key=lambda i: cuts[i].cutoff)]
    return Backtest(last, points, along, by, tuple(groups), factor, tuple(left))


def _asked(cutoffs: int | float | Sequence[float] | None) -> int | list[float]:
    """A number of cut-offs, or where they are, in ascending order."""
    if cutoffs is None:
        return CUTOFFS
    if isinstance(cutoffs, int | np.integer) and not isinstance(cutoffs, bool):
        if cutoffs < 1:
            raise SpecError(f"cutoffs: expected at least one, got {cutoffs}")
        return int(cutoffs)
    try:
        values = np.unique(np.asarray(cutoffs, dtype=np.float64))
    except (TypeError, ValueError):
        values = np.array([])
    if isinstance(cutoffs, bool | str) or not values.size or not (np.isfinite(values) & (values > 0)).all():
        raise SpecError(f"cutoffs: expected values of the axis above 0, or how many cut-offs as an integer; got {cutoffs!r}")
    return [float(v) for v in values]


def _read(model: Chooser, data: Table, along: str, by: str | None, columns: Mapping[str, str] | None, response: str) -> Runs:
    """The runs with the axis and the groups, checked."""
    if isinstance(data, pd.DataFrame):
        source = (columns or {}).get(along, along)
        if source in data.columns:
            columns = {**(columns or {}), along: source}
        if by is not None and by in data.columns and pd.api.types.is_numeric_dtype(data[by]):
            data = data.assign(**{by: data[by].astype(str)})
    if isinstance(model, ScalingModel):
        runs = read_runs(model, data, columns=columns, response=response)
    else:
        response = data.response if isinstance(data, Runs) else response
        columns = None if isinstance(data, Runs) else columns
        runs = as_runs(data, columns=columns, response=response, positive_response=is_positive(response))
    axes = [*runs.covariates, *(["step"] if "step" in runs.table else [])]
    if along not in axes:
        raise SpecError("along: " + unknown("axis", along, axes))
    labels = [str(name) for name, dtype in runs.table.dtypes.items() if dtype != np.float64]
    if by is not None and by not in labels:
        raise SpecError("by: " + unknown("group column", by, labels))
    if low := int((runs.table[along] <= 0).sum()):
        raise DataError(f"along: a distance is a ratio, so {along} must be above 0; drop the {low} rows where it is not")
    return runs


def _plan(tables: Mapping[str, Runs], along: str, by: str | None, asked: int | list[float]) -> tuple[list[_Cut], list[str]]:
    """Every cut that can be made, and why others cannot; of a unit, the lowest cut-off first."""
    cuts, left = [], []
    for name, runs in tables.items():
        x = runs.table[along].to_numpy()
        labels = np.repeat(name, len(runs)) if by is None else runs.table[by].to_numpy(dtype=object).astype(str)
        for unit in np.unique(labels):
            own = labels == unit
            span = f"{along} of {unit or 'the table'} runs from {x[own].min():.6g} to {x[own].max():.6g}"
            places = rolling(x[own], asked) if isinstance(asked, int) else asked
            if not places:
                left.append(f"no cut-off has two values below and one above it: {span}, {len(np.unique(x[own]))} values in all")
            before: dict[int, float] = {}
            for cutoff in places:
                above = own & (x > cutoff)
                seen = own & ~above
                same = before.setdefault(int(seen.sum()), cutoff)
                if same != cutoff:
                    left.append(f"cut-off {cutoff:.6g} has the same runs below it as {same:.6g}, so that one would count twice")
                elif above.any() and seen.any():
                    cuts.append(_Cut(str(unit), cutoff, runs.subset(~above), runs.subset(above), float(x[seen].max())))
                else:
                    left.append(f"cut-off {cutoff:.6g} has nothing {'below' if above.any() else 'above'} it: {span}")
    return cuts, left


def _chosen(model: Chooser, below: Runs) -> ScalingModel:
    if isinstance(model, ScalingModel):
        return model
    chosen = recommended(below) if model is None else model(below) if callable(model) else model
    if not isinstance(chosen, ScalingModel):
        raise SpecError(f"backtest: expected a ScalingModel, a function that returns one, or None; got {type(chosen).__name__}")
    return chosen


def _fit(
    models: Sequence[ScalingModel], cuts: Sequence[_Cut], seed: int, sampler: Sampler | None, progress: bool
) -> Iterator[Fit]:
    """One fit a cut, made when it is asked for: the draws of all of them need not be held at once."""
    alone = len(cuts) == 1
    with progress_bar(progress and not alone, "fit") as report:
        for i, (model, cut) in enumerate(zip(models, cuts, strict=True)):
            report(i, len(cuts), f"{cut.unit} up to {cut.cutoff:.3g}".strip())
            yield fit(model, cut.below, seed=seed, sampler=sampler, progress=progress and alone, strict=False)


def _fit_tables(
    models: Sequence[ScalingModel], cuts: Sequence[_Cut], seed: int, sampler: Sampler | None, progress: bool
) -> list[Fit]:
    if sampler is not None and not isinstance(sampler, Hmc):
        raise SpecError(f"several tables are fitted in batches, by Hmc(...); got {sampler!r}")
    keys = [f"{cut.unit} up to {cut.cutoff:.6g} ({i})" for i, cut in enumerate(cuts)]
    given = dict(zip(keys, models, strict=True)), {key: cut.below for key, cut in zip(keys, cuts, strict=True)}
    return list(fit_many(*given, seed=seed, sampler=sampler, progress=progress, strict=False).values())


def _score(
    fitted: Iterator[tuple[_Cut, Fit]], along: str, by: str | None, seed: int, recalibrate: bool
) -> tuple[pd.DataFrame, float | None]:
    """The points, and the factor for a new forecast."""
    parts: list[pd.DataFrame] = []
    past: dict[str, list[pd.DataFrame]] = {}  # by unit, the misses of what was forecast, before any stretching
    for cut, found in fitted:
        table, response, log = cut.above.table, found.response, found.model.noise.on == "log"
        drawn = predict(found, as_measured(found, table), seed=seed)[response].transpose(CHAIN, DRAW, ...).to_numpy()
        draws, outcomes = drawn.reshape(-1, len(table)), table[response].to_numpy()
        scores, x = score(draws, outcomes, log=log), table[along].to_numpy()
        factor = 1.0
        if recalibrate:
            earlier = past.setdefault(cut.unit, [])
            factor = conformal_factor([miss for one in earlier for miss in one["miss"][one["x"] <= cut.cutoff]])
            earlier.append(pd.DataFrame({"x": x, "miss": relative_misses(scores, log=log)}))
            scores = scores if factor == 1.0 else score(stretched(draws, factor, log=log), outcomes, log=log)
        labels: dict[str, Any] = {by: cut.unit} if by else {}
        labels |= {g: table[g].to_numpy() for g in cut.above.groups if g != by}
        row = {"cutoff": cut.cutoff, **labels, along: x, "distance": np.log(x / cut.largest)} | dict(scores.items())
        row |= {"converged": not found.convergence.faults, ROW: table.index.to_numpy(), "factor": factor}
        parts.append(pd.DataFrame(row))
    misses = [miss for unit_ in past.values() for one in unit_ for miss in one["miss"]]
    return pd.concat(parts, ignore_index=True), conformal_factor(misses) if recalibrate else None

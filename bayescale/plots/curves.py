"""Scaling curves with their bands, and the runs that they were fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.schema import TOKENS_PER_PARAM
from bayescale.infer.fit import Fit
from bayescale.models.groups import SEPARATOR
from bayescale.plots.style import COLOURS, MARKERS, label_ends, log_axis, new_axes, response_label, tidy, wrapped
from bayescale.prediction.points import complete
from bayescale.prediction.predict import predict
from bayescale.prediction.summary import intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points of a curve inside the data, and of its part beyond them.
INSIDE, OUTSIDE = 25, 25
Group = tuple[dict[str, str], pd.DataFrame]

CURVE, RUN, HELD_BACK = "curve", "run", "held back"


def fit_table(
    fit: Fit,
    *,
    along: str | None = None,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    beyond: float = 10.0,
    prob: float = 0.9,
    held_back: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scaling curves of a fit, one a group of runs, with their intervals and the runs themselves.

    Parameters
    ----------
    fit : Fit
    along : str, optional
        Column on the horizontal axis; by default the law's only one, or ``flops`` where there are several.
    by : str or sequence of str, optional
        Columns that name the curves; by default the group column that tells all of them apart, or several joined.
    at : mapping, optional
        A group column and its label (or labels): only those runs. A covariate and its value: held there along the curve.
        ``tokens_per_param`` and its value: data in proportion to size. Covariates that are not given move along the line
        through the runs in log-log.
    beyond : float
        Curves go on to so many times the largest run of the group.
    prob : float
        Probability of the equal-tailed interval of a new run.
    held_back : DataFrame, optional
        Runs that were not fitted, shown beside.

    Returns
    -------
    DataFrame
        ``curve`` (name), ``kind`` (``"curve"``, ``"run"`` or ``"held back"``), the covariates, the response (median over
        draws for a curve, observed for a run), ``lower``, ``upper``, and ``extrapolated`` (beyond the group's runs).

    Raises
    ------
    SpecError
        When a column or label is unknown, or ``beyond`` or ``prob`` makes no sense.
    """
    if not beyond >= 1 or not 0 < prob < 1:
        raise SpecError(f"beyond is at least 1 and prob between 0 and 1, got beyond={beyond}, prob={prob}")
    columns = list(fit.binding.axes.values())
    runs = fit.data.table
    along = along or (columns[0] if len(columns) == 1 else "flops" if "flops" in runs else columns[0])
    if along not in fit.data.covariates:
        raise SpecError(unknown("covariate", along, fit.data.covariates))
    fixed, labels = _split(fit, dict(at or {}))
    by = [by] if isinstance(by, str) else list(by or ())
    faults = [unknown("group column", column, fit.data.groups) for column in by if column not in fit.data.groups]
    if faults:
        raise SpecError("; ".join(faults))
    keys = list(dict.fromkeys([*by, *fit.model.group_columns]))
    shown = _only(runs, labels)
    if shown.empty:
        raise SpecError(f"no run has {', '.join(f'{c} in {sorted(v)}' for c, v in labels.items())} together")
    groups = _groups(shown, keys)
    names = _names([labels for labels, _ in groups], by) if keys else [fit.model.law.name]
    points, curves = [], []
    for name, (label, rows) in zip(names, groups, strict=True):
        x = rows[along].to_numpy(float)
        grid = _grid(x.min(), x.max(), beyond)
        covariates = pd.DataFrame({along: grid} | _others(rows, columns, along, grid, fixed))
        # Labels are for `predict` alone: a group column may bear the name of one of the table's.
        points.append(covariates[columns].assign(**label))
        curves.append(covariates.assign(curve=name, kind=CURVE, extrapolated=grid > x.max()))
    draws = predict(fit, pd.concat(points, ignore_index=True))[fit.response].transpose(CHAIN, DRAW, ...)
    table = pd.concat(curves, ignore_index=True)
    # Not by `summarize`, which works out Monte Carlo errors that no figure shows.
    table[fit.response], table["lower"], table["upper"] = intervals(draws.to_numpy(), prob)
    dots = [_dots(shown, keys, groups, names, RUN)]
    if held_back is not None:
        dots.append(_dots(_only(held_back, labels), keys, groups, names, HELD_BACK))
    table = pd.concat([table, *dots], ignore_index=True)
    wanted = ["curve", "kind", *dict.fromkeys([along, *columns]), fit.response, "lower", "upper", "extrapolated"]
    return table[wanted]


def _groups(runs: pd.DataFrame, keys: list[str]) -> list[Group]:
    """The labels of each group, and its runs."""
    if not keys:
        return [({}, runs)]
    return [(dict(zip(keys, map(str, key), strict=True)), rows) for key, rows in runs.groupby(keys)]


def _split(fit: Fit, at: dict[str, Any]) -> tuple[dict[str, float], dict[str, set[str]]]:
    """What ``at`` holds fixed, and the labels that it keeps."""
    known = [*fit.data.covariates, *fit.data.groups]
    faults = [unknown("column", column, known) for column in at if column not in (*known, TOKENS_PER_PARAM)]
    if faults:
        raise SpecError("; ".join(faults))
    labels = {c: {v} if isinstance(v, str) else set(map(str, v)) for c, v in at.items() if c in fit.data.groups}
    for column, wanted in labels.items():
        there = set(fit.data.table[column].astype(str))
        faults += [unknown(column, label, there) for label in sorted(wanted - there)]
    if faults:
        raise SpecError("; ".join(faults))
    return {c: float(v) for c, v in at.items() if c not in labels}, labels


def _only(table: pd.DataFrame, labels: Mapping[str, set[str]]) -> pd.DataFrame:
    keep = np.ones(len(table), dtype=bool)
    for column, wanted in labels.items():
        keep &= table[column].astype(str).isin(wanted).to_numpy()
    return table[keep]


def _names(groups: list[dict[str, str]], by: Sequence[str]) -> list[str]:
    """A name for each group: the labels of ``by``, or the shortest that tells them apart."""
    if by:
        return [SEPARATOR.join(str(g[c]) for c in by) for g in groups]
    single = {c: [str(g[c]) for g in groups] for c in groups[0]}
    distinct = [names for names in single.values() if len(set(names)) == len(groups)]
    if distinct:
        return min(distinct, key=lambda names: max(map(len, names)))
    varying = [c for c, names in single.items() if len(set(names)) > 1]
    return [SEPARATOR.join(str(g[c]) for c in varying) for g in groups]


def _grid(low: float, high: float, beyond: float) -> np.ndarray:
    inside = np.geomspace(low, high, INSIDE) if high > low else np.array([high])
    outside = np.geomspace(high, high * beyond, OUTSIDE + 1)[1:] if beyond > 1 else np.array([])
    # geomspace rounds its ends, and the largest run must not count as beyond itself.
    inside[-1] = high
    return np.concatenate([inside, outside])


def _others(
    runs: pd.DataFrame, columns: Sequence[str], along: str, grid: np.ndarray, fixed: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """The law's other covariates along the curve."""
    told = complete({along: grid} | {c: np.array(v) for c, v in fixed.items()}, columns)
    out: dict[str, np.ndarray] = {}
    for column in columns:
        if column == along:
            continue
        if column in told:
            out[column] = np.broadcast_to(told[column], grid.shape)
        else:
            x, y = np.log(runs[along].to_numpy(float)), np.log(runs[column].to_numpy(float))
            slope = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)) if len(x) > 1 and np.ptp(x) > 0 else 0.0
            out[column] = np.exp(y.mean() + slope * (np.log(grid) - x.mean()))
    return out


def _dots(table: pd.DataFrame, keys: Sequence[str], groups: Sequence[Group], names: Sequence[str], kind: str) -> pd.DataFrame:
    """Runs as rows of the table, under the name of their curve."""
    of = {tuple(str(label[c]) for c in keys): name for (label, _), name in zip(groups, names, strict=True)}
    cells = [table[c].astype(str) for c in keys]
    curve = pd.Series([of.get(key) for key in zip(*cells, strict=True)] if keys else names[0], index=table.index, dtype=object)
    dots = table.assign(curve=curve, kind=kind, lower=np.nan, upper=np.nan, extrapolated=False)
    return dots[dots["curve"].notna()]


def _pieces(table: pd.DataFrame, x: str) -> list[pd.DataFrame]:
    """The curves of one name, one after the other in the table."""
    starts = np.flatnonzero(np.diff(table[x].to_numpy(), prepend=np.inf) < 0)
    return [table.iloc[a:b] for a, b in zip(starts, [*starts[1:], len(table)], strict=True)]


def plot_fit(
    fit: Fit,
    *,
    along: str | None = None,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    beyond: float = 10.0,
    prob: float = 0.9,
    held_back: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scaling curves in log-log: the median and interval of a new run, the runs as dots, dashed beyond them.

    Parameters
    ----------
    fit, along, by, at, beyond, prob, held_back
        As in :func:`fit_table`, which gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> ax = bs.plot_fit(bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba))
    >>> ax.get_xlabel()
    'params'
    """
    table = fit_table(fit, along=along, by=by, at=at, beyond=beyond, prob=prob, held_back=held_back)
    ax = new_axes(ax)
    x, response = str(table.columns[2]), fit.response
    names = list(dict.fromkeys(table["curve"]))
    ends: list[tuple[float, str, str]] = []
    for i, name in enumerate(names):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        mine = table[table["curve"] == name]
        for curve in _pieces(mine[mine["kind"] == CURVE], x):
            ax.fill_between(curve[x], curve["lower"], curve["upper"], color=colour, alpha=0.13, linewidth=0)
            inside = curve[~curve["extrapolated"]]
            ax.plot(inside[x], inside[response], color=colour, linewidth=1.4)
            # The dashes start at the last point inside, so that the curve has no gap.
            outside = curve.iloc[max(len(inside) - 1, 0) :]
            ax.plot(outside[x], outside[response], color=colour, linewidth=1.4, linestyle=(0, (4, 2)))
            ends.append((float(curve[response].iloc[-1]), wrapped(name, 34), colour))
        dots, held = mine[mine["kind"] == RUN], mine[mine["kind"] == HELD_BACK]
        ax.plot(dots[x], dots[response], marker, color=colour, markersize=4.5, linestyle="none")
        ax.plot(held[x], held[response], marker, color=colour, markersize=6, markerfacecolor="white", linestyle="none")
    log_axis(ax, "x", x)
    if (table[[response, "lower"]].min() > 0).all():
        log_axis(ax, "y", response)
    ax.set_xlabel(x)
    ax.set_ylabel(response_label(fit))
    shown = f"median and {prob:.0%} interval of a new run; dashed: beyond the data"
    ax.set_title(shown + ("; open: held back" if held_back is not None else ""), fontsize=9, loc="left")
    tidy(ax)
    if fit.model.group_columns or len(names) > 1:
        label_ends(ax, ends)
    return ax

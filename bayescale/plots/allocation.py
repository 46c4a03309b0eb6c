"""Size against data: profiles of equal compute, and lines of equal loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN
from bayescale.infer.fit import Fit, Selection, check_labels
from bayescale.plots.style import COLOURS, GREY, MARKERS, label_ends, log_axis, new_axes, response_label, tidy
from bayescale.prediction.equal_cost import require_size_and_data
from bayescale.prediction.inverse import scale_for
from bayescale.prediction.knobs import split_knobs
from bayescale.prediction.mixing import selected_rows
from bayescale.prediction.optimum import compute_optimal
from bayescale.prediction.points import unpack
from bayescale.prediction.predict import predict
from bayescale.prediction.summary import intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points of a line; profiles and lines that are drawn where none are asked for.
POINTS, LINES = 31, 4
#: A profile goes so many times below and above the sizes that matter; a line of equal loss so many times beyond the runs.
ROOM, BEYOND = 3.0, 10.0
#: A run belongs to a budget whose FLOP differ by no more than this, in log.
NEAR = 0.15

PROFILE, RUN, OPTIMUM = "profile", "run", "optimum"


def isoflop_table(
    fit: Fit | Selection,
    budgets: Sequence[float] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    prob: float = 0.9,
) -> pd.DataFrame:
    """The law along lines of equal compute, with the size that is best on each.

    Parameters
    ----------
    fit : Fit, or a selection of one
        Of a law of size and data, and what else is held by ``at``.
    budgets : sequence of float, optional
        FLOP, at 6·params·tokens; by default four of those of the fitted runs, from the least to the most.
    at : mapping, optional
        Labels of the groups; only runs that have them are shown. Without, the law is that of an unseen group. What the law
        takes beside size and data, and the number that it is held at (epochs at 1 unless said); the runs are shown whatever
        they have of it.
    prob : float
        Probability of the intervals.

    Returns
    -------
    DataFrame
        ``budget``, ``kind``; ``params``, ``tokens`` and the response with ``lower`` and ``upper``: of the law for a
        ``"profile"``, observed for a ``"run"``. For an ``"optimum"`` the row holds medians, ``lower`` and ``upper`` are of
        ``params``, and ``p_none`` is the share of draws without one.

    Raises
    ------
    SpecError, NotIdentifiedError
        When the budgets make no sense, or the fit says nothing of how size and data trade off.
    """
    fit, held, runs = _asked(fit, at, prob)
    asked = _their_budgets(runs["flops"].to_numpy()) if budgets is None else _read_list(budgets)
    if asked is None or not (asked > 0).all():
        raise SpecError(f"budgets are positive numbers of FLOP, got {budgets!r}")
    best = compute_optimal(fit, list(asked), at=held)
    parts = []
    for i, budget in enumerate(asked):
        here = best.isel(point=i)
        near = runs[np.abs(np.log(runs["flops"] / budget)) <= NEAR]
        size = here["params"].transpose(CHAIN, DRAW).to_numpy()[..., None]
        (median,), (lower,), (upper,) = intervals(size, prob)
        marks = [v for v in (lower, median, upper) if np.isfinite(v)] + near["params"].tolist()
        # With neither an optimum nor a run the profile goes about the sizes of all runs.
        low, high = (min(marks), max(marks)) if marks else (runs["params"].min(), runs["params"].max())
        grid = np.geomspace(low / ROOM, high * ROOM, POINTS)
        points = pd.DataFrame({"params": grid, "tokens": budget / (FLOP_PER_PARAM_TOKEN * grid)}).assign(**held)
        drawn = predict(fit, points, kind="mean")[fit.response].transpose(CHAIN, DRAW, ...).to_numpy()
        line = points[["params", "tokens"]].assign(kind=PROFILE)
        line[fit.response], line["lower"], line["upper"] = intervals(drawn, prob)
        dots = near[["params", "tokens", fit.response]].assign(kind=RUN)
        at_best = {name: float(here[name].median()) for name in ("tokens", fit.response)}
        row = {"params": median, **at_best, "kind": OPTIMUM, "lower": lower, "upper": upper, "p_none": float(here["p_none"])}
        parts.append(pd.concat([line, dots, pd.DataFrame([row])]).assign(budget=budget))
    columns = ["budget", "kind", "params", "tokens", fit.response, "lower", "upper", "p_none"]
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)[columns]
    return table


def plot_isoflop(
    fit: Fit | Selection,
    budgets: Sequence[float] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    prob: float = 0.9,
    ax: Axes | None = None,
) -> Axes:
    """Profiles of equal compute: the law by size at each budget, its optimum with the interval, the runs of that budget.

    Parameters
    ----------
    fit, budgets, at, prob
        As in :func:`isoflop_table`, which gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    table, whole = isoflop_table(fit, budgets, at=at, prob=prob), unpack(fit)[0]
    response = whole.response
    ax = new_axes(ax)
    ends = []
    for i, (budget, mine) in enumerate(table.groupby("budget", sort=True)):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        line, dots, best = (mine[mine["kind"] == kind] for kind in (PROFILE, RUN, OPTIMUM))
        ax.fill_between(line["params"], line["lower"], line["upper"], color=colour, alpha=0.13, linewidth=0)
        ax.plot(line["params"], line[response], color=colour, linewidth=1.4)
        ax.plot(dots["params"], dots[response], marker, color=colour, markersize=4.5, linestyle="none")
        level = float(best[response].iloc[0])
        ax.plot([best["lower"].iloc[0], best["upper"].iloc[0]], [level, level], color="black", linewidth=2.0)
        ax.plot(best["params"], best[response], "|", color="black", markersize=10, markeredgewidth=1.6)
        ends.append((float(line[response].iloc[-1]), f"{budget:.2g} FLOP", colour))
    log_axis(ax, "x", "params")
    if (table.loc[table["kind"] != OPTIMUM, [response]].min() > 0).all():
        log_axis(ax, "y", response)
    ax.set_xlabel("params")
    ax.set_ylabel(response_label(whole))
    ax.set_title(f"the law at equal compute, {prob:.0%} band; black: best size, {prob:.0%} interval", fontsize=9, loc="left")
    tidy(ax)
    label_ends(ax, ends)
    return ax


def isoloss_table(
    fit: Fit | Selection,
    levels: Sequence[float] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    prob: float = 0.9,
) -> pd.DataFrame:
    """Tokens at which each size reaches a level of the response.

    Parameters
    ----------
    fit : Fit, or a selection of one
        Of a law of size and data, and what else is held by ``at``.
    levels : sequence of float, optional
        In the unit of the response; by default four among those of the fitted runs.
    at, prob
        As in :func:`isoflop_table`.

    Returns
    -------
    DataFrame
        ``level``, ``kind`` (``"profile"``, or ``"run"`` for the fitted runs, whose level is what was observed), ``params``,
        ``tokens`` (median; infinite where half of the draws never reach it), ``lower``, ``upper``; ``p_never`` and ``p_below``,
        the shares of draws that never reach it, and that have it with the least tokens looked at, a tenth of the runs' least.
        There median and ends are none (NaN), since any number below does.

    Raises
    ------
    SpecError, NotIdentifiedError
        As of :func:`isoflop_table`.
    """
    fit, held, runs = _asked(fit, at, prob)
    seen = runs[fit.response]
    asked = np.quantile(seen, np.linspace(0.1, 0.7, LINES)) if levels is None else _read_list(levels)
    if asked is None:
        raise SpecError(f"levels are numbers in the unit of {fit.response}, got {levels!r}")
    grid = np.geomspace(runs["params"].min() / ROOM, runs["params"].max() * BEYOND, POINTS)
    within = (runs["tokens"].min() / BEYOND, runs["tokens"].max() * BEYOND**2)
    place = pd.DataFrame({"params": grid}).assign(**held)
    parts = []
    for level in asked:
        found = scale_for(fit, float(level), along="tokens", at=place, within=within)
        shares = {name: found[name].to_numpy() for name in ("p_never", "p_below")}
        line = pd.DataFrame({"level": level, "kind": PROFILE, "params": grid, **shares})
        ends = intervals(found["tokens"].transpose(CHAIN, DRAW, ...).to_numpy(), prob)
        line["tokens"], line["lower"], line["upper"] = np.where(ends <= within[0] * (1 + 1e-9), np.nan, ends)
        parts.append(line)
    dots = runs[["params", "tokens"]].assign(level=seen, kind=RUN)
    columns = ["level", "kind", "params", "tokens", "lower", "upper", "p_never", "p_below"]
    return pd.concat([*parts, dots], ignore_index=True)[columns]


def plot_isoloss(
    fit: Fit | Selection,
    levels: Sequence[float] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    prob: float = 0.9,
    ax: Axes | None = None,
) -> Axes:
    """Lines of equal loss in the plane of size and data, with their bands, and the runs.

    Parameters
    ----------
    fit, levels, at, prob
        As in :func:`isoloss_table`, which gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    table, whole = isoloss_table(fit, levels, at=at, prob=prob), unpack(fit)[0]
    ax = new_axes(ax)
    runs, lines = table[table["kind"] == RUN], table[table["kind"] == PROFILE]
    ax.plot(runs["params"], runs["tokens"], ".", color=GREY, markersize=4, linestyle="none")
    for i, (level, mine) in enumerate(lines.groupby("level", sort=True)):
        colour = COLOURS[i % len(COLOURS)]
        there = mine[np.isfinite(mine["tokens"])]
        banded = there[np.isfinite(there["lower"]) & np.isfinite(there["upper"])]
        ax.fill_between(banded["params"], banded["lower"], banded["upper"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(there["params"], there["tokens"], color=colour, linewidth=1.6, label=f"{level:.3g}")
    log_axis(ax, "x", "params")
    log_axis(ax, "y", "tokens")
    ax.set_xlabel("params")
    ax.set_ylabel("tokens")
    ax.legend(title=response_label(whole), frameon=False, fontsize=8)
    ax.set_title(f"size and data of equal {whole.response}, median and {prob:.0%} band; dots: runs", fontsize=9, loc="left")
    tidy(ax)
    return ax


def _asked(fit: Fit | Selection, at: Mapping[str, Any] | None, prob: float) -> tuple[Fit, dict[str, Any], pd.DataFrame]:
    """The fit, what is held (labels, and what the law takes beside size and data), and the runs that have the labels."""
    whole, chosen = unpack(fit)
    fixed, given, free = split_knobs(whole, at)
    require_size_and_data(whole, beside=True)
    if free:
        raise SpecError(f"a figure of size and data holds what else the law takes: say at={{{free[0]!r}: ...}}")
    if isinstance(prob, bool) or not 0 < prob < 1:
        raise SpecError(f"prob lies between 0 and 1, got {prob}")
    labels = chosen | {str(column): str(label) for column, label in given.items()}
    check_labels(labels, dict.fromkeys(whole.data.groups, whole.data.table))
    table = whole.data.table[selected_rows(whole.data.table, labels)]
    if table.empty:
        raise SpecError(f"no run has {' and '.join(f'{c} {v!r}' for c, v in labels.items())} together")
    held = labels | {name: float(np.asarray(value).item()) for name, value in fixed.items()}
    return whole, held, table.assign(flops=FLOP_PER_PARAM_TOKEN * table["params"] * table["tokens"])


def _their_budgets(flops: np.ndarray) -> np.ndarray:
    """Budgets that runs have, evenly chosen from the least to the most; those within reach of one another count as one."""
    kept: list[float] = []
    for value in np.sort(flops):
        if not kept or np.log(value / kept[-1]) > 2 * NEAR:
            kept.append(float(value))
    chosen: np.ndarray = np.array(kept)[np.unique(np.linspace(0, len(kept) - 1, LINES).round().astype(int))]
    return chosen


def _read_list(given: object) -> np.ndarray | None:
    """A list of finite numbers; None where it is none."""
    try:
        values = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        return None
    return values if values.ndim == 1 and values.size and np.isfinite(values).all() else None

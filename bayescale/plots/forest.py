"""One parameter by group, beside the population that the groups are drawn from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.core.errors import SpecError, unknown
from bayescale.infer.fit import Fit
from bayescale.laws.param import Link
from bayescale.models.groups import SEPARATOR
from bayescale.models.pooling import PartialPooling
from bayescale.plots.style import COLOURS, FAINT, GREY, new_axes, tidy, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches of height that a line of text takes.
ROW = 0.27
COLUMNS = ["level", "label", "within", "runs", "median", "lower", "upper"]


def exponents_table(fit: Fit, param: str = "alpha", prob: float = 0.9) -> pd.DataFrame:
    """One parameter of the law: the population, a new group of it, and every group.

    Parameters
    ----------
    fit : Fit
    param : str
        Parameter of the law.
    prob : float
        Probability of the equal-tailed credible intervals.

    Returns
    -------
    DataFrame
        ``level`` (``"population"``: the median over groups; ``"new"``: a group that was not seen; else the group column),
        ``label``, ``within`` (the outer groups), ``runs``, and ``median``, ``lower``, ``upper`` in the parameter's own unit.
        Without pooling there is no population; with one value for all runs there are no groups.

    Raises
    ------
    SpecError
        When the law has no such parameter.
    """
    law = fit.model.law
    if param not in law.params:
        raise SpecError(unknown("parameter", param, law.params))
    if not 0 < prob < 1:
        raise SpecError(f"prob lies between 0 and 1, got {prob}")
    draws = {str(k): v.to_numpy() for k, v in fit.posterior.data_vars.items() if k == param or str(k).startswith(f"{param}_")}
    level, pooling = fit.binding.level(param), fit.model.pooling_of(param)
    if level is None:
        return pd.DataFrame([("population", "all runs", "", len(fit.data), *_interval(draws[param], prob))], columns=COLUMNS)
    sizes = np.bincount(level.codes(fit.data.table), minlength=level.size)
    rows = [
        (level.columns[-1], label, " / ".join(key[:-1]), int(n), *_interval(draws[param][..., i], prob))
        for i, (label, key, n) in enumerate(zip(level.labels, level.keys, sizes, strict=True))
    ]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["within", "median"], ascending=[True, False])
    if isinstance(pooling, PartialPooling):
        table = pd.concat([_population(draws, param, pooling, law.params[param].link, prob, len(fit.data)), table])
    return table.reset_index(drop=True)


def _population(
    draws: dict[str, np.ndarray], param: str, pooling: PartialPooling, link: Link, prob: float, runs: int
) -> pd.DataFrame:
    mu = draws[f"{param}_mu"]
    spreads = [draws[f"{param}_tau_{column}"] for column in pooling.by[:-1]] + [draws[f"{param}_tau"]]
    rng = np.random.default_rng(0)  # the same draws give the same table
    new = sum((tau * rng.standard_normal(tau.shape) for tau in spreads), start=mu)
    rows = [
        ("population", "population", "", runs, *_interval(_natural(link, mu), prob)),
        ("new", f"a new {pooling.by[-1]}", "", 0, *_interval(_natural(link, new), prob)),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _natural(link: Link, value: np.ndarray) -> np.ndarray:
    if link == "log":
        return np.asarray(np.exp(value))
    return value if link == "identity" else np.asarray(1 / (1 + np.exp(-value)))


def _interval(values: np.ndarray, prob: float) -> tuple[float, float, float]:
    median, lower, upper = np.quantile(values, [0.5, (1 - prob) / 2, (1 + prob) / 2])
    return float(median), float(lower), float(upper)


def plot_exponents(fit: Fit, param: str = "alpha", prob: float = 0.9, ax: Axes | None = None) -> Axes:
    """Forest plot of one parameter by group, with the population as a band behind.

    Parameters
    ----------
    fit, param, prob
        As in :func:`exponents_table`, which gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure, tall enough for its groups.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> ax = bs.plot_exponents(bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba))
    >>> ax.get_xlabel()
    'alpha: exponent of params'
    """
    table = exponents_table(fit, param, prob)
    groups = table[table["level"] != "population"]
    # Groups from the top in the order of the table; the group that was not seen comes last.
    groups = pd.concat([groups[groups["level"] != "new"], groups[groups["level"] == "new"]])
    names = [wrapped(label) for label in groups["label"]]
    # Where the last column alone does not name a group, its label says the outer ones already.
    outer = zip(groups["label"], groups["within"], strict=True)
    beside = ["" if SEPARATOR in label else wrapped(within) for label, within in outer]
    lines = [1 + 0.6 * max(name.count("\n"), other.count("\n")) for name, other in zip(names, beside, strict=True)]
    heights = _heights(lines)
    ax = new_axes(ax, 8.0, 1.3 + ROW * max(sum(lines), 2))
    population = table[table["level"] == "population"]
    for row in population.to_dict("records"):
        ax.axvspan(row["lower"], row["upper"], color=COLOURS[0], alpha=0.13, linewidth=0)
        ax.axvline(row["median"], color=COLOURS[0], linewidth=1)
    for height, other, row in zip(heights, beside, groups.to_dict("records"), strict=True):
        new = row["level"] == "new"
        colour = COLOURS[0] if new else "black"
        ax.plot([row["lower"], row["upper"]], [height, height], color=colour, linewidth=1.6, solid_capstyle="butt")
        marker, fill = ("D", "white") if new else ("o", colour)
        ax.plot(row["median"], height, marker, color=colour, markersize=5, markerfacecolor=fill)
        ax.annotate(other, (1.02, height), xycoords=("axes fraction", "data"), fontsize=7.5, color=GREY, va="center")
    ax.set_yticks(heights, names, fontsize=8.5)
    ax.set_ylim(min(heights, default=0) - 0.7, 0.7)
    ax.set_xlabel(_meaning(fit, param))
    title = f"median and {prob:.0%} interval"
    ax.set_title(title + ("; line and band: the population" if len(population) and len(groups) else ""), fontsize=9, loc="left")
    tidy(ax, grid="x")
    ax.spines["left"].set_color(FAINT)
    ax.tick_params(axis="y", length=0)
    return ax


def _heights(lines: list[float]) -> list[float]:
    """Where each row stands, downwards from 0, with room for its lines."""
    heights, at = [], 0.0
    for i, n in enumerate(lines):
        at -= (n + lines[i - 1]) / 2 if i else 0.0
        heights.append(at)
    return heights


def _meaning(fit: Fit, param: str) -> str:
    """What the parameter is, with the column in the place of the law's own ``x``."""
    spec = fit.model.law.params[param]
    doc = spec.doc or "parameter of the law"
    for covariate, column in fit.binding.axes.items():
        doc = re.sub(rf"\b{re.escape(covariate)}\b", column, doc)
    unit = fit.data.units.get(fit.response, "") if spec.unit == "response" else spec.unit
    return f"{param}: {doc}" + (f" ({unit})" if unit else "")

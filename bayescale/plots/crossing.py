"""Which of two curves is better at which scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.plots.style import COLOURS, GREY, amount, log_axis, new_axes, tidy
from bayescale.prediction.crossings import CROSSING
from bayescale.prediction.summary import summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes


#: The page shows so many times less and more than the interval of the crossing.
ROOM = 30.0


def crossover_table(draws: xr.Dataset) -> pd.DataFrame:
    """P(the second is better) at each scale.

    Parameters
    ----------
    draws : Dataset
        What :func:`crossover` returns.

    Returns
    -------
    DataFrame
        The scale, in a column of its name, and ``p_b_better``.
    """
    _check(draws)
    curve = draws["p_b_better"]
    (scale,) = curve.dims
    return pd.DataFrame({_along(draws): draws[scale].to_numpy(), "p_b_better": curve.to_numpy()})


def crossing_interval(draws: xr.Dataset, prob: float = 0.9) -> dict[str, float]:
    """Median, ``lower`` and ``upper`` of the crossing among the draws that have one (NaN without any), and ``p_none``."""
    _check(draws)
    row = summarize(draws[[_along(draws)]], prob=prob).iloc[0]
    return {**{name: float(row[name]) for name in ("median", "lower", "upper")}, "p_none": float(draws["p_none"])}


def _check(draws: xr.Dataset) -> None:
    if "p_b_better" not in draws:
        raise SpecError(f"expected what crossover returns, with p_b_better; got {', '.join(map(str, draws.data_vars))}")
    if CROSSING in draws.dims:
        raise SpecError("expected what crossover returns, the first crossing of each draw; got that of crossings, all of them")


def _along(draws: xr.Dataset) -> str:
    return next(str(name) for name, v in draws.data_vars.items() if {CHAIN, DRAW} == set(v.dims))


def plot_crossover(
    draws: xr.Dataset, *, names: tuple[str, str] = ("a", "b"), prob: float = 0.9, ax: Axes | None = None
) -> Axes:
    """P(the second is better) along the scale, with the interval of the crossing.

    Parameters
    ----------
    draws : Dataset
        What :func:`crossover` returns; :func:`crossover_table` and :func:`crossing_interval` give the numbers drawn here.
    names : pair of str
        What the two are called.
    prob : float
        Probability of the interval of the crossing, among the draws that have one.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    SpecError
        When the draws are not of :func:`crossover`.

    Examples
    --------
    Draws in which the second is better from 1e9 or 1e10 params on:

    >>> import bayescale as bs
    >>> scale = np.array([1e8, 3e9, 1e11])
    >>> crossing = ((CHAIN, DRAW), np.tile([1e9, 1e10], (4, 50)))
    >>> found = {"params": crossing, "p_none": 0.0, "p_b_better": ("scale", [0.0, 0.5, 1.0])}
    >>> ax = bs.plot_crossover(xr.Dataset(found, {"scale": scale}), names=("dense", "sparse"))
    >>> ax.get_ylabel()
    'P(sparse better)'
    """
    table, along = crossover_table(draws), _along(draws)
    ax = new_axes(ax, 7.0, 4.0)
    ax.plot(table[along], table["p_b_better"], color=COLOURS[0], linewidth=1.8)
    ax.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    found = crossing_interval(draws, prob)
    said = f"P(no crossing) = {found['p_none']:.2f}"
    if np.isfinite(found["median"]):
        ax.axvspan(found["lower"], found["upper"], color=COLOURS[0], alpha=0.12, linewidth=0)
        middle, low, high = (amount(found[k], along) for k in ("median", "lower", "upper"))
        said = f"crossing, where there is one: {middle} ({prob:.0%} interval {low} to {high}); {said}"
    low, high = table[along].min(), table[along].max()
    if np.isfinite(found["median"]):  # most of a range of ten decades says nothing
        low, high = max(low, found["lower"] / ROOM), min(high, found["upper"] * ROOM)
    ax.set_xlim(low, high)
    log_axis(ax, "x", along)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel(along)
    ax.set_ylabel(f"P({names[1]} better)")
    ax.set_title(f"{names[1]} against {names[0]}\n{said}", loc="left", fontsize=9)
    tidy(ax)
    return ax

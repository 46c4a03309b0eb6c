"""A decision: where the draws of the new run lie about its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW
from bayescale.decision.decide import Decision
from bayescale.plots.style import BAD, FAINT, GOOD, GREY, new_axes, tidy, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Bins over the middle of the draws; the tails have bins of the same width, up to so many more.
BINS, MOST = 40, 120
#: Share of the draws on each side that the page may leave out.
TAIL = 0.002
#: Words of the verdicts as a reader says them.
WORDS = {"GO": "GO", "NO_GO": "NO GO", "HOLD": "HOLD"}


def decision_table(decision: Decision, draws: xr.Dataset) -> pd.DataFrame:
    """Histogram of the draws that were decided about, with the target on the edge between two bins.

    Parameters
    ----------
    decision : Decision
    draws : Dataset
        The draws of :func:`predict` that it was made of. Of several points, the one that is furthest from meeting the target
        in each draw, since all must meet it.

    Returns
    -------
    DataFrame
        ``left``, ``right`` (in the unit of the response), ``share`` (of all draws; those that are not finite are in no bin),
        ``density`` (share over width) and ``met``. The shares where ``met`` add up to ``decision.probability``.

    Raises
    ------
    SpecError
        When the draws are not of the decision's response, or the decision is about more than one target, or none.
    """
    rule = decision.line
    if rule.response not in draws:
        raise SpecError(unknown("response", rule.response, map(str, draws.data_vars)))
    values = draws[rule.response].transpose(CHAIN, DRAW, ...).to_numpy()
    values = values.reshape(values.shape[0] * values.shape[1], -1)
    # A draw that is not finite at one point misses the target, and has no place on the axis.
    finite = values[np.isfinite(values).all(axis=1)]
    furthest = finite.max(axis=1) if "<" in rule.op else finite.min(axis=1)
    edges, line = _edges(furthest, rule.value)
    counts = np.histogram(furthest, edges)[0]
    if rule.op in ("<=", ">"):
        # A histogram counts a value on an edge to the right of it; a run at the target itself belongs to the left here.
        on_line = int((furthest == rule.value).sum())
        counts[line - 1 : line + 1] += np.array([on_line, -on_line])
    left, right, share = edges[:-1], edges[1:], counts / len(values)
    met = right <= rule.value if "<" in rule.op else left >= rule.value
    table = pd.DataFrame({"left": left, "right": right, "share": share, "density": share / (right - left), "met": met})
    seen = np.flatnonzero(counts)
    return table.iloc[seen[0] : seen[-1] + 1].reset_index(drop=True) if len(seen) else table.iloc[:0]


def _edges(values: np.ndarray, target: float) -> tuple[np.ndarray, int]:
    """Edges of equal bins that cover the values and the target, which is one of the edges, and its place among them."""
    inside = [*np.quantile(values, [0.01, 0.99]), *values[[values.argmin(), values.argmax()]]] if len(values) else [target] * 4
    low, high, least, most = map(float, inside)
    width = max((high - low) / BINS, (most - least) / MOST, 1e-9 * max(abs(target), abs(least), abs(most)), 1e-300)
    # Bins between the target and draws far from it would be empty, and however many.
    first = min(max(int(np.floor((least - target) / width)), -MOST * 100), 0) - 1
    last = max(min(int(np.ceil((most - target) / width)), MOST * 100), 0) + 1
    edges = target + width * np.arange(first, last + 1)
    edges[0], edges[-1] = min(edges[0], least), max(edges[-1], most)
    return edges, -first


def plot_decision(decision: Decision, draws: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Predictive distribution of the new run, the target as a line, and the part that meets it shaded.

    Parameters
    ----------
    decision, draws
        As in :func:`decision_table`, which gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import bayescale as bs
    >>> z = np.random.default_rng(0).normal(1.9, 0.02, (4, 500, 1))
    >>> draws = xr.Dataset({"loss": (("chain", "draw", "point"), z)})
    >>> ax = bs.plot_decision(bs.decide(draws, "loss<=1.9"), draws)
    >>> ax.get_xlabel()
    'loss of the new run'
    """
    table = decision_table(decision, draws)
    rule = decision.line
    ax = new_axes(ax, 7.0, 4.0)
    for met, colour, hatch in ((True, GOOD, ""), (False, BAD, "////")):
        part = table[(table["met"] == met) & (table["share"] > 0)]
        ax.bar(
            part["left"],
            part["density"],
            part["right"] - part["left"],
            align="edge",
            color=colour,
            alpha=0.55,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
    ax.axvline(rule.value, color="black", linewidth=1.4)
    for side, align, offset in (("left", "right", -5), ("right", "left", 5)):
        met = (side == "left") == ("<" in rule.op)
        share = decision.probability if met else 1 - decision.probability
        ax.annotate(
            f"{'met' if met else 'missed'}: {share:.1%}",
            (rule.value, 1.0),
            (offset, -2),
            ha=align,
            va="top",
            fontsize=8.5,
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=GOOD if met else BAD,
        )
    # Heavy tails would leave the middle of the page a thin spike: what is off the page is in the shares that are printed.
    if len(table):
        below = table["share"].cumsum()
        low = min(table["left"][below > TAIL].min(), rule.value)
        high = max(table["right"][below - table["share"] < below.max() - TAIL].max(), rule.value)
        ax.set_xlim(low - 0.12 * (high - low), high + 0.12 * (high - low))
        ax.set_ylim(0, 1.25 * table["density"].max())
    ax.set_yticks([])
    ax.set_xlabel(f"{rule.response} of the new run")
    verdict = f"{WORDS[decision.verdict]}: P({rule.target}) = {decision.probability:.3f} ± {decision.mcse:.3f}"
    ax.set_title(verdict + f"  (GO from {rule.probability:g})", loc="left", fontsize=11, fontweight="bold")
    ax.annotate(wrapped(decision.reasons[0], 100), (0, -0.2), xycoords="axes fraction", fontsize=8, color=GREY, va="top")
    tidy(ax, grid="x")
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    return ax

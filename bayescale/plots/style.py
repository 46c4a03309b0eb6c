"""What the figures share: colours that the colour-blind can tell apart, markers, readable numbers on log axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from bayescale.infer.fit import Fit

#: Okabe and Ito's palette without its yellow, which is too faint for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: A marker beside each colour: more curves than colours still differ, and so does a print in grey.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
GREY, FAINT = "#555555", "#BBBBBB"
GOOD, BAD = COLOURS[2], COLOURS[1]

_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
#: Columns counted in thousands, millions and billions, as readers say them.
_COUNTS = ("params", "tokens", "samples", "steps")


def new_axes(ax: Axes | None, width: float = 7.0, height: float = 4.5) -> Axes:
    """``ax`` itself, or the axes of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # costs a second to import

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def tidy(ax: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Leave what is read: two spines, a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(True, axis=grid, color=FAINT, linewidth=0.5, alpha=0.6)


def response_label(fit: Fit) -> str:
    """The response with its unit, where all runs are in one."""
    unit = fit.data.units.get(fit.response, "")
    return f"{fit.response} ({unit})" if unit and unit not in fit.data.table else fit.response


def count(value: float) -> str:
    """A number as readers say it: 7e10 is ``"70B"``."""
    if not np.isfinite(value):
        return "never" if value > 0 else "–"
    for size, suffix in _SUFFIXES:
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{suffix}" if abs(value) < 1e15 else f"{value:.2g}"
    return f"{value:.3g}"


def amount(value: float, column: str) -> str:
    """A number of the named column: a count in words, compute in powers of ten."""
    return count(value) if column in _COUNTS or not np.isfinite(value) else f"{value:.3g}"


def log_axis(ax: Axes, side: Literal["x", "y"], column: str) -> None:
    """Log scale with plain numbers at the ticks, few enough to read over less than a decade too; call it after drawing."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    axis: Axis
    if side == "x":
        ax.set_xscale("log")
        axis, (low, high) = ax.xaxis, ax.get_xlim()
    else:
        ax.set_yscale("log")
        axis, (low, high) = ax.yaxis, ax.get_ylim()
    decades = np.log10(high / low)
    if decades < 1.2:
        # Round numbers: on so short an axis the powers of ten leave one tick or none.
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(10, subs=(1.0, 3.0) if decades < 3 else (1.0,)))
        axis.set_minor_locator(LogLocator(10, subs=range(2, 10)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, column)))
    axis.set_minor_formatter(NullFormatter())


def tick(value: float, column: str) -> str:
    """Text of a tick."""
    if column in _COUNTS:
        return count(value)
    if value >= 1e5:
        power = np.log10(value)
        return f"$10^{{{power:.0f}}}$" if np.isclose(power, round(power)) else f"{value:.0e}"
    return f"{value:.4g}"


def wrapped(text: str, width: int = 46) -> str:
    """A long name over several lines."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False)) or text


def label_ends(ax: Axes, ends: Sequence[tuple[float, str, str]], size: float = 8.0) -> None:
    """Names of curves, given as (height of the end, name, colour), right of the axes and apart where they would overlap."""
    place = ax.transAxes.inverted()
    heights = [place.transform(ax.transData.transform((ax.get_xlim()[1], y)))[1] for y, _, _ in ends]
    # An axes that is drawn lies in a figure, which the stubs do not know.
    line = 1.35 * size / 72 / (ax.figure.get_figheight() * ax.get_position().height)  # type: ignore[union-attr]
    sizes = [line * (1 + label.count("\n")) for _, label, _ in ends]
    for height, moved, (_, label, colour) in zip(heights, spread(heights, sizes), ends, strict=True):
        ax.annotate(
            label,
            xy=(1.0, height),
            xytext=(1.03, moved),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=size,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def spread(heights: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Places for labels of the given sizes, in the order of their heights and as near to them as the neighbours allow.

    >>> spread([0.5, 0.5, 0.9], [0.1, 0.1, 0.1])
    [0.45, 0.55, 0.9]
    """
    blocks: list[tuple[list[int], float]] = []  # labels that touch, and where the lowest of them begins
    for i in sorted(range(len(heights)), key=heights.__getitem__):
        blocks.append(([i], heights[i] - sizes[i] / 2))
        while len(blocks) > 1 and blocks[-1][1] < blocks[-2][1] + sum(sizes[k] for k in blocks[-2][0]) - 1e-12:
            members = blocks[-2][0] + blocks[-1][0]
            begins = np.mean([heights[k] - above for k, above in zip(members, _middles(members, sizes), strict=True)])
            blocks[-2:] = [(members, float(begins))]
    placed = {k: begin + above for members, begin in blocks for k, above in zip(members, _middles(members, sizes), strict=True)}
    return [round(float(placed[i]), 10) for i in range(len(heights))]


def _middles(members: Sequence[int], sizes: Sequence[float]) -> list[float]:
    """Height of each label's middle above the beginning of its block."""
    own = np.array([sizes[k] for k in members])
    return list(np.cumsum(own) - own / 2)

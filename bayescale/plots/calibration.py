"""Whether intervals cover what they say: coverage of held-out runs against the probability that was stated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from bayescale.evaluate.backtest_result import Backtest
from bayescale.plots.style import COLOURS, GREY, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Probability of the band in which the coverage of calibrated forecasts lies.
BAND = 0.9
#: Probabilities of the intervals that are shown.
NOMINAL = tuple(round(0.05 * i, 2) for i in range(1, 20))


def calibration_table(backtest: Backtest) -> pd.DataFrame:
    """Coverage of the central intervals of a backtest.

    Parameters
    ----------
    backtest : Backtest

    Returns
    -------
    DataFrame
        One row a probability: ``nominal``; ``coverage``, the share of outcomes inside; ``lower`` and ``upper``, between which
        the coverage of calibrated forecasts lies with probability 0.9, by the binomial distribution of
        ``backtest.effective_n`` independent forecasts.
    """
    number = max(1, round(backtest.effective_n))
    nominal = np.array(NOMINAL)
    lower, upper = (stats.binom.ppf(q, number, nominal) / number for q in ((1 - BAND) / 2, (1 + BAND) / 2))
    found = [backtest.coverage(prob) for prob in NOMINAL]
    return pd.DataFrame({"nominal": nominal, "coverage": found, "lower": lower, "upper": upper})


def plot_calibration(backtest: Backtest, *, ax: Axes | None = None) -> Axes:
    """Coverage of held-out runs against the probability of the intervals, with the band of what chance allows.

    Below the diagonal the forecasts were too sure of themselves; above it they were wider than needed.

    Parameters
    ----------
    backtest : Backtest
        :func:`calibration_table` gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    table = calibration_table(backtest)
    ax = new_axes(ax, 5.0, 4.8)
    ax.fill_between(table["nominal"], table["lower"], table["upper"], color=GREY, alpha=0.18, linewidth=0)
    ax.plot(table["nominal"], table["nominal"], color=GREY, linewidth=0.8, linestyle="--")
    ax.plot(table["nominal"], table["coverage"], color=COLOURS[0], linewidth=1.8, marker="o", markersize=4)
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.02, 1.02)
    ax.set_aspect("equal")
    ax.set_xlabel("probability of the interval")
    ax.set_ylabel(f"share of held-out {backtest.what} inside it")
    many = f"{len(backtest.points)} forecasts of {backtest.runs} {backtest.what}"
    said = f"{many}, worth {backtest.effective_n:.0f} independent ones"
    ax.set_title(f"Calibration of {backtest.name} along {backtest.along}\n{said}", loc="left", fontsize=9)
    tidy(ax)
    return ax

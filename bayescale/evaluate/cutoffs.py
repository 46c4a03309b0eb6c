"""Where a backtest cuts, if it is not said."""

from __future__ import annotations

import numpy as np

from bayescale.evaluate.scores import Array

#: Shares of the runs, or models, below the first and the last cut-off, where none are named.
FIRST, LAST = 0.5, 0.8


def rolling(x: Array, number: int) -> list[float]:
    """Cut-offs at values of the axis, so that a row is never on the wrong side by rounding."""
    values = np.unique(x)
    if len(values) < 3:
        return []
    shares = np.linspace(FIRST, LAST, number) if number > 1 else [(FIRST + LAST) / 2]
    places = np.clip(np.quantile(x, shares, method="lower"), values[1], values[-2])
    return [float(v) for v in np.unique(places)]

"""The runs of each curve in the order of their scale: what a drift, or a running minimum, needs to know of a table."""

from __future__ import annotations

import numpy as np

from bayescale.models.design import Path, pad


def make_path(x: np.ndarray, y: np.ndarray, curve: np.ndarray, rows: int) -> Path:
    """Sort a table.

    Parameters
    ----------
    x, y : float array (run,)
        The axis, and the response.
    curve : int array (run,)
        Which curve each row is of, from 0 on.
    rows : int
        Length to pad to.
    """
    n = len(x)
    order = np.lexsort((-y, x, curve))
    u, sorted_curve, sorted_y = np.log(x[order]), curve[order], y[order]
    first = np.r_[True, np.diff(sorted_curve) != 0]
    last = np.r_[first[1:], True]
    step = np.where(first, 0.0, np.diff(u, prepend=u[0]))
    ends = np.stack([order[first], order[last]], axis=1)
    distance = np.where(first, np.nan, np.diff(x[order], prepend=x[order][0]))
    gap = np.ones(n)
    for c in range(len(ends)):
        inside = (sorted_curve == c) & (distance > 0)
        if inside.any():
            gap[inside] = distance[inside] / distance[inside].min()
    tie = ~first & (np.diff(sorted_y, prepend=np.nan) == 0)
    return Path(
        order=np.r_[order, np.arange(n, rows)],
        step=pad(step, rows, 0.0),
        first=pad(first, rows, False),
        last=pad(last, rows, False),
        seen=np.arange(rows) < n,
        curve=pad(sorted_curve, rows, 0),
        ends=ends,
        span=np.log(x[ends[:, 1]] / x[ends[:, 0]]),
        gap=pad(gap, rows, 1.0),
        tie=pad(tie, rows, False),
    )

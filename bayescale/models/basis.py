"""A discrepancy of several parts as a linear function of a few coefficients: its columns at the runs, and at new points.

The drift of a curve is given by its slopes at equally spaced log scales, the first at the curve's largest run, and is linear
between them; the misfit by its values at equally spaced places of the second axis; the effect of a run by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayescale.models.design import Basis, pad

Floats = NDArray[np.float64]

#: Knots of the drift in all, and of one curve at most and at least.
KNOTS, MOST, LEAST = 48, 8, 4

#: Knots of the misfit over the range of the second axis, and the length over which it changes, as a share of that range.
MISFIT_KNOTS, LENGTH = 5, 0.35

#: Makes the kernel of the knots invertible.
_JITTER = 1e-8


@dataclass(frozen=True, eq=False)
class Frame:
    """Where knots and places lie, for any rows: made of the fitted runs, used again to forecast.

    Parameters
    ----------
    tops : float array (curve,)
        Log scale of the largest run of each curve.
    steps : float array (curve,)
        Log scale between knots.
    knots : int
        Knots of a curve; 0 where no slope drifts.
    low, range : float
        Least logarithm of the second axis, and how far it extends.
    depth : float
        Log scale between the smallest and the largest run.
    anchor : float array (place,)
        Mean of the misfit's columns over the reference runs.
    tilts : bool
        Whether the misfit changes with scale.
    labels : dict of site to tuple of str
        Runs that have an effect, by the name of the effects' size.
    """

    tops: Floats
    steps: Floats
    knots: int
    low: float
    range: float
    depth: float
    anchor: Floats
    tilts: bool
    labels: dict[str, tuple[str, ...]]

    @property
    def places(self) -> int:
        """Places at which the misfit is known."""
        return len(self.anchor)

    def integral(self, u: Floats, curve: NDArray[np.int64]) -> Floats:
        """Drift at log scales ``u`` up to the largest of their curves for a slope of 1 at each knot, shape (point, knot)."""
        if not self.knots:
            return np.zeros((len(u), 0))
        t = np.maximum(self.tops[curve] - u, 0.0)[:, None] / self.steps[curve][:, None]
        k = np.arange(self.knots)
        passed = _half(np.minimum(t, self.knots - 1) - k) - _half(-k.astype(float))
        passed[:, -1] += np.maximum(t[:, 0] - (self.knots - 1), 0.0)
        drift: Floats = -self.steps[curve][:, None] * passed
        return drift

    def ratio(self, r: Floats) -> Floats:
        """The second axis, 0 to 1 over the fitted runs, of its logarithm."""
        return (r - self.low) / self.range

    def smooth(self, r: Floats) -> tuple[Floats, Floats]:
        """Columns of the misfit before they are anchored, shape (point, place), and the variance that they leave."""
        if not self.places:
            return np.zeros((len(r), 0)), np.zeros(len(r))
        at = np.linspace(0.0, 1.0, self.places)
        root = np.linalg.cholesky(_kernel(at, at) + _JITTER * np.eye(self.places))
        columns = np.linalg.solve(root, _kernel(at, self.ratio(r))).T
        return columns, np.maximum(1.0 - np.sum(columns**2, axis=1), 0.0)


def make_frame(
    u: Floats,
    curve: NDArray[np.int64],
    near: NDArray[np.bool_],
    second: Floats | None,
    runs: Mapping[str, Sequence[str]],
    *,
    drifts: bool,
    tilts: bool,
) -> Frame:
    """Lay the knots over the fitted runs.

    Parameters
    ----------
    u : float array (run,)
        Log scale along which the slope drifts.
    curve : int array (run,)
    near : bool array (run,)
        The reference runs.
    second : float array (run,), optional
        Logarithm of the second axis.
    runs : mapping of site to sequence of str
        Label of each row, for all effects by the name of their size.
    drifts, tilts : bool
        Whether the slope drifts, and whether the misfit changes with scale.
    """
    curves = int(curve.max()) + 1
    tops, lows = (np.array([end(u[curve == c]) for c in range(curves)]) for end in (np.max, np.min))
    knots = min(MOST, max(LEAST, KNOTS // curves)) if drifts else 0
    # A curve of one scale has knots all the same, so that every curve has as many.
    steps = np.maximum(tops - lows, 0.1) / max(knots - 1, 1)
    low, reach, places = 0.0, 1.0, 0
    if second is not None:
        low, reach, places = float(second.min()), max(float(np.ptp(second)), 1e-9), MISFIT_KNOTS
    depth = max(float(np.ptp(u)), 1e-9)
    labels = {site: tuple(dict.fromkeys(of)) for site, of in runs.items()}
    frame = Frame(tops, steps, knots, low, reach, depth, np.zeros(places), tilts, labels)
    if second is None:
        return frame
    anchor = frame.smooth(second[near])[0].mean(axis=0)
    return Frame(tops, steps, knots, low, reach, depth, anchor, tilts, labels)


def make_basis(
    frame: Frame,
    u: Floats,
    curve: NDArray[np.int64],
    second: Floats | None,
    runs: Mapping[str, Sequence[str]],
    rows: int,
) -> Basis:
    """The columns at the fitted runs, padded to ``rows``."""
    n, curves = len(u), len(frame.tops)
    contrast, span = np.zeros((curves, n)), np.zeros(curves)
    for c in range(curves):
        low, high = _ends(u, curve == c)
        contrast[c] = low / low.sum() - high / high.sum()
        span[c] = -contrast[c] @ u
    own = frame.integral(u, curve)
    slopes = np.zeros((n, curves, frame.knots))
    slopes[np.arange(n), curve] = own
    smooth = np.zeros((n, 0)) if second is None else frame.smooth(second)[0]
    effects = [np.array([[run == label for label in frame.labels[site]] for run in runs[site]], float) for site in frame.labels]
    tilts = smooth * ((u - u.max()) / frame.depth)[:, None] if frame.tilts else np.zeros((n, 0))
    columns = np.hstack([slopes.reshape(n, -1), smooth - frame.anchor, tilts, *effects])
    columns = pad(columns.T, rows, 0.0).T
    one, other = np.triu_indices(columns.shape[1])
    return Basis(
        columns=columns,
        products=columns[:, one] * columns[:, other],
        behind=frame.steps[:, None] * np.arange(frame.knots),
        contrast=pad(contrast, rows, 0.0),
        span=span,
        places=np.zeros(frame.places),
        effects={site: np.zeros(len(labels)) for site, labels in frame.labels.items()},
    )


def _ends(u: Floats, here: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The lowest quarter of the runs of a curve by scale, and its top tenth; at least one each."""
    ordered = np.sort(u[here])
    low = ordered[max(1, len(ordered) // 4) - 1]
    high = ordered[-max(1, len(ordered) // 10)]
    return (here & (u <= low)).astype(float), (here & (u >= high)).astype(float)


def _half(x: Any) -> Any:
    """Integral of a hat of width 1 to either side, up to ``x``."""
    x = np.clip(x, -1.0, 1.0)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)


def _kernel(a: Floats, b: Floats) -> Floats:
    return np.exp(-((a[:, None] - b[None, :]) ** 2) / (2 * LENGTH**2))

"""What was measured of methods on one axis: the plain baseline that ranks them by the largest scale that all reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bayescale.prediction.methods import Method
from bayescale.prediction.mixing import labels_of, selected_rows
from bayescale.prediction.paths import fitted_scales
from bayescale.prediction.points import At, Fitted, as_frame
from bayescale.prediction.pricing import Priced

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Baseline:
    """Methods ranked by their runs.

    Parameters
    ----------
    ranks : array (method,)
        From 1, shared where they tie; NaN where there is no common scale.
    scale : float
        The largest that all reach, at which they are ranked; NaN where there is none.
    ends : (float, float)
        Where the method that was run least far ends, and where the one that starts last does; NaN without runs on the axis.
    """

    ranks: Array
    scale: float
    ends: tuple[float, float]


def baseline_of(asked: Sequence[Fitted], methods: Sequence[Method], sign: float, at: At | None) -> Baseline:
    """Rank methods by their measurements at the largest scale that all reach, interpolated between the best runs of each.

    Parameters
    ----------
    asked, methods
        As they were given, and traced along the axis.
    sign : float
        1 where a higher response is better, else -1.
    at : optional
        Labels that select the runs of each.
    """
    place = {} if at is None else {name: str(values.iloc[0]) for name, values in as_frame(at).items()}
    runs = [_measured(one, method, place) for one, method in zip(asked, methods, strict=True)]
    unknown = np.full(len(runs), np.nan)
    if not all(len(scale) for scale, _ in runs):
        return Baseline(unknown, float("nan"), (float("nan"), float("nan")))
    common, lowest = min(float(s.max()) for s, _ in runs), max(float(s.min()) for s, _ in runs)
    if lowest > common:
        return Baseline(unknown, float("nan"), (common, lowest))
    values = []
    for scale, response in runs:
        order = np.argsort(scale)
        best = sign * np.maximum.accumulate(sign * response[order])  # of several runs at a scale, the best
        values.append(np.interp(np.log(common), np.log(scale[order]), best))
    return Baseline(rankdata(-sign * np.array(values), method="min").astype(float), common, (common, lowest))


def _measured(asked: Fitted, method: Method, place: Mapping[Any, str]) -> tuple[Array, Array]:
    """Scales along the axis and responses of the runs of a method."""
    fit, way = method.ways[0]
    groups = {column: place[column] for column in fit.data.groups if column in place}
    keep = selected_rows(fit.data.table, groups | labels_of(asked))
    scales = fitted_scales(fit, way)
    if not len(scales):
        return np.empty(0), np.empty(0)
    if isinstance(method.curve, Priced):
        scales = method.curve.charge.cost(scales)
    return scales[keep], fit.data.table[fit.response].to_numpy(float)[keep]

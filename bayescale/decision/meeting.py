"""In which draws targets are met, and how well the draws tell the probability of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW
from bayescale.core.targets import Target

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Meeting:
    """Draws held against targets.

    Parameters
    ----------
    met : bool array (chain, draw)
        Where all targets are met at all points.
    worst : array (target, chain, draw)
        Response of the point that is furthest from each target; NaN where one of the draw's points is not finite.
    points : int
    """

    met: NDArray[np.bool_]
    worst: Array
    points: int

    @property
    def lost(self) -> int:
        """Draws that are not finite, which count as missing the target."""
        return int(np.isnan(self.worst).any(axis=0).sum())

    @property
    def probability(self) -> float:
        """Share of the draws that meet all targets."""
        return float(self.met.mean())

    @property
    def mcse(self) -> float:
        """Monte Carlo error of the probability; where all draws agree, half of what the rule of three bounds it by."""
        from arviz_stats.base import array_stats  # costs a second to import

        if self.met.any() and not self.met.all():
            error = float(array_stats.mcse(self.met.astype(float), chain_axis=0, draw_axis=1, method="mean"))
            if math.isfinite(error) and error > 0:
                return error
        sizes = [
            float(array_stats.ess(one, chain_axis=0, draw_axis=1, method="bulk"))
            for one in self.worst
            if np.isfinite(one).all()
        ]
        size = min((s for s in sizes if math.isfinite(s)), default=self.met.size)
        return 1.5 / min(size, self.met.size)


def meeting(draws: xr.Dataset, targets: Sequence[Target]) -> Meeting:
    """Hold draws of ``predict``, dims (chain, draw, point), against targets.

    Raises
    ------
    SpecError
        When they are no draws, or not of the responses of the targets.
    """
    met, worst, points = None, [], 0
    for target in targets:
        values = response_draws(draws, target.response)
        points = max(points, values.shape[-1])
        finite = np.isfinite(values).all(axis=-1)
        here = finite & target.met(values).all(axis=-1)
        met = here if met is None else met & here
        far = values.max(axis=-1) if "<" in target.op else values.min(axis=-1)
        worst.append(np.where(finite, far, np.nan))
    assert met is not None, "a rule has a target"
    return Meeting(met, np.stack(worst), points)


def response_draws(draws: xr.Dataset, response: str) -> Array:
    """Draws of a response, shape (chain, draw, point).

    Raises
    ------
    SpecError
        As of :func:`meeting`.
    """
    if not isinstance(draws, xr.Dataset):
        raise SpecError(f"draws are the Dataset that predict returns, got {type(draws).__name__}")
    names = [str(name) for name in draws.data_vars]
    if response not in names:
        raise SpecError(f"the draws are not of the rule's response: {unknown('response', response, names)}")
    found = draws[response]
    lacking = [d for d in (CHAIN, DRAW) if d not in found.dims]
    if lacking:
        raise SpecError(f"the draws lack the dimension {' and '.join(lacking)}: expected those of predict, got {found.dims}")
    values = found.transpose(CHAIN, DRAW, ...).to_numpy()
    values = values.reshape(*values.shape[:2], -1).astype(float)
    if not values.size:
        raise SpecError("there is no draw or no point to decide about")
    return values

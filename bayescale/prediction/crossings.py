"""``crossings`` and ``compute_multiplier``: every crossing of two methods, and how much more one needs to match the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.core.targets import higher_is_better
from bayescale.prediction.crossing import ALIKE, SCALE, compare, p_ahead, paired, same_response
from bayescale.prediction.methods import Costs, traced_along
from bayescale.prediction.mixing import source
from bayescale.prediction.parameters import generator
from bayescale.prediction.paths import Path
from bayescale.prediction.points import At, Fitted
from bayescale.prediction.pricing import AnyCurve
from bayescale.prediction.roots import bisect, first_change, log_grid

Array = NDArray[np.float64]

CROSSING = "crossing"


def crossings(
    a: Fitted,
    b: Fitted,
    *,
    along: str = "flops",
    path: Path | None = None,
    at: At | None = None,
    within: tuple[float, float] | None = None,
    cost: Costs | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Every scale at which the laws of ``a`` and ``b`` cross, where :func:`crossover` gives the smallest.

    Parameters
    ----------
    a, b : Fit, Ensemble, or a selection of one
        As of :func:`crossover`: draws of one fit are compared draw by draw.
    along : str
        The axis, as of :func:`crossover`, or ``"cost"``.
    path, at, within
        As of :func:`crossover`; ``within`` in the unit of the axis.
    cost : Cost or FittedCost, or one of a and one of b
        With ``along="cost"``: what a run costs. A fitted one draw by draw, the same draws where both pay by the same object.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        A variable named ``along``, dims (chain, draw, crossing): the crossings in their order, NaN beyond the last.
        ``number`` (chain, draw): how many. ``p_number``: their probabilities, by number. ``p_none``. ``b_better_after``
        (chain, draw, crossing): whether ``b`` is better beyond it. ``b_better_last`` (chain, draw): whether ``b`` is better at
        the upper end. ``p_b_better``, ``p_absent`` (scale) and the attributes ``baseline``, ``baseline_scale`` are those of
        :func:`crossover`. Probabilities are over the draws in which both have a response;
        NaN stands for the others.

    Raises
    ------
    SpecError
        When responses differ, there is no axis on which both lie, or a cost is missing.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> pile = runs[runs.dataset == "Pile validation"]
    >>> model = bs.ScalingModel("power_law_offset", axes={"x": "params"})
    >>> mamba, pythia = (bs.fit(model, pile[pile.family == name]) for name in ("Mamba", "Pythia"))
    >>> found = bs.crossings(pythia, mamba, along="params")
    >>> round(float(found["p_number"].sum()), 6)
    1.0
    """
    both = compare(a, b, along, path, at, within, seed, cost)
    draws = both.ahead.shape[0]
    left, found, after_b = both.ahead.copy(), [], []
    columns = np.arange(left.shape[1])
    while True:
        before, after = first_change(left)
        if not (after > 0).any():
            break
        found.append(both.between(before, after))
        there = after > 0
        better = np.full(draws, np.nan)
        better[there] = left[there, after[there]] > 0
        after_b.append(better)
        # What lies before the crossing is passed over from now on; where there is none, nothing is left.
        left = np.where(columns[None, :] < np.where(there, after, len(columns))[:, None], 0.0, left)
    scales = np.stack(found, axis=1) if found else np.full((draws, 1), np.nan)
    flags = np.stack(after_b, axis=1) if after_b else np.full((draws, 1), np.nan)
    number = np.isfinite(scales).sum(axis=1)
    signs = np.sign(np.nan_to_num(both.ahead))
    last = np.where(
        both.there, signs[np.arange(draws), signs.shape[1] - 1 - np.argmax(signs[:, ::-1] != 0, axis=1)] > 0, np.nan
    )
    shape = tuple(len(both.chains[d]) for d in (CHAIN, DRAW))
    dims = (CHAIN, DRAW, CROSSING)
    out = xr.Dataset(
        {
            along: (dims, scales.reshape(*shape, -1)),
            "b_better_after": (dims, flags.reshape(*shape, -1)),
            "number": ((CHAIN, DRAW), number.reshape(shape)),
            "p_number": ("crossings", np.bincount(number[both.there], minlength=scales.shape[1] + 1) / both.there.sum()),
            "p_none": float((number[both.there] == 0).mean()),
            "p_b_better": (SCALE, p_ahead(both.ahead)),
            "p_absent": (SCALE, np.isnan(both.ahead).mean(axis=0)),
            "b_better_last": ((CHAIN, DRAW), last.reshape(shape)),
        },
        coords={**both.chains, SCALE: both.grid, CROSSING: np.arange(1, scales.shape[1] + 1)},
    )
    return out.assign_coords(crossings=np.arange(out.sizes["crossings"])).assign_attrs(
        along=along, baseline=both.measured_better, baseline_scale=both.baseline.scale, seed=int(seed)
    )


def compute_multiplier(
    a: Fitted,
    b: Fitted,
    scales: float | Sequence[float],
    *,
    along: str = "flops",
    path: Path | None = None,
    at: At | None = None,
    cost: Costs | None = None,
    reach: float = 1e4,
    seed: int = 0,
) -> xr.Dataset:
    """How many times as much ``a`` needs to match ``b``.

    At each scale ``s`` of ``b``: the smallest scale at which the law of ``a`` is as good as that of ``b`` at ``s``, over ``s``.
    Above 1, ``b`` is the more efficient.

    Parameters
    ----------
    a, b : Fit, Ensemble, or a selection of one
        As of :func:`crossover`: draws of one fit are compared draw by draw.
    scales : float or sequence of float
        Where ``b`` stands, in the unit of the axis.
    along, path, at, cost
        As of :func:`crossings`: ``along="flops"`` gives the compute multiplier, ``"tokens"`` that of data, ``"cost"`` of money.
    reach : float
        How many times more, or less, is looked at.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        ``multiplier``, dims (chain, draw, point), one point a scale: ``inf`` in draws in which ``a`` does not match ``b``
        within reach, whose share is ``p_never`` (point), and ``1 / reach`` where it matches all along, whose share is
        ``p_below``. ``p_b_better`` (point): the probability that ``b`` is better at that scale, over the draws in which both
        have a response. ``p_none`` (point): the share in which one has none (no optimum or known cost),
        and the multiplier is NaN. Coordinate ``along`` (point).

    Raises
    ------
    SpecError
        When responses differ, there is no axis on which both lie, or the scales are none.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> pile = runs[runs.dataset == "Pile validation"]
    >>> model = bs.ScalingModel("power_law_offset", axes={"x": "params"})
    >>> mamba, pythia = (bs.fit(model, pile[pile.family == name]) for name in ("Mamba", "Pythia"))
    >>> found = bs.compute_multiplier(pythia, mamba, [1e9, 2e9], along="params")
    >>> bool((found["multiplier"].median(("chain", "draw")) > 1).all())  # Pythia needs the larger model
    True
    """
    at_b = read_scales(scales)
    if isinstance(reach, bool) or not isinstance(reach, int | float | np.number) or not 1 < reach < np.inf:
        raise SpecError(f"reach is a number above 1, got {reach!r}")
    same_response([a, b])
    methods = traced_along([a, b], along, path, at, cost, seed)
    ends = float(at_b.min() / reach), float(at_b.max() * reach)
    first, second = (one.departing(*ends, generator(seed, 4 + i)) for i, one in enumerate(methods))
    curve_a, curve_b, chains = paired(first, second, seed, together=source(a) is source(b))
    sign = 1.0 if higher_is_better(source(a).response) else -1.0
    goals, here = curve_b(at_b[None, :]), curve_a(at_b[None, :])
    found = np.empty(goals.shape)
    for i, scale in enumerate(at_b):
        found[:, i] = _matching(curve_a, goals[:, i], log_grid(scale / reach, scale * reach), sign) / scale
    gap, there = sign * (goals - here), np.isfinite(goals - here)
    better = np.divide((gap > 0).sum(axis=0), there.sum(axis=0), out=np.full(len(at_b), np.nan), where=there.any(axis=0))
    shape = tuple(len(chains[d]) for d in (CHAIN, DRAW))
    out = xr.Dataset(
        {
            "multiplier": ((CHAIN, DRAW, "point"), found.reshape(*shape, -1)),
            "p_never": ("point", np.isposinf(found).mean(axis=0)),
            "p_below": ("point", (found <= (1 + ALIKE) / reach).mean(axis=0)),
            "p_b_better": ("point", better),
            "p_none": ("point", np.isnan(found).mean(axis=0)),
        },
        coords={**chains, along: ("point", at_b), "point": np.arange(len(at_b))},
    )
    return out.assign_attrs(along=along, reach=float(reach), seed=int(seed))


def _matching(curve: AnyCurve, goals: Array, grid: Array, sign: float) -> Array:
    """The smallest scale at which each draw of a curve is as good as its goal, shape (draw,); ``inf`` where it never is.

    NaN where the goal, or the whole curve, is: on a path to the optimum there may be none.
    """
    reached = curve(grid)
    behind = ~(sign * (reached - goals[:, None]) >= 0)
    first = np.where(behind.all(axis=1), -1, np.argmin(behind, axis=1))
    found = np.where(first == 0, grid[0], np.inf)
    inside = np.flatnonzero(first > 0)
    if inside.size:
        few, step = curve.take(inside), first[inside]
        found[inside] = bisect(lambda s: few(s[:, None])[:, 0] - goals[inside], grid[step - 1], grid[step])
    return np.where(np.isnan(goals) | np.isnan(reached).all(axis=1), np.nan, found)


def read_scales(scales: float | Sequence[float]) -> Array:
    """Scales that are asked for, as an array.

    Raises
    ------
    SpecError
        When they are no positive numbers.
    """
    try:
        out = np.atleast_1d(np.asarray(scales, dtype=float))
    except (TypeError, ValueError):
        raise SpecError(f"scales are positive numbers, got {scales!r}") from None
    if out.ndim != 1 or not out.size or not (np.isfinite(out).all() and (out > 0).all()):
        raise SpecError(f"scales are positive numbers, got {scales!r}")
    return out

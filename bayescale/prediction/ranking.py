"""``rank_methods``: which of many methods is best at each scale, how probably, and what choosing now may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import rankdata

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.core.targets import higher_is_better
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.fit import Fit
from bayescale.prediction.cost import Cost
from bayescale.prediction.cost_fit import FittedCost
from bayescale.prediction.crossing import SCALE, same_response
from bayescale.prediction.crossings import read_scales
from bayescale.prediction.measured import baseline_of
from bayescale.prediction.methods import Method, traced_along
from bayescale.prediction.mixing import source
from bayescale.prediction.parameters import generator
from bayescale.prediction.paths import Path
from bayescale.prediction.points import At, Fitted
from bayescale.prediction.pricing import AnyCurve, reordered

Array = NDArray[np.float64]

#: Not "method", which is an argument of xarray's ``sel``.
CANDIDATE, RANK = "candidate", "rank"


def rank_methods(
    methods: Mapping[str, Fitted],
    scales: float | Sequence[float],
    *,
    along: str = "flops",
    path: Path | None = None,
    at: At | None = None,
    cost: Cost | FittedCost | Mapping[str, Cost | FittedCost] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Probabilities of the ranks of many methods at each scale, and the expected regret of choosing each now.

    Beside them stands the plain baseline, which is hard to beat: rank the methods by what was measured at the largest scale
    that all of them reach.

    Parameters
    ----------
    methods : mapping of name to Fit, Ensemble, or a selection of one
        ``{"Mamba": fit.select(family="Mamba"), ...}``. Parts of one fit or ensemble are compared draw by draw; those of others
        are put in random order.
    scales : float or sequence of float
        Where they are compared, in the unit of the axis.
    along, path, at
        As of :func:`crossings`.
    cost : Cost or FittedCost, or a mapping of name to one
        With ``along="cost"``; a fitted one draw by draw, the same draws of methods that pay by the same object.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        The response of the laws, dims (chain, draw, candidate, scale). ``p_rank`` (candidate, rank, scale), the best first;
        methods that tie share a rank. ``p_best`` (candidate, scale). ``regret`` (candidate, scale): by how much the response of
        the method is worse than that of the best one, in expectation. ``choice`` (scale): the method of least regret. All are
        over the draws in which every method has a response; ``p_none`` (scale) is the share of the others, in which a path
        leads to an optimum that there is not.
        ``baseline`` (candidate): its rank by what was measured at the largest common scale, interpolated between its best runs;
        that scale is the attribute ``baseline_scale``.

    Raises
    ------
    SpecError
        When there are fewer than two methods, responses differ, no draw has a response of each, or the fitted runs share no
        scale on the axis.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> pile = runs[runs.dataset == "Pile validation"]
    >>> model = bs.ScalingModel("power_law_offset", axes={"x": "params"})
    >>> fits = {name: bs.fit(model, pile[pile.family == name]) for name in ("Mamba", "Pythia")}
    >>> found = bs.rank_methods(fits, [1e9, 1e10], along="params")
    >>> found["choice"].values.tolist(), found["baseline"].values.tolist()
    (['Mamba', 'Mamba'], [1.0, 2.0])
    """
    if not isinstance(methods, Mapping) or len(methods) < 2:
        got = f"only {', '.join(map(str, methods))}" if isinstance(methods, Mapping) else type(methods).__name__
        raise SpecError(f"methods is a mapping of at least two names to fits, got {got}")
    names, asked, wanted = list(map(str, methods)), list(methods.values()), read_scales(scales)
    if isinstance(cost, Mapping):
        if set(cost) != set(methods):
            raise SpecError(f"cost names {', '.join(map(str, cost))}, and the methods are {', '.join(names)}")
        prices = [cost[name] for name in methods]
        traced = traced_along(asked, along, path, at, prices, seed)
    else:
        traced = traced_along(asked, along, path, at, cost, seed)
    same_response(asked)
    low, high = float(wanted.min()), float(wanted.max())
    traced = [m.departing(low, high if high > low else 1.01 * low, generator(seed, 40 + i)) for i, m in enumerate(traced)]
    curves, chains = _together(traced, [source(one) for one in asked], seed)
    response = source(asked[0]).response
    sign = 1.0 if higher_is_better(response) else -1.0
    values = np.stack([curve(wanted[None, :]) for curve in curves], axis=1)  # (draw, candidate, scale)
    there = np.isfinite(values).all(axis=1)
    if not there.any(axis=0).all():
        none = ", ".join(f"{scale:.3g}" for scale in wanted[~there.any(axis=0)])
        why = "on that path a method has no optimum there, or lies beyond the scales whose costs are known"
        raise SpecError(f"no draw has a response of every method at {along} {none}: {why}")
    # A draw in which a method has no response (no compute-optimal size) ranks nobody.
    counted = np.where(there[:, None], values, np.nan)
    ranks = rankdata(-sign * counted, axis=1, method="min", nan_policy="propagate")
    regret = np.nanmean(np.max(sign * counted, axis=1, keepdims=True) - sign * counted, axis=0)
    p_rank = np.stack([(ranks == r + 1).sum(axis=0) / there.sum(axis=0) for r in range(len(names))], axis=1)
    measured = baseline_of(asked, traced, sign, at)
    if measured.ends[1] > measured.ends[0]:
        raise SpecError(
            f"the methods have no common scale: one was run up to {measured.ends[0]:.3g} only, another from "
            f"{measured.ends[1]:.3g} on. Compare methods whose runs overlap on the axis, or two of them by crossover, which "
            "extrapolates"
        )
    shape = tuple(len(chains[d]) for d in (CHAIN, DRAW))
    out = xr.Dataset(
        {
            response: ((CHAIN, DRAW, CANDIDATE, SCALE), values.reshape(*shape, len(names), -1)),
            "p_rank": ((CANDIDATE, RANK, SCALE), p_rank),
            "p_best": ((CANDIDATE, SCALE), p_rank[:, 0]),
            "regret": ((CANDIDATE, SCALE), regret),
            "choice": (SCALE, np.array(names, dtype=object)[np.argmin(regret, axis=0)]),
            "baseline": (CANDIDATE, measured.ranks),
            "p_none": (SCALE, 1 - there.mean(axis=0)),
        },
        coords={**chains, CANDIDATE: names, RANK: np.arange(1, len(names) + 1), SCALE: wanted},
    )
    return out.assign_attrs(along=along, baseline_scale=measured.scale, seed=int(seed))


def _together(
    methods: Sequence[Method], sources: Sequence[Fit | Ensemble], seed: int
) -> tuple[list[AnyCurve], Mapping[str, Any]]:
    """Curves with as many draws each: those of one fit in one order, those of another in another."""
    shortest = min(methods, key=lambda m: m.curve.draws)
    number, orders, out = shortest.curve.draws, dict[int, NDArray[np.int64]](), []
    for method, whole in zip(methods, sources, strict=True):
        if id(whole) not in orders:
            size = method.curve.draws
            mixed = generator(seed, 60 + len(orders)).permutation(size)[:number]
            orders[id(whole)] = np.arange(size) if method is shortest else mixed
        out.append(reordered(method.curve, orders[id(whole)]))
    return out, {d: shortest.chains[d] for d in (CHAIN, DRAW)}

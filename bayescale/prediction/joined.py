"""``join_draws``: forecasts of several fits in one dataset, for a decision about all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.prediction.parameters import generator


def join_draws(*parts: xr.Dataset, seed: int = 0) -> xr.Dataset:
    """Forecasts of several fits as draws of one dataset, so that targets of several responses can be met at once.

    The fits know nothing of one another: draws are paired at random, and the longer ones are cut. What two responses of one run
    have in common beyond the run itself is not in them.

    Parameters
    ----------
    *parts : Dataset
        Of :func:`predict`, two or more, of different responses, at the same points in the same order.
    seed : int
        The same seed gives the same pairs.

    Returns
    -------
    Dataset
        The variables of all, dims (chain, draw) of the shortest part, and point; coordinates as of the first part.

    Raises
    ------
    SpecError
        When a part has no chains and draws, two have a variable in common, or their points are not the same.

    Examples
    --------
    >>> loss = xr.Dataset({"loss": (("chain", "draw", "point"), np.full((4, 50, 1), 2.0))})
    >>> accuracy = xr.Dataset({"accuracy": (("chain", "draw", "point"), np.full((2, 40, 1), 0.7))})
    >>> dict(join_draws(loss, accuracy).sizes)
    {'chain': 2, 'draw': 40, 'point': 1}
    """
    if len(parts) < 2:
        raise SpecError(f"join_draws takes the draws of two fits or more, got {len(parts)}")
    for part in parts:
        if not (isinstance(part, xr.Dataset) and {CHAIN, DRAW} <= set(part.dims)):
            raise SpecError("join_draws takes Datasets of predict, with chain and draw; got " + type(part).__name__)
    names = [str(name) for part in parts for name in part.data_vars]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"two of the parts have {', '.join(twice)}: rename one, draws.rename(loss='loss_of_b')")
    points = {part.sizes.get(POINT, 1) for part in parts}
    if len(points) > 1:
        raise SpecError(f"the parts are at {' and '.join(map(str, sorted(points)))} points: predict all at the same points")
    # A table of runs that was asked about holds what was measured too: that is no place.
    parts = tuple(part.drop_vars([n for n in names if n in part.coords]) for part in parts)
    for name in dict.fromkeys(str(n) for part in parts for n, v in part.coords.items() if v.dims == (POINT,)):
        first, *others = (pd.Series(part.coords[name].to_numpy()) for part in parts if name in part.coords)
        if not all(first.equals(other) for other in others):
            raise SpecError(f"the parts are at points of different {name}: predict all at the same points, in one order")
    sizes = [part.sizes[CHAIN] * part.sizes[DRAW] for part in parts]
    shortest = parts[int(np.argmin(sizes))]
    shape, number = (shortest.sizes[CHAIN], shortest.sizes[DRAW]), min(sizes)
    chains = {d: shortest.coords[d] for d in (CHAIN, DRAW) if d in shortest.coords}
    out = parts[0].drop_dims([CHAIN, DRAW]).assign_coords(chains)
    for i, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        order = np.arange(size) if part is shortest else generator(seed, 100 + i).permutation(size)[:number]
        for variable, values in part.data_vars.items():
            if {CHAIN, DRAW} <= set(values.dims):
                ordered = values.transpose(CHAIN, DRAW, ...)
                flat = ordered.to_numpy().reshape(size, *ordered.shape[2:])
                rest = [d for d in values.dims if d not in (CHAIN, DRAW)]
                out[variable] = ((CHAIN, DRAW, *rest), flat[order].reshape(*shape, *flat.shape[1:]))
    return out.assign_attrs(seed=int(seed))

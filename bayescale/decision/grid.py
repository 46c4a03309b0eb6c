"""``make_grid``: an iso-FLOP grid of runs, as a table to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.files import written_whole
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN

Array = NDArray[np.float64]

#: Tokens per parameter at which sizes are placed where none are given: both sides of the 20 of :cite:t:`hoffmann2022`.
RATIOS = (5.0, 10.0, 20.0, 40.0, 80.0)

#: Runs with fewer or more tokens per parameter than these teach nothing about runs that anybody makes.
FEWEST, MOST = 1.0, 1000.0


def make_grid(
    flops: float | Sequence[float],
    params: Sequence[float] | None = None,
    *,
    tokens_per_param: Sequence[float] = RATIOS,
    response: str = "loss",
    path: str | Path | None = None,
) -> pd.DataFrame:
    """An iso-FLOP grid: every size at every budget, trained on the tokens that the budget leaves it.

    Parameters
    ----------
    flops : float or sequence of float
        Budgets of single runs, FLOP.
    params : sequence of float, optional
        Sizes, the same at every budget; those with less than one or more than a thousand tokens per parameter are left out. By
        default the sizes at which a budget gives ``tokens_per_param``.
    tokens_per_param : sequence of float
        Where sizes are placed at each budget when ``params`` are not given.
    response : str
        Name of the column to fill in.
    path : path, optional
        Write the table there as CSV.

    Returns
    -------
    DataFrame
        One planned run a row: ``params``, ``tokens`` = flops / (6·params), ``flops``, and the response, empty.

    Raises
    ------
    SpecError
        When budgets, sizes or ratios are none, or no size suits any budget.
    SavedFileError
        When the file cannot be written.

    Examples
    --------
    >>> import bayescale as bs
    >>> grid = bs.make_grid([1e18, 1e20], params=[1e8, 4e8, 1.6e9])
    >>> grid.groupby("flops").size().to_dict()
    {1e+18: 2, 1e+20: 2}
    """
    budgets, ratios = _positive("flops", flops), _positive("tokens_per_param", tokens_per_param)
    if params is None:
        pairs = [(c, np.sqrt(c / (FLOP_PER_PARAM_TOKEN * r))) for c in budgets for r in sorted(ratios, reverse=True)]
    else:
        sizes = _positive("params", params)
        pairs = [(c, n) for c in budgets for n in sizes if FEWEST <= c / (FLOP_PER_PARAM_TOKEN * n**2) <= MOST]
        if not pairs:
            raise SpecError(
                f"none of the sizes has between {FEWEST:.0f} and {MOST:.0f} tokens per parameter at any of the budgets: at "
                f"{budgets[0]:.3g} FLOP a size of {np.sqrt(budgets[0] / (FLOP_PER_PARAM_TOKEN * 20)):.3g} has 20"
            )
    c, n = np.array(pairs).T
    grid = pd.DataFrame({"params": n, "tokens": c / (FLOP_PER_PARAM_TOKEN * n), "flops": c, response: np.nan})
    if path is not None:
        with written_whole(path, "grid.csv") as part:
            grid.to_csv(part, index=False)
    return grid


def _positive(name: str, values: float | Sequence[float]) -> Array:
    """Distinct numbers above 0, in order."""
    try:
        out = np.unique(np.atleast_1d(np.asarray(values, dtype=float)))
    except (TypeError, ValueError):
        raise SpecError(f"{name}: expected numbers above 0, got {values!r}") from None
    if not len(out) or not (np.isfinite(out) & (out > 0)).all():
        raise SpecError(f"{name}: expected finite numbers above 0, one at least, got {values!r}")
    return out

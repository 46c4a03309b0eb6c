"""Where a task emerges: the scale at which its accuracy passes a level, and over how much compute it rises."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from scipy.special import logit

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.core.targets import Target, Threshold, as_target
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit
from bayescale.prediction.parameters import generator
from bayescale.prediction.paths import ABOVE, BELOW, Path, checked_range
from bayescale.prediction.points import At, coordinates_of, scalars_only
from bayescale.prediction.roots import first_met, log_grid
from bayescale.prediction.score_curves import (
    chains_of,
    fitted_along,
    logits_along,
    middle_of,
    new_model_points,
    of_family,
    of_task,
    require_scores,
    rising_root,
    score_curves,
    usual_path,
)
from bayescale.prediction.scores import AtScores


def scale_for_score(
    fit: CapabilityFit,
    target: str | float | Target | Threshold,
    along: str | None,
    path: Path | None,
    at: At | AtScores | None,
    within: tuple[float, float] | None,
    seed: int,
) -> xr.Dataset:
    """The smallest scale at which a new model of a family passes a level; see :func:`bayescale.scale_for`.

    Asked of ``floor + (ceiling - floor) sigmoid(intercept + loading . (family effect + effect . covariates) + task effect)``:
    without a model's own residual, and without the noise of a score.
    """
    goal, axis = as_target(target, ACCURACY), along or "flops"
    generator(seed, 0)  # refuses what is no seed
    scales = fitted_along(fit, axis)
    if within is None and not scales.size:
        raise SpecError(f"the fitted models do not say where they lie along {axis}: say within=(low, high)")
    low, high = (scales.min() / BELOW, scales.max() * ABOVE) if within is None else checked_range(within)
    low, high = float(low), float(high)
    table = new_model_points(fit, at)
    curves = score_curves(fit, table, axis, _mapping(path), float(np.sqrt(low * high)), seed)
    found = np.stack([first_met(curve, goal, log_grid(low, high)) for curve in curves], axis=-1)
    chains = chains_of(fit)
    shape = tuple(len(chains[d]) for d in (CHAIN, DRAW))
    coords = {**coordinates_of(table.drop(columns="model"), ACCURACY), **chains}
    values = {axis: ((CHAIN, DRAW, POINT), found.reshape(*shape, -1))}
    out = xr.Dataset(values, coords={name: value for name, value in coords.items() if name != axis})
    out["p_never"] = (out[axis] == np.inf).mean((CHAIN, DRAW))
    out["p_below"] = (out[axis] <= low).mean((CHAIN, DRAW))
    if at is None or (isinstance(at, Mapping) and scalars_only(at)):
        out = out.isel({POINT: 0}).drop_vars(POINT)
    law = f"{fit.model.factors} capability factors"
    return out.assign_attrs(target=str(goal), along=axis, within=[low, high], seed=int(seed), law=law)


def emergence_width(
    fit: CapabilityFit,
    task: str,
    *,
    family: str | None = None,
    path: Mapping[str, float] | None = None,
    low: float = 0.1,
    high: float = 0.9,
    seed: int = 0,
) -> xr.Dataset:
    """Over how much compute the accuracy of a task rises.

    ``log10 C(high) - log10 C(low)``, where the compute ``C(s)`` is that at which a new model's accuracy is
    ``floor + s (ceiling - floor)``: the logit of s on the rising side of the model's curve, wherever that lies, seen or not.
    Without a model's own residual and the noise of a score; a small width is what is called emergence.

    Parameters
    ----------
    fit : CapabilityFit
    task : str
        A fitted task.
    family : str, optional
        A fitted family; by default one that is drawn from the population.
    path : dict, optional
        How size and data move along compute: ``{"tokens_per_param": 20}`` (the default), ``{"tokens": 1e12}`` or
        ``{"params": 7e9}``.
    low, high : float
        Shares of the way from floor to ceiling, between 0 and 1.
    seed : int
        The same seed gives the same draws (of unseen families).

    Returns
    -------
    Dataset
        ``width`` (chain, draw), the logarithm to the base of 10 of the factor of compute; ``flops_low`` and ``flops_high``,
        between which the accuracy rises; NaN in draws whose accuracy never rises so, whose share is ``p_none``.

    Raises
    ------
    SpecError
        When task, family, path or shares make no sense.

    Examples
    --------
    Tests skip the fit, which takes minutes, and what follows it.

    >>> import bayescale as bs
    >>> table = bs.load_dataset("benchmark_accuracy", evals=True)
    >>> tasks = ["HellaSwag", "PIQA", "Winogrande", "ARC-E"]
    >>> fitted = bs.fit(bs.CapabilityModel(1), table[table.task.isin(tasks)])  # doctest: +SKIP
    >>> bs.emergence_width(fitted, "PIQA")["width"].dims  # doctest: +SKIP
    ('chain', 'draw')
    """
    fit = require_scores(fit, "emergence_width")
    of_task(fit, task)
    for name, share in (("low", low), ("high", high)):
        if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not 0 < share < 1:
            raise SpecError(f"{name} is a share of the way from floor to ceiling, between 0 and 1; got {share!r}")
    if low >= high:
        raise SpecError(f"low must be below high, got {low} and {high}")
    label = "" if family is None else of_family(fit, family)
    generator(seed, 0)  # refuses what is no seed
    table = new_model_points(fit, {"task": task, "family": label})
    middle = middle_of(fit, "flops", "`flops` of some of them in the table")
    (level, slope, bend), _, _ = logits_along(fit, table, "flops", usual_path(fit, path), middle, seed)
    ends = [rising_root(level[:, 0] - logit(share), slope[:, 0], bend[:, 0]) for share in (low, high)]
    # Both ends, or none of them.
    ends = [np.where(np.isnan(ends[0] + ends[1]), np.nan, end) for end in ends]
    chains = chains_of(fit)
    shape = tuple(len(chains[d]) for d in (CHAIN, DRAW))
    with np.errstate(over="ignore"):  # a curve that hardly rises goes beyond all numbers
        flops = [middle * 10**end for end in ends]
    found = {"width": ends[1] - ends[0], "flops_low": flops[0], "flops_high": flops[1]}
    out = xr.Dataset({name: ((CHAIN, DRAW), v.reshape(shape)) for name, v in found.items()}, coords=chains)
    out["p_none"] = float(np.isnan(found["width"]).mean())
    return out.assign_attrs(task=task, family=label, low=float(low), high=float(high), seed=int(seed))


def _mapping(path: Path | None) -> Mapping[str, float] | None:
    if isinstance(path, str):
        raise SpecError(f"path {path!r}: capability has no optimum at a given compute; path={{'tokens_per_param': 20}}")
    return path

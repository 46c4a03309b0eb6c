"""``scale_for``: the scale that a target needs, infinite where it is never met."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.core.targets import Target, Threshold, as_target
from bayescale.data.evals import Evals
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.prediction.emergence import scale_for_score
from bayescale.prediction.methods import read_costs
from bayescale.prediction.mixing import axis_of, law_names, source
from bayescale.prediction.parameters import generator
from bayescale.prediction.paths import Path, checked_range, read_range, trace
from bayescale.prediction.points import At, Fitted, coordinates_of, scalars_only
from bayescale.prediction.pricing import COST, AnyCurve, Price, priced
from bayescale.prediction.roots import first_met, log_grid
from bayescale.prediction.scores import AtScores


def scale_for(
    fit: Fitted | CapabilityFit,
    target: str | float | Target | Threshold,
    *,
    along: str | None = None,
    path: Path | None = None,
    at: At | AtScores | None = None,
    within: tuple[float, float] | None = None,
    cost: Price | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """The smallest scale at which the law meets a target.

    Asked of the law, with the discrepancy where the model has one, without the noise and the effects of single runs.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
        For a fit of a :class:`CapabilityModel`: the scale at which the expected accuracy of a new model passes the level,
        without the model's own residual and the noise of a score. ``at`` then names a ``task``, and a ``family`` (another
        than the fitted, or none, is drawn from the population), ``prompt``, ``eval_source``; ``along`` is ``"flops"`` (the
        default), ``"params"`` or ``"tokens"``.
    target : str, float or Threshold
        ``"loss<=2.0"``, or 2.0: at most so much of a loss, at least so much of an accuracy.
    along : str, optional
        The axis; by default the only covariate of the law (of an ensemble, of all its laws), else ``"flops"``. ``"cost"``: what
        a run costs that meets the target.
    path : "optimal" or dict, optional
        How the other covariates move along it, as in :func:`~bayescale.prediction.crossing.crossover`.
    at : DataFrame or dict, optional
        Group labels and covariates that are fixed; several rows (or lists) ask for several points at once.
    within : (float, float), optional
        Part of the axis to search; by default from a tenth of the smallest fitted scale to 1e4 times the largest.
    cost : Cost or FittedCost, optional
        With ``along="cost"``, of a law at one point: what a run costs, a fitted one draw by draw.
    seed : int
        The same seed gives the same draws (of unseen groups).

    Returns
    -------
    Dataset
        A variable named ``along``, dims (chain, draw), and (chain, draw, point) where ``at`` has rows: the scale, in the unit
        of the axis, ``inf`` in draws that do not meet the target within the range. ``p_never`` is their share, and ``p_below``
        the share that meets it from the lower end on, where the scale is given as that end.

    Raises
    ------
    SpecError
        When the target is of another form or response, axis and path do not say where every covariate is, or a cost is missing.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> bs.scale_for(fitted, "loss<=2.0")["params"].dims
    ('chain', 'draw')
    """
    if isinstance(fit, CapabilityFit):
        if cost is not None or along == COST:
            raise SpecError(
                "scale_for: a fit of benchmark scores has no cost along its axis: ask along flops, params or tokens"
            )
        return scale_for_score(fit, target, along, path, at, within, seed)
    if isinstance(at, Evals):
        raise SpecError("expected points of a law, got scores (Evals): a fit of a CapabilityModel takes those")
    fitted = source(fit)
    goal = as_target(target, fitted.response)
    axis = along or axis_of(fit)
    (price,) = read_costs(cost, axis, 1)
    traced = trace(fit, axis if price is None else axis_of(fit), path, at, seed)
    curves: list[AnyCurve] = list(traced.curves)
    if price is None:
        low, high = read_range(within, traced.ways)
    elif len(curves) > 1:
        raise SpecError(f"what a run costs is asked at one point, got {len(curves)} in `at`: ask for each")
    else:
        curves[0], paid = priced(traced, price, generator(seed, 80))
        low, high = paid if within is None else checked_range(within)
    rng = generator(seed, 4)
    found = np.stack([first_met(c.departing(low, high, rng), goal, log_grid(low, high)) for c in curves], axis=-1)
    coords = {**traced.chains, **coordinates_of(traced.table, fitted.response)}
    shape = tuple(len(traced.chains[d]) for d in (CHAIN, DRAW))
    values = {axis: ((CHAIN, DRAW, POINT), found.reshape(*shape, -1))}
    out = xr.Dataset(values, coords={name: value for name, value in coords.items() if name != axis})
    out["p_never"] = (out[axis] == np.inf).mean((CHAIN, DRAW))
    out["p_below"] = (out[axis] <= low).mean((CHAIN, DRAW))
    if scalars_only(at):
        out = out.isel({POINT: 0}).drop_vars(POINT)
    return out.assign_attrs(target=str(goal), along=axis, within=[low, high], seed=int(seed), law=law_names(fit))

"""``predict``: draws of the law, or of new runs, at given points."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.evals import Evals
from bayescale.data.runs import Runs
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.models.noise import from_noise_scale, to_noise_scale
from bayescale.prediction.discrepancy import discrepancy_draws
from bayescale.prediction.mixing import Labels, mixed_draws
from bayescale.prediction.noise import new_runs
from bayescale.prediction.parameters import Array, Unseen, generator, parameter_draws
from bayescale.prediction.points import At, Fitted, columns_to_forecast, coordinates_of, read_points
from bayescale.prediction.scores import AtScores, score_draws
from bayescale.prediction.values import law_values

Kind = Literal["mean", "response"]


def predict(
    fit: Fitted | CapabilityFit,
    at: At | AtScores,
    *,
    kind: Kind = "response",
    unseen: Unseen = "population",
    seed: int = 0,
) -> xr.Dataset:
    """Posterior predictive draws at given points.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
        ``fit.select(family="Mamba")``: its labels then hold at every point.
    at : DataFrame or dict
        One point a row, or numbers, labels and lists of them (one length). The covariates of the law; ``tokens``, ``params``,
        ``flops`` and ``tokens_per_param`` are derived from two of them where they are missing (flops = 6·params·tokens).
        Group columns; ``<response>_sd``, the known standard error of the new measurement; under :class:`BestOf` a column of
        tries, where the best of several new runs is asked for. The response itself is ignored.
        For a fit of a :class:`CapabilityModel`: ``task``, and ``family``, ``model``, ``params``, ``tokens`` or ``flops``,
        ``prompt``, ``eval_source``, ``n_items`` as far as they are known. A fitted model or family keeps what was learnt of it;
        another is drawn, and points of one model share the draw.
    kind : {"mean", "response"}
        The law ``f(x; theta)``, or a new run, ``f(x; theta)`` with its noise.
    unseen : {"population", "error"}
        A label that was not fitted, or no label, is an unseen group: draw it from the population, or refuse.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        One variable, named and measured as the response, dims (chain, draw, point); ``point`` numbers the rows of ``at``, whose
        columns are coordinates along it. Of an ensemble, the coordinate ``member`` (chain, draw) names the fit that each draw
        is from.

    Raises
    ------
    DataError
        Naming everything that is wrong with ``at``, with the rows.
    SpecError
        When ``kind``, ``unseen`` or ``seed`` is none.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> bs.predict(fitted, {"params": [7e9, 7e10]})["loss"].dims
    ('chain', 'draw', 'point')
    """
    check_kind(kind)
    if unseen not in ("population", "error"):
        raise SpecError("unseen: " + unknown("word", str(unseen), ("population", "error")))
    if isinstance(fit, CapabilityFit):
        if isinstance(at, Runs):
            raise SpecError("expected points of a model of capability, got runs: name family, params, tokens and task")
        return score_draws(fit, at, kind, unseen, seed)
    if isinstance(at, Evals):
        raise SpecError("expected points of a law, got scores (Evals): a CapabilityModel foretells those")
    return mixed_draws(fit, seed, lambda one, labels: _draws(one, labels, at, kind, unseen, seed))


def check_kind(kind: object) -> None:
    """Refuse a word that is none of a kind of draws."""
    if kind not in ("mean", "response"):
        raise SpecError("kind: " + unknown("word", str(kind), ("mean", "response")))


def _draws(fit: Fit, labels: Labels, at: At, kind: Kind, unseen: Unseen, seed: int) -> xr.Dataset:
    table = read_points(fit, at, labels, columns_to_forecast(fit))
    parameters = parameter_draws(fit, table, generator(seed, 0), unseen)
    values = mean_at(fit, table, parameters)
    if kind == "response":
        noise = fit.model.noise
        if fit.model.discrepancy is not None:
            drift = discrepancy_draws(fit, table, generator(seed, 2))
            values = np.asarray(from_noise_scale(noise, to_noise_scale(noise, values) + drift))
        values = new_runs(fit, values, table, generator(seed, 1))
    name = fit.response
    unit = {"units": fit.data.units[name]} if name in fit.data.units else {}
    draws = xr.Dataset({name: ((CHAIN, DRAW, POINT), values, unit)}, coords=coordinates_of(table, name))
    draws = draws.assign_coords({d: fit.posterior.coords[d] for d in (CHAIN, DRAW)})
    return draws.assign_attrs(kind=kind, seed=int(seed), law=fit.model.law.name, response=name)


def mean_at(fit: Fit, table: pd.DataFrame, parameters: dict[str, Array]) -> Array:
    """The law at the rows of a table, in the unit of the response, shape (chain, draw, point)."""
    binding = fit.binding
    ratios = {c: table[column].to_numpy() / binding.reference[c] for c, column in binding.axes.items()}
    return law_values(fit.model.law, ratios, parameters)

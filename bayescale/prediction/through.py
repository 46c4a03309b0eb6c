"""Two stages: a response that depends on another one, which has a law of its own."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.infer.ensemble import Ensemble, EnsembleSelection
from bayescale.prediction.mixing import labels_of, source
from bayescale.prediction.noise import new_runs
from bayescale.prediction.parameters import Unseen, generator, parameter_draws
from bayescale.prediction.points import At, Fitted, as_frame, columns_of, coordinates_of, read_points, unpack
from bayescale.prediction.predict import Kind, predict
from bayescale.prediction.values import law_values


def predict_through(
    first: Fitted, second: Fitted, at: At, *, kind: Kind = "response", unseen: Unseen = "population", seed: int = 0
) -> xr.Dataset:
    """Forecast a task from scale in two stages: scale to loss by one fit, loss to the task by another.

    ``second`` was fitted to runs of which loss and task were both measured, so that, given these losses, it tells nothing of
    the law of the loss: the joint posterior of the two is their product, and any two draws of it make a pair. So the error of
    the first stage, its noise and discrepancy included, is carried into the second draw by draw :cite:p:`gadre2024`.

    Parameters
    ----------
    first : Fit, Ensemble, or a selection of one
        Of the loss, by scale.
    second : Fit, or a selection of one
        Of the task, whose law takes the response of ``first`` as a covariate: ``downstream_error_exp``, ``sigmoid_accuracy``,
        or any other of one variable with ``axes={"x": "loss"}``. Without a discrepancy, and of losses in the unit of ``first``.
    at : DataFrame or dict
        Points, as :func:`predict` takes them for ``first``, with the groups of both. A loss in it is ignored. The labels of
        a selection hold for both stages.
    kind : {"mean", "response"}
        Both laws alone; or a new run, whose loss leaves its law by its noise and whose score leaves the second by its own.
    unseen : {"population", "error"}
        As of :func:`predict`.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        As of :func:`predict` for ``second``: dims (chain, draw, point), as many draws as ``second`` has.

    Raises
    ------
    SpecError
        When the second law does not take the first response, or has a discrepancy; when the two selections differ.
    DataError
        Naming everything that is wrong with ``at``.

    Examples
    --------
    Of a table of one's own, with params, tokens, loss and error:

    >>> import bayescale as bs, pandas as pd
    >>> runs = pd.read_csv("my_runs.csv")  # doctest: +SKIP
    >>> loss = bs.fit(bs.recommended(runs), runs)  # doctest: +SKIP
    >>> error = bs.fit(bs.ScalingModel("downstream_error_exp"), runs, response="error")  # doctest: +SKIP
    >>> bs.predict_through(loss, error, {"params": 7e9, "tokens": 1.4e11})  # doctest: +SKIP
    """
    if isinstance(second, Ensemble | EnsembleSelection):
        raise SpecError("predict_through: the second stage is one Fit; ask each member of an ensemble for itself")
    fit, labels = unpack(second)
    name = source(first).response
    if name not in columns_of(fit):
        raise SpecError(
            f"predict_through: the second law reads {', '.join(columns_of(fit))}, not what the first forecasts: "
            + unknown("covariate", name, columns_of(fit))
        )
    if fit.model.discrepancy is not None:
        raise SpecError("predict_through: the second stage goes without a discrepancy; the first may have one")
    both = labels | labels_of(first)
    if clash := [column for column, label in both.items() if labels.get(column, label) != label]:
        raise SpecError(f"predict_through: the two selections differ in {', '.join(clash)}")
    frame = as_frame(at)
    frame = frame.assign(**{column: label for column, label in both.items() if column not in frame})
    losses = predict(first, frame, kind=kind, unseen=unseen, seed=seed)
    drawn = losses[name].stack(all=(CHAIN, DRAW)).transpose("all", POINT).to_numpy()
    table = read_points(fit, frame.assign(**{name: np.median(drawn, axis=0)}), both, columns_of(fit))
    sizes = fit.posterior.sizes
    pairs = np.linspace(0, len(drawn) - 1, sizes[CHAIN] * sizes[DRAW]).round().astype(int)
    paired = drawn[generator(seed, 11).permutation(pairs)].reshape(sizes[CHAIN], sizes[DRAW], -1)
    parameters = parameter_draws(fit, table, generator(seed, 0), unseen)
    axes = fit.binding.axes
    ratios = {c: (paired if x == name else table[x].to_numpy()) / fit.binding.reference[c] for c, x in axes.items()}
    values = law_values(fit.model.law, ratios, parameters)
    if kind == "response":
        values = new_runs(fit, values, table, generator(seed, 1))
    response = fit.response
    draws = xr.Dataset({response: ((CHAIN, DRAW, POINT), values)}, coords=coordinates_of(table.drop(columns=name), response))
    draws = draws.assign_coords({d: fit.posterior.coords[d] for d in (CHAIN, DRAW)})
    laws = f"{fit.model.law.name} of {name}"
    return draws.assign_attrs(kind=kind, seed=int(seed), law=laws, response=response)

"""The noise of new runs: its scale where they lie, what is known of their measurement, and how many each is the best of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import DataError
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.schema import rows_text
from bayescale.infer.fit import Fit
from bayescale.models.binding import axis_of_path
from bayescale.models.noise import BestOf, draw_errors, from_noise_scale, to_noise_scale

Array = NDArray[np.float64]


def noise_scale(fit: Fit, table: pd.DataFrame) -> Array:
    """Scale of the noise at the rows of a table, shape (chain, draw, point): ``sigma``, or ``sigma (x / x_ref)^-trend``.

    Where the noise does not change with scale it is one number for all, shape (chain, draw, 1).
    """
    sigma: Array = _of(fit, "sigma")
    if fit.binding.noise_reference is None:
        return sigma
    x = table[axis_of_path(fit.model, fit.binding.axes, fit.data)].to_numpy(float)
    scale: Array = sigma * np.exp(-_of(fit, "noise_trend") * np.log(x / fit.binding.noise_reference))
    return scale


def new_runs(fit: Fit, mean: Array, table: pd.DataFrame, rng: np.random.Generator) -> Array:
    """New runs about the law, shape (chain, draw, point), of which ``<response>_sd`` is the known standard error."""
    noise, column = fit.model.noise, f"{fit.response}_sd"
    errors = table[column].to_numpy() if column in table else np.zeros(len(table))
    nu = _of(fit, "nu") if "nu" in fit.posterior else None
    se = errors / mean if noise.on == "log" else errors
    scale = np.sqrt(noise_scale(fit, table) ** 2 + se**2) * np.ones_like(mean)
    drawn = draw_errors(noise, rng, scale, nu, _tries(fit, table))
    return np.asarray(from_noise_scale(noise, to_noise_scale(noise, mean) + drawn))


def as_measured(fit: Fit, table: pd.DataFrame) -> pd.DataFrame:
    """Held-out rows as points to forecast: each the best of as many tries as the fitted rows, where that is one number."""
    noise = fit.model.noise
    if not isinstance(noise, BestOf) or isinstance(noise.tries, str) or noise.column in table:
        return table
    return table.assign(**{noise.column: float(noise.tries)})


def _of(fit: Fit, name: str) -> Array:
    values: Array = fit.posterior[name].transpose(CHAIN, DRAW).to_numpy()[..., None]
    return values


def _tries(fit: Fit, table: pd.DataFrame) -> Array | None:
    """How many new runs each point is the best of; None where it is a single one."""
    noise = fit.model.noise
    if not isinstance(noise, BestOf) or noise.column not in table:
        return None
    tries = pd.to_numeric(table[noise.column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~((tries >= 1) & np.isfinite(tries)))
    if len(wrong):
        got = table[noise.column].iloc[wrong[0]]
        raise DataError(f"{noise.column}: expected a number of tries of at least 1, got {got!r} in {rows_text(wrong)}")
    return tries

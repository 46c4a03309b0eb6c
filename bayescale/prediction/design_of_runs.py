"""What candidate runs would teach about a target: their joint normal over the draws, and which of them teach most per cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from bayescale.core.errors import DataError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.infer.fit import Fit
from bayescale.models.discrepancy import RunEffect
from bayescale.models.noise import BestOf, Minima, StudentT, to_noise_scale
from bayescale.prediction.discrepancy import discrepancy_draws
from bayescale.prediction.misfit import misfit_factor
from bayescale.prediction.mixing import Labels, fits_of, mixed_draws, one_noise_scale
from bayescale.prediction.noise import new_runs, noise_scale
from bayescale.prediction.parameters import Unseen, generator, parameter_draws
from bayescale.prediction.points import At, Fitted, columns_of, columns_to_forecast, read_points
from bayescale.prediction.predict import Kind, check_kind, mean_at

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Draws that a covariance is taken over, spread evenly over the chains; more cost time and tell it little better.
MOST_DRAWS = 1000
#: A covariance is not taken over fewer finite draws.
FEWEST_DRAWS = 50
#: Points, spread evenly, whose correlations say how far to shrink them.
SHRUNK_BY = 200


@dataclass(frozen=True, eq=False)
class Joint:
    """What runs would show and what is asked, jointly normal on the scale on which the noise adds.

    Parameters
    ----------
    candidates : array (draw, candidate)
        What the law (with its discrepancy) says of each candidate, less its mean, over the root of the draws less one; below
        them the factor of a misfit, where there is one.
    targets : array (draw, target)
        The same of the points asked about.
    noise : array (candidate,)
        Variance with which a run scatters about the law.
    center : array (target,)
        Mean of what is asked.
    scatter : array (target,)
        Variance of a new run about the law; 0 where the law alone is asked for.
    shrink : float
        Share that is taken off every correlation.
    log : bool
        Whether the noise adds to the logarithm of the response.
    """

    candidates: Array
    targets: Array
    noise: Array
    center: Array
    scatter: Array
    shrink: float = 0.0
    log: bool = True

    @property
    def cross(self) -> Array:
        """Covariance of each candidate with each target, shape (candidate, target)."""
        found: Array = (1 - self.shrink) * self.candidates.T @ self.targets
        return found

    def row(self, i: int) -> Array:
        """Covariance of candidate ``i`` with all of them, shape (candidate,)."""
        found: Array = (1 - self.shrink) * self.candidates[:, i] @ self.candidates
        found[i] += self.shrink * float(self.candidates[:, i] @ self.candidates[:, i])
        return found

    @property
    def weights(self) -> Array:
        """What a variance of each target counts: to first order the one of the response in its own unit, their mean."""
        with np.errstate(over="ignore"):  # a response beyond the largest float counts without bound
            scale = np.exp(2 * self.center) if self.log else np.ones_like(self.center)
        return scale / len(scale)


@dataclass(frozen=True, eq=False)
class Choice:
    """Runs chosen one after the other.

    Parameters
    ----------
    rows : tuple of int
        Candidates in the order of their choice.
    variances : tuple of array (target,)
        Variance of what is asked, before any run and after each, on the scale of the noise.
    """

    rows: tuple[int, ...]
    variances: tuple[Array, ...]


def joint_normal(
    fit: Fitted,
    candidates: At,
    target: At,
    *,
    kind: Kind = "response",
    unseen: Unseen = "population",
    seed: int = 0,
    misfit: float = 0.0,
    made: bool = False,
) -> Joint:
    """The joint normal of what candidate runs would show and of what is asked.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    candidates, target : DataFrame or dict
        Points as of :func:`bayescale.predict`.
    kind : {"mean", "response"}
        Ask about the law, or about a new run with its noise.
    unseen, seed
        As of :func:`bayescale.predict`.
    misfit : float
        How far the law may be off at any point, smoothly in its covariates and alike for all groups: a share of the response
        (where the noise is on the plain scale, of its mean at the targets).
    made : bool
        Whether the fitted runs were made, so that near them the misfit is known.

    Returns
    -------
    Joint

    Raises
    ------
    DataError
        When points cannot be used, or too few draws are finite there.

    Notes
    -----
    Means and covariances are those of the draws. A run is informative about the law as a normal one with the Fisher information
    of its noise, ``sigma^2 (nu + 3) / (nu + 1)`` for Student-t noise, and a new run scatters about the law by half of the
    width that holds 68 % of it; both are geometric means over the draws. Correlations are shrunk by the share that makes their
    expected squared error least :cite:p:`schaefer2005`, with ``(1 - r^2)^2 / draws`` for that of each, so that many candidates
    do not find, by chance of few draws, one that seems to tell much.
    """
    check_kind(kind)
    drawn = joint_draws(fit, candidates, target, unseen=unseen, seed=seed)
    asked = drawn[ASKED].to_numpy()
    flat = {str(n): v.transpose(CHAIN, DRAW, POINT).to_numpy().reshape(-1, len(asked)) for n, v in drawn.data_vars.items()}
    kept = np.isfinite(flat["law"]).all(axis=1)
    if kept.sum() < FEWEST_DRAWS:
        raise DataError(
            f"only {int(kept.sum())} of {len(kept)} draws are finite at all candidates and targets, {FEWEST_DRAWS} are needed: "
            "leave out the points that lie farthest from the others, or narrow the priors"
        )
    law, noise, scatter = flat["law"][kept], flat["noise"][kept], flat["scatter"][kept]
    center = law.mean(axis=0)
    scaled = (law - center) / np.sqrt(len(law) - 1)
    middle = np.exp(np.log(np.maximum(noise, np.finfo(float).tiny)).mean(axis=0))
    spread = np.exp(np.log(np.maximum(scatter, np.finfo(float).tiny)).mean(axis=0)) if kind == "response" else 0 * center
    log, shrink = fits_of(fit)[0].model.noise.on == "log", shrinkage(scaled)
    if misfit:
        size = misfit if log else misfit * float(np.abs(center[asked]).mean())
        whole = pd.concat([_covariates(fit, candidates), _covariates(fit, target)], ignore_index=True)
        known = _covariates(fit).dropna() if made else None
        about = float(np.median(middle[~asked]))
        scaled = np.concatenate([scaled, misfit_factor(whole, size, known, about, first=int(asked.sum()))])
    return Joint(scaled[:, ~asked], scaled[:, asked], middle[~asked], center[asked], spread[asked], shrink, log)


def _covariates(fit: Fitted, at: At | None = None) -> pd.DataFrame:
    """The covariates of the law at points, by default its fitted runs; of an ensemble, those of all its laws."""
    tables = []
    for one in fits_of(fit):
        columns = list(columns_of(one))
        tables.append(read_points(one, one.data.table if at is None else at, {}, columns)[columns].reset_index(drop=True))
    whole = pd.concat(tables, axis=1)
    return whole.loc[:, ~whole.columns.duplicated()]


#: Coordinate (point) that says which points are asked about; the others are candidates.
ASKED = "asked"


def joint_draws(fit: Fitted, candidates: At, target: At, *, unseen: Unseen = "population", seed: int = 0) -> xr.Dataset:
    """Draws at candidates and targets together, on the scale of the noise, dims (chain, draw, point).

    Returns
    -------
    Dataset
        ``law``, with its discrepancy but without effects of single runs; ``noise``, the variance of a normal run that tells as
        much; ``scatter``, the variance of a new run. The coordinate ``asked`` (point) tells the targets from the candidates.
    """
    one_noise_scale(fit, "choosing runs")
    every = max(1, _draws_of(fit) // MOST_DRAWS)

    def ask(one: Fit, labels: Labels) -> xr.Dataset:
        return _draws(one, candidates, target, labels, unseen, seed)

    return mixed_draws(fit, seed, ask).isel({DRAW: slice(None, None, every)})


def _draws_of(fit: Fitted) -> int:
    posteriors = [one.posterior for one in fits_of(fit)]
    return min(p.sizes[CHAIN] * p.sizes[DRAW] for p in posteriors)


def _draws(fit: Fit, candidates: At, target: At, labels: Labels, unseen: Unseen, seed: int) -> xr.Dataset:
    needed = columns_to_forecast(fit)
    parts = [read_points(fit, at, labels, needed) for at in (candidates, target)]
    table = pd.concat(parts, ignore_index=True)
    words = [name for part in parts for name in part if not pd.api.types.is_numeric_dtype(part[name])]
    noise = fit.model.noise
    # What one of the two tables has and the other lacks: a run is the best of one try where nothing else is said.
    tries = {noise.column: 1.0} if isinstance(noise, BestOf) else {}
    table = table.fillna(dict.fromkeys(words, "") | {f"{fit.response}_sd": 0.0} | tries)
    values = mean_at(fit, table, parameter_draws(fit, table, generator(seed, 0), unseen))
    with np.errstate(divide="ignore", invalid="ignore"):  # a law of nought or below has no logarithm, and its draw is left out
        law = np.asarray(to_noise_scale(noise, values))
    if fit.model.discrepancy is not None:
        law = law + discrepancy_draws(fit, table, generator(seed, 2), effects=False)
    told, scatter = _noise(fit, table, values, seed)
    dims = (CHAIN, DRAW, POINT)
    asked = np.arange(len(table)) >= len(parts[0])
    coords = {ASKED: (POINT, asked), **{d: fit.posterior.coords[d] for d in (CHAIN, DRAW)}}
    return xr.Dataset({"law": (dims, law), "noise": (dims, told), "scatter": (dims, scatter)}, coords=coords)


def _noise(fit: Fit, table: pd.DataFrame, mean: Array, seed: int) -> tuple[Array, Array]:
    """Variances (chain, draw, point): of a normal run that tells as much about the law, and of a new run."""
    noise, column = fit.model.noise, f"{fit.response}_sd"
    sizes = [part.site for part in fit.model.parts if isinstance(part, RunEffect)]
    effects = sum((fit.posterior[n].transpose(CHAIN, DRAW).to_numpy()[..., None] ** 2 for n in sizes), np.zeros((1, 1, 1)))
    if isinstance(noise, Minima):
        with np.errstate(divide="ignore", invalid="ignore"):  # such draws again
            away = to_noise_scale(noise, new_runs(fit, mean, table, generator(seed, 1))) - to_noise_scale(noise, mean)
        both = np.nanvar(np.asarray(away), axis=(0, 1)) + effects * np.ones_like(mean)
        return both, both
    error = table[column].to_numpy() if column in table else np.zeros(len(table))
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw whose law is nought is left out
        se = error / mean if noise.on == "log" else error
    scale = noise_scale(fit, table) ** 2 + se**2
    told: Any = 1.0
    scatter: Any = 1.0
    if isinstance(noise, StudentT):
        known: Any = noise.df or fit.posterior["nu"].transpose(CHAIN, DRAW).to_numpy()[..., None]
        told = (known + 3) / (known + 1)
        scatter = stats.t.ppf(stats.norm.cdf(1.0), known) ** 2
    whole = np.ones_like(mean)
    return (scale * told + effects) * whole, (scale * scatter + effects) * whole


def shrinkage(scaled: Array) -> float:
    """Share to take off the correlations of centred columns (draw, point) so that their expected squared error is least.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((400, 6))
    >>> shrinkage(z) > 0.8, shrinkage(z @ np.ones((6, 6)) + 0.01 * z) < 0.01
    (True, True)
    """
    columns = scaled[:, np.linspace(0, scaled.shape[1] - 1, min(SHRUNK_BY, scaled.shape[1])).astype(int)]
    size = np.sqrt((columns**2).sum(axis=0))
    if (size > 0).sum() < 2:
        return 0.0
    z = columns[:, size > 0] / size[size > 0]
    squared = (z.T @ z)[~np.eye(int((size > 0).sum()), dtype=bool)] ** 2
    error = np.clip(1 - squared, 0.0, None) ** 2 / len(columns)
    return float(np.clip(error.sum() / max(float(squared.sum()), 1e-300), 0.0, 1.0))


def choose(
    joint: Joint,
    cost: Array,
    budget: float,
    *,
    replicates: bool = True,
    most: int | None = None,
    least: float = 1e-3,
) -> Choice:
    """The runs that together take most off the variance of what is asked, for a budget.

    One after the other the candidate is taken that takes most off the variance per unit of cost, given those taken before.
    That may buy many cheap runs where one dear one would do better, so it is also tried without regard to cost, and the better
    of the two sets is returned :cite:p:`leskovec2007`.

    Parameters
    ----------
    joint : Joint
    cost : array (candidate,)
        Above 0.
    budget : float
        In the unit of ``cost``.
    replicates : bool
        A candidate may be taken again, with noise of its own.
    most : int, optional
        At most so many runs.
    least : float
        Stop where no run that can be paid would take off so large a share of the variance at the start.
    """
    ways = [_greedy(joint, cost, price, budget, replicates, most, least) for price in (cost, np.ones_like(cost))]
    return min(ways, key=lambda way: float(joint.weights @ way.variances[-1]))


def _greedy(joint: Joint, cost: Array, price: Array, budget: float, replicates: bool, most: int | None, least: float) -> Choice:
    cross, spread = joint.cross.copy(), (joint.candidates**2).sum(axis=0)
    variance = (joint.targets**2).sum(axis=0) + joint.scatter
    weights, left = joint.weights, budget
    floor = least * float(weights @ variance)
    rows: list[int] = []
    variances, moved, taken = [variance], np.empty((16, len(cost))), np.zeros(len(cost), dtype=bool)
    while most is None or len(rows) < most:
        # A sum of costs meets its budget to within rounding.
        open_ = (cost <= left * (1 + 1e-9)) & (replicates | ~taken)
        gain = np.where(open_, (cross**2) @ weights / (spread + joint.noise), 0.0)
        if not open_.any() or gain.max() <= floor:
            break
        i = int(np.argmax(gain / price))
        if gain[i] <= floor:
            # Cheap runs that tell next to nothing would use up the steps, not the budget.
            i = int(np.argmax(np.where(gain > floor, gain / price, 0.0)))
        root = np.sqrt(spread[i] + joint.noise[i])
        before = moved[: len(rows)]
        k, told = (joint.row(i) - before[:, i] @ before) / root, cross[i] / root
        if len(rows) == len(moved):
            moved = np.concatenate([moved, np.empty_like(moved)])
        moved[len(rows)] = k
        variance = np.maximum(variance - told**2, joint.scatter)
        cross = cross - np.outer(k, told)
        spread = np.maximum(spread - k**2, 0.0)
        taken[i] = True
        left -= cost[i]
        rows.append(i)
        variances.append(variance)
    return Choice(tuple(rows), tuple(variances))


def alone(joint: Joint) -> Array:
    """Variance that each candidate alone would leave of each target, shape (candidate, target)."""
    spread = (joint.candidates**2).sum(axis=0) + joint.noise
    return (joint.targets**2).sum(axis=0) + joint.scatter - joint.cross**2 / spread[:, None]

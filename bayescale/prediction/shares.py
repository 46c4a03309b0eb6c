"""``uncertainty_shares``: how much of a forecast's variance is due to what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.names import POINT
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.models.noise import to_noise_scale
from bayescale.prediction.discrepancy import discrepancy_draws
from bayescale.prediction.mixing import Labels, answers, one_noise_scale, source
from bayescale.prediction.noise import new_runs
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.points import At, Fitted, columns_to_forecast, coordinates_of, read_points
from bayescale.prediction.predict import mean_at

Array = NDArray[np.float64]

#: What a variance is due to, in the order of the columns.
SOURCES = ("parameters", "family", "law", "misfit", "noise")
#: Draws of an unseen family for each draw of the parameters.
REDRAWS = 8


@dataclass(frozen=True, eq=False)
class _Parts:
    """Variances (point,) of a fit's forecast, and the mean that they lie about."""

    table: pd.DataFrame
    mean: Array
    parameters: Array
    family: Array
    misfit: Array
    noise: Array


def uncertainty_shares(fit: Fitted, at: At, *, seed: int = 0) -> pd.DataFrame:
    """The share of a forecast's variance that is due to parameters, family, law, misfit and noise.

    By the law of total variance, on the scale of the noise (the logarithm of a loss), on which the parts add up:
    ``Var(y) = Var(E[y | law]) + E[Var(E[y | theta] | law)] + E[Var(E[y | theta, z] | theta)] + E[Var(delta | theta)] +
    E[Var(eps)]``, with ``z`` what an unseen family has of its own, ``delta`` the discrepancy and ``eps`` the noise. A variance
    given theta is half the mean squared difference of two draws that share theta :cite:p:`sobol2001`.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    at : DataFrame or dict
        Points, as of :func:`predict`.
    seed : int
        The same seed gives the same shares.

    Returns
    -------
    DataFrame
        One row a point: its coordinates, ``share_parameters``, ``share_family``, ``share_law``, ``share_misfit`` and
        ``share_noise``, whose sum is 1, and ``sd``, the standard deviation that they are shares of, on the scale of the noise
        (0.02 is about 2 % of a loss). ``share_family`` is 0 at a fitted group, ``share_law`` without an ensemble,
        ``share_misfit`` without a discrepancy.

    Raises
    ------
    DataError
        As of :func:`predict`.
    SpecError
        For a fit of a :class:`CapabilityModel`, and an ensemble whose members have noise on different scales.

    Notes
    -----
    The share of the noise under heavy tails (a Student-t with few degrees of freedom) rests on few draws. Misfit that the data
    tie to the parameters counts under parameters; what they leave open of it counts as misfit.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> shares = bs.uncertainty_shares(fitted, {"params": [1e9, 7e10]})
    >>> bool(shares["share_parameters"][1] > shares["share_parameters"][0])  # further out, more is due to them
    True
    """
    if isinstance(fit, CapabilityFit):
        raise SpecError("uncertainty_shares is of a fit to runs: a CapabilityModel has other sources of uncertainty")
    one_noise_scale(fit, "uncertainty_shares")
    found = answers(fit, seed, lambda one, labels: _parts(one, labels, at, seed))
    members = found.members
    counts = np.ones(1) if members is None else np.array([members.counts[name] for name in found.of], dtype=float)
    weights = (counts / counts.sum())[:, None]
    parts = list(found.of.values())
    means = np.stack([p.mean for p in parts])
    middle = (weights * means).sum(axis=0)
    of = {n: (weights * np.stack([getattr(p, n) for p in parts])).sum(axis=0) for n in SOURCES if n != "law"}
    of["law"] = (weights * (means - middle) ** 2).sum(axis=0)
    total = np.sum(list(of.values()), axis=0)
    table, coords = found.first.table, coordinates_of(found.first.table, source(fit).response)
    shown = {name: value[1] for name, value in coords.items() if name != POINT}
    with np.errstate(invalid="ignore"):  # nothing is uncertain: no shares
        shares = {f"share_{name}": of[name] / total for name in SOURCES}
    return pd.DataFrame({**shown, **shares, "sd": np.sqrt(total)}, index=pd.RangeIndex(len(table), name=POINT))


def _parts(fit: Fit, labels: Labels, at: At, seed: int) -> _Parts:
    table = read_points(fit, at, labels, columns_to_forecast(fit))
    noise = fit.model.noise

    def law(again: int) -> tuple[Array, Array]:
        """The law at the points, plain and on the scale of the noise; of an unseen family another draw each time."""
        plain = mean_at(fit, table, parameter_draws(fit, table, generator(seed, 100 * again)))
        return plain, np.asarray(to_noise_scale(noise, plain)).reshape(-1, len(table))

    plain, first = law(0)
    laws = [first, law(1)[1]]
    if (laws[0] != laws[1]).any():
        laws += [law(i)[1] for i in range(2, REDRAWS)]
    one, two = (discrepancy_draws(fit, table, generator(seed, stream)).reshape(first.shape) for stream in (2, 22))
    errors = np.asarray(to_noise_scale(noise, new_runs(fit, plain, table, generator(seed, 1)))).reshape(first.shape) - first
    family, misfit = np.var(np.array(laws) - first, axis=0, ddof=1).mean(axis=0), np.mean((one - two) ** 2, axis=0) / 2
    # What does not vary given theta: the covariance of two sums that share it alone. The mean over the redraws shares them too.
    middle = np.mean(laws, axis=0)
    sums = middle + one, middle + two
    shared = np.mean((sums[0] - sums[0].mean(axis=0)) * (sums[1] - sums[1].mean(axis=0)), axis=0) - family / len(laws)
    # Few draws may take a variance of nought below it.
    return _Parts(table, sums[0].mean(axis=0), np.maximum(shared, 0.0), family, misfit, errors.var(axis=0))

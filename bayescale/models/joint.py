"""The joint likelihood of runs that depend on one another, because they share a discrepancy or are running minima."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro

from bayescale.models import coefficients, marginal
from bayescale.models.design import Design
from bayescale.models.discrepancy import mean_slope
from bayescale.models.kalman import Drift
from bayescale.models.noise import BestSoFar, Noise, to_noise_scale


def observe_path(
    noise: Noise, design: Design, response: str, about: tuple[Any, Any], sizes: dict[str, Any], pointwise: bool
) -> None:
    """The runs of each curve, the drift integrated out by a filter.

    Parameters
    ----------
    about : tuple
        The law at each row, and the standard deviation of the noise there.
    sizes : dict
        Hyperparameters of the discrepancy; empty where there is none.
    pointwise : bool
        Record the log density of each run given the others, and the drift there.
    """
    (loc, sd), drift, path = about, None, design.path
    assert path is not None
    if sizes:
        slope = mean_slope(jnp, loc[path.ends[:, 0]] - loc[path.ends[:, 1]], path.span)
        drift = Drift(sizes["drift_rate"], sizes["drift_size"] * slope)
    y = to_noise_scale(noise, design.y)
    minimum = isinstance(noise, BestSoFar)
    numpyro.factor(f"{response}_joint", marginal.log_marginal(path, y, loc, sd, drift, minimum=minimum))
    if pointwise:
        _record(noise, response, y, marginal.each_run(path, y, loc, sd, drift, minimum=minimum))


def observe_basis(
    noise: Noise, design: Design, response: str, about: tuple[Any, Any, Any], sizes: dict[str, Any], pointwise: bool
) -> None:
    """The runs, the coefficients of the discrepancy integrated out; ``about`` holds the degrees of freedom too."""
    (loc, sd, tails), basis = about, design.basis
    assert basis is not None
    y = to_noise_scale(noise, design.y)
    root = coefficients.prior_root(basis, sizes, loc)
    density, found = coefficients.log_marginal(basis, root, y - loc, sd, tails, design.mask)
    numpyro.factor(f"{response}_joint", density)
    if pointwise:
        _record(noise, response, y, coefficients.each_row(basis, root, y - loc, sd, tails, design.mask, found))
        numpyro.deterministic(f"{response}_coefficients", found.mean)
        numpyro.deterministic(f"{response}_precision", found.precision)


def _record(noise: Noise, response: str, y: Any, found: tuple[Any, Any, Any]) -> None:
    # Densities are those of the response as given: on the log scale they have the Jacobian of the logarithm.
    density, level, spread = found
    numpyro.deterministic(f"{response}_pointwise", density - (y if noise.on == "log" else 0.0))
    numpyro.deterministic(f"{response}_drift", level)
    numpyro.deterministic(f"{response}_drift_sd", spread)

"""The likelihood of the runs: each on its own, or jointly where they depend on one another or are minima."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro
from jax.scipy.special import erfc

from bayescale.models import coefficients, marginal, memory, running_minimum
from bayescale.models.design import Design
from bayescale.models.discrepancy import mean_slope
from bayescale.models.kalman import Drift
from bayescale.models.noise import Gaussian, Minima, Noise, StudentT, observe, to_noise_scale


class About(NamedTuple):
    """What the runs scatter about, and how.

    Parameters
    ----------
    loc, sd : array (run,)
        The law at each row, and the scale of the noise there, on the scale on which noise adds.
    tails, memory : scalar, optional
        Degrees of freedom of Student-t noise, and the correlation of the errors of consecutive checkpoints.
    """

    loc: Any
    sd: Any
    tails: Any
    memory: Any


def observe_runs(noise: Noise, design: Design, response: str, about: About, sizes: dict[str, Any], pointwise: bool) -> None:
    """Add the density of the responses to the model.

    Parameters
    ----------
    sizes : dict
        Hyperparameters of the discrepancy; empty where there is none.
    pointwise : bool
        Record the log density of each run given the others, and the discrepancy there, where there is one.
    """
    if design.path is not None:
        _along_path(noise, design, response, about, sizes, pointwise)
    elif design.basis is not None:
        assert isinstance(noise, StudentT | Gaussian), "a model of minima has no discrepancy that is not filtered"
        _about_basis(noise, design, response, about, sizes, pointwise)
    elif about.memory is not None:
        assert isinstance(noise, StudentT | Gaussian), "minima have no memory"
        _remembering(noise, design, response, about, pointwise)
    elif design.tries is not None:
        _best_of(noise, design, response, about, pointwise)
    else:
        assert isinstance(noise, StudentT | Gaussian), "`bind` gives every model of running minima a path"
        with numpyro.plate("run", design.y.shape[0]), numpyro.handlers.mask(mask=design.mask):
            observe(noise, response, about.loc, about.sd, about.tails, design.y)


def _along_path(noise: Noise, design: Design, response: str, about: About, sizes: dict[str, Any], pointwise: bool) -> None:
    """The runs of each curve, the drift integrated out by a filter."""
    drift, path = None, design.path
    assert path is not None
    if sizes:
        slope = mean_slope(jnp, about.loc[path.ends[:, 0]] - about.loc[path.ends[:, 1]], path.span)
        drift = Drift(sizes["drift_rate"], sizes["drift_size"] * slope)
    y = to_noise_scale(noise, design.y)
    rows, minimum, tries = (path, y, about.loc, about.sd, drift), isinstance(noise, Minima), design.tries
    numpyro.factor(f"{response}_joint", marginal.log_marginal(*rows, minimum=minimum, tries=tries))
    if pointwise:
        _record(noise, response, y, *marginal.each_run(*rows, minimum=minimum, tries=tries))


def _about_basis(
    noise: StudentT | Gaussian, design: Design, response: str, about: About, sizes: dict[str, Any], pointwise: bool
) -> None:
    """The runs, the coefficients of the discrepancy integrated out, errors that are remembered taken out before."""
    basis, sd, tails, mask = design.basis, about.sd, about.tails, design.mask
    assert basis is not None
    y = to_noise_scale(noise, design.y)
    residual = y - about.loc
    root = coefficients.prior_root(basis, sizes, about.loc)
    scales, seen, gap, own = None, basis, residual, sd
    if design.memory is not None:
        scales = memory.differences(design.memory, about.memory, sd)
        seen, gap = memory.whitened_basis(design.memory, scales[0], basis), memory.whiten(design.memory, scales[0], residual)
        own = scales[1]
    density, found = coefficients.log_marginal(seen, root, gap, own, tails, mask)
    numpyro.factor(f"{response}_joint", density)
    if pointwise:
        each, level, spread = coefficients.each_row(basis, root, residual, sd, tails, mask, found)
        if design.memory is not None and scales is not None:
            each = memory.each_row(design.memory, residual, scales, tails, (seen, root, found))
        _record(noise, response, y, jnp.where(mask, each, 0.0), level, spread)
        numpyro.deterministic(f"{response}_coefficients", found.mean)
        numpyro.deterministic(f"{response}_precision", found.precision)


def _remembering(noise: StudentT | Gaussian, design: Design, response: str, about: About, pointwise: bool) -> None:
    """Checkpoints whose errors are remembered, about a law that is the truth."""
    assert design.memory is not None
    y = to_noise_scale(noise, design.y)
    scales = memory.differences(design.memory, about.memory, about.sd)
    gap = memory.whiten(design.memory, scales[0], y - about.loc)
    density = noise.errors(0.0, scales[1], about.tails).log_prob(gap)
    numpyro.factor(f"{response}_joint", jnp.sum(jnp.where(design.mask, density, 0.0)))
    if pointwise:
        _record(noise, response, y, memory.each_row(design.memory, y - about.loc, scales, about.tails))


def _best_of(noise: Noise, design: Design, response: str, about: About, pointwise: bool) -> None:
    """The best of sweeps, about a law that is the truth: each on its own."""
    y = to_noise_scale(noise, design.y)
    z = (y - about.loc) / about.sd
    density = running_minimum.log_likelihood(jnp, erfc, z, about.sd, design.tries, jnp.zeros_like(design.mask))
    numpyro.factor(f"{response}_joint", jnp.sum(jnp.where(design.mask, density, 0.0)))
    if pointwise:
        _record(noise, response, y, density)


def _record(noise: Noise, response: str, y: Any, density: Any, level: Any = None, spread: Any = None) -> None:
    # Densities are those of the response as given: on the log scale they have the Jacobian of the logarithm.
    numpyro.deterministic(f"{response}_pointwise", density - (y if noise.on == "log" else 0.0))
    if level is not None:
        numpyro.deterministic(f"{response}_drift", level)
        numpyro.deterministic(f"{response}_drift_sd", spread)

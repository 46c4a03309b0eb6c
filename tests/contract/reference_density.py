"""The density that the design states, written once more in NumPy and SciPy, and the model's own in the same coordinates.

A model may sample whatever is easy to sample. What it owes is the density of its parameters, so both sides are compared in
coordinates of our choosing: parameters, population means and outer groups on the link scale, spreads and noise in logs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpyro.handlers import substitute, trace
from scipy import stats

from bayescale.core.numerics import double_precision
from bayescale.infer.density import dimension, latent_sites, potential
from bayescale.laws.base import Law
from bayescale.models.binding import Binding
from bayescale.models.noise import BestOf, StudentT
from bayescale.models.pooling import PartialPooling

Values = dict[str, np.ndarray]

_LOGS = ("sigma", "nu")
_STEP = 1e-5


def link_of(binding: Binding, name: str) -> str:
    """Scale on which a reported parameter has its density here."""
    if name in binding.model.noise.priors:
        return binding.model.noise.priors[name].link
    if "_tau" in name or name in _LOGS:
        return "log"
    if name.endswith("_mu"):
        return "identity"
    (param,) = (p for p in binding.model.law.params if name == p or name.startswith(f"{p}_"))
    return binding.model.law.params[param].link


def model_side(binding: Binding, flats: np.ndarray, response: str = "loss") -> tuple[list[Values], np.ndarray]:
    """Reported parameters at flat vectors of the model's own coordinates, and the log density it gives them.

    Parameters
    ----------
    flats : array (point, dim)

    Returns
    -------
    parameters : list of dict
        Natural values by the names of the posterior.
    log_density : array (point,)
        Of the coordinates of this module: the model's, less the log determinant of the map between them.
    """
    with double_precision():
        design = jax.tree.map(jnp.asarray, binding.design)
        sites = latent_sites(binding.model, design)
        energy = potential(binding.model, sites)

        def parameters(flat):
            values = {site.name: site.constrain(flat) for site in sites}
            made = trace(substitute(binding.model, values)).get_trace(design)
            derived = {k: v["value"] for k, v in made.items() if v["type"] == "deterministic" and k != f"{response}_mean"}
            return derived | {k: v for k, v in values.items() if not k.endswith("_latent")}

        both = jax.jit(
            lambda flat: (parameters(flat), -energy(flat, design)), compiler_options={"xla_backend_optimization_level": 0}
        )
        found = [jax.tree.map(np.asarray, both(flat)) for flat in flats]
        steps = _STEP * np.eye(flats.shape[1])
        # Compiling derivatives would take longer than the differences.
        slopes = [
            np.array([_ours(binding, both(flat + h)[0]) - _ours(binding, both(flat - h)[0]) for h in steps]) for flat in flats
        ]
    determinants = [np.linalg.slogdet(slope / (2 * _STEP))[1] for slope in slopes]
    return [values for values, _ in found], np.array([value for _, value in found]) - determinants


def _ours(binding: Binding, values: Values) -> np.ndarray:
    """The coordinates of this module."""
    return np.concatenate([np.ravel(link(link_of(binding, name), np.asarray(values[name]))) for name in sorted(values)])


def link(kind: str, value: np.ndarray) -> np.ndarray:
    """To the link scale."""
    return value if kind == "identity" else np.log(value) if kind == "log" else np.log(value / (1 - value))


def size(binding: Binding) -> int:
    """Number of coordinates."""
    with double_precision():
        return dimension(latent_sites(binding.model, binding.design))


def reference(binding: Binding, table: pd.DataFrame, at: Values, law: Law) -> float:
    """Log density of parameters and runs, by the formulas of the design."""
    return log_prior(binding, table, at, law) + log_likelihood(binding, table, at).sum()


def log_prior(binding: Binding, table: pd.DataFrame, at: Values, law: Law) -> float:
    """``link(theta) ~ Normal(loc, scale)``, or ``Normal(parent, tau)`` with ``mu ~ Normal(loc, scale)`` and half-normal tau."""
    model, y = binding.model, table["loss"].to_numpy(float)
    total = 0.0
    for name, param in law.params.items():
        pooling, own = model.pooling_of(name), link(param.link, at[name])
        loc, scale, spread = param.loc, param.scale, param.spread
        if param.unit == "response":
            unit = np.median(np.abs(y))
            moved = (loc + np.log(unit), scale, spread)
            loc, scale, spread = moved if param.link == "log" else (loc * unit, scale * unit, spread * unit)
        if not isinstance(pooling, PartialPooling):
            total += stats.norm.logpdf(own, loc, scale).sum()
            continue
        mu = at[f"{name}_mu"]
        total += stats.norm.logpdf(mu, loc, scale)
        outer, by = np.array([mu]), tuple(pooling.by)
        for i in range(len(by)):
            last = i + 1 == len(by)
            tau = at[f"{name}_tau" if last else f"{name}_tau_{by[i]}"]
            inner = own if last else link(param.link, at[f"{name}_{by[i]}"])
            total += stats.halfnorm.logpdf(tau, scale=spread) + np.log(tau)
            total += stats.norm.logpdf(inner, outer[_parents(binding, by[: i + 1])], tau).sum()
            outer = inner
    sigma = model.noise.prior
    unit = np.median(np.abs(y)) if sigma.unit == "response" else 1.0
    total += stats.norm.logpdf(np.log(at["sigma"]), sigma.loc + np.log(unit), sigma.scale)
    for name, param in model.noise.priors.items():
        if name != "sigma":
            total += stats.norm.logpdf(link(param.link, at[name]), param.loc, param.scale)
    if "nu" in at:
        total += stats.norm.logpdf(np.log(at["nu"]), np.log(13.0), 0.8)
    return float(total)


def log_likelihood(binding: Binding, table: pd.DataFrame, at: Values) -> np.ndarray:
    """``log y ~ t(nu, log f, sqrt(sigma^2 + (sd/y)^2))``, or normal, or the same of ``y`` itself; shape (run,).

    ``sigma`` may change along the one axis; with a memory, of each row given those before it, of one run.
    """
    model, y = binding.model, table["loss"].to_numpy(float)
    theta = {}
    for name in model.law.params:
        by = tuple(model.pooling_of(name).by)
        theta[name] = at[name][_codes(binding, table, by)] if by else at[name]
    x = {c: table[column].to_numpy(float) for c, column in binding.axes.items()}
    ratios = [x[c] / np.exp(np.log(x[c]).mean()) for c in model.law.covariates]
    with double_precision():
        f = np.asarray(model.law(*ratios, **theta))
    sd = table["loss_sd"].to_numpy(float) if "loss_sd" in table else np.zeros(len(y))
    noise, log = model.noise, model.noise.on == "log"
    sd = np.sqrt(sd**2 + (getattr(noise, "rounding", None) or 0.0) ** 2 / 12)
    sigma = at["sigma"] * ratios[0] ** -at.get("noise_trend", 0.0)
    scale = np.sqrt(sigma**2 + (sd / y if log else sd) ** 2)
    gap = np.log(y) - np.log(f) if log else y - f
    if "noise_memory" in at:
        assert (np.diff(ratios[0]) > 0).all()
        rho, z = at["noise_memory"], gap / scale
        gap = np.r_[gap[0], scale[1:] * (z[1:] - rho * z[:-1])]
        scale = np.r_[scale[0], scale[1:] * np.sqrt(1 - rho**2)]
    if isinstance(noise, BestOf):
        # The lowest of so many: d/dy of 1 - (1 - F)^K.
        k, z = float(noise.tries), gap / scale
        each = np.log(k) + stats.norm.logpdf(z) + (k - 1) * stats.norm.logsf(z) - np.log(scale)
    elif isinstance(noise, StudentT):
        each = stats.t.logpdf(gap, at.get("nu", model.noise.df), scale=scale)
    else:
        each = stats.norm.logpdf(gap, scale=scale)
    return each - np.log(y) if log else each


def _codes(binding: Binding, table: pd.DataFrame, by: tuple[str, ...]) -> np.ndarray:
    """Group of each run."""
    order = {key: i for i, key in enumerate(binding.levels[by].keys)}
    return np.array([order[key] for key in zip(*(table[c] for c in by), strict=True)])


def _parents(binding: Binding, by: tuple[str, ...]) -> np.ndarray:
    """Group of the level above of each group; the whole is the only one above the outermost."""
    keys = binding.levels[by].keys
    if len(by) == 1:
        return np.zeros(len(keys), dtype=int)
    order = {key: i for i, key in enumerate(binding.levels[by[:-1]].keys)}
    return np.array([order[key[:-1]] for key in keys])

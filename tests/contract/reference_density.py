"""The density that the design states, written once more in NumPy and SciPy, and the model's own in the same coordinates.

A model may sample whatever is easy to sample. What it owes is the density of its parameters, so both sides are compared in
coordinates of our choosing: parameters, population means and outer groups on the link scale, spreads and noise in logs.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import substitute, trace
from scipy import stats
from scipy.special import logit

from bayescale.core.numerics import double_precision
from bayescale.infer.density import dimension, latent_sites, potential
from bayescale.models.binding import Binding
from bayescale.models.noise import StudentT
from bayescale.models.pooling import PartialPooling

Values = dict[str, np.ndarray]

_LINKS: dict[str, Callable] = {"log": jnp.log, "identity": lambda v: v, "logit": lambda v: jnp.log(v) - jnp.log1p(-v)}
_LOGS = ("sigma", "nu")


def link_of(binding: Binding, name: str) -> str:
    """Scale on which a reported parameter has its density here."""
    if "_tau" in name or name in _LOGS:
        return "log"
    if name.endswith("_mu"):
        return "identity"
    (param,) = [p for p in binding.model.law.params if name == p or name.startswith(f"{p}_")]
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

        def ours(flat):
            found = parameters(flat)
            return jnp.concatenate([jnp.ravel(_LINKS[link_of(binding, k)](found[k])) for k in sorted(found)])

        def density(flat):
            return -energy(flat, design) - jnp.linalg.slogdet(jax.jacfwd(ours)(flat))[1]

        both = jax.jit(lambda flat: (parameters(flat), density(flat)), compiler_options={"xla_backend_optimization_level": 0})
        found = [jax.tree.map(np.asarray, both(flat)) for flat in flats]
    return [values for values, _ in found], np.array([value for _, value in found])


def size(binding: Binding) -> int:
    """Number of coordinates."""
    with double_precision():
        return dimension(latent_sites(binding.model, binding.design))


def reference(binding: Binding, at: Values) -> float:
    """Log density of parameters and runs, by the formulas of the design."""
    return log_prior(binding, at) + log_likelihood(binding, at).sum()


def log_prior(binding: Binding, at: Values) -> float:
    """``link(theta) ~ Normal(loc, scale)``, or ``Normal(parent, tau)`` with ``mu ~ Normal(loc, scale)``, ``tau ~ HalfNormal``."""
    model, y = binding.model, binding.observed
    total = 0.0
    for name, param in model.law.params.items():
        pooling, own = model.pooling_of(name), _numpy_link(param.link, at[name])
        loc, scale, spread = param.loc, param.scale, param.spread
        if param.unit == "response":
            unit = np.median(np.abs(y))
            loc, scale, spread = (loc + np.log(unit), scale, spread) if param.link == "log" else np.array([loc, scale, spread]) * unit
        if not isinstance(pooling, PartialPooling):
            total += stats.norm.logpdf(own, loc, scale).sum()
            continue
        mu = at[f"{name}_mu"]
        total += stats.norm.logpdf(mu, loc, scale)
        outer, by = np.array([mu]), tuple(pooling.by)
        for i in range(len(by)):
            last = i + 1 == len(by)
            tau = at[f"{name}_tau" if last else f"{name}_tau_{by[i]}"]
            inner = own if last else _numpy_link(param.link, at[f"{name}_{by[i]}"])
            total += stats.halfnorm.logpdf(tau, scale=spread) + np.log(tau)
            total += stats.norm.logpdf(inner, outer[_parents(binding, by[: i + 1])], tau).sum()
            outer = inner
    sigma = model.noise.prior
    unit = np.median(np.abs(y)) if sigma.unit == "response" else 1.0
    total += stats.norm.logpdf(np.log(at["sigma"]), sigma.loc + np.log(unit), sigma.scale)
    if "nu" in at:
        total += stats.norm.logpdf(np.log(at["nu"]), np.log(13.0), 0.8)
    return float(total)


def log_likelihood(binding: Binding, at: Values) -> np.ndarray:
    """``log y ~ t(nu, log f, sqrt(sigma^2 + (sd/y)^2))``, or normal, or the same of ``y`` itself; shape (run,)."""
    model, table, y = binding.model, binding.table, binding.observed
    theta = {}
    for name in model.law.params:
        by = tuple(model.pooling_of(name).by)
        theta[name] = at[name][_codes(binding, by)] if by else at[name]
    x = {c: table[column].to_numpy(float) for c, column in binding.axes.items()}
    ratios = [x[c] / np.exp(np.log(x[c]).mean()) for c in model.law.covariates]
    with double_precision():
        f = np.asarray(model.law(*ratios, **theta))
    sd = table["loss_sd"].to_numpy(float) if "loss_sd" in table else np.zeros(len(y))
    log = model.noise.on == "log"
    scale = np.sqrt(at["sigma"] ** 2 + (sd / y if log else sd) ** 2)
    gap = np.log(y) - np.log(f) if log else y - f
    if isinstance(model.noise, StudentT):
        each = stats.t.logpdf(gap, at.get("nu", model.noise.df), scale=scale)
    else:
        each = stats.norm.logpdf(gap, scale=scale)
    return each - np.log(y) if log else each

"""Fits built from known draws, without sampling: what everything above the sampler is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayescale.core.names import RUN
from bayescale.core.numerics import double_precision
from bayescale.data.runs import Runs, as_runs
from bayescale.infer.fit import Fit
from bayescale.infer.tree import constant_data, coordinates, draws_dataset, parameter_dims, runs_dataset
from bayescale.laws.param import Link
from bayescale.models.binding import Binding, bind
from bayescale.models.noise import BestOf, StudentT, from_noise_scale, to_noise_scale
from bayescale.models.pooling import PartialPooling
from bayescale.models.scaling import ScalingModel

Values = dict[str, np.ndarray]


def fake_fit(
    model: ScalingModel,
    data: pd.DataFrame | Runs,
    parameters: Mapping[str, Any] | None = None,
    *,
    sd: float = 0.01,
    chains: int = 4,
    draws: int = 200,
    seed: int = 0,
    response: str = "loss",
) -> Fit:
    """A fit whose posterior is known.

    Parameters
    ----------
    parameters : mapping of name to value
        On the natural scale **at the reference run**, the geometric mean of the covariates (``at_reference`` turns the
        constants of a paper into these). A number; one a group, as a list in the order of the labels or as
        ``{label: number}``; or draws, shape (chains, draws[, groups]), which are taken as they are. Also ``<name>_mu``,
        ``<name>_tau``, ``<name>_tau_<column>`` on the link scale, ``<name>_<column>`` on the natural one, ``sigma``, ``nu``,
        hyperparameters of a discrepancy, and its ``coefficients`` (by default 0) where it is not filtered.
        What is not given: law parameters lie at the median of their prior, ``sigma`` at 0.01, ``nu`` at 10; the population
        is computed from its groups.
    sd : float
        Standard deviation of the draws on the link scale (0: the same number in every draw). Mean and standard deviation
        of every chain are exact, and 4 chains of 200 draws meet the convergence rule.

    Examples
    --------
    >>> table = pd.DataFrame({"params": [1e8, 1e9, 1e10], "loss": [3.0, 2.5, 2.2]})
    >>> round(fake_fit(ScalingModel("power_law"), table, {"alpha": 0.1, "A": 2.5}).posterior["alpha"].mean().item(), 2)
    0.1
    """
    tries = [model.noise.tries] if isinstance(model.noise, BestOf) and isinstance(model.noise.tries, str) else []
    columns = {c: c for c in (*model.axes.values(), *tries)}
    runs = as_runs(data, columns=columns, groups=model.labels, response=_response(data, response))
    binding = bind(model, runs)
    rng = np.random.default_rng(seed)
    given = dict(parameters or {})
    coefficients = given.pop("coefficients", 0.0)
    known = {*parameter_dims(binding), *model.law.params, *model.assumptions.values(), "nu"}
    assert set(given) <= known, f"no parameters of this model: {set(given) - known}; there are {sorted(known)}"
    posterior = _posterior(binding, given, sd, (chains, draws), rng)
    prior = _prior(binding, (chains, draws), rng)
    tree = _tree(binding, runs, posterior, prior, seed, rng)
    if (basis := binding.design.basis) is not None:
        size = basis.columns.shape[1]
        center = np.asarray(coefficients, dtype=float)
        scatter = 0.0 if center.ndim == 3 else sd * scattered(rng, (chains, draws, size))
        drawn = np.broadcast_to(center + scatter, (chains, draws, size))
        tree["discrepancy"] = xr.DataTree(draws_dataset({"coefficients": drawn}, {"coefficients": ("coefficient",)}, {}))
    return Fit(model, runs, tree)


def at_reference(fitted_or_binding: Fit | Binding, **constants: float) -> dict[str, float]:
    """Constants of a paper (at covariate = 1) as the parameters of a fit, which stand at its reference run.

    >>> table = pd.DataFrame({"params": [1e8, 1e10], "loss": [3.0, 2.2]})
    >>> round(at_reference(fake_fit(ScalingModel("power_law"), table), A=10.0, alpha=0.1)["A"], 4)
    1.2589
    """
    binding = fitted_or_binding.binding if isinstance(fitted_or_binding, Fit) else fitted_or_binding
    out = dict(constants)
    for name, param in binding.model.law.params.items():
        for covariate, exponent in param.decays.items():
            if name in out:
                out[name] *= binding.reference[covariate] ** -constants[exponent]
    return out


def _response(data: pd.DataFrame | Runs, response: str) -> str:
    return data.response if isinstance(data, Runs) else response


def link(kind: Link, value: Any) -> np.ndarray:
    """To the link scale."""
    value = np.asarray(value, dtype=float)
    return value if kind == "identity" else np.log(value) if kind == "log" else np.log(value / (1 - value))


def unlink(kind: Link, value: Any) -> np.ndarray:
    """From the link scale."""
    value = np.asarray(value, dtype=float)
    return value if kind == "identity" else np.exp(value) if kind == "log" else 1 / (1 + np.exp(-value))


def _posterior(binding: Binding, given: dict[str, Any], sd: float, shape: tuple[int, int], rng: np.random.Generator) -> Values:
    model, out = binding.model, Values()

    def drawn(name: str, kind: Link, center: Any, labels: tuple[str, ...] = (), spread: float = sd) -> None:
        """One variable: given or at ``center``, scattered unless whole draws are given."""
        value = given.get(name, center)
        if isinstance(value, Mapping):
            value = [value[label] for label in labels]
        value, size = np.asarray(value, dtype=float), (len(labels),) if labels else ()
        if value.ndim >= 2:
            assert value.shape == (*shape, *size), f"{name}: draws of shape {value.shape}, expected {(*shape, *size)}"
            out[name] = value
        else:
            here = link(kind, np.broadcast_to(value, size))
            out[name] = unlink(kind, here + spread * scattered(rng, (*shape, *size)))

    for name, param in model.law.params.items():
        pooling, median = model.pooling_of(name), unlink(param.link, binding.prior_of(name)[0])
        level = binding.level(name)
        drawn(name, param.link, median, level.labels if level else ())
        if level is None or not isinstance(pooling, PartialPooling):
            continue
        inner, by = level, tuple(pooling.by)
        below = link(param.link, out[name]).mean((0, 1))
        for i in reversed(range(1, len(by))):
            outer = binding.levels[by[:i]]
            parents = inner.parent(outer)
            means = np.array([below[parents == k].mean() for k in range(outer.size)])
            drawn(f"{name}_{by[i - 1]}", param.link, unlink(param.link, means), outer.labels)
            drawn(f"{name}_tau" + (f"_{by[i]}" if i + 1 < len(by) else ""), "log", _spread(below - means[parents]))
            inner, below = outer, means
        drawn(f"{name}_tau" + (f"_{by[0]}" if len(by) > 1 else ""), "log", _spread(below - below.mean()))
        drawn(f"{name}_mu", "identity", below.mean())
    for name, param in model.noise.priors.items():
        drawn(name, param.link, 0.01 if name == "sigma" else unlink(param.link, param.loc))
    if isinstance(model.noise, StudentT) and model.noise.df is None:
        drawn("nu", "log", 10.0)
    for name, param in ((name, prior) for part in model.parts for name, prior in part.priors.items()):
        drawn(name, "log", np.exp(param.loc))
    return out


def scattered(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal quantiles in random order along the draws: mean 0 and standard deviation 1 in each chain."""
    z = stats.norm.ppf((np.arange(shape[1]) + 0.5) / shape[1])
    z = (z / z.std()).reshape(1, -1, *[1] * (len(shape) - 2))
    return rng.permuted(np.broadcast_to(z, shape), axis=1)


def _spread(offsets: np.ndarray) -> float:
    return max(0.02, float(np.sqrt(np.mean(offsets**2))))


def _prior(binding: Binding, shape: tuple[int, int], rng: np.random.Generator) -> Values:
    model, out = binding.model, Values()
    for name, param in model.law.params.items():
        pooling, level = model.pooling_of(name), binding.level(name)
        loc, scale, spread = binding.prior_of(name)
        if level is None or not isinstance(pooling, PartialPooling):
            out[name] = unlink(param.link, rng.normal(loc, scale, (*shape, level.size) if level else shape))
            continue
        by = tuple(pooling.by)
        out[f"{name}_mu"] = rng.normal(loc, scale, shape)
        location = out[f"{name}_mu"][..., None]
        for i in range(len(by)):
            here, last = binding.levels[by[: i + 1]], i + 1 == len(by)
            parents = here.parent(binding.levels[by[:i]]) if i else np.zeros(here.size, dtype=int)
            tau = np.abs(rng.normal(0, spread, shape))
            out[f"{name}_tau" if last else f"{name}_tau_{by[i]}"] = tau
            location = location[..., parents] + tau[..., None] * rng.standard_normal((*shape, here.size))
            out[name if last else f"{name}_{by[i]}"] = unlink(param.link, location)
    for name, param in model.noise.priors.items():
        own = binding.design.priors[name]
        out[name] = unlink(param.link, rng.normal(float(own.loc), float(own.scale), shape))
    if isinstance(model.noise, StudentT) and model.noise.df is None:
        out["nu"] = np.exp(rng.normal(np.log(13.0), 0.8, shape))
    for name, param in ((name, prior) for part in model.parts for name, prior in part.priors.items()):
        out[name] = np.exp(rng.normal(param.loc, param.scale, shape))
    return out


def _mean(binding: Binding, values: Values, n: int) -> np.ndarray:
    """The law at the fitted rows, shape (chain, draw, run)."""
    by_row = {}
    for name in binding.model.law.params:
        value = values[name]
        by_row[name] = value[..., None] if value.ndim == 2 else value[..., binding.design.slots[name].rows[:n]]
    ratios = [np.exp(binding.design.log_x[c][:n]) for c in binding.model.law.covariates]
    with double_precision():
        return np.asarray(binding.model.law(*ratios, **by_row))


def _scales(binding: Binding, values: Values, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    sigma = values["sigma"][..., None]
    if binding.design.trend is not None:
        sigma = sigma * np.exp(-values["noise_trend"][..., None] * binding.design.trend[:n])
    sigma = np.sqrt(sigma**2 + binding.design.se[:n] ** 2)
    return sigma, values["nu"][..., None] if "nu" in values else None


def _replicate(binding: Binding, values: Values, n: int, rng: np.random.Generator) -> np.ndarray:
    noise = binding.model.noise
    errors = noise.draw(rng, *_scales(binding, values, n))
    with np.errstate(over="ignore"):  # the tails of the prior
        return from_noise_scale(noise, to_noise_scale(noise, _mean(binding, values, n)) + errors)


def _log_likelihood(binding: Binding, values: Values, n: int) -> np.ndarray:
    noise, y = binding.model.noise, binding.design.y[:n]
    sigma, nu = _scales(binding, values, n)
    gap = to_noise_scale(noise, y) - to_noise_scale(noise, _mean(binding, values, n))
    jacobian = -np.log(y) if noise.on == "log" else 0.0
    if isinstance(noise, StudentT):
        return stats.t.logpdf(gap, noise.df if nu is None else nu, scale=sigma) + jacobian
    return stats.norm.logpdf(gap, scale=sigma) + jacobian


def _log_prior(binding: Binding, values: Values) -> Values:
    """Log density of every assumed site, under the name it is reported by."""
    model, out = binding.model, Values()
    for name, param in model.law.params.items():
        loc, scale, spread = binding.prior_of(name)
        if not isinstance(model.pooling_of(name), PartialPooling):
            each = stats.norm.logpdf(link(param.link, values[name]), loc, scale)
            out[name] = each if each.ndim == 2 else each.sum(-1)
            continue
        out[f"{name}_mu"] = stats.norm.logpdf(values[f"{name}_mu"], loc, scale)
        for tau in (v for v in values if v.startswith(f"{name}_tau")):
            out[tau] = stats.halfnorm.logpdf(values[tau], scale=spread)
    sigma = binding.design.priors["sigma"]
    out["sigma"] = stats.lognorm.logpdf(values["sigma"], float(sigma.scale), scale=np.exp(float(sigma.loc)))
    if "nu" in values:
        out["nu"] = stats.lognorm.logpdf(values["nu"], 0.8, scale=13.0)
    return out


def _tree(binding: Binding, runs: Runs, posterior: Values, prior: Values, seed: int, rng: np.random.Generator) -> xr.DataTree:
    dims, coords = parameter_dims(binding), coordinates(binding, runs)
    name, n = runs.response, len(runs.table)
    shape = posterior["sigma"].shape

    def rows(values: np.ndarray) -> xr.Dataset:
        return draws_dataset({name: values}, {name: (RUN,)}, coords)

    stats_ = {
        "energy": rng.normal(10.0, 1.0, shape),
        "n_steps": np.full(shape, 7),
        "acceptance_rate": rng.uniform(0.7, 1.0, shape),
        "diverging": np.zeros(shape, dtype=bool),
        "step_size": np.full(shape, 0.5),
    }
    observed = xr.Dataset({name: (RUN, runs.table[name].to_numpy(float))}, coords={RUN: runs.table.index.to_numpy()})
    groups = {
        "prior": draws_dataset(prior, dims, coords),
        "prior_predictive": rows(_replicate(binding, prior, n, rng)),
        "posterior": draws_dataset(posterior, dims, coords),
        "sample_stats": draws_dataset(stats_, {}, {}),
        "log_likelihood": rows(_log_likelihood(binding, posterior, n)),
        "log_prior": draws_dataset(_log_prior(binding, posterior), {}, {}),
        "posterior_predictive": rows(_replicate(binding, posterior, n, rng)),
        "observed_data": observed,
        "constant_data": constant_data(binding, runs),
        "runs": runs_dataset(runs),
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs |= {"seed": seed, "sampler": "fake", "digest": runs.digest, "interrupted": 0}
    return tree

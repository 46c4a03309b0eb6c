"""Checks of what the priors have to do with the answer: whether it would be another under weaker ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy import stats

from bayescale.core.findings import Finding, Status
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.decision.subject import Subject
from bayescale.infer.fit import Fit
from bayescale.models.binding import in_units
from bayescale.models.pooling import PartialPooling
from bayescale.prediction.parameters import to_link

_SHOWN = 3


def priors(subject: Subject) -> Iterator[Finding]:
    """Whether the priors, and above all those from the literature, decide the answer."""
    yield from _sensitivity(subject)
    yield from _literature(subject)


def _sensitivity(subject: Subject) -> Iterator[Finding]:
    """How far the forecast (without points to forecast, each parameter of the law) moves as the prior is power-scaled."""
    name, line = "prior sensitivity", subject.thresholds.sensitivity
    asked = _asked(subject)
    try:
        prior, likelihood = (_power_scaled(subject.fit, asked, group) for group in ("prior", "likelihood"))
    except ValueError as error:  # draws that do not vary have no tail to smooth
        yield Finding(name, Status.NOT_ASSESSED, f"the draws cannot be reweighted: {error}")
        return
    moved = sorted((label for label in prior if prior[label] >= line), key=lambda label: -prior[label])
    worst = max(prior.values())
    if not moved:
        said = f"the priors hardly matter to {_what(subject)} (sensitivity at most {worst:.2g})"
        yield Finding(name, Status.PASS, said, worst, line)
        return
    shown = ", ".join(f"{label} {prior[label]:.2g}" for label in moved[:_SHOWN]) + (" …" if len(moved) > _SHOWN else "")
    if all(likelihood[label] < line for label in moved):
        why, advice = "the runs say little about it", "Add runs that tell it, or state the prior that you mean and defend it."
    else:
        why = "priors and runs disagree, or the runs say only a part of it"
        advice = "Hold the priors against the posterior (priors={...} changes them), or add runs that tell it."
    yield Finding(name, Status.REVIEW, f"the priors move {_what(subject)} ({shown}): {why}", worst, line, advice)


def _literature(subject: Subject) -> Iterator[Finding]:
    """Whether priors from the literature change the answer: the draws reweighted to weak priors :cite:p:`vehtari2024`."""
    fit, name, lines = subject.fit, "literature priors", subject.thresholds
    if fit.model.priors != "literature":
        return
    law, used = fit.model.law.params, fit.binding.params
    affected = [p for p in law if (used[p].loc, used[p].scale) != (law[p].loc, law[p].scale)]
    if not affected:
        said = f"the literature has no prior for {fit.model.law.name} on such a table: weak ones are in force"
        yield Finding(name, Status.PASS, said)
        return
    weights, k = importance_weights(np.sum([_log_ratio(fit, p) for p in affected], axis=0))
    if not k <= lines.pareto_k:
        said = (
            f"the literature priors change the answer: the posterior of {' and '.join(affected)} under weak ones is elsewhere"
        )
        advice = "How far it moves cannot be told by reweighting: fit again with priors='weak' and compare."
        yield Finding(name, Status.REVIEW, f"{said} (Pareto k {k:.2f})", k, lines.pareto_k, advice)
        return
    moves = {label: _shift(draws, weights) for label, draws in _answers(subject, affected).items()}
    label = max(moves, key=lambda key: abs(moves[key]))
    shift, line = abs(moves[label]), lines.literature_shift
    told = (
        f"{label} is {shift:.2f} posterior standard deviations {'higher' if moves[label] < 0 else 'lower'} than under weak ones"
    )
    if shift > line:
        advice = "Say so beside the answer, or fit with priors='weak' and give both."
        yield Finding(name, Status.REVIEW, f"the literature priors change the answer: {told}", shift, line, advice)
    else:
        yield Finding(name, Status.PASS, f"the literature priors do not change the answer: at most, {told}", shift, line)


def _what(subject: Subject) -> str:
    return "parameters" if subject.forecast is None else "the forecast"


def _site(fit: Fit, parameter: str) -> str:
    """What a parameter's prior speaks of: the mean of the population where there is one."""
    return f"{parameter}_mu" if isinstance(fit.model.pooling_of(parameter), PartialPooling) else parameter


def _asked(subject: Subject) -> xr.Dataset:
    """The quantities that the answer rests on, dims (chain, draw[, point or group])."""
    if subject.forecast is not None:
        return xr.Dataset({POINT: subject.forecast.rename({POINT: "row"})})  # a variable and its dimension, named apart
    fit = subject.fit
    return xr.Dataset({name: fit.posterior[name] for name in (_site(fit, p) for p in fit.model.law.params)})


def _power_scaled(fit: Fit, asked: xr.Dataset, group: str) -> dict[str, float]:
    """Sensitivity of every scalar to the power of the prior or of the likelihood, by its name."""
    from arviz_stats import psense  # costs a second to import

    groups = {"posterior": asked} | {k: fit.tree[k].to_dataset() for k in ("log_prior", "log_likelihood")}
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # a quantity that does not vary does not move either
        warnings.simplefilter("ignore")  # arviz says of such a quantity what numpy does
        found = psense(xr.DataTree.from_dict(groups), group=group)
    return {label: float(np.nan_to_num(value)) for label, value in _scalars(found).items()}


def _scalars(found: xr.Dataset) -> dict[str, np.ndarray]:
    """Every scalar quantity of a dataset, with its draws (chain, draw) where it has some, by its name and labels."""
    out: dict[str, np.ndarray] = {}
    for name, variable in found.data_vars.items():
        dims = [d for d in variable.dims if d not in (CHAIN, DRAW)]
        values = variable.transpose(*dims, ...).to_numpy()
        for index in np.ndindex(*(variable.sizes[d] for d in dims)):
            at = zip(dims, index, strict=True)
            labels = [str(variable.coords[d].to_numpy()[i]) if d in variable.coords else str(i) for d, i in at]
            out[" ".join([str(name), *labels])] = values[index]
    return out


def _log_ratio(fit: Fit, parameter: str) -> np.ndarray:
    """Log of the weak prior over the one in force, (chain, draw)."""
    site = _site(fit, parameter)
    value = fit.posterior[site].transpose(CHAIN, DRAW, ...).to_numpy()
    if site == parameter:
        value = to_link(fit.model.law.params[parameter].link, value)
    weak, used = (in_units(p[parameter], fit.binding.response_scale)[:2] for p in (fit.model.law.params, fit.binding.params))
    ratio = stats.norm.logpdf(value, *weak) - stats.norm.logpdf(value, *used)
    return np.asarray(ratio.reshape(*ratio.shape[:2], -1).sum(axis=-1))


def importance_weights(log_ratio: np.ndarray) -> tuple[np.ndarray, float]:
    """Pareto-smoothed weights (chain, draw) that sum to 1, and the Pareto k that tells whether to trust them."""
    from arviz_stats.base import array_stats  # costs a second to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large k is what is looked for
            log_weights, k = array_stats.psislw(-log_ratio, axis=(0, 1))
    except ValueError:  # draws that do not vary all weigh the same
        return np.full(log_ratio.shape, 1 / log_ratio.size), 0.0
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum(), float(k)


def _answers(subject: Subject, affected: list[str]) -> dict[str, np.ndarray]:
    """Draws (chain, draw) of the exponents concerned and of the forecast, by name."""
    fit = subject.fit
    found = xr.Dataset({name: fit.posterior[name] for name in (_site(fit, p) for p in affected)})
    return _scalars(found) | ({} if subject.forecast is None else _scalars(_asked(subject)))


def _shift(draws: np.ndarray, weights: np.ndarray) -> float:
    """By how many posterior standard deviations the mean moves under the weights."""
    sd = float(draws.std())
    return float((weights * draws).sum() - draws.mean()) / sd if sd > 0 else 0.0

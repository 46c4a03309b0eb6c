"""Checks of a fit itself: its chains, its table, and whether it describes the runs that it was fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import stats

from bayescale.core.findings import Finding, Status
from bayescale.core.frozen import FrozenMap
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.inspection import inspect_runs
from bayescale.data.runs import Runs
from bayescale.data.schema import TOKENS_PER_PARAM, rows_text
from bayescale.decision.shared_floor import shared_floor
from bayescale.decision.subject import Subject
from bayescale.infer.convergence import MAX_RHAT
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.models.noise import Gaussian, StudentT, to_noise_scale
from bayescale.models.pooling import PartialPooling

#: Probabilities of the intervals whose coverage is counted.
INTERVALS = (0.5, 0.9)

_SHOWN = 3


def convergence(subject: Subject) -> Iterator[Finding]:
    """Whether the chains agree, by the rule that ``fit`` refuses by; any divergence and an interruption are told."""
    yield from convergence_of(subject.fit)


def convergence_of(fit: Fit | CapabilityFit) -> Iterator[Finding]:
    """The same of a fit alone."""
    found, name = fit.convergence, "convergence"
    if found.faults:
        said = f"the chains do not agree: {'; '.join(found.faults)}"
        laws = isinstance(fit, Fit)
        fewer = "pool more, or choose a law of fewer parameters" if laws else "or choose fewer factors"
        advice = f"Draw more, {fewer}; until then no number of this fit is to be relied on."
        yield Finding(name, Status.FAIL, said, found.worst_rhat, MAX_RHAT, advice)
    else:
        said = f"R-hat at most {found.worst_rhat:.3f}, effective sample size at least {found.worst_ess:.0f}"
        yield Finding(name, Status.PASS, said, found.worst_rhat, MAX_RHAT)
    if found.divergences:
        said = f"{found.divergences} of {found.draws} draws diverged: the sampler missed a part of the posterior"
        advice = "Fit again with a higher target_accept (0.95) and see whether the forecast stays."
        yield Finding(name, Status.REVIEW, said, float(found.divergences), 0.0, advice)
    if fit.tree.attrs.get("interrupted"):
        said = f"sampling was interrupted: {found.draws} draws in all"
        yield Finding(name, Status.REVIEW, said, float(found.draws), advice="Let the fit run to its end before deciding.")


def data(subject: Subject) -> Iterator[Finding]:
    """What is worrying about the table, as far as the model uses it, and about the groups that it makes."""
    found = [*_table(subject), *_size(subject), *_groups(subject), *shared_floor(subject.fit)]
    if not found:
        groups = f" in {', '.join(subject.fit.model.group_columns)}" if subject.fit.model.group_columns else ""
        found.append(Finding("data", Status.PASS, f"{len(subject.fit.data)} runs{groups} without anything worrying"))
    yield from found


def _table(subject: Subject) -> list[Finding]:
    noise = subject.fit.model.noise
    found = inspect_runs(_used(subject), response=subject.fit.response, positive_response=noise.on == "log")
    # How many runs the groups have is told of the model's own groups; rounding that the model allows for is no worry.
    passed = {"groups"} | ({"rounding"} if isinstance(noise, StudentT | Gaussian) and noise.rounding else set())
    worrying = [f for f in found if f.status in (Status.REVIEW, Status.FAIL) and f.check not in passed]
    return [replace(f, check="data") for f in worrying]


def _used(subject: Subject) -> Runs:
    """The runs without the covariates that the model does not use."""
    runs, used = subject.fit.data, set(subject.fit.binding.axes.values())
    if {"params", "tokens"} <= used:
        used.add(TOKENS_PER_PARAM)
    gone = {name for name in runs.covariates if name not in used}
    table = runs.table.drop(columns=list(gone))
    notes = tuple(note for note in runs.notes if "left out" not in note)
    units, conventions = (
        FrozenMap({name: word for name, word in words.items() if name in table}) for words in (runs.units, runs.conventions)
    )
    return replace(runs, table=table, notes=notes, units=units, conventions=conventions)


def _size(subject: Subject) -> Iterator[Finding]:
    runs, parameters = len(subject.fit.data), subject.parameters
    if runs < parameters:
        said = f"fewer runs ({runs}) than parameters ({parameters})"
        advice = "Priors and pooling decide what the runs do not: choose a law of fewer parameters, pool more, or add runs."
        yield Finding("data", Status.REVIEW, said, float(runs), float(parameters), advice)


def _groups(subject: Subject) -> Iterator[Finding]:
    """Groups of a single run, and populations of a single group."""
    fit = subject.fit
    used = dict.fromkeys(tuple(pooling.by) for pooling in fit.model.pooling.values())
    for by in used:
        level = fit.binding.levels[by]
        counts = np.bincount(level.codes(fit.data.table), minlength=level.size)
        alone = [level.labels[i] for i in np.flatnonzero(counts == 1)]
        if alone and level.size > 1:
            shown = ", ".join(alone[:_SHOWN]) + (" …" if len(alone) > _SHOWN else "")
            said = f"{len(alone)} of {level.size} groups of {' and '.join(by)} have one run: {shown}"
            advice = "What is said of them alone comes from the priors, or from the population where they are pooled."
            yield Finding("data", Status.REVIEW, said, float(len(alone)), 0.0, advice)
    partial = [tuple(pooling.by) for pooling in fit.model.pooling.values() if isinstance(pooling, PartialPooling)]
    for columns in dict.fromkeys(by[: i + 1] for by in partial for i in range(len(by))):
        level = fit.binding.levels[columns]
        if level.size == 1:
            said = f"not identified: how {columns[-1]} groups differ; there is a single one ({level.labels[0]})"
            advice = "An unseen one is forecast from the prior's spread alone: add runs of another, or drop the pooling."
            yield Finding("data", Status.REVIEW, said, 1.0, 2.0, advice)


def posterior_predictive(subject: Subject) -> Iterator[Finding]:
    """Whether the fitted runs look like runs that the fit would make: how many lie in their intervals, and the worst."""
    yield _coverage(subject)
    yield _tail(subject)


def _coverage(subject: Subject) -> Finding:
    fit, name, lines = subject.fit, "posterior predictive", subject.thresholds
    drawn = fit.tree["posterior_predictive"][fit.response]
    seen = fit.tree["observed_data"][fit.response]
    runs, few, many, counts = seen.size, 1.0, 1.0, list[str]()
    for probability in INTERVALS:
        edges = drawn.quantile([(1 - probability) / 2, (1 + probability) / 2], dim=(CHAIN, DRAW))
        inside = int(((seen >= edges.isel(quantile=0)) & (seen <= edges.isel(quantile=1))).sum())
        counts.append(str(inside))
        few = min(few, float(stats.binom.cdf(inside, runs, probability)))
        many = min(many, float(stats.binom.sf(inside - 1, runs, _expected(probability, subject.parameters / runs))))
    nominal = " and ".join(f"{probability:.0%}" for probability in INTERVALS)
    said = f"{' and '.join(counts)} of {runs} fitted runs lie in their {nominal} intervals"
    if few < lines.coverage_review:
        failed = few < lines.coverage_fail
        threshold = lines.coverage_fail if failed else lines.coverage_review
        said = f"the fit is too sure of itself: {said} (probability {few:.1g} if it were right)"
        advice = "Plot the residuals against scale and group: another law, or parameters that vary over groups, may be needed."
        return Finding(name, Status.FAIL if failed else Status.REVIEW, said, few, threshold, advice)
    if many < lines.coverage_review:
        said = f"the intervals are wider than the runs need: {said} (probability {many:.1g} if they were right)"
        advice = "Check the known standard errors and the prior of the noise; forecasts are less sharp than they could be."
        return Finding(name, Status.REVIEW, said, many, lines.coverage_review, advice)
    return Finding(name, Status.PASS, said, few, lines.coverage_review)


def _expected(probability: float, leverage: float) -> float:
    """Coverage to expect of intervals of runs that were fitted, when each parameter follows one run's worth of them.

    With leverage h, residuals have variance ``sigma^2 (1 - h)`` and predictions ``sigma^2 (1 + h)``.
    """
    if leverage >= 1:
        return 1.0
    half = stats.norm.ppf((1 + probability) / 2) * np.sqrt((1 + leverage) / (1 - leverage))
    return float(2 * stats.norm.cdf(half) - 1)


def _tail(subject: Subject) -> Finding:
    """Posterior predictive p-value of the largest standardised residual :cite:p:`gelman2013`.

    A residual is measured from the median of runs made by the fit, its discrepancy included, in units of their spread. All of
    that has seen the run, so that the p-value errs towards no alarm.
    """
    fit, name, line = subject.fit, "posterior predictive", subject.thresholds.tail_review
    noise, table = fit.model.noise, fit.data.table
    drawn = fit.tree["posterior_predictive"][fit.response].stack(all=(CHAIN, DRAW)).transpose("all", ...).to_numpy()
    replicated = np.asarray(to_noise_scale(noise, drawn))
    seen = np.asarray(to_noise_scale(noise, fit.tree["observed_data"][fit.response].to_numpy()))
    low, middle, high = np.quantile(replicated, [0.25, 0.5, 0.75], axis=0)
    # The standard deviation of a normal of these quartiles, which heavy tails do not move.
    spread = np.maximum((high - low) / (2 * stats.norm.ppf(0.75)), np.finfo(float).tiny)
    residuals = np.abs(seen - middle) / spread
    p = float(((np.abs(replicated - middle) / spread).max(axis=-1) >= residuals.max()).mean())
    worst = (
        f"the largest residual ({rows_text([table.index[int(residuals.argmax())]])}) is {residuals.max():.1f} times the spread"
    )
    if p < line:
        said = f"{worst} of runs made by the fit; they have one as large with probability {p:.2g}"
        advice = "Look at that run; if it is right, noise=StudentT() allows for its like, and another law may describe it."
        return Finding(name, Status.REVIEW, said, p, line, advice)
    return Finding(name, Status.PASS, f"{worst} of runs made by the fit, which have one as large (p = {p:.2g})", p, line)


def influence(subject: Subject) -> Iterator[Finding]:
    """Pareto k of leaving out each run: large where the fit would be another without it."""
    from arviz_stats import loo  # costs a second to import

    fit, line = subject.fit, subject.thresholds.pareto_k
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a large k is what is looked for
        k = loo(fit.tree, var_name=fit.response, pointwise=True).pareto_k.to_numpy()
    worst = float(np.nanmax(k, initial=-np.inf))
    if worst <= line:
        yield Finding("influence", Status.PASS, f"no run decides the fit alone (Pareto k at most {worst:.2f})", worst, line)
        return
    order = np.argsort(-np.nan_to_num(k, nan=-np.inf))
    rows = fit.data.table.index[order[: int((k > line).sum())]]
    said = f"the fit depends on single runs: Pareto k is above {line:g} in {rows_text(rows)}, worst first ({worst:.2f})"
    advice = "Look at these runs, and fit without them: leave-one-out scores are not to be trusted there."
    yield Finding("influence", Status.REVIEW, said, worst, line, advice)

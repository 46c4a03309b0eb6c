"""Checks of a fit to benchmark scores, and of forecasts from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from bayescale.core.errors import SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.runs import Runs
from bayescale.decision.backtest_checks import check_backtest, check_reach
from bayescale.decision.fit_checks import convergence_of
from bayescale.decision.forecast_checks import farthest, judge_distance
from bayescale.decision.prior_checks import importance_weights
from bayescale.decision.thresholds import Thresholds
from bayescale.evaluate.backtest_result import Backtest
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit
from bayescale.prediction.points import At
from bayescale.prediction.scores import AtScores, read_score_points

#: Probability of the intervals whose coverage of the fitted scores is counted.
INTERVAL = 0.9

#: Effective share of the draws from which on the weights, each a mean of those by which a draw was chosen, are taken for alike:
#: there is next to nothing that they would correct in shared parameters, and their tail says nothing.
ALIKE = 0.9

#: Standard deviations of a score at chance, above which a score is evidence of more.
ABOVE_CHANCE = 3.0

_SHOWN = 3


def review_scores(fit: CapabilityFit, at: At | AtScores | None, backtest: Backtest | None, thresholds: Thresholds) -> Review:
    """Judge a fit to scores; see :func:`bayescale.review`."""
    if isinstance(at, Runs):
        raise SpecError("expected points of a model of capability, got runs: name family, params, tokens and task")
    points = None if at is None else read_score_points(fit, at)
    findings = list(convergence_of(fit))
    if fit.convergence.faults:
        said = "not assessed: it reads draws, and the chains do not agree"
        findings += [Finding(name, Status.NOT_ASSESSED, said) for name in ("approximation", "posterior predictive")]
    else:
        findings += [*_approximation(fit, thresholds), _fitted_scores(fit, thresholds)]
    findings += [*_table(fit), *_extrapolation(fit, points, thresholds), *_families(fit, points), *_signal(fit, points)]
    findings += check_backtest(backtest, model=fit.model)
    if backtest is not None and points is not None:
        findings += check_reach(backtest, fit.data.table, points)
    return Review(tuple(findings))


def _approximation(fit: CapabilityFit, lines: Thresholds) -> Iterator[Finding]:
    """Pareto k of the weights that would correct shared parameters for it, family by family :cite:p:`vehtari2024`."""
    name, ratios = "approximation", fit.latents["log_ratio"].transpose(CHAIN, DRAW, ...).to_numpy()
    found = [importance_weights(ratios[..., i]) for i in range(ratios.shape[-1])]
    k = np.array([worth for _, worth in found])
    shares = np.array([1 / (weights.size * np.sum(weights**2)) for weights, _ in found])
    k = np.where(shares < ALIKE, k, 0.0)
    order = np.argsort(-k)
    worst, families = float(k[order[0]]), fit.binding.families
    told = f"Pareto k at most {worst:.2f}, effective share of the draws at least {shares.min():.0%}"
    if worst <= lines.pareto_k:
        said = f"Laplace's approximation describes what models have of their own ({told})"
        yield Finding(name, Status.PASS, said, worst, lines.pareto_k)
        return
    bad = [families[i] for i in order if k[i] > lines.pareto_k]
    shown = ", ".join(bad[:_SHOWN]) + (" …" if len(bad) > _SHOWN else "")
    said = f"Laplace's approximation is poor for {len(bad)} of {len(families)} families ({shown}): {told}"
    advice = "Look at their scores: a model near floor or ceiling everywhere is told by few; forecasts of it are rough."
    yield Finding(name, Status.REVIEW, said, worst, lines.pareto_k, advice)


def _fitted_scores(fit: CapabilityFit, lines: Thresholds) -> Finding:
    """Whether the fitted scores lie in their intervals; that too many do is no fault where models have residuals."""
    name, tails = "posterior predictive", [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2]
    low, high = fit.tree["posterior_predictive"][ACCURACY].quantile(tails, dim=(CHAIN, DRAW)).to_numpy()
    seen = fit.tree["observed_data"][ACCURACY].to_numpy()
    inside = int(((seen >= low) & (seen <= high)).sum())
    few = float(stats.binom.cdf(inside, len(seen), INTERVAL))
    said = f"{inside} of {len(seen)} fitted scores lie in their {INTERVAL:.0%} intervals"
    if few >= lines.coverage_review:
        return Finding(name, Status.PASS, said, few, lines.coverage_review)
    failed = few < lines.coverage_fail
    said = f"the fit is too sure of itself: {said} (probability {few:.1g} if it were right)"
    advice = "Look for tasks or sources that do not belong together; another noise, or a factor more, may be needed."
    line = lines.coverage_fail if failed else lines.coverage_review
    return Finding(name, Status.FAIL if failed else Status.REVIEW, said, few, line, advice)


def _table(fit: CapabilityFit) -> Iterator[Finding]:
    """Tasks and families of which little is seen."""
    table, name = fit.data.table, "data"
    found = False
    counts = table.groupby("task")["model"].nunique()
    few = counts[counts < _SHOWN].index.astype(str).tolist()
    if few:
        found = True
        said = f"{len(few)} of {len(counts)} tasks have scores of fewer than {_SHOWN} models: {_some(few)}"
        advice = "What is said of them comes from the priors and from the tasks that they are taken to be like."
        yield Finding(name, Status.REVIEW, said, float(len(few)), 0.0, advice)
    if (families := table["family"].nunique()) < _SHOWN:
        found = True
        said = f"{families} {'families' if families > 1 else 'family'}: how families differ is told by the prior alone"
        advice = "An unseen family is forecast from that spread: add scores of others."
        yield Finding(name, Status.REVIEW, said, float(families), float(_SHOWN), advice)
    if not found:
        yield Finding(name, Status.PASS, f"{repr(fit.data)[6:-1]}, every task seen in {_SHOWN} models or more")


def _extrapolation(fit: CapabilityFit, at: pd.DataFrame | None, lines: Thresholds) -> Iterator[Finding]:
    """By which factor the points lie beyond the fitted models of their family, and of any."""
    name = "extrapolation"
    if at is None:
        said = "no points to forecast were given, so how far they are from the fitted models is not known"
        yield Finding(name, Status.NOT_ASSESSED, said, advice="review(fit, at) takes them.")
        return
    models = fit.data.table.drop_duplicates("model")
    same = at["family"].to_numpy(object)[:, None] == models["family"].to_numpy(object)[None, :]
    own, overall = [], []
    for column in ("flops",) if fit.model.covariates == "compute" else ("flops", "params", "tokens"):
        runs, asked = models[column].to_numpy(np.float64), at[column].to_numpy(np.float64)
        known = np.isfinite(runs)
        if not known.any() or not np.isfinite(asked).any():
            continue
        seen = {column: runs[known]}
        # A point of unknown scale is drawn about the middle of them all: it is no extrapolation.
        points = {column: np.where(np.isfinite(asked), asked, np.exp(np.log(runs[known]).mean()))}
        members = same[:, known]
        members = members | ~members.any(axis=1, keepdims=True) | ~np.isfinite(asked)[:, None]
        own.append(farthest(seen, points, members))
        overall.append(farthest(seen, points, np.ones_like(members)))
    if not own:
        said = "the points say neither size nor data nor compute, so how far they are from the fitted models is not known"
        yield Finding(name, Status.NOT_ASSESSED, said, advice="Name params, tokens or flops.")
        return
    most = max(own, key=lambda d: d.factor)
    beyond = max(overall, key=lambda d: d.factor)
    yield from judge_distance(most, None if beyond.factor >= most.factor else beyond, lines)


def _families(fit: CapabilityFit, at: pd.DataFrame | None) -> Iterator[Finding]:
    """Whether the families of the points were fitted."""
    if at is None:
        return
    new = ~at["family"].isin(fit.binding.families)
    if not new.any():
        yield Finding("groups", Status.PASS, "the families of every point were fitted", 0.0, 0.0)
        return
    labels = [label or "no label" for label in dict.fromkeys(at.loc[new, "family"])]
    said = f"unseen family in {int(new.sum())} of {len(at)} points ({_some(labels)}): drawn from the population"
    advice = "Scores of a model or two of it would narrow the forecast."
    yield Finding("groups", Status.REVIEW, said, float(new.sum()), 0.0, advice)


def _signal(fit: CapabilityFit, at: pd.DataFrame | None) -> Iterator[Finding]:
    """Whether any fitted model is above chance on the tasks of the points: else what they forecast was never seen to move."""
    if at is None:
        return
    name, table = "signal", fit.data.table
    shared = fit.posterior[["sigma", "floor"]].median((CHAIN, DRAW))
    found = False
    for task in dict.fromkeys(at["task"]):
        rows = table[table["task"] == task]
        chance = float(shared["floor"].sel(task=task))
        binomial = (chance * (1 - chance) / rows["n_items"]).fillna(0.0)
        above = (rows[ACCURACY] - chance) / np.sqrt(binomial + float(shared["sigma"]) ** 2)
        if (most := float(above.max())) < ABOVE_CHANCE:
            found = True
            said = (
                f"no fitted model is above chance on {task}: the best of {len(rows)} scores is {rows[ACCURACY].max():.3g} "
                f"({most:.1f} standard deviations above {chance:.3g})"
            )
            advice = (
                "Where it rises is told by the priors and by other tasks alone: a score of one abler model would tell more."
            )
            yield Finding(name, Status.REVIEW, said, most, ABOVE_CHANCE, advice)
    if not found:
        yield Finding(name, Status.PASS, "fitted models are above chance on every task that is asked for")


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (" …" if len(labels) > _SHOWN else "")

"""Checks of an ensemble: what its weights rest on, whether its members agree, and whether their average was calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bayescale.core.errors import SpecError, unknown
from bayescale.core.findings import Finding, Status
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.decision.backtest_checks import NAME, check_coverage, check_fits, check_model, check_reach
from bayescale.decision.subject import Subject
from bayescale.decision.thresholds import Thresholds
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.mixture import score_mixture, together
from bayescale.evaluate.stacking import STACKED
from bayescale.infer.ensemble import Ensemble
from bayescale.prediction.mixing import MEMBER, source
from bayescale.prediction.points import At, Fitted
from bayescale.prediction.predict import predict

#: A member of less weight cannot move either end of a 90 % interval by itself.
HEARD = 0.05

#: Where the width of a member's own forecast is taken.
ENDS = (0.05, 0.95)


def by_member(found: Mapping[str, Sequence[Finding]]) -> Iterator[Finding]:
    """Findings with the name of their member; once and without it, where they are the same of every member."""
    told: list[Finding] = []
    for name, findings in found.items():
        for finding in findings:
            if any(finding not in others for others in found.values()):
                yield replace(finding, message=f"{name}: {finding.message}")
            elif finding not in told:
                told.append(finding)
                yield finding


def weights(ensemble: Ensemble) -> Iterator[Finding]:
    """The weights, and whether held-out larger runs speak for them."""
    name = "weights"
    order = sorted(ensemble.weights, key=lambda member: -ensemble.weights[member])
    said = "weights: " + ", ".join(f"{member} {ensemble.weights[member]:.2f}" for member in order)
    if STACKED not in ensemble.evidence.index:
        said = f"{said}; they were stated, not found"
        advice = "stack(candidates, data) finds weights from forecasts of held-out larger runs."
        yield Finding(name, Status.NOT_ASSESSED, said, advice=advice)
        return
    status = Status.REVIEW if ensemble.advice else Status.PASS
    told = "; ".join([said, *ensemble.advice])
    # What an average scored on held-out runs that had no part in choosing it, less the best of its candidates.
    row = ensemble.evidence.loc[STACKED].to_dict()
    advice = "ensemble.evidence shows what each candidate, their average and the choice of one scored."
    yield Finding(name, status, told, row["difference"], -row["difference_se"], advice if ensemble.advice else "")


def disagreement(asked: Fitted, at: At | None, lines: Thresholds) -> Iterator[Finding]:
    """How far apart the medians of the members' forecasts lie, in widths of their own 90 % intervals."""
    name, line, whole = "disagreement", lines.disagreement, source(asked)
    assert isinstance(whole, Ensemble), "a fit has no members"
    heard = [member for member, weight in whole.weights.items() if weight >= HEARD]
    if at is None:
        yield Finding(name, Status.NOT_ASSESSED, "no points to forecast were given", advice="review(ensemble, at) takes them.")
        return
    if len(heard) < 2:
        yield Finding(name, Status.PASS, f"one member makes the forecast: {', '.join(heard)}", 0.0, line)
        return
    drawn = predict(asked, at)
    values = drawn[whole.response].transpose(CHAIN, DRAW, POINT).to_numpy()
    own = [values[drawn[MEMBER].to_numpy() == member] for member in heard]
    medians = np.stack([np.median(draws, axis=0) for draws in own])
    widths = np.stack([np.subtract(*np.quantile(draws, ENDS[::-1], axis=0)) for draws in own])
    width = np.average(widths, axis=0, weights=[whole.weights[member] for member in heard])
    apart = medians.max(axis=0) - medians.min(axis=0)
    if not np.isfinite([apart, width]).all():
        yield Finding(name, Status.NOT_ASSESSED, "the members' forecasts are not finite")
        return
    with np.errstate(divide="ignore", invalid="ignore"):  # forecasts without any width, alike or not
        ratio = np.nan_to_num(apart / width, nan=0.0, posinf=np.finfo(np.float64).max)
    worst = int(ratio.argmax())
    low, high = (heard[int(pick(medians[:, worst]))] for pick in (np.argmin, np.argmax))
    ends = f"{medians[:, worst].min():.4g} ({low}) to {medians[:, worst].max():.4g} ({high})"
    said = (
        f"at point {worst} their median {whole.response} lies from {ends}, {ratio[worst]:.2g} times the width of their own "
        f"90 % intervals ({width[worst]:.2g})"
    )
    if ratio[worst] <= line:
        yield Finding(name, Status.PASS, f"the members agree: {said}", float(ratio[worst]), line)
        return
    advice = (
        "The average is of unlike forecasts, and its middle may be what none of them says: look at each (ensemble.fits), at "
        "ensemble.evidence, and at stack(..., pick=True)."
    )
    yield Finding(name, Status.REVIEW, f"the members disagree: {said}", float(ratio[worst]), line, advice)


def backtests_of(ensemble: Ensemble, given: object, names: Sequence[str]) -> dict[str, Backtest]:
    """The backtests of the members of those names; one alone is that of the members with its model.

    Raises
    ------
    SpecError
        When it is none, or of no member.
    """
    if given is None:
        return {}
    if isinstance(given, Backtest):
        found = {name: given for name in names if ensemble.fits[name].model == given.model}
        if not found:
            said = f"backtest: it is of {given.name}, and of the model of no member ({', '.join(names)})"
            raise SpecError(f"{said}: give one of each, {{name: backtest(fit.model, data)}}")
        return found
    if not isinstance(given, Mapping):
        raise SpecError(f"backtest: expected what backtest(...) returns, or one of each member, got {type(given).__name__}")
    faults = [unknown("member", str(name), ensemble.fits) for name in given if name not in ensemble.fits]
    faults += [f"that of {name!r} is a {type(one).__name__}" for name, one in given.items() if not isinstance(one, Backtest)]
    if faults:
        raise SpecError("backtest: " + "; ".join(faults))
    return {name: given[name] for name in names if name in given}


def average_calibration(
    ensemble: Ensemble, members: Mapping[str, Subject], backtests: Mapping[str, Backtest]
) -> Iterator[Finding]:
    """Coverage of the members' average where each has a backtest; else of those that have one, and the average not assessed."""
    if not backtests:
        advice = "Backtest every member, on one table: {name: backtest(fit.model, data)}."
        yield Finding(NAME, Status.NOT_ASSESSED, "not assessed, since no backtest was given", advice=advice)
        return
    lacking = [name for name in members if name not in backtests]
    if lacking:
        said = f"that of the average is not assessed, since there is no backtest of {', '.join(lacking)}"
        yield Finding(NAME, Status.NOT_ASSESSED, said, advice="Backtest every member: {name: backtest(fit.model, data)}.")
    else:
        found = together({name: backtests[name] for name in members})
        share = np.array([ensemble.weights[name] for name in members])
        covered = float(score_mixture(found, share / share.sum())["covered"].mean())
        yield check_coverage(next(iter(backtests.values())), covered)
    findings: dict[str, list[Finding]] = {}
    for name, one in backtests.items():
        subject = members[name]
        own = [check_coverage(one)] if lacking else []
        findings[name] = [*own, *check_fits(one), *check_model(one, subject.fit.model)]
        if subject.at is not None:
            findings[name] += check_reach(one, subject.fit.data.table, subject.at)
    yield from by_member(findings)

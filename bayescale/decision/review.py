"""``review``: everything that bears on whether a fit, and a forecast from it, is to be relied on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bayescale.core.errors import SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.data.evals import Evals
from bayescale.decision.backtest_checks import check_backtest, check_reach
from bayescale.decision.ensemble_checks import average_calibration, backtests_of, by_member, disagreement, weights
from bayescale.decision.fit_checks import convergence, data, influence, posterior_predictive
from bayescale.decision.forecast_checks import extrapolation, groups
from bayescale.decision.prior_checks import priors
from bayescale.decision.score_checks import review_scores
from bayescale.decision.subject import Check, Subject
from bayescale.decision.thresholds import Thresholds
from bayescale.evaluate.backtest_result import Backtest
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.prediction.mixing import Answers, Labels, answers, source
from bayescale.prediction.points import At, Fitted, columns_to_forecast, read_points
from bayescale.prediction.scores import AtScores


@dataclass(frozen=True)
class Entry:
    """A check as it is registered.

    Parameters
    ----------
    name : str
        What it looks at.
    run : callable
        Gives findings about a subject.
    draws : bool
        It reads draws, which say nothing where the chains do not agree.
    """

    name: str
    run: Check
    draws: bool = True


def _calibration(subject: Subject) -> Iterator[Finding]:
    """Evidence that was not supplied is no pass; it does not block either."""
    yield from check_backtest(subject.backtest, model=subject.fit.model)
    if subject.backtest is not None and subject.at is not None:
        yield from check_reach(subject.backtest, subject.fit.data.table, subject.at)


#: Every check of a fit, in the order in which they are made.
CHECKS = (
    Entry("convergence", convergence, draws=False),
    Entry("data", data, draws=False),
    Entry("posterior predictive", posterior_predictive),
    Entry("influence", influence),
    Entry("priors", priors),
    Entry("extrapolation", extrapolation, draws=False),
    Entry("groups", groups, draws=False),
    Entry("calibration", _calibration, draws=False),
)


def review(
    fit: Fitted | CapabilityFit,
    at: At | AtScores | None = None,
    backtest: Backtest | Mapping[str, Backtest] | None = None,
    *,
    thresholds: Thresholds | None = None,
) -> Review:
    """Judge a fit, or several with weights, and the forecast of some points from it.

    Checked, in this order: whether the chains agree; what is worrying about the table; whether the fitted runs look like
    runs that the fit would make (coverage of their intervals, largest residual); single runs that decide the fit (Pareto k of
    PSIS-LOO); how far the priors move the answer, and whether priors from the literature change it; how far the points lie
    beyond the fitted runs, and whether their groups were seen. Where the chains do not agree, checks that read draws are not
    assessed. Of a fit to scores: whether the chains agree; whether what models have of their own is well described by Laplace's
    approximation; whether the fitted scores look like scores that the fit would make; whether any fitted model is above chance
    on the tasks that are asked for; how far the points lie beyond the fitted models, and whether their families were seen.
    Of an ensemble: the same of each member that has a draw, under its name (what is found of all of them alike is told once);
    what its weights rest on, and whether averaging hurt on held-out runs; whether the members disagree at the points.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one, or CapabilityFit
    at : DataFrame or dict, optional
        Points to forecast, as of :func:`predict`. Without them what depends on them is not assessed.
    backtest : Backtest, or mapping of name to Backtest, optional
        Whether intervals of this model covered what came (:func:`backtest`). Without it calibration is not assessed, and the
        review says so. Of an ensemble, one of each member, on the same runs and cut-offs: the coverage of their average is
        judged.
    thresholds : Thresholds, optional
        Lines to hold the numbers against.

    Returns
    -------
    Review
        Findings with value, threshold, message and advice.

    Raises
    ------
    DataError
        When ``at`` cannot be read.
    SpecError
        When ``fit`` or ``backtest`` is none.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> found = bs.review(fitted, {"params": 7e10})
    >>> [f.message for f in found if f.check == "extrapolation"]
    ['the forecast extrapolates: params of point 0 (7e+10) is 25 times the largest fitted (2.8e+09)']
    """
    lines = thresholds or Thresholds()
    if isinstance(fit, CapabilityFit):
        return review_scores(fit, at, _one(backtest), lines)
    if isinstance(at, Evals):
        raise SpecError("expected points of a law, got scores (Evals): a fit of a CapabilityModel takes those")
    whole = source(fit)
    if isinstance(whole, Fit):
        subject = _subjects(fit, at, _one(backtest), lines).first
        return Review(tuple(finding for entry in CHECKS for finding in _found(entry, subject)))
    members = _subjects(fit, at, None, lines).of
    tested = backtests_of(whole, backtest, list(members))
    # Calibration is asked of the average, not of its parts.
    parts = [entry for entry in CHECKS if entry.run is not _calibration]
    return Review(
        (
            *(f for entry in parts for f in by_member({name: _found(entry, one) for name, one in members.items()})),
            *weights(whole),
            *disagreement(fit, at, lines),
            *average_calibration(whole, members, tested),
        )
    )


def _one(backtest: object) -> Backtest | None:
    if backtest is not None and not isinstance(backtest, Backtest):
        raise SpecError(f"backtest: expected what backtest(...) returns, got {type(backtest).__name__}")
    return backtest


def _subjects(asked: Fitted, at: At | None, backtest: Backtest | None, lines: Thresholds) -> Answers[Subject]:
    """What is judged: a fit, or each member of an ensemble that has a draw."""

    def subject(fitted: Fit, labels: Labels) -> Subject:
        points = None if at is None else read_points(fitted, at, labels, columns_to_forecast(fitted))
        return Subject(fitted, points, lines, backtest)

    return answers(asked, 0, subject)


def _found(entry: Entry, subject: Subject) -> list[Finding]:
    if entry.draws and subject.fit.convergence.faults:
        said = "not assessed: it reads draws, and the chains do not agree"
        return [Finding(entry.name, Status.NOT_ASSESSED, said)]
    return list(entry.run(subject))

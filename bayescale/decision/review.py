"""``review``: everything that bears on whether a fit, and a forecast from it, is to be relied on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bayescale.core.errors import SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.data.evals import Evals
from bayescale.decision.backtest_checks import check_backtest, check_reach
from bayescale.decision.fit_checks import convergence, data, influence, posterior_predictive
from bayescale.decision.forecast_checks import extrapolation, groups
from bayescale.decision.prior_checks import priors
from bayescale.decision.score_checks import review_scores
from bayescale.decision.subject import Check, Subject
from bayescale.decision.thresholds import Thresholds
from bayescale.evaluate.backtest_result import Backtest
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.prediction.points import At, Fitted, columns_to_forecast, read_points, unpack
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
    backtest: Backtest | None = None,
    *,
    thresholds: Thresholds | None = None,
) -> Review:
    """Judge a fit, and the forecast of some points from it.

    Checked, in this order: whether the chains agree; what is worrying about the table; whether the fitted runs look like
    runs that the fit would make (coverage of their intervals, largest residual); single runs that decide the fit (Pareto k of
    PSIS-LOO); how far the priors move the answer, and whether priors from the literature change it; how far the points lie
    beyond the fitted runs, and whether their groups were seen. Where the chains do not agree, checks that read draws are not
    assessed. Of a fit to scores: whether the chains agree; whether what models have of their own is well described by Laplace's
    approximation; whether the fitted scores look like scores that the fit would make; whether any fitted model is above chance
    on the tasks that are asked for; how far the points lie beyond the fitted models, and whether their families were seen.

    Parameters
    ----------
    fit : Fit or Selection, or CapabilityFit
    at : DataFrame or dict, optional
        Points to forecast, as of :func:`predict`. Without them what depends on them is not assessed.
    backtest : Backtest, optional
        Whether intervals of this model covered what came (:func:`backtest`). Without it calibration is not assessed, and the
        review says so.
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
    if backtest is not None and not isinstance(backtest, Backtest):
        raise SpecError(f"backtest: expected what backtest(...) returns, got {type(backtest).__name__}")
    if isinstance(fit, CapabilityFit):
        return review_scores(fit, at, backtest, thresholds or Thresholds())
    if isinstance(at, Evals):
        raise SpecError("expected points of a law, got scores (Evals): a fit of a CapabilityModel takes those")
    fitted, labels = unpack(fit)
    points = None if at is None else read_points(fitted, at, labels, columns_to_forecast(fitted))
    subject = Subject(fitted, points, thresholds or Thresholds(), backtest)
    agreed = not fitted.convergence.faults
    findings: list[Finding] = []
    for entry in CHECKS:
        if agreed or not entry.draws:
            findings += entry.run(subject)
        else:
            said = "not assessed: it reads draws, and the chains do not agree"
            findings.append(Finding(entry.name, Status.NOT_ASSESSED, said))
    return Review(tuple(findings))

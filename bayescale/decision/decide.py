"""``decide``: GO, NO_GO or HOLD, with the probability and the findings behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.core.names import GO, HOLD, NO_GO
from bayescale.core.targets import Target
from bayescale.decision.checks import TABLE_CHECKS
from bayescale.decision.meeting import Meeting, meeting
from bayescale.decision.rules import AllOf, Line, Threshold, as_threshold, read_targets, said
from bayescale.decision.utility import Utility, worth

#: A decision stands when what it rests on is so many Monte Carlo errors away from the line.
ERRORS = 2.0


@dataclass(frozen=True, repr=False)
class Decision:
    """A verdict with its reasons.

    Parameters
    ----------
    verdict : {"GO", "NO_GO", "HOLD"}
    probability : float
        Posterior predictive probability that the target is met (all targets, where there are several). Under a
        :class:`Utility` without a target: that GO is worth more than NO_GO.
    mcse : float
        Monte Carlo standard error of ``probability``.
    rule : Threshold, AllOf or Utility
        What was asked.
    findings : tuple of Finding
        Those of the review, PASS ones included.
    reasons : tuple of str
        Why the verdict is what it is, in sentences.
    utility, utility_mcse : float, optional
        Under a :class:`Utility`, what GO is worth more than NO_GO in expectation, and the Monte Carlo error of that.
    break_even : float, optional
        Under a :class:`Utility` with a target, the probability of meeting it from which on GO pays.
    """

    verdict: str
    probability: float
    mcse: float
    rule: Threshold | AllOf | Utility
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    utility: float | None = None
    utility_mcse: float | None = None
    break_even: float | None = None

    @property
    def headline(self) -> str:
        """Verdict, probability and line in one sentence."""
        if isinstance(self.rule, Utility):
            unit = f" {self.rule.unit}" if self.rule.unit else ""
            found = f"{self.utility:.4g}{unit} ± {self.utility_mcse:.2g} (Monte Carlo error)"
            return f"{self.verdict}: expected utility of GO less that of NO_GO = {found}; GO from 0"
        goal = said(self.rule.target) if isinstance(self.rule, Threshold) else self.rule.target
        found = f"P({goal}) = {self.probability:.4g} ± {self.mcse:.2g} (Monte Carlo error)"
        return f"{self.verdict}: {found}; GO from {self.rule.probability:.6g}"

    @property
    def line(self) -> Line:
        """The target of a decision about one, which figures and pages show on an axis, and the probability for GO.

        It has ``target``, ``response``, ``op``, ``value`` and ``probability``, which of a :class:`Utility` is where it breaks
        even, and may then lie outside 0 to 1.

        Raises
        ------
        SpecError
            When the decision is about several targets, or none.
        """
        target = only_target(self.rule)
        asked = self.break_even if isinstance(self.rule, Utility) else self.rule.probability
        assert asked is not None, "a utility with a target breaks even somewhere"
        return Line(target, asked)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that are no PASS."""
        return tuple(f for f in self.findings if f.status is not Status.PASS)

    def __str__(self) -> str:
        lines = [self.headline, *(f"  - {reason}" for reason in self.reasons)]
        lines += [f"  {f.status:<12} {f.check}: {f.message}" for f in self.open_findings]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        found = Review(self.open_findings)._repr_html_() if self.open_findings else ""
        return f"<p><b>{escape(self.headline)}</b></p><ul>{reasons}</ul>{found}"


def decide(
    draws: xr.Dataset, rule: str | Sequence[str] | Threshold | AllOf | Utility, review: Review | None = None
) -> Decision:
    """Whether a target is met with the probability that is asked for.

    GO when P(target met) is at least two Monte Carlo errors above the rule's probability, NO_GO when it is as far below,
    HOLD between. HOLD too when the review fails; and where the draws say GO but no review of the fit was given, since
    the probability is worth what the fit is worth. A calibration that was not assessed is told and does not block. Under a
    :class:`Utility` the same holds of the expected utility of GO less that of NO_GO, and the line is 0.

    Parameters
    ----------
    draws : Dataset
        Draws of :func:`predict` of ``kind="response"``, dims (chain, draw, point). Several points: all must meet the target
        in the same draw. For targets of several responses, one variable each, as of :func:`join_draws`.
    rule : Threshold, AllOf, Utility or str
        The target; text (``"loss<=2.0"``, or a list of such) asks for a probability of 0.9.
    review : Review, optional
        What :func:`review` found about the fit.

    Returns
    -------
    Decision

    Raises
    ------
    SpecError
        When the draws are not of the rule's response.

    Notes
    -----
    The Monte Carlo error is that of the mean of the indicator "target met" :cite:p:`vehtari2021`. Where all S draws agree it
    would be 0, which is more than was learnt: no exception in S independent draws bounds the probability of one by 3/S with
    95 % confidence (the rule of three). So the error is then 1.5/S, two of which make that bound, with S the effective
    sample size of the draws.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import bayescale as bs
    >>> z = np.random.default_rng(0).normal(1.9, 0.02, (4, 500, 1))
    >>> draws = xr.Dataset({"loss": (("chain", "draw", "point"), z)})
    >>> fine = bs.Review((bs.Finding("convergence", bs.Status.PASS, "the chains agree"),))
    >>> decision = bs.decide(draws, bs.Threshold("loss", "<=", 2.0), fine)
    >>> decision.verdict, decision.probability
    ('GO', 1.0)
    >>> bs.decide(draws, "loss<=2.0").verdict
    'HOLD'
    """
    rule = as_rule(rule)
    if isinstance(rule, Utility):
        return _by_utility(draws, rule, review)
    found = meeting(draws, read_targets(rule))
    probability, mcse = found.probability, found.mcse
    line = f"{rule.probability:.6g}"
    verdict, why = _verdict(probability, mcse, rule.probability, f"the probability of {probability:.4g}", line, review)
    reasons = (why, *_told(found, draws), *_notes(review))
    return Decision(verdict, probability, mcse, rule, _findings(review), reasons)


def targets_of(rule: Threshold | AllOf | Utility) -> tuple[Target, ...]:
    """The targets of a rule; none of a utility that is a function of the draws."""
    return (rule.target or ()) if isinstance(rule, Utility) else read_targets(rule)


def only_target(rule: Threshold | AllOf | Utility) -> Target:
    """The target of a rule about one.

    Raises
    ------
    SpecError
        When it is about several, or none.
    """
    targets = targets_of(rule)
    if len(targets) != 1:
        what = "each target alone" if targets else "a utility with a target"
        raise SpecError(f"what is shown is one target on one axis, and this decision is about {rule}: decide about {what}")
    return targets[0]


def as_rule(rule: object) -> Threshold | AllOf | Utility:
    """A rule, or the one that a text, or a list of texts, stands for."""
    if isinstance(rule, AllOf | Utility):
        return rule
    if isinstance(rule, Sequence) and not isinstance(rule, str) and all(isinstance(one, str) for one in rule):
        return AllOf(rule)
    return as_threshold(rule)  # type: ignore[arg-type]  # which says what it expected


def _by_utility(draws: xr.Dataset, rule: Utility, review: Review | None) -> Decision:
    found = worth(draws, rule)
    unit = f" {rule.unit}" if rule.unit else ""
    worth_more = f"the expected utility of GO less that of NO_GO, {found.expected:.4g}{unit},"
    verdict, why = _verdict(found.expected, found.mcse, 0.0, worth_more, "0", review)
    reasons = [why]
    if found.met is not None:
        line = rule.break_even(found.cost)
        said_cost = f"the run costs {found.cost:.4g}{unit}"
        reasons.append(f"P({AllOf(rule.target).target}) = {found.probability:.4g}; {said_cost}, so GO pays from {line:.4g} on")
        reasons += _told(found.met, draws)
        if not 0 < line < 1:
            reasons.append("no probability of success changes that" if line > 0 else "GO pays whether the target is met or not")
    else:
        reasons.append(f"GO is worth more than NO_GO in {found.probability:.4g} of the draws")
    chance = found.probability, found.probability_mcse
    told = (*reasons, *_notes(review))
    even = rule.break_even(found.cost) if rule.target is not None else None
    return Decision(verdict, *chance, rule, _findings(review), told, found.expected, found.mcse, even)


def _told(found: Meeting, draws: xr.Dataset) -> list[str]:
    """What a reader of the probability must know of how it was counted."""
    reasons = []
    if found.points > 1:
        reasons.append(f"all {found.points} points must meet the target in the same draw (joint probability)")
    if len(found.worst) > 1:
        reasons.append(f"all {len(found.worst)} targets must be met in the same draw (joint probability)")
    if found.lost:
        reasons.append(f"{found.lost} of {found.met.size} draws are not finite: they count as missing the target")
    if draws.attrs.get("kind") == "mean":
        reasons.append("the draws are of the law's mean: a run scatters about it, which this probability leaves out")
    return reasons


def _findings(review: Review | None) -> tuple[Finding, ...]:
    return review.findings if review else ()


def _verdict(value: float, mcse: float, line: float, told: str, shown: str, review: Review | None) -> tuple[str, str]:
    """The verdict on a number that must lie above a line, and why."""
    margin = ERRORS * mcse
    if review is not None and review.status is Status.FAIL:
        failed = ", ".join(dict.fromkeys(f.check for f in review.only(Status.FAIL)))
        return HOLD, f"the review fails ({failed}), so the draws are not to be relied on"
    if value <= line - margin and value != line:
        return NO_GO, f"{told} is below {shown} by more than two Monte Carlo errors"
    if value < line + margin or value == line:
        return HOLD, f"{told} is within two Monte Carlo errors ({margin:.2g}) of {shown}: draw more, or move the line"
    above = f"{told} is above {shown} by more than two Monte Carlo errors"
    if review is None:
        return HOLD, f"{above}, but no review of the fit was given, and without one there is no GO"
    assessed = {f.check for f in review if f.status is not Status.NOT_ASSESSED}
    if not assessed:
        return HOLD, f"{above}, but the review assesses nothing, and what was not assessed is no pass"
    if assessed <= TABLE_CHECKS:
        return HOLD, f"{above}, but the review is a check of the table, not of the fit, and without that there is no GO"
    return GO, above


def _notes(review: Review | None) -> list[str]:
    """What of the review bears on the verdict without deciding it."""
    if review is None:
        return []
    notes = [f"{f.check}: not assessed" for f in review.only(Status.NOT_ASSESSED)]
    look = review.only(Status.REVIEW)
    if look:
        notes.append(
            f"{len(look)} finding{'s' * (len(look) > 1)} to look at: {', '.join(dict.fromkeys(f.check for f in look))}"
        )
    return notes

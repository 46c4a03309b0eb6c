"""``decide``: GO, NO_GO or HOLD, with the probability and the findings behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import numpy as np
import xarray as xr

from bayescale.core.errors import SpecError, unknown
from bayescale.core.findings import Finding, Review, Status
from bayescale.core.names import CHAIN, DRAW, GO, HOLD, NO_GO
from bayescale.decision.checks import TABLE_CHECKS
from bayescale.decision.rules import Threshold, as_threshold, said

#: A decision stands when the probability is so many Monte Carlo errors away from the line.
ERRORS = 2.0


@dataclass(frozen=True, repr=False)
class Decision:
    """A verdict with its reasons.

    Parameters
    ----------
    verdict : {"GO", "NO_GO", "HOLD"}
    probability : float
        Posterior predictive probability that the target is met.
    mcse : float
        Monte Carlo standard error of ``probability``.
    rule : Threshold
        What was asked.
    findings : tuple of Finding
        Those of the review, PASS ones included.
    reasons : tuple of str
        Why the verdict is what it is, in sentences.
    """

    verdict: str
    probability: float
    mcse: float
    rule: Threshold
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]

    @property
    def headline(self) -> str:
        """Verdict, probability and line in one sentence."""
        found = f"P({said(self.rule.target)}) = {self.probability:.4g} ± {self.mcse:.2g} (Monte Carlo error)"
        return f"{self.verdict}: {found}; GO from {self.rule.probability:.6g}"

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


def decide(draws: xr.Dataset, rule: str | Threshold, review: Review | None = None) -> Decision:
    """Whether a target is met with the probability that is asked for.

    GO when P(target met) is at least two Monte Carlo errors above the rule's probability, NO_GO when it is as far below,
    HOLD between. HOLD too when the review fails; and where the draws say GO but no review of the fit was given, since
    the probability is worth what the fit is worth. A calibration that was not assessed is told and does not block.

    Parameters
    ----------
    draws : Dataset
        Draws of :func:`predict` of ``kind="response"``, dims (chain, draw, point). Several points: all must meet the target
        in the same draw.
    rule : Threshold or str
        The target; text (``"loss<=2.0"``) asks for a probability of 0.9.
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
    rule = as_threshold(rule)
    values, points = _values(draws, rule)
    finite = np.isfinite(values).all(axis=-1)
    met = finite & rule.target.met(values).all(axis=-1)
    probability = float(met.mean())
    mcse = _mcse(met, values.max(axis=-1) if "<" in rule.op else values.min(axis=-1))
    reasons = []
    if points > 1:
        reasons.append(f"all {points} points must meet the target in the same draw (joint probability)")
    if not finite.all():
        reasons.append(f"{int((~finite).sum())} of {finite.size} draws are not finite: they count as missing the target")
    if draws.attrs.get("kind") == "mean":
        reasons.append("the draws are of the law's mean: a run scatters about it, which this probability leaves out")
    verdict, why = _verdict(probability, mcse, rule, review)
    return Decision(verdict, probability, mcse, rule, review.findings if review else (), (why, *reasons, *_notes(review)))


def _values(draws: xr.Dataset, rule: Threshold) -> tuple[np.ndarray, int]:
    """Draws (chain, draw, point) of the rule's response, and the number of points."""
    if not isinstance(draws, xr.Dataset):
        raise SpecError(f"draws are the Dataset that predict returns, got {type(draws).__name__}")
    names = [str(name) for name in draws.data_vars]
    if rule.response not in names:
        raise SpecError(f"the draws are not of the rule's response: {unknown('response', rule.response, names)}")
    response = draws[rule.response]
    lacking = [d for d in (CHAIN, DRAW) if d not in response.dims]
    if lacking:
        raise SpecError(f"the draws lack the dimension {' and '.join(lacking)}: expected those of predict, got {response.dims}")
    values = response.transpose(CHAIN, DRAW, ...).to_numpy()
    values = values.reshape(*values.shape[:2], -1).astype(float)
    if not values.size:
        raise SpecError("there is no draw or no point to decide about")
    return values, values.shape[-1]


def _mcse(met: np.ndarray, worst: np.ndarray) -> float:
    """Monte Carlo error of the mean of the indicator; of the worst point where all draws agree."""
    from arviz_stats.base import array_stats  # costs a second to import

    if met.any() and not met.all():
        error = float(array_stats.mcse(met.astype(float), chain_axis=0, draw_axis=1, method="mean"))
        if math.isfinite(error) and error > 0:
            return error
    size = float(array_stats.ess(worst, chain_axis=0, draw_axis=1, method="bulk")) if np.isfinite(worst).all() else math.nan
    return 1.5 / (min(size, met.size) if math.isfinite(size) else met.size)


def _verdict(probability: float, mcse: float, rule: Threshold, review: Review | None) -> tuple[str, str]:
    line, margin = rule.probability, ERRORS * mcse
    told = f"the probability of {probability:.4g}"
    if review is not None and review.status is Status.FAIL:
        failed = ", ".join(dict.fromkeys(f.check for f in review.only(Status.FAIL)))
        return HOLD, f"the review fails ({failed}), so the probability is not to be relied on"
    if probability <= line - margin:
        return NO_GO, f"{told} is below {line:.6g} by more than two Monte Carlo errors"
    if probability < line + margin:
        return HOLD, f"{told} is within two Monte Carlo errors ({margin:.2g}) of {line:.6g}: draw more, or move the line"
    above = f"{told} is above {line:.6g} by more than two Monte Carlo errors"
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

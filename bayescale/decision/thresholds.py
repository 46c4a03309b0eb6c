"""The lines that the checks of a fit hold its numbers against."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from bayescale.core.errors import SpecError


@dataclass(frozen=True)
class Thresholds:
    """Where a finding about a fit becomes a REVIEW or a FAIL; convergence has its own rule, which ``fit`` applies.

    Parameters
    ----------
    coverage_review, coverage_fail : float
        Binomial probability of so few fitted runs inside their posterior predictive intervals.
    tail_review : float
        Posterior predictive p-value of the largest standardised residual.
    pareto_k : float
        Pareto k of a left-out run, above which its importance weights are not to be trusted :cite:p:`vehtari2024`.
    sensitivity : float
        Distance that the forecast moves per doubling of the prior's weight :cite:p:`kallioinen2024`.
    literature_shift : float
        Posterior standard deviations by which literature priors may move an answer.
    extrapolation, far_extrapolation : float
        Factor beyond the fitted runs that is worth a look, and beyond which nothing that was seen speaks for the forecast.
    disagreement : float
        Distance between medians of an ensemble's members, in widths of their own 90 % intervals. Two normals of one width, in
        equal parts, have two peaks from two standard deviations on, which is 0.61 of that width.
    """

    coverage_review: float = 0.01
    coverage_fail: float = 1e-4
    tail_review: float = 0.01
    pareto_k: float = 0.7
    sensitivity: float = 0.05
    literature_shift: float = 0.3
    extrapolation: float = 3.0
    far_extrapolation: float = 30.0
    disagreement: float = 0.6

    def __post_init__(self) -> None:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        faults = [f"{name} is a positive number, got {v!r}" for name, v in values.items() if not _positive(v)]
        if not faults:
            probabilities = ("coverage_review", "coverage_fail", "tail_review")
            faults += [f"{name} is a probability below 1, got {values[name]}" for name in probabilities if values[name] >= 1]
            if self.coverage_fail > self.coverage_review:
                faults.append(f"coverage_fail ({self.coverage_fail}) is at most coverage_review ({self.coverage_review})")
            if not 1 <= self.extrapolation <= self.far_extrapolation:
                got = f"{self.extrapolation} and {self.far_extrapolation}"
                faults.append(f"1 <= extrapolation <= far_extrapolation is needed, got {got}")
        if faults:
            raise SpecError("thresholds: " + "; ".join(faults))


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0

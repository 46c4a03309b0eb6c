"""Rules of decision: what must hold, and how probably."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from bayescale.core.errors import SpecError
from bayescale.core.targets import Op, Target, make_target, parse_target


@dataclass(frozen=True)
class Threshold:
    """A target for a response, and the probability with which it must be met.

    Parameters
    ----------
    response : str
        Name of the response.
    op : {"<=", "<", ">=", ">"}
        Side of ``value`` on which the target lies.
    value : float
        The target, in the unit of the response.
    probability : float
        Probability from which on the decision is GO, and below which it is NO_GO. Between 0.5 and 1, both excluded: at a half
        or less a GO would be wrong as often as right, and no number of draws shows a probability of 1.

    Raises
    ------
    SpecError
        When one of them makes no sense.

    Examples
    --------
    >>> from bayescale import Threshold
    >>> print(Threshold("loss", "<=", 2.0))
    loss <= 2 with probability 0.9
    """

    response: str
    op: Op
    value: float
    probability: float = 0.9

    def __post_init__(self) -> None:
        if not (isinstance(self.response, str) and self.response.strip()):
            raise SpecError(f"the response of a threshold is the name of a column, got {self.response!r}")
        object.__setattr__(self, "value", make_target(self.response, self.op, self.value).value)
        number = isinstance(self.probability, Real) and not isinstance(self.probability, bool)
        if not (number and 0.5 < self.probability < 1):
            raise SpecError(
                f"the probability of a threshold lies between 0.5 and 1, both excluded, got {self.probability!r}: at a half or "
                "less a GO would be wrong as often as right, and no number of draws shows a probability of 1"
            )

    @property
    def target(self) -> Target:
        """The target alone."""
        return make_target(self.response, self.op, self.value)

    def __str__(self) -> str:
        return f"{said(self.target)} with probability {self.probability:.6g}"


def said(target: Target) -> str:
    """A target as it is read, ``"loss <= 2"``."""
    return f"{target.response} {target.op} {target.value:.6g}"


def as_threshold(target: str | Threshold, probability: float = 0.9) -> Threshold:
    """A target as a :class:`Threshold`.

    Parameters
    ----------
    target : str or Threshold
        ``"loss<=2.0"``, or a threshold, which is returned as it is.
    probability : float
        Probability of a target that is given as text.
    """
    if isinstance(target, Threshold):
        return target
    if not isinstance(target, str):
        raise SpecError(f"a target is text such as 'loss<=2.0' or a Threshold, got {type(target).__name__}")
    return Threshold(*parse_target(target), probability)

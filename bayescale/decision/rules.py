"""Rules of decision: what must hold, and how probably."""

from __future__ import annotations

from collections.abc import Sequence
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
        _check_probability(self.probability, "a threshold")

    @property
    def target(self) -> Target:
        """The target alone."""
        return make_target(self.response, self.op, self.value)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The target, as the only one."""
        return (self.target,)

    def __str__(self) -> str:
        return f"{said(self.target)} with probability {self.probability:.6g}"


@dataclass(frozen=True)
class Line:
    """A target and the probability from which on a decision is GO, which for a :class:`Utility` is where it breaks even.

    Parameters
    ----------
    target : Target
    probability : float
        Any number: where a utility says GO whatever is met it is 0 or below, where it never does above 1.
    """

    target: Target
    probability: float

    @property
    def response(self) -> str:
        """Name of the response."""
        return self.target.response

    @property
    def op(self) -> Op:
        """Side of ``value`` on which the target lies."""
        return self.target.op

    @property
    def value(self) -> float:
        """The target, in the unit of the response."""
        return self.target.value


@dataclass(frozen=True)
class AllOf:
    """Several targets that must all be met at once, and the probability of that.

    Parameters
    ----------
    targets : sequence of str
        ``["loss<=2.0", "accuracy>=0.7"]``. All must be met in the same draw, so what the responses have in common counts:
        the probability is not the product of theirs.
    probability : float
        Of all together, as of :class:`Threshold`.

    Raises
    ------
    SpecError
        When a target makes no sense, or they contradict one another (``loss<=2`` and ``loss>=3``).

    Examples
    --------
    >>> from bayescale import AllOf
    >>> print(AllOf(["loss<=2.0", "accuracy>=0.7"], probability=0.8))
    loss <= 2 and accuracy >= 0.7 with probability 0.8
    """

    targets: Sequence[str | Target]
    probability: float = 0.9

    def __post_init__(self) -> None:
        given = self.targets
        if isinstance(given, str | Target | Threshold) or not isinstance(given, Sequence) or not given:
            raise SpecError(f"targets is a list such as ['loss<=2.0', 'accuracy>=0.7'], got {given!r}")
        object.__setattr__(self, "targets", _agreeing(tuple(_read_target(one) for one in given)))
        _check_probability(self.probability, "several targets")

    @property
    def target(self) -> str:
        """The targets as they are read."""
        return " and ".join(said(target) for target in read_targets(self))

    def __str__(self) -> str:
        return f"{self.target} with probability {self.probability:.6g}"


def read_targets(rule: Threshold | AllOf) -> tuple[Target, ...]:
    """The targets of a rule."""
    return tuple(_read_target(one) for one in rule.targets)


def _read_target(given: object) -> Target:
    if isinstance(given, Target):
        return make_target(*given)
    if isinstance(given, Threshold):
        raise SpecError(f"a target among several has no probability of its own: write {str(given.target)!r}")
    if not isinstance(given, str):
        raise SpecError(f"a target is text such as 'loss<=2.0', got {type(given).__name__}")
    return parse_target(given)


def _agreeing(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """The targets, where there are responses that meet them all."""
    for response in dict.fromkeys(t.response for t in targets):
        ours = [t for t in targets if t.response == response]
        lowest = max((t for t in ours if ">" in t.op), key=lambda t: t.value, default=None)
        highest = min((t for t in ours if "<" in t.op), key=lambda t: t.value, default=None)
        if lowest is not None and highest is not None and lowest.value >= highest.value:
            raise SpecError(f"the targets {said(highest)} and {said(lowest)} contradict each other: no {response} meets both")
    return targets


def _check_probability(probability: object, of: str) -> None:
    if not (isinstance(probability, Real) and not isinstance(probability, bool) and 0.5 < float(probability) < 1):
        raise SpecError(
            f"the probability of {of} lies between 0.5 and 1, both excluded, got {probability!r}: at a half or "
            "less a GO would be wrong as often as right, and no number of draws shows a probability of 1"
        )


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

"""What a forecast is held against: ``loss<=2.0``."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bayescale.core.errors import SpecError

Op = Literal["<=", "<", ">=", ">"]

#: How a target is written, for errors and help.
FORM = "RESPONSE OP NUMBER with OP one of <=, <, >=, >, as in 'loss<=2.0' or 'accuracy>=0.7'"

_PATTERN = re.compile(r"\s*(?P<response>[^\s<>=]+)\s*(?P<op><=|>=|<|>)\s*(?P<value>[^\s<>=]+)\s*")

#: Words of responses that are better when they are higher; others (loss, error, perplexity) are better lower.
_RISING = ("accuracy", "acc", "score", "reward", "elo", "bleu", "pass", "win", "f1", "auc", "correct", "success", "match")


class Target(NamedTuple):
    """``response op value``, e.g. ``("loss", "<=", 2.0)``; the value is in the unit of the response."""

    response: str
    op: Op
    value: float

    def __str__(self) -> str:
        return f"{self.response}{self.op}{self.value:g}"

    def met(self, response: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where values of the response, of any shape, meet the target."""
        compare = {"<=": np.less_equal, "<": np.less, ">=": np.greater_equal, ">": np.greater}
        return np.asarray(compare[self.op](response, self.value), dtype=np.bool_)


class Threshold(Protocol):
    """Anything that states a target in these three fields."""

    @property
    def response(self) -> str:
        """Name of the response."""

    @property
    def op(self) -> str:
        """Comparison."""

    @property
    def value(self) -> float:
        """Value to compare with."""


def parse_target(text: str) -> Target:
    """Read a target.

    Raises
    ------
    SpecError
        When the text is not of the form ``RESPONSE OP NUMBER``.

    Examples
    --------
    >>> parse_target("loss <= 2.0")
    Target(response='loss', op='<=', value=2.0)
    """
    found = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise SpecError(f"a target is {FORM}; got {text!r}")
    try:
        value = float(found["value"])
    except ValueError:
        raise SpecError(f"a target is {FORM}; {found['value']!r} in {text!r} is no number") from None
    return make_target(found["response"], found["op"], value)


def make_target(response: str, op: str, value: Any) -> Target:
    """A target of three parts, checked.

    Raises
    ------
    SpecError
        When the comparison is unknown or the value is not finite.
    """
    ops: dict[str, Op] = {"<=": "<=", "<": "<", ">=": ">=", ">": ">"}
    if op not in ops:
        raise SpecError(f"a target is {FORM}; got the comparison {op!r}")
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise SpecError(f"a target is {FORM}; the value must be a finite number, got {value!r}")
    return Target(response, ops[op], float(value))


def as_target(target: str | float | Target | Threshold, response: str) -> Target:
    """The target of a text, a number or a rule, for that response.

    A number alone is the level to reach: at most so much of a loss, at least so much of an accuracy.

    Raises
    ------
    SpecError
        When it is none of these, or speaks of another response.
    """
    if isinstance(target, int | float | np.number):
        return make_target(response, ">=" if higher_is_better(response) else "<=", target)
    if isinstance(target, str):
        found = parse_target(target)
    elif all(hasattr(target, name) for name in ("response", "op", "value")):
        found = make_target(target.response, target.op, target.value)
    else:
        raise SpecError(f"a target is {FORM}, a number or a Threshold; got {type(target).__name__}")
    if found.response != response:
        raise SpecError(f"the target {found} speaks of {found.response!r}, but the response of the fit is {response!r}")
    return found


def higher_is_better(response: str) -> bool:
    """Whether a response is better when it is higher, told by its name.

    Examples
    --------
    >>> higher_is_better("loss"), higher_is_better("task_accuracy")
    (False, True)
    """
    words = re.split(r"[^a-z0-9]+", response.lower())
    return any(word in _RISING for word in words)

"""Laws of a task in the loss of the model: the second of two stages, whose first is a law of the loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bayescale.laws.base import law
from bayescale.laws.param import Param

#: An error is held to this at least: the exponential has no floor of its own.
LEAST_ERROR = 1e-3


@law(
    cite="gadre2024",
    response="error",
    eps=Param.fraction(0.8, 0.8, doc="error of a model of high loss, near that of guessing"),
    gain=Param.fraction(0.2, 1.0, doc="error that the reference model has less"),
    gamma=Param.positive(2.3, 0.6, doc="how fast the gain grows as the loss falls, a unit of the reference loss"),
)
def downstream_error_exp(loss: Any, *, eps: Any, gain: Any, gamma: Any) -> Any:
    """Error on downstream tasks from the loss on text.

    ``Err(L) = eps - k exp(-gamma L)`` :cite:p:`gadre2024`, stated at the reference loss ``L0``, the geometric mean of the
    fitted rows: ``eps - gain exp(-gamma (L / L0 - 1))``. All dimensionless; the paper's ``gamma`` is ``gamma / L0``, a nat, its
    ``k`` is ``gain exp(gamma)``. The error is held at 0.001 at least, which the exponential would pass far below the
    fitted losses.
    """
    return jnp.maximum(eps - gain * jnp.exp(-gamma * (loss - 1)), LEAST_ERROR)


@law(
    cite="bhagia2024",
    response="accuracy",
    floor=Param.fraction(0.25, 1.5, doc="accuracy of a model of high loss, near that of guessing"),
    ceiling=Param.fraction(0.95, 1.0, doc="accuracy of a model of no loss; where it is below the floor, accuracy falls"),
    steepness=Param.positive(8.0, 0.8, doc="slope of the logit, a unit of the reference loss"),
    middle=Param.positive(0.9, 0.25, doc="loss half-way between floor and ceiling, as a ratio to the reference loss"),
)
def sigmoid_accuracy(loss: Any, *, floor: Any, ceiling: Any, steepness: Any, middle: Any) -> Any:
    """Accuracy on a task from a loss: of the text, or of the right answers.

    ``floor + (ceiling - floor) sigmoid(-steepness (L / L0 - middle))`` :cite:p:`bhagia2024`, ``L0`` the geometric mean of the
    fitted rows. All dimensionless. A known rate of guessing is said by ``priors={"floor": Param.fraction(0.25, 0.05)}``.
    """
    return floor + (ceiling - floor) * jax.nn.sigmoid(-steepness * (loss - middle))

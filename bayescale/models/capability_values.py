"""Logits and scores of draws, by NumPy: for forecasts, and for the fitted scores run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayescale.models.eval_noise import Cells, NoiseName, draw_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Scores that are drawn at once: what they are drawn from takes ten times the memory that they do.
_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class Asked:
    """What is asked of which task.

    Parameters
    ----------
    task, prompt, source : int array (point,)
        Index of the task; 1 + index of the way of prompting, and of the pair of task and source, 0 where it has no effect.
    per_item : float array (point,)
        1 over the number of items; 0 where it is not known.
    """

    task: Ints
    prompt: Ints
    source: Ints
    per_item: Floats


def logits(parameters: Mapping[str, Any], asked: Asked, capability: Floats, effect: Floats) -> Floats:
    """Logits of draws.

    Parameters
    ----------
    parameters : mapping of name to array (draw, ...)
        As the posterior names them.
    capability : array (draw, point, factor)
    effect : array (draw, point)
        Effect of the family on the task.

    Returns
    -------
    array (draw, point)
    """
    slopes, out = parameters["loading"][:, asked.task], parameters["intercept"][:, asked.task] + effect
    if "prompt_intercept" in parameters:
        out = out + _padded(parameters["prompt_intercept"])[:, asked.prompt]
        slopes = slopes + _padded(parameters["prompt_loading"])[:, asked.prompt]
    if "source_effect" in parameters:
        out = out + _padded(parameters["source_effect"])[:, asked.source]
    total: Floats = out + np.einsum("spk,spk->sp", slopes, capability)
    return total


def cells_of(parameters: Mapping[str, Any], asked: Asked) -> Cells:
    """What the mean and the noise of a score depend on beside the logit; arrays (draw, point)."""
    floor, ceiling, jitter = (parameters[name][:, asked.task] for name in ("floor", "ceiling", "jitter"))
    sigma = np.broadcast_to(parameters["sigma"][:, None], jitter.shape)
    return Cells(np.nan, asked.per_item, floor, ceiling, sigma, jitter)


def new_scores(noise: NoiseName, rng: np.random.Generator, parameters: Mapping[str, Any], asked: Asked, eta: Floats) -> Floats:
    """Scores with their noise, (draw, point)."""
    scores, step = np.empty(eta.shape), max(1, _AT_ONCE // max(1, eta.shape[1]))
    for first in range(0, len(eta), step):
        part = slice(first, first + step)
        cells = cells_of({name: values[part] for name, values in parameters.items()}, asked)
        scores[part] = draw_scores(noise, rng, eta[part], cells)
    return scores


def _padded(values: Any) -> Any:
    return np.concatenate([np.zeros_like(values[:, :1]), values], axis=1)

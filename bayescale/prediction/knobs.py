"""The best of what a law has beside size and data: learning rate, batch, and whatever else costs no compute of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayescale.core.errors import NotIdentifiedError, SpecError, unknown
from bayescale.core.names import EPOCHS
from bayescale.infer.fit import Fit
from bayescale.prediction.equal_cost import CostFunction, Held, law_at, optimal_size_and_data, passes
from bayescale.prediction.points import LINKED, columns_of
from bayescale.prediction.roots import least

Array = NDArray[np.float64]

#: A knob is searched so many times below and above the fitted runs; a minimum so near (in log) to an end of that is none.
ROOM, EDGE = 10.0, 1e-3

#: Knobs, and size and data, are moved in turn until none moves further than this (in log), or after so many rounds.
SETTLED, ROUNDS = 1e-4, 200


def split_knobs(
    fit: Fit, at: Mapping[str, Any] | None, unique_tokens: float | None = None
) -> tuple[dict[str, Held], dict[str, Any], tuple[str, ...]]:
    """Knobs that are fixed, the labels that are left of ``at``, and the knobs that are free.

    Passes over the data cost compute, and one is best where data are without limit: they are one, unless ``at`` holds them or
    they follow from the unique tokens that there are.

    Raises
    ------
    SpecError
        When a knob is no single positive number, ``at`` names neither a group nor a covariate of the law, or the law knows no
        passes over unique tokens.
    """
    there = [column for column in columns_of(fit) if column not in LINKED]
    epochs = fit.binding.axes.get(EPOCHS)
    fixed: dict[str, Held] = {epochs: np.ones((1, 1))} if epochs else {}
    labels = {}
    if unique_tokens is not None:
        if epochs is None:
            said = f"the law {fit.model.law.name!r} takes each token once: say max_tokens=..., or fit a law of repeated data"
            raise SpecError(f"unique_tokens is for laws with epochs, such as 'data_constrained'; {said}")
        if epochs in (at or {}):
            raise SpecError(f"{epochs} follow from unique_tokens: leave them out of `at`")
        fixed[epochs] = passes(unique_tokens)
    for name, value in (at or {}).items():
        if name not in there:
            labels[name] = value
        elif isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
            raise SpecError(f"`at`: {name} is held at one positive number, got {value!r}")
        elif name == epochs and value < 1:
            raise SpecError(f"`at`: {epochs} are at least 1, got {value!r}")
        else:
            fixed[name] = np.full((1, 1), float(value))
    strange = [name for name in labels if there and name not in (*fit.data.groups, *LINKED)]
    if strange:
        raise SpecError("`at`: " + unknown("group or covariate", strange[0], [*fit.data.groups, *there]))
    return fixed, labels, tuple(name for name in there if name not in fixed)


def optimal_with_knobs(
    fit: Fit,
    parameters: Mapping[str, Array],
    budget: Array,
    fixed: Mapping[str, Held],
    free: tuple[str, ...],
    cost: CostFunction | None,
) -> dict[str, Array]:
    """Params, tokens and free knobs of least response, arrays (draw, 1); NaN in draws without an optimum inside.

    By coordinates: size and data along the line of equal cost, then each knob within ten times the fitted runs, until nothing
    moves; a draw in which something still moves in the end has none.

    Raises
    ------
    NotIdentifiedError
        When no draw has an optimum inside.
    """
    draws = len(next(iter(parameters.values())))
    table, ones = fit.data.table, np.ones((draws, 1))
    held: dict[str, Held] = {name: value if callable(value) else value * ones for name, value in fixed.items()}
    knobs, ends = dict[str, Array](), {}
    for name in free:
        values = np.log(table[name].to_numpy(float))
        ends[name] = values.min() - np.log(ROOM), values.max() + np.log(ROOM)
        knobs[name] = np.exp(values.mean()) * ones
    params, tokens = optimal_size_and_data(fit, parameters, budget, cost, scan=True, held=held | knobs)
    still = np.zeros((draws, 1), dtype=bool)
    for _ in range(ROUNDS if free else 0):
        before = {"params": params} | knobs
        for name in free:
            rest: dict[str, Held] = {"params": params, "tokens": tokens, **held, **knobs}

            def response(log_knob: Array, name: str = name, rest: Mapping[str, Held] = rest) -> Array:
                values = law_at(fit, {**rest, name: np.exp(log_knob)}, parameters)
                return np.where(np.isnan(values), np.inf, values)

            knobs[name] = np.exp(least(response, ends[name][0] * ones, ends[name][1] * ones))
        params, tokens = optimal_size_and_data(fit, parameters, budget, cost, scan=True, held=held | knobs)
        after = {"params": params} | knobs
        still = np.any([_moved(before[name], after[name]) for name in after], axis=0)
        if not still.any():
            break
    inside = np.isfinite(params) & ~still
    for name in free:
        at = np.log(knobs[name])
        inside &= (at > ends[name][0] + EDGE) & (at < ends[name][1] - EDGE)
    if free and not inside.any():
        raise NotIdentifiedError(
            f"in no draw there is a best {' and '.join(free)} within {ROOM:g} times the fitted runs, with size and data inside "
            f"too: hold what has none, such as at={{{free[0]!r}: ...}}"
        )
    return {n: np.where(inside, v, np.nan) for n, v in {"params": params, "tokens": tokens, **knobs}.items()}


def _moved(before: Array, after: Array) -> NDArray[np.bool_]:
    """Whether a coordinate moved, or came or went, in each draw."""
    there = np.isfinite(before), np.isfinite(after)
    step = np.abs(np.log(np.where(there[1], after, 1.0) / np.where(there[0], before, 1.0)))
    return np.asarray(np.where(there[0] & there[1], step > SETTLED, there[0] != there[1]))

"""The best of what a law has beside size and data: learning rate, batch, and whatever else costs no compute of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayescale.core.errors import NotIdentifiedError, SpecError, unknown
from bayescale.infer.fit import Fit
from bayescale.prediction.equal_cost import CostFunction, law_at, optimal_size_and_data
from bayescale.prediction.points import LINKED, columns_of
from bayescale.prediction.roots import least

Array = NDArray[np.float64]

#: A knob is searched so many times below and above the fitted runs; a minimum so near (in log) to an end of that is none.
ROOM, EDGE = 10.0, 1e-3

#: Knobs, and size and data, are moved in turn until none moves further than this (in log), or after so many rounds.
SETTLED, ROUNDS = 1e-4, 200


def split_knobs(fit: Fit, at: Mapping[str, Any] | None) -> tuple[dict[str, float], dict[str, Any], tuple[str, ...]]:
    """Knobs that ``at`` fixes, the labels that are left of it, and the knobs that are free.

    Raises
    ------
    SpecError
        When a knob is no single positive number, or ``at`` names neither a group nor a covariate of the law.
    """
    there = [column for column in columns_of(fit) if column not in LINKED]
    fixed, labels = {}, {}
    for name, value in (at or {}).items():
        if name not in there:
            labels[name] = value
        elif isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
            raise SpecError(f"`at`: {name} is held at one positive number, got {value!r}")
        else:
            fixed[name] = float(value)
    strange = [name for name in labels if there and name not in (*fit.data.groups, *LINKED)]
    if strange:
        raise SpecError("`at`: " + unknown("group or covariate", strange[0], [*fit.data.groups, *there]))
    return fixed, labels, tuple(name for name in there if name not in fixed)


def optimal_with_knobs(
    fit: Fit,
    parameters: Mapping[str, Array],
    budget: Array,
    fixed: Mapping[str, float],
    free: tuple[str, ...],
    cost: CostFunction | None,
) -> dict[str, Array]:
    """Params, tokens and knobs of least response, arrays (draw, 1); NaN in draws without an optimum inside.

    By coordinates: size and data along the line of equal cost, then each knob within ten times the fitted runs, until nothing
    moves; a draw in which something still moves in the end has none. What is fixed is as it was given.

    Raises
    ------
    NotIdentifiedError
        When no draw has an optimum inside.
    """
    draws = len(next(iter(parameters.values())))
    table, ones = fit.data.table, np.ones((draws, 1))
    held: dict[str, Array] = {name: value * ones for name, value in fixed.items()}
    ends = {}
    for name in free:
        values = np.log(table[name].to_numpy(float))
        ends[name] = values.min() - np.log(ROOM), values.max() + np.log(ROOM)
        held[name] = np.exp(values.mean()) * ones
    params, tokens = optimal_size_and_data(fit, parameters, budget, cost, scan=True, held=held)
    still = np.zeros((draws, 1), dtype=bool)
    for _ in range(ROUNDS if free else 0):
        before = {"params": params, **{name: held[name] for name in free}}
        for name in free:
            rest = {"params": params, "tokens": tokens} | {other: v for other, v in held.items() if other != name}

            def response(log_knob: Array, name: str = name, rest: Mapping[str, Array] = rest) -> Array:
                values = law_at(fit, {**rest, name: np.exp(log_knob)}, parameters)
                return np.where(np.isnan(values), np.inf, values)

            held[name] = np.exp(least(response, ends[name][0] * ones, ends[name][1] * ones))
        params, tokens = optimal_size_and_data(fit, parameters, budget, cost, scan=True, held=held)
        after = {"params": params, **{name: held[name] for name in free}}
        still = np.any([_moved(before[name], after[name]) for name in after], axis=0)
        if not still.any():
            break
    inside = np.isfinite(params) & ~still
    for name in free:
        at = np.log(held[name])
        inside &= (at > ends[name][0] + EDGE) & (at < ends[name][1] - EDGE)
    if free and not inside.any():
        raise NotIdentifiedError(
            f"in no draw there is a best {' and '.join(free)} within {ROOM:g} times the fitted runs, with size and data inside "
            f"too: hold what has none, such as at={{{free[0]!r}: ...}}"
        )
    best = {name: np.where(inside, v, np.nan) for name, v in {"params": params, "tokens": tokens, **held}.items()}
    return best | {name: held[name] for name in fixed}


def _moved(before: Array, after: Array) -> NDArray[np.bool_]:
    """Whether a coordinate moved, or came or went, in each draw."""
    there = np.isfinite(before), np.isfinite(after)
    step = np.abs(np.log(np.where(there[1], after, 1.0) / np.where(there[0], before, 1.0)))
    return np.asarray(np.where(there[0] & there[1], step > SETTLED, there[0] != there[1]))

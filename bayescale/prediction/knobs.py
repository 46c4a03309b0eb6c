"""The best of what a law has beside size and data: learning rate, batch, and whatever else costs no compute of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayescale.core.errors import SpecError, unknown
from bayescale.infer.fit import Fit
from bayescale.prediction.equal_cost import CostFunction, law_at, optimal_size_and_data
from bayescale.prediction.points import LINKED, columns_of
from bayescale.prediction.roots import least

Array = NDArray[np.float64]

#: A knob is searched so many times below and above the fitted runs; a minimum so near (in log) to an end of that is none.
ROOM, EDGE = 10.0, 1e-3

#: Knobs, and size and data, are moved in turn until none moves further than this (in log), or after so many rounds.
SETTLED, ROUNDS = 1e-4, 20


def split_knobs(fit: Fit, at: Mapping[str, Any] | None) -> tuple[dict[str, float], dict[str, Any], tuple[str, ...]]:
    """Knobs that ``at`` fixes, the labels that are left of it, and the knobs that are free.

    Raises
    ------
    SpecError
        When a knob is no single positive number.
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
    strange = [name for name in labels if name not in fit.data.groups and there and name not in LINKED]
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
    moves.
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
    for _ in range(ROUNDS if free else 0):
        moved = 0.0
        for name in free:
            rest = {"params": params, "tokens": tokens} | {other: v for other, v in held.items() if other != name}

            def response(log_knob: Array, name: str = name, rest: Mapping[str, Array] = rest) -> Array:
                values = law_at(fit, {**rest, name: np.exp(log_knob)}, parameters)
                return np.where(np.isnan(values), np.inf, values)

            found = np.exp(least(response, ends[name][0] * ones, ends[name][1] * ones))
            moved = max(moved, float(np.nanmax(np.abs(np.log(found / held[name])), initial=0.0)))
            held[name] = found
        again = optimal_size_and_data(fit, parameters, budget, cost, held=held)
        moved = max(moved, float(np.nanmax(np.abs(np.log(again[0] / params)), initial=0.0)))
        params, tokens = again
        if moved < SETTLED:
            break
    inside = np.isfinite(params)
    for name in free:
        at = np.log(held[name])
        inside &= (at > ends[name][0] + EDGE) & (at < ends[name][1] - EDGE)
    return {name: np.where(inside, v, np.nan) for name, v in {"params": params, "tokens": tokens, **held}.items()}

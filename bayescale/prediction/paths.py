"""Curves along one axis: how the other covariates move, and the law there for every draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from bayescale.core.errors import SpecError, unknown
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, UNITS
from bayescale.infer.fit import Fit
from bayescale.models.noise import from_noise_scale, to_noise_scale
from bayescale.prediction.departure import Departure, departure
from bayescale.prediction.equal_cost import has_closed_form, law_at, optimal_size_and_data, require_size_and_data
from bayescale.prediction.mixing import answers
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.points import LINKED, At, Fitted, columns_of, columns_to_forecast, complete, read_points
from bayescale.prediction.roots import log_grid

Array = NDArray[np.float64]
Path = Literal["optimal"] | Mapping[str, float]

OPTIMAL = "optimal"

#: Budgets at which a compute-optimal frontier without a closed form is computed.
KNOTS = 24

#: By default the axis is searched from so far below the smallest fitted scale to so far above the largest.
BELOW, ABOVE = 10.0, 1e4


@dataclass(frozen=True, eq=False)
class Curve:
    """The law of a fit along one axis, at one point of the rest.

    Parameters
    ----------
    fit : Fit
    along : str
        The axis.
    fixed : mapping of covariate to float
        Covariates that stay as they are.
    optimal : bool
        Size and data move along the compute-optimal frontier instead.
    parameters : mapping of parameter to array (draw,)
    place : DataFrame of one row
        Labels of the groups.
    departure : Departure, optional
        What the law leaves out.
    """

    fit: Fit
    along: str
    fixed: Mapping[str, float]
    optimal: bool
    parameters: Mapping[str, Array]
    place: pd.DataFrame
    departure: Departure | None = None

    def __call__(self, scale: Array) -> Array:
        """Response without noise, shape (draw, scale), at scales of shape (scale,), or (draw, scale): others in each draw."""
        scale = np.atleast_2d(scale)
        law = self._law(scale)
        if self.departure is None:
            return law
        noise = self.fit.model.noise
        return np.asarray(from_noise_scale(noise, to_noise_scale(noise, law) + self.departure(scale)))

    def _law(self, scale: Array) -> Array:
        drawn = {name: values[:, None] for name, values in self.parameters.items()}
        if self.optimal:
            params = self._frontier(scale, drawn)
            return law_at(self.fit, {"params": params, "tokens": scale / (FLOP_PER_PARAM_TOKEN * params)}, drawn)
        fixed = {name: np.full((1, 1), value) for name, value in self.fixed.items()}
        return law_at(self.fit, {self.along: scale, **fixed}, drawn)

    def _frontier(self, scale: Array, drawn: Mapping[str, Array]) -> Array:
        """Compute-optimal params, shape (draw, scale).

        A numerical optimum is found at a few budgets and interpolated: log params is almost straight in log flops, and an
        error in it is squared in the response, which is flat there.
        """
        if has_closed_form(self.fit) or scale.shape[1] <= KNOTS:
            return optimal_size_and_data(self.fit, drawn, scale)[0]
        knots = np.geomspace(scale.min(), scale.max(), KNOTS)[None, :]
        found = np.log(optimal_size_and_data(self.fit, drawn, knots)[0])
        there = np.isfinite(found).all(axis=1, keepdims=True)
        spline = CubicSpline(np.log(knots[0]), np.where(there, found, 0.0), axis=1)
        return np.where(there, np.exp(spline(np.log(scale[0]))), np.nan)

    @property
    def draws(self) -> int:
        """Number of draws."""
        return len(next(iter(self.parameters.values())))

    def take(self, draws: NDArray[np.int64]) -> Curve:
        """The curve of some of the draws, or of all in another order."""
        chosen = {name: values[draws] for name, values in self.parameters.items()}
        left = None if self.departure is None else self.departure.take(draws)
        return replace(self, parameters=chosen, departure=left)

    def departing(self, low: float, high: float, rng: np.random.Generator) -> Curve:
        """The curve with a path of the discrepancy between two scales, where the model has one."""
        if self.fit.model.discrepancy is None:
            return self
        scales = log_grid(low, high)
        moving = {name: np.full(1, value) for name, value in self.fixed.items()}
        if self.optimal:
            # The discrepancy changes slowly along the line of equal cost: it is taken where most draws have their optimum.
            drawn = {name: values[:, None] for name, values in self.parameters.items()}
            params = np.nanmedian(self._frontier(scales[None, :], drawn), axis=0)
            moving = {"params": params, "tokens": scales / (FLOP_PER_PARAM_TOKEN * params)}
        return replace(self, departure=departure(self.fit, self.along, scales, moving, self.place, rng))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Curves of the members of an ensemble, each draw from one of them.

    Parameters
    ----------
    parts : tuple of Curve
        With all their draws.
    which, place : int array (draw,)
        The part that a draw is from, and which of its draws it is.
    """

    parts: tuple[Curve | Mixture, ...]
    which: NDArray[np.int64]
    place: NDArray[np.int64]

    def __call__(self, scale: Array) -> Array:
        """As of a :class:`Curve`."""
        scale = np.atleast_2d(scale)
        out = np.empty((self.draws, scale.shape[1]))
        for i, part in enumerate(self.parts):
            here = np.flatnonzero(self.which == i)
            if here.size:
                out[here] = part.take(self.place[here])(scale if len(scale) == 1 else scale[here])
        return out

    @property
    def draws(self) -> int:
        """Number of draws."""
        return len(self.which)

    def take(self, draws: NDArray[np.int64]) -> Mixture:
        """The curve of some of the draws, or of all in another order."""
        return Mixture(self.parts, self.which[draws], self.place[draws])

    def departing(self, low: float, high: float, rng: np.random.Generator) -> Mixture:
        """As of a :class:`Curve`."""
        return replace(self, parts=tuple(part.departing(low, high, rng) for part in self.parts))


@dataclass(frozen=True)
class Way:
    """How the covariates of a fit move along an axis: what is fixed, or that they stay compute-optimal."""

    along: str
    fixed: tuple[tuple[str, float], ...]
    optimal: bool


def read_way(fit: Fit, along: str, path: Path | None, given: Sequence[str]) -> Way:
    """Check an axis and a path against the law of a fit.

    Parameters
    ----------
    given : sequence of str
        Covariates that ``at`` fixes.

    Raises
    ------
    SpecError
        When the axis or path is unknown, or does not say where every covariate of the law is, with the choices.
    NotIdentifiedError
        When the compute-optimal path is asked for and the fitted table cannot tell it.
    """
    columns = columns_of(fit)
    linked = set(columns) <= set(LINKED)
    axes = sorted({*columns, *(LINKED if linked else ())})
    if along not in axes:
        raise SpecError("along: " + unknown("covariate", str(along), axes))
    if along in given:
        raise SpecError(f"`at` fixes {along}, which is the axis: leave it out of `at`, or choose another `along`")
    if path == OPTIMAL and columns != (along,):
        if along != "flops":
            raise SpecError(f"path='optimal' goes along flops, not along {along}")
        require_size_and_data(fit)
        return Way(along, (), optimal=True)
    fixed = {} if path is None or path == OPTIMAL else _fixed(path, along, axes)
    needed = columns_to_forecast(fit)
    missing = _missing(needed, along, [*fixed, *given])
    if missing:
        whose = f"law {fit.model.law.name!r}" if set(missing) <= set(columns) else "the model"
        raise SpecError(
            f"along {along} alone, {' and '.join(missing)} of {whose} may be anything: say {_choices(needed, along, missing)}"
        )
    return Way(along, tuple(fixed.items()), optimal=False)


def _fixed(path: Any, along: str, valid: Sequence[str]) -> dict[str, float]:
    if isinstance(path, str):
        raise SpecError("path: " + unknown("word", path, [OPTIMAL]) + " Or fix a covariate: path={'tokens_per_param': 20}.")
    if not isinstance(path, Mapping) or not path:
        raise SpecError(f"path is 'optimal' or a covariate and its value, such as {{'tokens_per_param': 20}}; got {path!r}")
    faults = []
    for name, value in path.items():
        if name == along:
            faults.append(f"path fixes {name}, which is the axis")
        elif name not in valid and name not in UNITS:
            faults.append(unknown("covariate", str(name), sorted(set(valid) - {along})))
        elif isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
            faults.append(f"{name} must be a positive number, got {value!r}")
    if faults:
        raise SpecError("path: " + "; ".join(faults))
    return {str(name): float(value) for name, value in path.items()}


def _missing(columns: Sequence[str], along: str, fixed: Sequence[str]) -> list[str]:
    one = np.ones(1)
    told = complete(dict.fromkeys([along, *fixed], one), columns)
    return [name for name in columns if name not in told]


def _choices(columns: Sequence[str], along: str, missing: Sequence[str]) -> str:
    if not set(columns) <= set(LINKED):
        return f"at={{{missing[0]!r}: ...}}"
    examples = {"tokens_per_param": "20", "tokens": "3e11", "params": "7e9", "flops": "1e23"}
    ways = ["path='optimal'"] if along == "flops" and len(columns) > 1 else []
    ways += [f"path={{{n!r}: {v}}}" for n, v in examples.items() if n != along and not _missing(columns, along, [n])]
    ways += [f"along={columns[0]!r}"] if len(columns) == 1 else []
    return " or ".join(ways)


@dataclass(frozen=True, eq=False)
class Traced:
    """Curves along an axis, one a point that ``at`` speaks of.

    Parameters
    ----------
    curves : tuple of Curve or Mixture
    ways : tuple of (Fit, Way)
        Of every fit behind them.
    table : DataFrame
        The points.
    chains : mapping
        Coordinates of chain and draw.
    """

    curves: tuple[Curve | Mixture, ...]
    ways: tuple[tuple[Fit, Way], ...]
    table: pd.DataFrame
    chains: Mapping[str, Any]

    def departing(self, low: float, high: float, rng: np.random.Generator) -> Traced:
        """With a path of the discrepancy along every curve whose model has one."""
        return replace(self, curves=tuple(curve.departing(low, high, rng) for curve in self.curves))


def trace(asked: Fitted, along: str, path: Path | None, at: At | None, seed: int) -> Traced:
    """The curves of a fit, or of an ensemble, along an axis; what makes no sense is refused as by :func:`read_way`."""

    def ask(fit: Fit, labels: Mapping[str, str]) -> Traced:
        table, given = read_place(fit, at, labels)
        way = read_way(fit, along, path, given)
        drawn = parameter_draws(fit, table, generator(seed, 0))
        return Traced(_curves(fit, way, table, given, drawn), ((fit, way),), table, {})

    found = answers(asked, seed, ask)
    apart, members = list(found.of.values()), found.members
    curves: tuple[Curve | Mixture, ...] = apart[0].curves
    if members is not None:
        points = zip(*(one.curves for one in apart), strict=True)
        curves = tuple(Mixture(parts, members.which, members.place) for parts in points)
    return Traced(curves, tuple(way for one in apart for way in one.ways), found.first.table, found.chains)


def read_place(fit: Fit, at: At | None, labels: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The points that ``at`` speaks of, and the covariates it fixes."""
    given: list[str] = []
    if at is not None:
        names = at.table if not isinstance(at, pd.DataFrame | Mapping) else at
        given = [str(name) for name in names if name in {*LINKED, *columns_of(fit)}]
    return read_points(fit, at if at is not None else {}, labels, given), given


def _curves(fit: Fit, way: Way, table: pd.DataFrame, given: Sequence[str], drawn: Mapping[str, Array]) -> tuple[Curve, ...]:
    """One curve a row of a table, from parameters of shape (chain, draw, point)."""
    out = []
    for point in range(len(table)):
        fixed = {name: float(table[name].iloc[point]) for name in given} | dict(way.fixed)
        here = {name: values[..., point].reshape(-1) for name, values in drawn.items()}
        out.append(Curve(fit, way.along, fixed, way.optimal, here, table.iloc[[point]]))
    return tuple(out)


def fitted_scales(fit: Fit, way: Way) -> Array:
    """Scales along the axis of the fitted runs, empty where they cannot be told."""
    table = fit.data.table
    held = {n: table[n].to_numpy(float) for n in table if n in {*LINKED, *columns_of(fit)}}
    if way.along not in held:
        known = {n: v for n, v in held.items() if n in columns_of(fit)}
        held = complete({n: np.full(len(table), v) for n, v in way.fixed if n not in known} | known, (way.along,))
    return held.get(way.along, np.empty(0))


def read_range(within: tuple[float, float] | None, fits: Sequence[tuple[Fit, Way]]) -> tuple[float, float]:
    """The part of the axis that is searched.

    Raises
    ------
    SpecError
        When ``within`` is no range of positive numbers, or there is none and the fitted runs do not tell.
    """
    if within is None:
        scales = np.concatenate([fitted_scales(fit, way) for fit, way in fits])
        if not scales.size:
            raise SpecError(f"the fitted runs do not say where they lie along {fits[0][1].along}: say within=(low, high)")
        return float(scales.min() / BELOW), float(scales.max() * ABOVE)
    return checked_range(within)


def checked_range(within: tuple[float, float]) -> tuple[float, float]:
    """Lower and upper end of a part of an axis.

    Raises
    ------
    SpecError
        When they are no range of positive numbers.
    """
    try:
        low, high = (float(v) for v in within)
    except (TypeError, ValueError):
        raise SpecError(f"within is (low, high), got {within!r}") from None
    if not (np.isfinite([low, high]).all() and 0 < low < high):
        raise SpecError(f"within is (low, high) with 0 < low < high, got {within!r}")
    return low, high

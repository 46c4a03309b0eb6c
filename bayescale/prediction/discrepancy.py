"""Draws of what a law does not say, at the runs' scales and beyond them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import erfc

from bayescale.core.names import CHAIN, DRAW
from bayescale.infer.fit import Fit
from bayescale.models import kalman, running_minimum
from bayescale.models.binding import axis_of_path, scale_errors
from bayescale.models.discrepancy import mean_slope
from bayescale.models.kalman import Drift, State
from bayescale.models.noise import Minima, to_noise_scale
from bayescale.prediction.coefficients import Coefficients, curve_keys
from bayescale.prediction.noise import noise_scale
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.process import ahead, around, draw
from bayescale.prediction.values import law_values

Array = NDArray[np.float64]

#: Step in log scale by which a slope of the law is taken.
_STEP = 1e-4


def discrepancy_draws(fit: Fit, table: pd.DataFrame, rng: np.random.Generator, *, effects: bool = True) -> Array:
    """Draws of the discrepancy ``delta`` at the rows of a table, shape (chain, draw, point), on the scale of the noise.

    The points of a curve share a path: at the runs' scales it is what they leave open, beyond the largest it goes on.
    A curve that was not fitted has a path of its own about the reference run. Without
    ``effects``, those of single runs are left out.
    """
    shape = (fit.posterior.sizes[CHAIN], fit.posterior.sizes[DRAW], len(table))
    out = np.zeros(shape)
    if fit.model.discrepancy is None:
        return out
    if not fit.model.filtered:
        return Coefficients(fit).draw(table, rng, effects=effects)
    curves = _Curves(fit)
    axis = axis_of_path(fit.model, fit.binding.axes, fit.data)
    u = np.log(table[axis].to_numpy(float))
    keys = curve_keys(table, fit.model.group_columns)
    for key in dict.fromkeys(keys):
        here = np.array([k == key for k in keys])
        out[..., here] = curves.draw(key, u[here], rng)
    return out


class _Curves:
    """The fitted curves, with the law of every draw at their runs."""

    def __init__(self, fit: Fit) -> None:
        self.fit, runs, binding = fit, fit.data.table, fit.binding
        posterior = fit.posterior
        self.rate, self.size = (posterior[name].transpose(CHAIN, DRAW).to_numpy() for name in ("drift_rate", "drift_size"))
        self.sigma = noise_scale(fit, runs) * np.ones(len(runs))
        ratios = {c: runs[column].to_numpy(float) / binding.reference[c] for c, column in binding.axes.items()}
        drawn = parameter_draws(fit, runs, generator(0, 0))
        self.law: Array = np.asarray(to_noise_scale(fit.model.noise, law_values(fit.model.law, ratios, drawn)))
        self.moved = self._moved(ratios, drawn)
        self.y: Array = np.asarray(to_noise_scale(fit.model.noise, runs[fit.response].to_numpy(float)))
        axis = axis_of_path(fit.model, binding.axes, fit.data)
        self.u = np.log(runs[axis].to_numpy(float))
        keys, path = curve_keys(runs, fit.model.group_columns), binding.design.path
        assert path is not None, "a model with a discrepancy has a path"
        self.order, self.codes, self.path = path.order[path.seen], path.curve[path.seen], path
        self.known = {keys[self.order[np.argmax(self.codes == c)]]: c for c in range(len(path.span))}

    def _moved(self, ratios: dict[str, Array], drawn: dict[str, Array]) -> Array:
        """Variance at each run that comes from known errors of its covariates, shape (chain, draw, run) or (run,)."""
        fit, total = self.fit, np.zeros(len(self.fit.data.table))
        for covariate, error in scale_errors(fit.binding.axes, fit.data.table).items():
            sides = (ratios | {covariate: ratios[covariate] * np.exp(sign * _STEP)} for sign in (1, -1))
            up, down = (to_noise_scale(fit.model.noise, law_values(fit.model.law, side, drawn)) for side in sides)
            total = total + (np.asarray(up - down) / (2 * _STEP) * error) ** 2
        return total

    def draw(self, key: tuple[str, ...], u: Array, rng: np.random.Generator) -> Array:
        """Draws of a curve's path at log scales ``u``, shape (chain, draw, point)."""
        if key not in self.known:
            return self._unseen(u, rng)
        code = self.known[key]
        places = np.flatnonzero(self.codes == code)
        rows = self.order[places]
        slope = mean_slope(np, self.law[..., rows[0]] - self.law[..., rows[-1]], self.path.span[code])
        drift = Drift(self.rate, self.size * slope)
        filtered = self._filter(drift, places, rows)
        top, out = self.u[rows[-1]], np.empty((*self.rate.shape, len(u)))
        end = draw(filtered[-1], rng)
        ahead(drift, end, top, u, out, rng)
        _back(drift, filtered, end, self.u[rows], u, out, rng)
        return out

    def _filter(self, drift: Drift, places: NDArray[np.int64], rows: NDArray[np.int64]) -> list[State]:
        """States after each run, the last one with the drift nought at the end."""
        noise, path, out = self.fit.model.noise, self.path, []
        minimum, tries = isinstance(noise, Minima), self.fit.binding.design.tries
        extra = self.fit.binding.design.se[: len(self.y)] ** 2 + self.moved
        state = kalman.begin(drift)
        with np.errstate(over="ignore", under="ignore"):  # a law far from the runs: densities of nought
            for i, (place, row) in enumerate(zip(places, rows, strict=True)):
                if i:
                    state = kalman.move(np, state, drift, path.step[place])
                tau = np.sqrt(self.sigma[..., row] ** 2 + extra[..., row])
                residual = self.y[row] - self.law[..., row]
                if minimum:
                    count, tie = np.ones_like(tau), path.tie[place] and tries is None
                    if tries is not None:
                        count = tries[row] * count
                    elif i:
                        fall = self.law[..., rows[i - 1]] - self.law[..., row]
                        count = running_minimum.effective(np, path.gap[place], fall, tau)
                    evidence = (residual, tau, count, tie)
                    state, _ = running_minimum.update(np, erfc, _settle, state, evidence)
                else:
                    state, _ = kalman.update(state, residual, tau**2)
                out.append(state)
        out[-1], _ = kalman.update(out[-1], 0.0, 0.0)
        return out

    def _unseen(self, u: Array, rng: np.random.Generator) -> Array:
        """A curve that nothing is known of but the law: its drift is nought at the reference run."""
        lowest, largest = np.asarray(self.path.ends).T
        slope = mean_slope(np, self.law[..., lowest] - self.law[..., largest], self.path.span).mean(axis=-1)
        drift = Drift(self.rate, self.size * slope)
        axis = axis_of_path(self.fit.model, self.fit.binding.axes, self.fit.data)
        read = [c for c, column in self.fit.binding.axes.items() if column == axis]
        top = float(np.log(self.fit.binding.reference[read[0]])) if read else float(self.u.max())
        return around(drift, top, u, rng)


def _settle(step: Callable[[Any], Any], start: Any) -> Any:
    for _ in range(running_minimum.STEPS + 1):
        start = step(start)
    return start


def _back(
    drift: Drift,
    filtered: list[State],
    end: tuple[Array, Array],
    at: Array,
    u: Array,
    out: Array,
    rng: np.random.Generator,
) -> None:
    """Go back from the end of the runs through the points between and before them."""
    inside = [i for i in np.argsort(u, kind="stable") if u[i] < at[-1]]
    if not inside:
        return
    # Points in between are steps of the filter at which nothing is seen.
    scales, states, which = list(at), list(filtered), [-1] * len(at)
    for i in inside:
        place = int(np.searchsorted(scales, u[i], side="right"))
        before = kalman.move(np, states[place - 1], drift, u[i] - scales[place - 1]) if place else kalman.begin(drift)
        scales.insert(place, u[i])
        states.insert(place, before)
        which.insert(place, i)
    level, slope = end
    for place in range(len(scales) - 2, min(j for j, i in enumerate(which) if i >= 0) - 1, -1):
        step = scales[place + 1] - scales[place]
        if step > 0:
            level, slope = draw(_given_next(states[place], drift, step, level, slope), rng)
        if which[place] >= 0:
            out[..., which[place]] = level


def _given_next(state: State, drift: Drift, step: float, level: Array, slope: Array) -> State:
    """A filtered state, given the state that followed it."""
    nothing = 0 * level
    return kalman.smooth(np, state, drift, step, State(level, slope, nothing, nothing, nothing))

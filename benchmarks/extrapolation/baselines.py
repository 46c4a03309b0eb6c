"""Plain forecasts of a curve that ours are compared with: own least squares, written from the published formulas.

A baseline takes the training points, the scales asked for and a generator, and returns draws of y, shape (draw, point): the
forecast of log y plus noise with the standard deviation of the training residuals.

The laws are M1 to M4 of Alabdulmohsin, Neyshabur and Zhai (2022) and the broken neural scaling law of Caballero et al. (2022)
with one break. All are fitted to log y, as functions of t, the log of the scale about the middle of the training points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

Array = np.ndarray
Baseline = Callable[[Array, Array, Array, np.random.Generator], Array]

#: Draws of a forecast, refits of a bootstrap, steps of a refit.
DRAWS, REFITS, STEPS = 2000, 100, 20

#: Cuts of the training points at which a line is tested.
CUTS = 12

#: Starts that are compared, and those of them that are refined.
TRIED, REFINED = 400, 6

#: The least noise, as a fraction of y: a law through every point is not believed.
QUIETEST = 1e-4


@dataclass(frozen=True)
class Curve:
    """A law of one variable.

    Parameters
    ----------
    log_y : callable
        Log y of parameters, shape (..., parameter), at t, shape (point,).
    box : callable
        Lower and upper bounds of the parameters from t and log y.
    """

    log_y: Callable[[Array, Array], Array]
    box: Callable[[Array, Array], tuple[Array, Array]]


def _columns(theta: Array) -> list[Array]:
    return [theta[..., i, None] for i in range(theta.shape[-1])]


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _bounds(*pairs: tuple[float, float]) -> tuple[Array, Array]:
    lower, upper = np.array(pairs, dtype=float).T
    return lower, upper


# Slopes are between a thousandth and e; a floor is at most the lowest training point.
_SLOPE = (np.log(1e-3), 1.0)


def _level(v: Array) -> tuple[float, float]:
    return v.min() - 1.0, v.max() + 1.0


def _floor(v: Array) -> tuple[float, float]:
    return v.min() - 6.0, v.min()


def _m1(theta: Array, t: Array) -> Array:
    """``y = A x^-c``."""
    level, slope = _columns(theta)
    return level - np.exp(slope) * t


def _m2(theta: Array, t: Array) -> Array:
    """``y = A x^-c + E``."""
    level, slope, floor = _columns(theta)
    return np.logaddexp(floor, level - np.exp(slope) * t)


def _m3(theta: Array, t: Array) -> Array:
    """``y = A (1/x + g)^c``: the floor is ``A g^c``."""
    level, slope, shift = _columns(theta)
    return level + np.exp(slope) * np.logaddexp(-t, shift)


def _m4(theta: Array, t: Array) -> Array:
    """``(y - E) / (y0 - y)^a = A x^-c``, solved for y by Newton's method in the logit of ``(y - E) / (y0 - E)``."""
    level, slope, floor, top, power = _columns(theta)
    end, a = np.exp(floor), np.exp(power)
    span = np.exp(top) - end
    target = level - np.exp(slope) * t - (1 - a) * np.log(span)
    q = np.minimum(target, 0) + np.maximum(target, 0) / a
    for _ in range(20):
        # Increasing, and bent one way only: Newton cannot run off.
        share = 1 / (1 + np.exp(-q))
        step = (target + _softplus(-q) - a * _softplus(q)) / (1 - share + a * share)
        q = np.clip(q + step, -60, 60)
        if np.abs(step).max() < 1e-9:
            break
    return np.log(end + span / (1 + np.exp(-q)))


def _bnsl(theta: Array, t: Array) -> Array:
    """``y = E + A x^-c0 (1 + (x/d)^(1/f))^(-c1 f)``; the slopes before and after the break are the parameters."""
    level, before, after, bend, width, floor = _columns(theta)
    before, after, width = np.exp(before), np.exp(after), np.exp(width)
    return np.logaddexp(floor, level - before * t - (after - before) * width * _softplus((t - bend) / width))


M1 = Curve(_m1, lambda t, v: _bounds(_level(v), _SLOPE))
M2 = Curve(_m2, lambda t, v: _bounds(_level(v), _SLOPE, _floor(v)))
M3 = Curve(_m3, lambda t, v: _bounds(_level(v), _SLOPE, (-t.max() - 4, -t.min())))
M4 = Curve(
    _m4,
    lambda t, v: _bounds((v.min() - 4, v.max() + 4), _SLOPE, _floor(v), (v.max() + 1e-3, max(v.max() + 0.02, 0.0)), (-3, 2)),
)
BNSL = Curve(_bnsl, lambda t, v: _bounds(_level(v), _SLOPE, _SLOPE, (t.min(), t.max()), (-2.5, 1.0), _floor(v)))


def _jacobian(curve: Curve, theta: Array, t: Array) -> tuple[Array, Array]:
    """Log y and its derivatives by the parameters (last axis), by forward differences in one call."""
    shift = 1e-6 * np.eye(theta.shape[-1])
    both = curve.log_y(np.concatenate([theta[None], theta + shift.reshape(-1, *[1] * (theta.ndim - 1), len(shift))]), t)
    return both[0], np.moveaxis(both[1:] - both[0], 0, -1) / 1e-6


def least_squares_fit(curve: Curve, t: Array, v: Array, rng: np.random.Generator) -> Array:
    """Parameters by least squares on log y: the best of a few starts, themselves the best of many."""
    lower, upper = curve.box(t, v)
    starts = rng.uniform(lower, upper, size=(TRIED, len(lower)))
    # The level is what each start needs to pass through the middle of the points.
    for _ in range(2):
        starts[:, 0] = np.clip(starts[:, 0] + np.mean(v - curve.log_y(starts, t), axis=1), lower[0], upper[0])
    misfit = np.sum((curve.log_y(starts, t) - v) ** 2, axis=1)
    found = [
        least_squares(
            lambda theta: curve.log_y(theta, t) - v,
            start,
            jac=lambda theta: _jacobian(curve, theta, t)[1],
            bounds=(lower, upper),
            x_scale=np.maximum((upper - lower) / 10, 0.1),
            max_nfev=200,
        )
        for start in starts[np.argsort(misfit)[:REFINED]]
    ]
    return min(found, key=lambda f: f.cost).x


def refit(curve: Curve, theta: Array, t: Array, v: Array, steps: int = STEPS) -> Array:
    """Least squares of many responses at once, shape (refit, point), from one start: Levenberg and Marquardt's steps."""
    lower, upper = curve.box(t, v.mean(axis=0))
    theta = np.repeat(theta[None], len(v), axis=0)
    damping = np.full(len(v), 1e-2)
    fitted, slopes = _jacobian(curve, theta, t)
    for _ in range(steps):
        left = v - fitted
        normal = np.einsum("bni,bnj->bij", slopes, slopes)
        ridge = damping[:, None] * np.einsum("bii->bi", normal) + 1e-9
        normal += ridge[:, :, None] * np.eye(theta.shape[1])
        step = np.linalg.solve(normal, np.einsum("bni,bn->bi", slopes, left)[..., None])[..., 0]
        there = np.clip(theta + step, lower, upper)
        new, turned = _jacobian(curve, there, t)
        better = np.sum((v - new) ** 2, axis=1) <= np.sum(left**2, axis=1)
        theta = np.where(better[:, None], there, theta)
        fitted, slopes = np.where(better[:, None], new, fitted), np.where(better[:, None, None], turned, slopes)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-8, 1e6)
    return theta


def _spread(residuals: Array, parameters: int) -> float:
    return max(float(np.sqrt(np.sum(residuals**2) / max(len(residuals) - parameters, 1))), QUIETEST)


def _logs(x: Array, y: Array, at: Array) -> tuple[Array, Array, Array]:
    """The scales about the middle of the training points, and y, in logs."""
    middle = np.log(x).mean()
    return np.log(x) - middle, np.log(y), np.log(at) - middle


def last_value(x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
    """The last value again; noise: how far the last third of the points is from it."""
    v = np.log(y)
    spread = _spread(v[-_third(v) :] - v[-1], 1)
    return np.exp(v[-1] + spread * rng.standard_normal((DRAWS, len(at))))


def _third(v: Array) -> int:
    return max(4, len(v) // 3)


def _line(t: Array, v: Array, ahead: Array) -> tuple[Array, Array, int]:
    """Forecast of a line through the last third, its standard error as a new point's, and the degrees of freedom."""
    n = min(_third(v), len(v))
    t, v = t[-n:], v[-n:]
    slope, level = np.polyfit(t, v, 1)
    spread = _spread(v - level - slope * t, 2)
    wide = spread * np.sqrt(1 + 1 / n + (ahead - t.mean()) ** 2 / np.sum((t - t.mean()) ** 2))
    return level + slope * ahead, wide, n - 2


def last_third(x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
    """A straight line in log-log through the last third of the points, with the t distribution of a regression's forecast."""
    t, v, ahead = _logs(x, y, at)
    mean, wide, freedom = _line(t, v, ahead)
    return np.exp(mean + wide * rng.standard_t(freedom, size=(DRAWS, len(at))))


def tested_line(x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
    """The same line; its noise grows with the distance in log x, as its misses beyond earlier cuts did."""
    t, v, ahead = _logs(x, y, at)
    mean, wide, _ = _line(t, v, ahead)
    terms, squares = [], []
    for cut in np.unique(np.linspace(max(5, len(v) // 3), len(v) - 1, CUTS).astype(int)):
        weight, distance = 1 / np.sqrt(len(v) - cut), t[cut:] - t[cut - 1]
        terms.append(weight * np.stack([np.ones_like(distance), distance**2], axis=1))
        squares.append(weight * (v[cut:] - _line(t[:cut], v[:cut], t[cut:])[0]) ** 2)
    still, growing = nnls(np.concatenate(terms), np.concatenate(squares))[0]
    spread = np.sqrt(np.maximum(still, wide.min() ** 2) + growing * (ahead - t[-1]) ** 2)
    return np.exp(mean + spread * rng.standard_normal((DRAWS, len(at))))


def plug_in(curve: Curve) -> Baseline:
    """The law of least squares, taken for true, with normal noise."""

    def forecast(x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
        t, v, ahead = _logs(x, y, at)
        theta = least_squares_fit(curve, t, v, rng)
        spread = _spread(v - curve.log_y(theta, t), len(theta))
        return np.exp(curve.log_y(theta, ahead) + spread * rng.standard_normal((DRAWS, len(at))))

    return forecast


def bootstrap(curve: Curve) -> Baseline:
    """The law refitted to resampled residuals, with normal noise."""

    def forecast(x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
        t, v, ahead = _logs(x, y, at)
        theta = least_squares_fit(curve, t, v, rng)
        fitted = curve.log_y(theta, t)
        spread = _spread(v - fitted, len(theta))
        residuals = (v - fitted - np.mean(v - fitted)) * np.sqrt(len(v) / max(len(v) - len(theta), 1))
        thetas = refit(curve, theta, t, fitted + rng.choice(residuals, size=(REFITS, len(v))))
        means = np.repeat(curve.log_y(thetas, ahead), DRAWS // REFITS, axis=0)
        return np.exp(means + spread * rng.standard_normal(means.shape))

    return forecast


def conformal(curve: Curve) -> Baseline:
    """Split conformal: the law of all points, and around it what that of the first two thirds misses the last third by."""

    def forecast(x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
        t, v, ahead = _logs(x, y, at)
        n = _third(v)
        early = least_squares_fit(curve, t[:-n], v[:-n], rng)
        misses = np.sort(np.abs(v[-n:] - curve.log_y(early, t[-n:])))
        theta = least_squares_fit(curve, t, v, rng)
        # The interval of level p is as wide as the ceil(p (n + 1))-th miss; beyond the largest nothing is known but that one.
        rank = np.minimum(np.ceil(rng.uniform(size=(DRAWS, len(at))) * (n + 1)).astype(int), n)
        side = rng.choice([-1.0, 1.0], size=rank.shape)
        return np.exp(curve.log_y(theta, ahead) + side * misses[rank - 1])

    return forecast


BASELINES: dict[str, Baseline] = {
    "last value": last_value,
    "line, last third": last_third,
    "line, tested": tested_line,
    "M1": plug_in(M1),
    "M2": plug_in(M2),
    "M3": plug_in(M3),
    "M4": plug_in(M4),
    "BNSL, one break": plug_in(BNSL),
    "bootstrap of M2": bootstrap(M2),
    "bootstrap of M4": bootstrap(M4),
    "conformal M4": conformal(M4),
}

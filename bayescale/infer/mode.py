"""Where the posterior is highest and how it curves there: the start of the chains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.optimize import minimize

from bayescale.infer.density import Site, dimension

EnergyAndSlope = Callable[[np.ndarray], tuple[float, np.ndarray]]
#: ``map``, or what does the same in several threads.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

#: Starts that the optimiser is run from: the prior draws of lowest energy.
STARTS = 2
_STEP = 1e-4
#: A slope beyond this is none of a mode.
_STUCK = 0.1


def find_mode(
    energy: EnergyAndSlope, draws: np.ndarray, held: np.ndarray, restarts: int = 0, each: Each = map
) -> tuple[np.ndarray, np.ndarray]:
    """The mode and the Hessian of the energy there.

    Parameters
    ----------
    energy : callable
        Energy and its gradient at a flat vector.
    draws : array (draw, dim)
        Prior draws to start from.
    held : bool array (dim,)
        Coordinates that stay at their prior median (see :func:`scales_to_hold`).
    restarts : int
        How often the optimiser may begin anew where it got stuck, with what it had learnt of the curvature forgotten.
    each : callable
        Maps a function over starts, and over the steps of differences.
    """
    center = np.median(draws, axis=0)
    draws = np.where(held, center, np.vstack([center, draws]))
    energies = np.array([_finite(energy, draw)[0] for draw in draws])
    best = each(lambda i: _descend(energy, draws[i], ~held, restarts), np.argsort(energies)[:STARTS])
    mode = min(best, key=lambda found: found[1])[0]
    return mode, _hessian(energy, mode, held, each)


def scales_to_hold(sites: tuple[Site, ...], rows: int) -> np.ndarray:
    """Which coordinates have no mode worth the name, and are left for the warm-up to learn.

    The joint density of a population and its members grows without bound as the spread goes to zero, and that of the noise
    does where the parameters can pass through the runs; so spreads stay where they are, and so does the noise when there is
    a population or there are fewer than two runs a parameter.
    """
    hierarchical = any("_tau" in site.name for site in sites)
    few = rows < 2 * dimension(sites)
    held = np.zeros(dimension(sites), dtype=bool)
    for site in sites:
        noise = site.name in ("sigma", "nu") and (hierarchical or few)
        held[site.start : site.stop] = noise or "_tau" in site.name
    return held


def _finite(energy: EnergyAndSlope, at: np.ndarray) -> tuple[float, np.ndarray]:
    value, slope = energy(at)
    if np.isfinite(value) and np.isfinite(slope).all():
        return float(value), np.asarray(slope)
    return 1e30, np.zeros_like(at)


def _descend(energy: EnergyAndSlope, start: np.ndarray, free: np.ndarray, restarts: int) -> tuple[np.ndarray, float]:
    def restricted(part: np.ndarray) -> tuple[float, np.ndarray]:
        at = start.copy()
        at[free] = part
        value, slope = _finite(energy, at)
        return value, slope[free]

    found: Any = minimize(restricted, start[free], jac=True, method="BFGS", options={"maxiter": 2000, "gtol": 1e-4})
    at = start.copy()
    at[free] = found.x
    if restarts and np.max(np.abs(found.jac)) > _STUCK:
        return _descend(energy, at, free, restarts - 1)
    return at, float(found.fun)


def _hessian(energy: EnergyAndSlope, mode: np.ndarray, held: np.ndarray, each: Each) -> np.ndarray:
    """Central differences of the gradient; what was held gets a scale of a half and no correlation."""

    def row(h: np.ndarray) -> np.ndarray:
        found: np.ndarray = (_finite(energy, mode + h)[1] - _finite(energy, mode - h)[1]) / (2 * _STEP)
        return found

    hessian: np.ndarray = np.array(list(each(row, _STEP * np.eye(len(mode)))))
    hessian[held, :] = hessian[:, held] = 0.0
    hessian[held, held] = 4.0
    symmetric: np.ndarray = (hessian + hessian.T) / 2
    return symmetric

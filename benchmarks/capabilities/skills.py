"""Least-squares laws of many tasks at once: skills of families that grow with size, and regressions with a family intercept.

``y = chance + (1 - chance) sigmoid(b_t + L_t . s_m)``, the skills of a model ``s_m = a_f + B x_m`` with an intercept of its
family and slopes that all families share; x is log N, log D and log N log D, or log FLOPs. With d skills the loadings L are
free, a matrix of rank d (Polo et al. 2024, "Sloth"); a regression per task is the same law with a skill for each task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit

Array = np.ndarray

#: Weights of the squared parameters beside the sum of squared errors, one of which is chosen inside the training table: it
#: stops intercepts that run off where a family is at chance, and draws families together where little of them is seen.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)

#: The ridge of a fit that is meant to be plain least squares.
WEAK = 1e-3

#: Random starts, of which the best is kept; steps of each.
STARTS, STEPS = 4, 4000


@dataclass(frozen=True, eq=False)
class Grid:
    """Scores as a matrix of models by series, NaN where there is none.

    Parameters
    ----------
    scores : ndarray, shape (model, series)
        Accuracies.
    chance : ndarray, shape (series,)
        Rates of guessing.
    family : ndarray of int, shape (model,)
        Number of the family.
    x : ndarray, shape (model, covariate)
        Covariates, centred and scaled.
    """

    scores: Array
    chance: Array
    family: Array
    x: Array


class Skills:
    """The law with ``rank`` skills, or with a skill for each series where it is None; ``ridge`` weighs squared parameters."""

    def __init__(self, grid: Grid, rank: int | None, ridge: float) -> None:
        self.grid, self.rank, self.ridge = grid, rank, ridge
        tasks, families = grid.scores.shape[1], int(grid.family.max()) + 1
        d = tasks if rank is None else rank
        self.shapes = {"b": (tasks,), "a": (families, d), "B": (grid.x.shape[1], d)}
        if rank is not None:
            self.shapes["L"] = (tasks, d)
        self.member = np.eye(families)[grid.family]
        self.seen = np.isfinite(grid.scores)
        self.y = np.where(self.seen, grid.scores, 0.0)

    def parts(self, theta: Array) -> dict[str, Array]:
        """The named arrays of a flat vector."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])
        pieces = np.split(theta, ends[:-1])
        return {name: piece.reshape(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}

    def _share(self, p: dict[str, Array]) -> tuple[Array, Array]:
        skills = self.member @ p["a"] + self.grid.x @ p["B"]
        return skills, expit(p["b"] + (skills if self.rank is None else skills @ p["L"].T))

    def objective(self, theta: Array) -> tuple[float, Array]:
        """Sum of squares with its ridge, and its gradient."""
        p, span = self.parts(theta), 1 - self.grid.chance
        skills, share = self._share(p)
        miss = np.where(self.seen, self.grid.chance + span * share - self.y, 0.0)
        slope = 2 * miss * span * share * (1 - share)
        back = slope if self.rank is None else slope @ p["L"]
        found = {"b": slope.sum(axis=0), "a": self.member.T @ back, "B": self.grid.x.T @ back}
        if self.rank is not None:
            found["L"] = slope.T @ skills
        # Intercepts of tasks are seen by all models: a hundredth of the ridge keeps them finite.
        weights = {name: self.ridge * (0.01 if name == "b" else 1.0) for name in p}
        value = float((miss**2).sum() + sum(weights[name] * (p[name] ** 2).sum() for name in p))
        return value, np.concatenate([(found[name] + 2 * weights[name] * p[name]).ravel() for name in self.shapes])

    def _start(self, rng: np.random.Generator) -> Array:
        count = np.maximum(self.seen.sum(axis=0), 1)
        share = (self.y.sum(axis=0) / count - self.grid.chance) / (1 - self.grid.chance)
        drawn = {name: 0.3 * rng.standard_normal(shape) for name, shape in self.shapes.items()}
        drawn["b"] = logit(np.clip(share, 0.01, 0.99))
        if self.rank is not None:
            drawn["L"] = np.abs(drawn["L"]) + 0.3
        drawn["B"] = np.abs(drawn["B"])
        return np.concatenate([drawn[name].ravel() for name in self.shapes])

    def fit(self, rng: np.random.Generator, starts: int = STARTS) -> Array:
        """Accuracies of every model on every series, from the best of several starts."""
        options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": 30, "ftol": 1e-11, "gtol": 1e-7}
        found = [
            minimize(self.objective, self._start(rng), jac=True, method="L-BFGS-B", options=options) for _ in range(starts)
        ]
        best = min(found, key=lambda f: f.fun)
        return np.asarray(self.grid.chance + (1 - self.grid.chance) * self._share(self.parts(best.x))[1])

    @property
    def parameters(self) -> Array:
        """Parameters that each series uses: its own, and its part of those that series share."""
        grid, seen = self.grid, self.seen
        families = np.array([len(np.unique(grid.family[rows])) for rows in seen.T])
        if self.rank is None:
            return np.minimum(families + grid.x.shape[1], seen.sum(axis=0))
        d = self.rank
        shared = d * (len(np.unique(grid.family)) + grid.x.shape[1] - d)
        return 1 + d + shared * seen.sum(axis=0) / max(seen.sum(), 1)


def chosen_ridge(grid: Grid, rank: int | None, hidden: Array, seed: int) -> float:
    """The ridge that forecasts best the cells ``hidden`` of a training table, shape (model, series), from its others."""
    shown = replace(grid, scores=np.where(hidden, np.nan, grid.scores))
    # A series that is hidden altogether tells nothing of the ridge.
    told = hidden & np.isfinite(grid.scores) & np.isfinite(shown.scores).any(axis=0)
    misses = {}
    for ridge in RIDGES:
        fit = Skills(shown, rank, ridge).fit(np.random.default_rng(seed), starts=2)
        misses[ridge] = float(np.mean((((fit - grid.scores) / (1 - grid.chance))[told]) ** 2))
    return min(misses, key=lambda ridge: misses[ridge])


Covariates = Callable[[pd.DataFrame], Array]


def filled(models: pd.DataFrame) -> pd.DataFrame:
    """Models, one a row, with tokens and compute where they are not known: as usual for models of that size."""
    known = models.dropna(subset=["params", "tokens"])
    slope, level = np.polyfit(np.log(known.params), np.log(known.tokens), 1) if len(known) > 1 else (0.0, np.nan)
    tokens = models.tokens.fillna(np.exp(level + slope * np.log(models.params)))
    return models.assign(tokens=tokens, flops=models.flops.fillna(6 * models.params * tokens))


def _scaled(columns: Array) -> Array:
    spread = columns.std(axis=0)
    return (columns - columns.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)


def by_flops(models: pd.DataFrame) -> Array:
    """Log training compute."""
    return _scaled(np.log(models[["flops"]].to_numpy()))


def by_size(models: pd.DataFrame) -> Array:
    """Log parameters and log tokens."""
    return _scaled(np.log(models[["params", "tokens"]].to_numpy()))


def by_product(models: pd.DataFrame) -> Array:
    """Log parameters, log tokens and their product."""
    both = by_size(models)
    return np.column_stack([both, both[:, 0] * both[:, 1]])

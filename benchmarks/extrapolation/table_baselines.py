"""Plain forecasts of a table of runs that ours are compared with: the law of Hoffmann et al. (2022) by robust least squares.

``log L = log(E + A N^-alpha + B D^-beta)``, N and D as ratios to geometric means, with Huber's loss on the
residuals of log loss; where one of the two does not vary its term is left out. A baseline takes the shown and held-back runs
and a generator, and returns draws of the loss, shape (draw, run).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import logsumexp

Array = np.ndarray
Baseline = Callable[[pd.DataFrame, pd.DataFrame, np.random.Generator], Array]

#: Draws of a forecast, refits of a bootstrap; where Huber's loss turns linear, in log loss.
DRAWS, REFITS, TURN = 2000, 50, 0.003

#: Starts: exponent, and share of the loss that no scale removes.
STARTS = [(alpha, floor) for alpha in (0.2, 0.35, 0.6) for floor in (0.2, 0.5, 0.8)]


class _Law:
    """The law over the covariates that vary in the shown runs; parameters are logarithms."""

    def __init__(self, shown: pd.DataFrame) -> None:
        names = [name for name in ("params", "tokens") if name in shown and shown[name].nunique() > 1]
        self.center = np.log(shown[names]).mean()

    def log_loss(self, theta: Array, table: pd.DataFrame) -> Array:
        x = (np.log(table[list(self.center.index)]) - self.center).to_numpy()
        terms = [np.full(len(table), theta[0])]
        terms += [theta[1 + 2 * i] - np.exp(theta[2 + 2 * i]) * x[:, i] for i in range(x.shape[1])]
        return np.asarray(logsumexp(terms, axis=0))

    def fit(self, table: pd.DataFrame, v: Array, starts: list[Array]) -> Array:
        """Parameters of the best fit from several starts."""
        found = [
            least_squares(lambda theta: self.log_loss(theta, table) - v, start, loss="huber", f_scale=TURN, max_nfev=100)
            for start in starts
        ]
        return np.asarray(min(found, key=lambda f: f.cost).x)

    def starts(self, v: Array) -> list[Array]:
        """Points to start from."""
        level, number = float(np.mean(v)), len(self.center)
        return [
            np.array([level + np.log(floor), *([level + np.log((1 - floor) / number), np.log(alpha)] * number)])
            for alpha, floor in STARTS
        ]


def bootstrap(shown: pd.DataFrame, held: pd.DataFrame, rng: np.random.Generator) -> Array:
    """The law refitted to resampled residuals, and their noise."""
    law, v = _Law(shown), np.log(shown.loss.to_numpy())
    theta = law.fit(shown, v, law.starts(v))
    fitted = law.log_loss(theta, shown)
    residuals = (v - fitted) * np.sqrt(len(v) / max(len(v) - len(theta), 1))
    means = [law.log_loss(law.fit(shown, fitted + rng.choice(residuals, size=len(v)), [theta]), held) for _ in range(REFITS)]
    mean = np.repeat(means, DRAWS // REFITS, axis=0)
    return np.exp(mean + rng.choice(residuals, size=mean.shape))


def conformal(shown: pd.DataFrame, held: pd.DataFrame, rng: np.random.Generator) -> Array:
    """Split conformal: the law of all runs, and around it what that of the smaller two thirds misses the largest third by."""
    scale = shown.flops if "flops" in shown else shown.params
    early = scale.rank(method="first") <= 2 * len(shown) / 3
    small, large = shown[early], shown[~early]
    law, v = _Law(small), np.log(small.loss.to_numpy())
    misses = np.sort(np.abs(np.log(large.loss.to_numpy()) - law.log_loss(law.fit(small, v, law.starts(v)), large)))
    whole, v = _Law(shown), np.log(shown.loss.to_numpy())
    mean = whole.log_loss(whole.fit(shown, v, whole.starts(v)), held)
    n, size = len(misses), (DRAWS, len(held))
    # The interval of level p is as wide as the ceil(p (n + 1))-th miss; beyond the largest nothing is known but that one.
    rank = np.minimum(np.ceil(rng.uniform(size=size) * (n + 1)).astype(int), n)
    return np.exp(mean + rng.choice([-1.0, 1.0], size=size) * misses[rank - 1])


BASELINES: dict[str, Baseline] = {"bootstrap": bootstrap, "conformal": conformal}

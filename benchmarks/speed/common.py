"""What every contender shares: priors, group codes, the convergence rule, and the way its process reports.

A contender is a program: ``python -m benchmarks.speed.MODULE FIT TABLE WARMUP DRAWS SEED VARIANT OUT``. All its imports, its
reading of the table and its diagnostics are part of what is timed; this module imports nothing but NumPy before they begin.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np

CHAINS = 4
MAX_RHAT, MIN_ESS = 1.01, 400.0

#: Priors of bayescale's laws (location and scale of the logarithm), which the others take over; levels of the hierarchy are
#: in units of the median loss. ``spread`` is the scale of the half-normal on a population's standard deviation.
NOISE = {"sigma": (log(0.01), 1.0), "nu": (log(13.0), 0.8)}
CHINCHILLA = {
    "E": (log(1.8), 0.3),
    "A": (log(0.4), 0.7),
    "B": (log(0.4), 0.7),
    "alpha": (log(0.35), 0.4),
    "beta": (log(0.35), 0.4),
    **NOISE,
}
HIERARCHY = {"E": (log(0.6), 0.5), "A": (log(0.4), 0.7), "alpha": (log(0.3), 0.6), **NOISE}
SPREAD = {"A": 0.5, "alpha": 0.2}

#: Which columns make the groups of each parameter of the hierarchy.
GROUPS = {"E": ["dataset", "tokenizer", "source"], "A": ["curve"], "alpha": ["family"]}


@dataclass(frozen=True)
class Outcome:
    """What a contender found.

    Parameters
    ----------
    r_hat, ess : float
        Of the worst parameter (bulk or tail).
    draws : int
        Draws kept of each chain.
    divergences : int
    alpha : float
        Posterior median of the exponent of params (of the population's, in the hierarchy): the same for all.
    """

    r_hat: float
    ess: float
    draws: int
    divergences: int
    alpha: float

    @property
    def passes(self) -> bool:
        """Whether the rule is met."""
        return self.r_hat <= MAX_RHAT and self.ess >= MIN_ESS


Fit = Callable[[Any, int, int, int, str], Outcome]


def diagnose(draws: Mapping[str, Any], divergences: Any, alpha: str) -> Outcome:
    """Rank and folded split R-hat, bulk and tail effective sample size, over every parameter (chain, draw, …), by ArviZ."""
    from arviz_stats.base import array_stats

    arrays = {name: np.asarray(values, dtype=float) for name, values in draws.items()}
    chains, number = next(iter(arrays.values())).shape[:2]
    every = np.concatenate([a.reshape(chains, number, -1) for a in arrays.values()], axis=2)
    stacked = np.moveaxis(every, 2, 0)
    ess = [
        array_stats.ess(stacked, chain_axis=1, draw_axis=2, method=m, prob=p)
        for m, p in (("bulk", None), ("tail", (0.05, 0.95)))
    ]
    r_hat = array_stats.rhat(stacked, chain_axis=1, draw_axis=2, method="rank")
    return Outcome(
        r_hat=float(np.max(r_hat)),
        ess=float(np.min(ess)),
        draws=number,
        divergences=int(np.sum(divergences)),
        alpha=float(np.median(arrays[alpha])),
    )


@dataclass(frozen=True)
class Hierarchy:
    """The table of families as arrays: log size about its mean, loss, median loss, and the group of every row."""

    log_x: np.ndarray
    loss: np.ndarray
    level: float
    code: dict[str, np.ndarray]
    size: dict[str, int]

    @classmethod
    def of(cls, table: Any) -> Hierarchy:
        """Read a data frame."""
        code, size = {}, {}
        for name, columns in GROUPS.items():
            code[name] = table.groupby(columns).ngroup().to_numpy()
            size[name] = int(code[name].max()) + 1
        log_x, loss = np.log(table["params"].to_numpy(float)), table["loss"].to_numpy(float)
        return cls(log_x - log_x.mean(), loss, float(np.median(loss)), code, size)

    def location(self, name: str) -> float:
        """Location of a parameter's prior, that of a level in units of the response made absolute."""
        return HIERARCHY[name][0] + (log(self.level) if name in ("E", "A") else 0.0)


def run(**fits: Fit) -> None:
    """Be the program: fit what the arguments say and write the outcome as JSON."""
    import pandas as pd

    fit, table, warmup, draws, seed, variant, out = sys.argv[1:]
    found = fits[fit](pd.read_csv(table), int(warmup), int(draws), int(seed), variant)
    Path(out).write_text(json.dumps(asdict(found)))

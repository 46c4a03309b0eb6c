"""Is P(B better than A at C) what happens? On simulated pairs of methods whose crossing is known.

``python -m benchmarks.decisions crossover --pairs 300`` simulates pairs, twelve runs a method, by NumPy and the law's formula.
Parameters are drawn from the prior, of both methods (any), or of all but the amplitude of B, which is solved for: so that the
two meet once, B worse before it and better after, near (up to ten times the largest run) or far (ten to a thousand times), or
so that they never do (parallel: one is the other times a constant). Every curve is fitted by ``fit_many`` with the same law and
priors. Probabilities must hold for any; the other kinds were picked for their crossing, which the forecaster does not know.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.plots.crossing import crossing_interval

PROB = 0.9
RUNS, SMALLEST, LARGEST = 12, 1e7, 1e9
SIZES = np.geomspace(SMALLEST, LARGEST, RUNS)
REFERENCE = float(np.sqrt(SMALLEST * LARGEST))

#: Where P(B better) is asked, as multiples of the largest run, and where crossings are searched.
ASKED = (1.0, 10.0, 100.0)
WITHIN = (SMALLEST, 1e4 * LARGEST)

#: The crossing of each kind, as multiples of the largest run.
PLACES = {"near": (1.0, 10.0), "far": (10.0, 1000.0)}
KINDS = ("any", *PLACES, "never")

#: Parallel methods differ by a factor from this range, to one side or the other.
APART = (0.01, 0.1)

PRIORS = {
    "E": bs.Param.positive(1.8, 0.3, unit="nats/token"),
    "A": bs.Param.positive(0.4, 0.7, unit="nats/token"),
    "alpha": bs.Param.positive(0.35, 0.4),
}
MODEL = bs.ScalingModel("power_law_offset", axes={"x": "params"}, noise=bs.Gaussian(), priors=PRIORS)


@dataclass(frozen=True)
class Curve:
    """E + A (params / reference)^-alpha."""

    E: float
    A: float
    alpha: float

    def __call__(self, params: np.ndarray | float) -> np.ndarray:
        """Loss at a size."""
        return np.asarray(self.E + self.A * (params / REFERENCE) ** -self.alpha)


def drawn(rng: np.random.Generator) -> Curve:
    return Curve(**{name: float(np.exp(rng.normal(prior.loc, prior.scale))) for name, prior in PRIORS.items()})


def simulate(kind: str, seed: int) -> tuple[Curve, Curve, float, pd.DataFrame, pd.DataFrame]:
    """Two methods, the scale of their crossing (infinite where there is none), and their runs."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind == "any":
        a, b = drawn(rng), drawn(rng)
        scale = _first_crossing(a, b)
    elif kind == "never":
        a = drawn(rng)
        factor = float(np.exp(rng.choice([-1, 1]) * rng.uniform(*APART)))
        b, scale = Curve(factor * a.E, factor * a.A, a.alpha), np.inf
    else:
        scale = LARGEST * float(np.exp(rng.uniform(*np.log(PLACES[kind]))))
        a, b = _meeting(rng, scale)
    noise, made = MODEL.noise.prior, []
    for curve in (a, b):
        sigma = float(np.exp(rng.normal(noise.loc, noise.scale)))
        made.append(pd.DataFrame({"params": SIZES, "loss": curve(SIZES) * np.exp(sigma * rng.standard_normal(RUNS))}))
    return a, b, scale, made[0], made[1]


def _meeting(rng: np.random.Generator, scale: float) -> tuple[Curve, Curve]:
    """Two methods that meet at ``scale`` and nowhere else; B's amplitude within the central 95 % of its prior."""
    amplitude = PRIORS["A"]
    grid = np.geomspace(*WITHIN, 400)
    while True:
        a, b = drawn(rng), drawn(rng)
        needed = float((a(scale) - b.E) / (scale / REFERENCE) ** -b.alpha)
        if needed <= 0 or abs(np.log(needed) - amplitude.loc) > 1.96 * amplitude.scale:
            continue
        b = Curve(b.E, needed, b.alpha)
        if (np.sign(a(grid) - b(grid)) == np.sign(grid - scale)).all():
            return a, b


def _first_crossing(a: Curve, b: Curve) -> float:
    grid = np.geomspace(*WITHIN, 4000)
    changed = np.flatnonzero(np.diff(np.sign(a(grid) - b(grid))))
    return float(np.sqrt(grid[changed[0]] * grid[changed[0] + 1])) if changed.size else np.inf


def measure(pairs: int, *, progress: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a pair, and one row a pair and scale that is asked about.

    ``pairs`` are of each kind in turn.
    """
    turns = [(i, KINDS[i % len(KINDS)]) for i in range(pairs)]
    made = {i: (kind, *simulate(kind, i)) for i, kind in turns}
    tables = {(i, side): made[i][4 + k] for i in made for k, side in enumerate("ab")}
    began = time.perf_counter()
    fits = bs.fit_many(MODEL, tables, strict=False, progress=progress)
    seconds = time.perf_counter() - began
    rows, asked = [], []
    for i, (kind, a, b, scale, *_) in made.items():
        one, other = fits[i, "a"], fits[i, "b"]
        found = bs.crossover(one, other, along="params", within=WITHIN, seed=i)
        agreed = not one.convergence.faults and not other.convergence.faults
        # A draw that has no crossing in the range has it beyond.
        draws = np.nan_to_num(found["params"].to_numpy().ravel(), nan=np.inf)
        low, high = np.quantile(draws, [(1 - PROB) / 2, (1 + PROB) / 2], method="inverted_cdf")
        row = {"pair": i, "kind": kind, "p_crosses": 1 - float(found["p_none"]), "covered": bool(low <= scale <= high)}
        shown = crossing_interval(found, PROB)
        row["shown"] = bool(shown["lower"] <= scale <= shown["upper"]) if row["p_crosses"] >= 0.5 else np.nan
        rows.append(row | {"converged": agreed, "low": low, "high": high, "truth": scale, "seconds": seconds})
        for multiple in ASKED:
            at = multiple * LARGEST
            p = float(np.interp(np.log(at), np.log(found["scale"]), found["p_b_better"]))
            lowest_measured = made[i][4]["loss"].iloc[-1] > made[i][5]["loss"].iloc[-1]
            asked.append((i, kind, multiple, p, bool(b(at) < a(at)), bool(lowest_measured)))
    return pd.DataFrame(rows), pd.DataFrame(asked, columns=["pair", "kind", "multiple", "p", "better", "ranked"])


def calibration(asked: pd.DataFrame) -> pd.DataFrame:
    """Of forecasts of like probability: how many, their mean, how often B is better, and its s.e. with the pair as unit."""
    bins = pd.cut(asked["p"], [0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1], include_lowest=True)
    told = []
    for place, own in asked.groupby(bins, observed=True):
        by_pair = (own["better"].astype(float) - own["better"].mean()).groupby(own["pair"]).sum()
        error = float(np.sqrt((by_pair**2).sum()) / len(own))
        told.append((str(place), len(own), own["p"].mean(), own["better"].mean(), error))
    return pd.DataFrame(told, columns=["P(B better)", "forecasts", "mean P", "B is better", "s.e."]).set_index("P(B better)")


def printed(pairs: pd.DataFrame, asked: pd.DataFrame, scores: pd.DataFrame) -> str:
    """The tables: crossings by kind, calibration, scores."""
    by_kind = pairs.groupby("kind", sort=False).agg(
        pairs=("pair", "size"),
        covered=("covered", "mean"),
        shown_covers=("shown", "mean"),
        mean_p_crosses=("p_crosses", "mean"),
        says_crosses=("p_crosses", lambda p: (p >= PROB).mean()),
        converged=("converged", "mean"),
    )
    crossing = pairs[pairs["kind"].isin(list(PLACES))]["covered"]
    share = crossing.mean()
    error = np.sqrt(share * (1 - share) / len(crossing))
    by_kind.loc[by_kind.index == "never", ["covered", "shown_covers"]] = np.nan  # no crossing lies beyond every range
    told = pairs[pairs["kind"].isin(list(PLACES))]["shown"].dropna().astype(float)
    lines = [
        f"{len(pairs)} pairs, {pairs['seconds'].iloc[0]:.0f} s of fitting; 'says crosses': P(crosses in range) >= {PROB}",
        by_kind.round(3).to_string(),
        f"coverage of the crossing's {PROB:.0%} interval, near and far: {share:.3f} (s.e. {error:.3f}); that of the draws "
        f"with a crossing, which figures and pages show, where these are half or more: {told.mean():.3f} of {len(told)}",
        f"any\n{calibration(asked[asked['kind'] == 'any']).round(3).to_string()}",
        f"near, far and never\n{calibration(asked[asked['kind'] != 'any']).round(3).to_string()}",
        scores.round(3).to_string(),
    ]
    return "\n\n".join(lines)

"""Do intervals of a model of capability cover? Tables simulated from parameters drawn from its prior, fitted, and compared.

``python -m benchmarks.capabilities.recovery --replicates 200`` prints the share of true values inside their 90 % intervals,
pooled over parameters and replicates, with the replicate as the unit. The truths are drawn by NumPy and the formulas of the
documentation: one factor, eight families of three sizes, four tasks of 500 items whose floors and ceilings are known.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

import bayescale as bs
from benchmarks.recovery import coverage

FAMILIES, SIZES, ITEMS, CEILING = 8, 3, 500, 0.95
CHANCE = {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.5}
MODEL = bs.CapabilityModel(1, anchors=("a",), ceilings=dict.fromkeys(CHANCE, CEILING))

Truth = dict[str, np.ndarray]


def truth_of(rng: np.random.Generator) -> Truth:
    """Parameters from the prior."""

    def scale(median: float, size: int | None = None) -> np.ndarray:
        return np.asarray(np.exp(rng.normal(np.log(median), 0.6, size)))

    def by_task(median: float) -> np.ndarray:
        return np.exp(rng.normal(np.log(scale(median)), 0.5, len(CHANCE)))

    loading = np.concatenate([[1.0], np.exp(rng.normal(0.2, 0.7, len(CHANCE) - 1))])
    return {
        "intercept": rng.normal(0.0, 3.0, len(CHANCE)),
        "loading": loading,
        "effect": rng.normal([0.6, 0.6, 0.0], 0.5),
        "family_sd": scale(0.6, 1),
        "model_sd": scale(0.3, 1),
        "task_sd": loading * by_task(0.2),
        "sigma": scale(0.012),
        "jitter": by_task(0.15),
    }


def simulate(seed: int) -> tuple[pd.DataFrame, Truth]:
    """A table of scores and the parameters behind it."""
    rng = np.random.default_rng([seed, 2026])
    truth = truth_of(rng)
    chance, tasks = np.array(list(CHANCE.values())), len(CHANCE)
    rows = []
    for f in range(FAMILIES):
        own, effects = truth["family_sd"] * rng.standard_normal(), truth["task_sd"] * rng.standard_normal(tasks)
        for i in range(SIZES):
            size, data = 8.5 + 0.7 * i + 0.1 * f, 11.2 + 0.15 * f + 0.2 * i
            x, z = (size - 9.8) / 0.7, (data - 11.8) / 0.6
            capability = truth["effect"] @ [x, z, x * z] + own + truth["model_sd"] * rng.standard_normal()
            share = 1 / (1 + np.exp(-(truth["intercept"] + truth["loading"] * capability + effects)))
            mean, slope = chance + (CEILING - chance) * share, (CEILING - chance) * share * (1 - share)
            sd = np.sqrt(truth["sigma"] ** 2 + mean * (1 - mean) / ITEMS + (slope * truth["jitter"]) ** 2)
            scores = mean + sd * rng.standard_normal(tasks)
            for task, score in zip(CHANCE, scores, strict=True):
                rows.append((f"F{f}", f"F{f}-{i}", 10**size, 10**data, task, score, ITEMS, CHANCE[task]))
    columns = ["family", "model", "params", "tokens", "task", "accuracy", "n_items", "chance"]
    return pd.DataFrame(rows, columns=columns), truth


def recover(seed: int) -> pd.DataFrame:
    """One row a scalar parameter of one replicate: ``parameter``, ``covered``, ``replicate``, ``converged``, ``seconds``."""
    table, truth = simulate(seed)
    # A score is a share, and the model knows nothing of the normal noise being cut off.
    table["accuracy"] = table["accuracy"].clip(0.0, 1.0)
    began = time.perf_counter()
    fitted = bs.fit(MODEL, table, seed=seed, strict=False, progress=False)
    rows = []
    for name, value in truth.items():
        drawn = fitted.posterior[name].stack(all=("chain", "draw")).transpose("all", ...).to_numpy()
        lower, upper = np.quantile(drawn.reshape(len(drawn), -1), [0.05, 0.95], axis=0)
        known = np.ravel(value)
        rows += [{"parameter": name, "covered": c} for c in ((lower <= known) & (known <= upper))[lower < upper]]
    found = pd.DataFrame(rows)
    return found.assign(replicate=seed, converged=not fitted.convergence.faults, seconds=time.perf_counter() - began)


def replicates(number: int) -> Iterator[pd.DataFrame]:
    """The first so many replicates; after the first, nothing is compiled."""
    return map(recover, range(number))


def main() -> None:
    """Print the share that is covered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    asked = parser.parse_args()
    found = pd.concat(tqdm(replicates(asked.replicates), total=asked.replicates, disable=None), ignore_index=True)
    share, error = coverage(found)
    each = found.groupby("replicate").first()
    tables = f"{asked.replicates} tables of {FAMILIES * SIZES} models and {len(CHANCE)} tasks"
    print(f"{tables}: 90 % intervals cover {share:.1%} (s.e. {error:.1%})")
    print(f"{each['converged'].mean():.0%} of the fits converged, {each['seconds'].median():.1f} s a fit (median)")
    print(found.groupby("parameter", sort=False)["covered"].mean().round(3).to_string())


if __name__ == "__main__":
    main()

"""How long, and with how much memory, a large table of scores is fitted.

``python -m benchmarks.capabilities.large --models 2000 --tasks 30`` simulates families of ten sizes from two factors, hides
four scores of ten, fits the default model, and prints seconds, peak memory, R-hat and effective sample size. A process of its
own, so that the memory is that of the fit.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

import bayescale as bs

SIZES, CHANCE, MISSING = 10, 0.25, 0.4


def simulate(models: int, tasks: int, seed: int) -> pd.DataFrame:
    """A long table of scores: ``models / 10`` families, each model scored on some six tenths of the tasks."""
    rng = np.random.default_rng(seed)
    families = -(-models // SIZES)
    family = np.repeat(np.arange(families), SIZES)[:models]
    size = np.tile(np.linspace(8.0, 11.0, SIZES), families)[:models]
    data = rng.uniform(11.0, 13.0, families)[family]
    loading = np.abs(rng.normal([1.2, 0.0], [0.3, 0.6], (tasks, 2)))
    common = 0.6 * (size - 9.8) / 0.7 + 0.6 * (data - 11.8) / 0.6
    capability = (
        np.stack([common, 0.2 * common], -1) + rng.normal(0, 0.6, (families, 2))[family] + rng.normal(0, 0.3, (models, 2))
    )
    effects = rng.normal(0, 0.2, (families, tasks))[family]
    logit = rng.normal(0.0, 1.5, tasks) + capability @ loading.T + effects + rng.normal(0, 0.15, (models, tasks))
    scores = CHANCE + (0.95 - CHANCE) / (1 + np.exp(-logit)) + rng.normal(0, 0.012, (models, tasks))
    model, task = np.nonzero(rng.random((models, tasks)) > MISSING)
    return pd.DataFrame(
        {
            "family": [f"F{f}" for f in family[model]],
            "model": [f"M{m}" for m in model],
            "params": 10 ** size[model],
            "tokens": 10 ** data[model],
            "task": [f"T{t}" for t in task],
            "accuracy": scores[model, task].clip(0.0, 1.0),
            "n_items": 1000,
            "chance": CHANCE,
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    table = simulate(asked.models, asked.tasks, asked.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, busy = time.perf_counter(), time.process_time()
    fit = bs.fit(bs.CapabilityModel(), table, seed=asked.seed, strict=False, progress=True)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = fit.convergence
    print(f"{asked.models} models, {asked.tasks} tasks, {len(table)} scores: {wall:.0f} s, {busy:.0f} of one processor")
    print(f"peak memory {peak / 2**20:.1f} GiB, {before / 2**20:.1f} before the fit")
    print(f"R-hat {found.worst_rhat:.3f}, ESS {found.worst_ess:.0f}, {found.divergences} divergences among {found.draws} draws")


if __name__ == "__main__":
    main()

"""Do intervals cover when the errors of consecutive checkpoints are alike? With a memory in the noise, and without.

``python -m benchmarks.checkpoints --replicates 200`` simulates runs of 40 checkpoints from parameters drawn from the prior, by
NumPy and the formulas of the documentation, fits each with and without ``memory``, and prints the share of true values inside
their 90 % intervals, pooled over the law's parameters and replicates. The standard error takes the replicate as its unit.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from scipy.special import expit

import bayescale as bs

PROB, CHECKPOINTS = 0.9, 40
MEMORY = bs.Param.fraction(0.7, 0.8)
PRIORS = {
    "E": bs.Param.positive(1.8, 0.3, unit="nats/token"),
    "A": bs.Param.positive(0.4, 0.7, unit="nats/token"),
    "alpha": bs.Param.positive(0.35, 0.4),
}
NOISES = {"rows independent": bs.Gaussian(), "with memory": bs.Gaussian(memory=MEMORY)}
MODELS = {name: bs.ScalingModel("power_law_offset", axes={"x": "steps"}, noise=n, priors=PRIORS) for name, n in NOISES.items()}


def simulate(seed: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Checkpoints of one run, and the parameters behind them, the law's at the geometric mean of the steps."""
    rng = np.random.default_rng([seed, 7])
    truth = {name: float(np.exp(rng.normal(prior.loc, prior.scale))) for name, prior in PRIORS.items()}
    sigma = MODELS["with memory"].noise.prior
    truth["sigma"] = float(np.exp(rng.normal(sigma.loc, sigma.scale)))
    truth["noise_memory"] = float(expit(rng.normal(MEMORY.loc, MEMORY.scale)))
    steps = np.geomspace(1e3, 1e5, CHECKPOINTS)
    errors, kept = rng.standard_normal(CHECKPOINTS), truth["noise_memory"]
    for i in range(1, CHECKPOINTS):
        errors[i] = kept * errors[i - 1] + np.sqrt(1 - kept**2) * errors[i]
    x = steps / np.exp(np.log(steps).mean())
    mean = truth["E"] + truth["A"] * x ** -truth["alpha"]
    return pd.DataFrame({"steps": steps, "loss": mean * np.exp(truth["sigma"] * errors)}), truth


def covered(fit: bs.Fit, truth: dict[str, float]) -> dict[str, bool]:
    """Whether each parameter that the fit has lies in its interval."""
    found = {}
    for name, value in truth.items():
        if name in fit.posterior:
            low, high = np.quantile(fit.posterior[name], [(1 - PROB) / 2, (1 + PROB) / 2])
            found[name] = bool(low <= value <= high)
    return found


def measure(number: int, *, progress: bool = True) -> pd.DataFrame:
    """One row a model, replicate and parameter: ``covered`` or not; ``seconds`` for all of a model."""
    made = {seed: simulate(seed) for seed in range(number)}
    rows = []
    for name, model in MODELS.items():
        began = time.perf_counter()
        fits = bs.fit_many(model, {seed: table for seed, (table, _) in made.items()}, strict=False, progress=progress)
        seconds = time.perf_counter() - began
        for seed, fit in fits.items():
            agreed = not fit.convergence.faults
            each = covered(fit, made[seed][1])
            rows += [(name, seed, p, inside, agreed, seconds) for p, inside in each.items()]
    return pd.DataFrame(rows, columns=["model", "replicate", "parameter", "covered", "converged", "seconds"])


def coverage(found: pd.DataFrame) -> tuple[float, float]:
    """Share of the law's true values covered, and its standard error with the replicate as the unit."""
    shares = found[found["parameter"].isin(list(PRIORS))].groupby("replicate")["covered"].mean()
    return float(shares.mean()), float(shares.std(ddof=1) / np.sqrt(len(shares)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    found = measure(parser.parse_args().replicates)
    rows = []
    for name, own in found.groupby("model", sort=False):
        share, error = coverage(own)
        by_parameter = own.groupby("parameter", sort=False)["covered"].mean().round(3).to_dict()
        told = {"coverage of 90 %": round(share, 3), "s.e.": round(error, 3), **by_parameter}
        rows.append({"noise": name, **told, "converged": own["converged"].mean(), "s": round(own["seconds"].iloc[0])})
    print(pd.DataFrame(rows).set_index("noise").to_string())


if __name__ == "__main__":
    main()

"""Do intervals cover? Tables simulated from parameters drawn from the prior, fitted, and compared with the truth.

``python -m benchmarks.recovery --replicates 200`` prints, for each case, the share of true values inside their 90 % intervals,
pooled over parameters and replicates. The truths are drawn from the model's own prior, by NumPy and the formulas of the
documentation, so a right posterior covers exactly 90 % in expectation, whatever the number of runs; the levels are in nats, for
a prior in units of the fitted rows' response would depend on the data. The standard error takes the replicate as its unit:
the parameters of one table are not independent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from tqdm import tqdm

import bayescale as bs

PROB = 0.9
NATS = "nats/token"

#: A floor and an amplitude as the catalogue has them for losses of language models.
PRIORS = {"E": bs.Param.positive(1.8, 0.3, unit=NATS), "A": bs.Param.positive(0.4, 0.7, unit=NATS)}
#: Degrees of freedom: median and standard deviation of the logarithm.
TAILS = (13.0, 0.8)

Truth = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model and the sizes of the families that it is fitted to."""

    model: bs.ScalingModel
    runs: tuple[int, ...]


_POOLED = {"alpha": bs.PartialPooling("family"), "A": bs.PartialPooling("family")}
_offset = partial(bs.ScalingModel, "power_law_offset", axes={"x": "params"}, priors=PRIORS)

CASES = {
    "one family": Case(_offset(), (12,)),
    "chinchilla": Case(bs.ScalingModel("chinchilla"), (40,)),
    "twelve families": Case(_offset(pooling=_POOLED), (2, 2, 3, 3, 4, 5, 6, 7, 9, 12, 16, 20)),
}


def simulate(case: Case, seed: int) -> tuple[pd.DataFrame, Truth]:
    """A table and the parameters behind it, under the names of the posterior; one number a family where there are such."""
    rng = np.random.default_rng([seed, 2024])
    family = np.repeat(np.arange(len(case.runs)), case.runs)
    n = len(family)
    table = pd.DataFrame({"family": [f"f{i:02d}" for i in family], "params": 10 ** rng.uniform(7.5, 10.5, n)})
    if "tokens" in case.model.law.covariates:
        table["tokens"] = 10 ** rng.uniform(9.5, 12, n)
    truth = draw(case.model, len(case.runs), rng)
    by_run = {name: truth[name][family] if np.ndim(truth[name]) else truth[name] for name in case.model.law.params}
    columns = {c: table[case.model.axes.get(c, c)] for c in case.model.law.covariates}
    ratios = {c: (x / np.exp(np.log(x).mean())).to_numpy() for c, x in columns.items()}
    mean = LAWS[case.model.law.name](**ratios, **by_run)
    return table.assign(loss=mean * np.exp(truth["sigma"] * rng.standard_t(truth["nu"], n))), truth


#: Written out once more: nothing of the package stands behind the tables.
LAWS = {
    "power_law_offset": lambda x, E, A, alpha: E + A * x**-alpha,
    "chinchilla": lambda params, tokens, E, A, B, alpha, beta: E + A * params**-alpha + B * tokens**-beta,
}


def draw(model: bs.ScalingModel, families: int, rng: np.random.Generator) -> Truth:
    """Parameters from the prior: ``log theta ~ Normal(loc, scale)``, or a population of that mean and half-normal spread."""
    own = model.priors if not isinstance(model.priors, str) else {}
    truth: Truth = {}
    for name, param in model.law.params.items():
        prior = param.with_prior(own[name]) if name in own else param
        location = rng.normal(prior.loc, prior.scale)
        if name in model.pooling:
            truth[f"{name}_mu"], truth[f"{name}_tau"] = location, abs(rng.normal(0.0, prior.spread))
            location = rng.normal(location, truth[f"{name}_tau"], families)
        truth[name] = np.exp(location)
    sigma = model.noise.prior
    truth["sigma"] = np.exp(rng.normal(sigma.loc, sigma.scale))
    truth["nu"] = np.exp(rng.normal(np.log(TAILS[0]), TAILS[1]))
    return truth


def recover(case: Case, seed: int, sampler: bs.Nuts | None = None) -> pd.DataFrame:
    """One row a scalar parameter of one replicate.

    Returns
    -------
    DataFrame
        ``parameter``, ``covered`` by its interval or not, ``score``: the normal score of the truth's rank among the draws,
        standard normal for a right posterior; ``replicate``, ``converged``, ``seconds``.
    """
    table, truth = simulate(case, seed)
    began = time.perf_counter()
    fitted = bs.fit(case.model, table, seed=seed, sampler=sampler, strict=False, progress=False)
    rows = []
    for name, value in truth.items():
        drawn = fitted.posterior[name].stack(all=("chain", "draw")).to_numpy().reshape(np.size(value), -1)
        lower, upper = np.quantile(drawn, [(1 - PROB) / 2, (1 + PROB) / 2], axis=1)
        covered = (lower <= value) & (value <= upper)
        below = (drawn < np.reshape(value, (-1, 1))).sum(axis=1)
        score = norm.ppf((1 + below) / (2 + drawn.shape[1]))
        rows += [{"parameter": name, "covered": c, "score": z} for c, z in zip(covered, score, strict=True)]
    found = pd.DataFrame(rows)
    return found.assign(replicate=seed, converged=not fitted.convergence.faults, seconds=time.perf_counter() - began)


def replicates(case: Case, number: int, sampler: bs.Nuts | None = None) -> Iterator[pd.DataFrame]:
    """The first so many replicates of a case; after the first, nothing is compiled."""
    return (recover(case, seed, sampler) for seed in range(number))


def coverage(found: pd.DataFrame) -> tuple[float, float]:
    """Share of true values covered, and its standard error with the replicate as the unit."""
    shares = found.groupby("replicate")["covered"].mean()
    return float(shares.mean()), float(shares.std(ddof=1) / np.sqrt(len(shares)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--case", choices=list(CASES), action="append")
    asked = parser.parse_args()
    rows, by_parameter = [], {}
    for name in asked.case or CASES:
        bar = tqdm(replicates(CASES[name], asked.replicates), total=asked.replicates, desc=name, disable=None)
        found = pd.concat(bar, ignore_index=True)
        share, error = coverage(found)
        each = found.groupby("replicate").first()
        rows.append(
            {
                "case": name,
                "runs": sum(CASES[name].runs),
                "parameters": len(found) // asked.replicates,
                "replicates": asked.replicates,
                "coverage of 90 %": round(share, 4),
                "s.e.": round(error, 4),
                "converged": each["converged"].mean(),
                "s a fit (median)": round(each["seconds"].median(), 2),
            }
        )
        by_parameter[name] = found.groupby("parameter")["covered"].mean().round(3)
    print(pd.DataFrame(rows).set_index("case").to_string())
    for name, shares in by_parameter.items():
        print(f"{name}: " + ", ".join(f"{parameter} {share:.3f}" for parameter, share in shares.items()))


if __name__ == "__main__":
    main()

"""Whether fits converge at default settings, and where the Chinchilla posterior lies.

``python -m benchmarks.convergence`` fits the 240 Chinchilla runs for ten seeds and the bundled families for three, prints the
worst R-hat and effective sample size over all parameters, divergences and seconds of each, and the posterior medians beside the
intervals of Besiroglu et al. (arXiv 2404.10102).

With ``--bundled`` it fits larger and larger parts of the bundled losses instead, with a drift of every curve and by the law
alone: up to how many curves ``recommended`` lets slopes drift rests on these.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import pandas as pd

import bayescale as bs
from benchmarks.pooling import TEXTS, families, fitted

#: 95 % intervals of the replication; a = beta / (alpha + beta) is the exponent of the optimal size.
PUBLISHED = {"E": (1.769, 1.871), "alpha": (0.317, 0.373), "beta": (0.331, 0.415), "a": (0.487, 0.539)}


def row(name: str, seed: int, fit: bs.Fit, seconds: float) -> dict[str, object]:
    """How well one fit converged."""
    found = fit.convergence
    return {
        "fit": name,
        "seed": seed,
        "runs": len(fit.data),
        "parameters": len(found.table),
        "draws": fit.posterior.sizes["draw"],
        "R-hat": round(found.worst_rhat, 4),
        "ESS": round(found.worst_ess),
        "divergences": found.divergences,
        "converged": not found.faults,
        "seconds": round(seconds, 1),
    }


def bundled(seed: int) -> list[dict[str, object]]:
    """The recommended law on parts of the bundled losses, with a drift and without."""
    losses = bs.load_dataset("pretraining_losses", runs=True)
    one = losses[losses.dataset == "Pile test"]
    tables = {
        "Pile, three runs of each family": one[one.groupby("family").params.rank() <= 3],
        "four texts": losses[losses.dataset.isin(TEXTS)],
        "LAMBADA": losses[losses.dataset.str.contains("LAMBADA")],
        "PALOMA": losses[losses.dataset.str.contains("PALOMA")],
        "all": losses,
    }
    rows = []
    for name, table in tables.items():
        law = replace(bs.recommended(table), discrepancy=None)
        models = {
            "drift": replace(law, discrepancy=bs.SlopeDrift()),
            "law alone": law,
            "law alone, Student-t": replace(law, noise=bs.StudentT()),
        }
        for kind, model in models.items():
            began = time.perf_counter()
            fit = bs.fit(model, table, seed=seed, strict=False)
            rows.append(row(f"{name}, {kind}", seed, fit, time.perf_counter() - began))
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="of the Chinchilla fit")
    parser.add_argument("--family-seeds", type=int, default=3, help="of the hierarchical fit")
    parser.add_argument("--bundled", action="store_true", help="parts of the bundled losses by the recommended law (15 min)")
    asked = parser.parse_args()
    if asked.bundled:
        print(pd.DataFrame(bundled(seed=0)).to_string(index=False))
        return
    rows, medians = [], []
    if asked.seeds:
        table = bs.load_dataset("chinchilla", runs=True)
        for seed in range(asked.seeds):
            began = time.perf_counter()
            fit = bs.fit(bs.ScalingModel("chinchilla"), table, seed=seed, strict=False)
            rows.append(row("chinchilla", seed, fit, time.perf_counter() - began))
            middle = fit.posterior.median()
            share = (fit.posterior.beta / (fit.posterior.alpha + fit.posterior.beta)).median()
            medians.append({p: float(middle[p]) for p in ("E", "alpha", "beta")} | {"a": float(share)})
    runs = families()
    for seed in range(asked.family_seeds):
        began = time.perf_counter()
        fit = fitted(runs, "partial", seed)
        rows.append(row("families", seed, fit, time.perf_counter() - began))
    print(pd.DataFrame(rows).to_string(index=False))
    if medians:
        found = pd.DataFrame(medians).agg(["min", "max"]).T
        found["published"] = [f"{low}-{high}" for low, high in (PUBLISHED[p] for p in found.index)]
        found["inside"] = [PUBLISHED[p][0] <= found["min"][p] and found["max"][p] <= PUBLISHED[p][1] for p in found.index]
        print("\nposterior medians over the seeds\n" + found.round(4).to_string())


if __name__ == "__main__":
    main()

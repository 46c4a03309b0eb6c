"""Does partial pooling pay? Held-back largest models of the bundled families, by pooling.

``python -m benchmarks.pooling`` prints three tables: (a) one family at a time is shown with its two smallest models only and
the others whole; (b) the largest model of every family is held back; (c) every family shows only its two smallest. Scored is
the forecast of each family's largest model: log predictive density of log loss, coverage and width of the 90 % interval (log
units), relative error of the median.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from scipy.stats import t as student_t

import bayescale as bs

TEXTS = ("Pile test", "Pile validation", "SlimPajama validation", "WikiText-2")
FLOOR = bs.NoPooling(("dataset", "tokenizer", "source"))

#: The floor belongs to the text in all of them; what differs is what families share.
POOLINGS: dict[str, dict[str, bs.PartialPooling | bs.NoPooling | bs.CompletePooling]] = {
    "partial": {"E": FLOOR, "A": bs.PartialPooling("curve"), "alpha": bs.PartialPooling(("architecture", "family"))},
    "exponents shared": {"E": FLOOR, "A": bs.PartialPooling("curve"), "alpha": bs.CompletePooling()},
    "one curve a text": {"E": FLOOR, "A": bs.NoPooling("text"), "alpha": bs.NoPooling("text")},
    "none": {"E": bs.NoPooling("curve"), "A": bs.NoPooling("curve"), "alpha": bs.NoPooling("curve")},
}


def families() -> pd.DataFrame:
    """Bundled families with three sizes or more on one of the language-modelling test sets."""
    runs = bs.load_dataset("pretraining_losses", runs=True)
    runs = runs[runs.dataset.isin(TEXTS)].reset_index(drop=True)
    return runs.assign(curve=runs.family + " | " + runs.text, rank=runs.groupby(["family", "text"]).params.rank())


def score(fit: bs.Fit, held: pd.DataFrame) -> pd.DataFrame:
    """One row a held-back run: log density of log loss, whether the 90 % interval covers, its width, the error."""
    post = fit.posterior
    mean = np.log(bs.predict(fit, held, kind="mean")["loss"].to_numpy())
    truth = np.log(held.loss.to_numpy())
    sigma, nu = post["sigma"].to_numpy()[..., None], post["nu"].to_numpy()[..., None]
    density = student_t.logpdf(truth, nu, mean, sigma).reshape(-1, len(held))
    new = np.log(bs.predict(fit, held)["loss"].to_numpy().reshape(-1, len(held)))
    lower, middle, upper = np.quantile(new, [0.05, 0.5, 0.95], axis=0)
    return pd.DataFrame(
        {
            "curve": held.curve.to_numpy(),
            "density": logsumexp(density, axis=0) - np.log(len(density)),
            "covered": (lower <= truth) & (truth <= upper),
            "width": upper - lower,
            "error": np.abs(np.exp(middle - truth) - 1),
            "R-hat": fit.convergence.worst_rhat,
            "ESS": fit.convergence.worst_ess,
        }
    )


def fitted(runs: pd.DataFrame, pooling: str, seed: int) -> bs.Fit:
    """The law of all tables here under one pooling."""
    model = bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=POOLINGS[pooling])
    return bs.fit(model, runs, seed=seed, strict=False, progress=False)


def one_short(runs: pd.DataFrame, pooling: str, seed: int) -> pd.DataFrame:
    """(a) Each curve in turn shown with its two smallest models, the others whole."""
    parts = []
    for curve in runs.curve.unique():
        own = runs.curve == curve
        shown = ~own | (runs["rank"] <= 2)
        held = runs[own & (runs["rank"] == runs[own]["rank"].max())]
        parts.append(score(fitted(runs[shown], pooling, seed), held))
    return pd.concat(parts, ignore_index=True)


def largest_held(runs: pd.DataFrame, pooling: str, seed: int) -> pd.DataFrame:
    """(b) The largest model of every curve held back."""
    last = runs["rank"] == runs.groupby("curve")["rank"].transform("max")
    return score(fitted(runs[~last], pooling, seed), runs[last])


def all_short(runs: pd.DataFrame, pooling: str, seed: int) -> pd.DataFrame:
    """(c) Every curve shown with its two smallest models only."""
    last = runs["rank"] == runs.groupby("curve")["rank"].transform("max")
    return score(fitted(runs[runs["rank"] <= 2], pooling, seed), runs[last])


Protocol = Callable[[pd.DataFrame, str, int], pd.DataFrame]
PROTOCOLS: dict[str, tuple[str, Protocol, tuple[str, ...]]] = {
    "a": ("one family's two smallest, the others whole", one_short, ("partial", "none")),
    "b": ("all but the largest of each family", largest_held, tuple(POOLINGS)),
    "c": ("every family's two smallest only", all_short, tuple(POOLINGS)),
}


def table(scores: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Means over curves, and the difference of the log density from partial pooling with its standard error."""
    rows: list[dict[str, Any]] = []
    for pooling, found in scores.items():
        gap = (found.density - scores["partial"].density).to_numpy()
        rows.append(
            {
                "pooling": pooling,
                "log density": found.density.mean(),
                "minus partial": gap.mean(),
                "s.e.": gap.std(ddof=1) / np.sqrt(len(gap)) if gap.any() else 0.0,
                "coverage of 90 %": found.covered.mean(),
                "width": found.width.mean(),
                "error %": 100 * found.error.mean(),
                "R-hat": found["R-hat"].max(),
                "ESS": found["ESS"].min().round(),
                "curves": len(found),
            }
        )
    return pd.DataFrame(rows).set_index("pooling").round(3)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), action="append", help="by default all")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    runs = families()
    print(f"{len(runs)} runs, {runs.family.nunique()} families, {runs.curve.nunique()} curves, {runs.text.nunique()} texts")
    for key in asked.protocol or sorted(PROTOCOLS):
        title, protocol, poolings = PROTOCOLS[key]
        began = time.perf_counter()
        scores = {pooling: protocol(runs, pooling, asked.seed) for pooling in poolings}
        print(f"\n({key}) shown: {title}   [{time.perf_counter() - began:.0f} s]\n{table(scores).to_string()}", flush=True)


if __name__ == "__main__":
    main()

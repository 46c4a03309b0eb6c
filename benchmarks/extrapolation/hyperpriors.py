"""Defaults for single curves, learnt from the training parts of many: the population that their parameters come from.

The defaults of today are one round from ``FIRST``, the priors that were set by hand before any curve was fitted.

Each round fits every curve on its own under the priors of the round before; the next prior of a parameter is normal on its link
scale, with the mean of the posterior means and the variance that they and the posteriors have together, ``CURVES_OF_BEFORE``
curves of the first prior counted in. Only rows of the training split are read.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.infer.batch import fit_many
from bayescale.infer.fit import Fit
from bayescale.laws.base import get_law
from bayescale.laws.param import Param
from bayescale.models.discrepancy import SlopeDrift
from bayescale.models.noise import BestSoFar, Gaussian
from bayescale.prediction.parameters import to_link

#: The first prior counts as so many curves.
CURVES_OF_BEFORE = 4

LAW = get_law("bent_power_law")
SHAPES = ("floor", "bend", "width", "alpha")


def curves(split: str = "train") -> dict[str, pd.DataFrame]:
    """The rows of one split of every development curve, by curve, with columns steps, loss and domain."""
    table = pd.read_csv(Path(os.environ["BAYESCALE_DATA_DIR"]) / "curves_dev" / "curves_dev.csv")
    table = table[(table["split"] == "train") == (split == "train")].rename(columns={"x": "steps", "y": "loss"})
    return {str(key): rows[["steps", "loss", "domain"]].reset_index(drop=True) for key, rows in table.groupby("curve_id")}


def model(rows: pd.DataFrame, priors: dict[str, Param]) -> bs.ScalingModel:
    """The model of one curve under given priors of law, drift and noise."""
    best = isinstance(bs.recommended(rows[["steps", "loss"]], along="steps").noise, BestSoFar)
    sigma = priors["sigma"]
    return bs.ScalingModel(
        LAW,
        axes={"x": "steps"},
        noise=BestSoFar(sigma=sigma) if best else Gaussian(sigma=sigma),
        discrepancy=SlopeDrift(rate=priors["drift_rate"], size=priors["drift_size"]),
        priors={name: priors[name] for name in SHAPES},
    )


#: Wide, and centred where a prototype had them.
FIRST = {
    "floor": Param.fraction(0.6, 1.5),
    "bend": Param.real(-4.5, 2.7),
    "width": Param.positive(0.6, 0.6),
    "alpha": Param.positive(0.4, 0.7),
    "drift_rate": Param.positive(0.35, 0.7),
    "drift_size": Param.positive(0.25, 0.7),
    "sigma": Param.positive(0.006, 1.3),
}


def next_priors(fits: list[Fit], priors: dict[str, Param], first: dict[str, Param]) -> dict[str, Param]:
    """The population that the fitted curves suggest."""
    out = {}
    for name, prior in priors.items():
        draws = [to_link(prior.link, fit.posterior[name].to_numpy()) for fit in fits]
        before = first[name]
        means = np.r_[[d.mean() for d in draws], np.full(CURVES_OF_BEFORE, before.loc)]
        variances = np.r_[[d.var() for d in draws], np.full(CURVES_OF_BEFORE, before.scale**2)]
        out[name] = replace(prior, loc=float(means.mean()), scale=float(np.sqrt(means.var() + variances.mean())))
    return out


def show(priors: dict[str, Param]) -> str:
    """One row a parameter, on the link scale."""
    rows = {name: {"link": p.link, "mean": p.loc, "sd": p.scale} for name, p in priors.items()}
    return pd.DataFrame(rows).T.to_string(float_format="{:.2f}".format)


def main(rounds: int = 1, domains: tuple[str, ...] = ()) -> None:
    """Learn and print."""
    tables = {key: rows for key, rows in curves().items() if not domains or rows["domain"].iloc[0] in domains}
    priors = FIRST
    for turn in range(rounds):
        models = {key: model(rows, priors) for key, rows in tables.items()}
        fits = fit_many(models, {key: rows[["steps", "loss"]] for key, rows in tables.items()}, strict=False)
        priors = next_priors(list(fits.values()), priors, FIRST)
        print(f"round {turn + 1}, {len(tables)} curves\n{show(priors)}", flush=True)


if __name__ == "__main__":
    main()

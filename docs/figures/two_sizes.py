"""Draw ``two-sizes.png``: families of which two sizes were seen, pooled, and what the largest size came to.

``python docs/figures/two_sizes.py`` (part of ``make figures``) uses the bundled table alone: every family with three sizes or
more on one of four texts is shown with its two smallest models. It prints whether the fits met the convergence rule, and how
many of the larger models their 90 % intervals cover. Drawn are the families on one of the texts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.plots.style import COLOURS, log_axis, tidy

TEXTS, DRAWN = ("Pile test", "Pile validation", "SlimPajama validation", "WikiText-2"), "Pile test"


def main() -> None:
    """Fit both, draw both, say how both did."""
    runs = bs.load_dataset("pretraining_losses", runs=True)
    runs = runs[runs.dataset.isin(TEXTS)].reset_index(drop=True)
    seen = runs.groupby(["family", "text"]).params.rank() <= 2
    shown, held = runs[seen].reset_index(drop=True), runs[~seen].reset_index(drop=True)
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    drifting = bs.recommended(shown)
    models = {"pooled, law alone": replace(drifting, discrepancy=None), "pooled, with a drift": drifting}
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        fit = bs.fit(model, shown, seed=0, sampler=bs.Nuts(draws=1000), strict=False, progress=False)
        found = bs.summarize(bs.predict(fit, held, seed=0), prob=0.9)
        inside = held.loss.between(found["lower"], found["upper"])
        width = (found["upper"] / found["lower"] - 1).mean()
        state = "; ".join(fit.convergence.faults) or "met the convergence rule"
        print(f"{name}: {inside.sum()} of {len(held)} covered, mean width {width:.0%}; {state}")
        drawn = inside[held.dataset == DRAWN]
        print(f"  {drawn.sum()} of {len(drawn)} of those drawn")
        draw(ax, fit, shown[shown.dataset == DRAWN], held[held.dataset == DRAWN])
        ax.set_title(name)
    axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(Path(__file__).with_name("two-sizes.png"), dpi=110)


def draw(ax: Axes, fit: bs.Fit, shown: pd.DataFrame, held: pd.DataFrame) -> None:
    """Bands of 90 % for a new run of each family, its fitted runs filled, those held back open."""
    for (family, rows), colour in zip(shown.groupby("family"), COLOURS, strict=False):
        later = held[held.family == family]
        sizes = np.geomspace(rows.params.min(), later.params.max(), 40)
        where = pd.DataFrame([rows.iloc[0]] * len(sizes)).assign(params=sizes)
        band = bs.summarize(bs.predict(fit, where, seed=0), prob=0.9)
        ax.fill_between(sizes, band["lower"], band["upper"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(sizes, band["median"], color=colour, linewidth=1.2, label=family)
        ax.plot(rows.params, rows.loss, "o", color=colour, markersize=5)
        ax.plot(later.params, later.loss, "o", color=colour, markersize=5, markerfacecolor="white")
    ax.set(xlabel="params", ylabel="loss, nats a token")
    log_axis(ax, "x", "params")
    log_axis(ax, "y", "loss")
    tidy(ax)


if __name__ == "__main__":
    main()

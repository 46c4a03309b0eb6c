"""Draw ``two-sizes.png``: families of which two sizes were seen, pooled or not, and what the larger sizes came to.

``python docs/figures/two_sizes.py`` (part of ``make figures``) uses the bundled table alone. It prints whether the fits met
the convergence rule, how many of the larger models their 90 % intervals cover, and what ``review`` says of the distance.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

import bayescale as bs

TEXT = "Pile test"

FLOOR = bs.NoPooling("text")
POOLED = {"E": FLOOR, "A": bs.PartialPooling("family"), "alpha": bs.PartialPooling("family")}
ALONE = {"E": bs.NoPooling("family"), "A": bs.NoPooling("family"), "alpha": bs.NoPooling("family")}


def model(pooling: dict[str, bs.PartialPooling | bs.NoPooling], drift: bs.SlopeDrift | None = None) -> bs.ScalingModel:
    """The law of one variable."""
    return bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling, discrepancy=drift, noise=bs.Gaussian())


MODELS = {"pooled": model(POOLED), "pooled, with a drift": model(POOLED, bs.SlopeDrift()), "not pooled": model(ALONE)}


def main() -> None:
    """Fit them, draw them, say how each did."""
    runs = bs.load_dataset("pretraining_losses", runs=True)
    runs = runs[runs.dataset == TEXT].reset_index(drop=True)
    seen = runs.groupby("family").params.rank() <= 2
    shown, held = runs[seen].reset_index(drop=True), runs[~seen].reset_index(drop=True)
    figure = Figure(figsize=(17, 4.8), layout="constrained")
    axes = figure.subplots(1, len(MODELS), sharey=True)
    for ax, (name, chosen) in zip(axes, MODELS.items(), strict=True):
        fit = bs.fit(chosen, shown, seed=0, sampler=bs.Nuts(target_accept=0.95), strict=False, progress=False)
        found = bs.summarize(bs.predict(fit, held, seed=0), prob=0.9)
        inside = held.loss.between(found["lower"], found["upper"])
        width = (found["upper"] / found["lower"] - 1).mean()
        state = "; ".join(fit.convergence.faults) or "met the convergence rule"
        print(f"{name}: {inside.sum()} of {len(held)} covered, mean width {width:.0%}; {state}")
        for finding in bs.review(fit, held):
            if finding.check == "extrapolation":
                print(f"  {finding.status.value}: {finding.message}")
        bs.plot_fit(fit, along="params", by="family", held_back=held, beyond=80, ax=ax)
        ax.text(0.97, 0.95, name, transform=ax.transAxes, ha="right", va="top", fontsize=12)
    figure.savefig(Path(__file__).with_name("two-sizes.png"), dpi=110)


if __name__ == "__main__":
    main()

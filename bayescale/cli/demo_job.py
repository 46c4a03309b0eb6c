"""The main job on the bundled table, step by step; every step calls public functions only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.core.names import TEXT
from bayescale.data.remote import MIRROR, cache_folder, pins_of

#: Sets of text on which language models are compared; ``--quick`` takes the last two.
DATASETS = ("Pile test", "Pile validation", "SlimPajama validation", "WikiText-2")
QUICK = DATASETS[2:]

#: The loss for which each architecture's size is asked, in nats per token, by text.
LEVELS = {"SlimPajama validation": 2.0, "WikiText-2": 2.4}

#: Pairs of architectures trained on the same text: one pair that crosses inside the data, one whose crossing nobody knows.
PAIRS = (("LLaMA (OpenNLPLab)", "cosFormer2 (OpenNLPLab)"), ("Llama (SlimPajama)", "RWKV-4 (SlimPajama)"))

#: What is decided: whether the held-back model of a family meets a target.
DECIDED = ("xLSTM[1:0] (SlimPajama)", "loss<=2.25")

#: Figures and their sizes in inches; that of the curves grows with the texts.
SIZES = {"exponents.png": (8.5, 6.2), "decision.png": (7.5, 4.2), "crossover.png": (7.5, 4.2)}

#: Budget for which the optimal run is asked, in FLOP: that of Chinchilla itself.
BUDGET = 5.76e23


def demo_runs(*, quick: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs to fit, and the largest model of each family on each text, held back."""
    table = bs.load_dataset("pretraining_losses", runs=True)
    table = table[table["dataset"].isin(QUICK if quick else DATASETS)].reset_index(drop=True)
    table = table.assign(curve=table["family"] + ", " + table["text"])
    largest = table.groupby("curve")["params"].idxmax()
    return table.drop(index=largest.tolist()).reset_index(drop=True), table.loc[largest].reset_index(drop=True)


def demo_model() -> bs.ScalingModel:
    """The model of the main job: a power law of size above a floor.

    The floor belongs to the text and its tokenizer, the amplitude to a family on a text, and the exponent to a family, which
    varies about its architecture and shares a population with all of them.
    """
    return bs.ScalingModel(
        "power_law_offset",
        axes={"x": "params"},
        pooling={
            "E": bs.NoPooling(TEXT),
            "A": bs.PartialPooling("curve"),
            "alpha": bs.PartialPooling(("architecture", "family")),
        },
    )


def held_back_table(fit: bs.Fit, held: pd.DataFrame, *, prob: float, seed: int) -> pd.DataFrame:
    """Each held-back model: its forecast from the smaller ones, the interval, the published value, whether it is inside."""
    found = bs.summarize(bs.predict(fit, held, unseen="error", seed=seed), prob=prob)
    lower, upper = found["lower"].to_numpy(), found["upper"].to_numpy()
    published = held["loss"].to_numpy()
    larger = held["params"] / held["curve"].map(fit.data.table.groupby("curve")["params"].max())
    return pd.DataFrame(
        {
            "text": held["dataset"],
            "model": held["model"],
            "times larger": larger.map("{:.1f}".format),
            "forecast": found["median"].to_numpy(),
            "lower": lower,
            "upper": upper,
            "published": published,
            "inside": np.where((lower <= published) & (published <= upper), "yes", "no"),
        }
    )


def labels_of(fit: bs.Fit, curve: Mapping[str, str]) -> dict[str, str]:
    """Every group label of the runs that have these."""
    table = fit.data.table
    for column, label in curve.items():
        table = table[table[column] == label]
    return {column: str(table[column].iloc[0]) for column in fit.model.group_columns}


def sizes_table(fit: bs.Fit, *, prob: float, seed: int) -> pd.DataFrame:
    """The size at which each architecture reaches the stated loss of its text, and the probability that none does."""
    parts = []
    for text, loss in LEVELS.items():
        runs = fit.data.table[fit.data.table["dataset"] == text]
        curves = runs.loc[runs.groupby("curve")["params"].idxmax()].reset_index(drop=True)
        draws = bs.scale_for(fit, f"loss<={loss}", along="params", at=curves[list(fit.model.group_columns)], seed=seed)
        found = bs.summarize(draws, prob=prob)
        part = pd.DataFrame(
            {"text": text, "loss": loss, "architecture": curves["architecture"], "largest fitted": curves["params"]}
        )
        for name in ("median", "lower", "upper"):
            part[name] = found[name].to_numpy()
        parts.append(part.assign(p_never=draws["p_never"].to_numpy()))
    return pd.concat(parts, ignore_index=True)


def crossing(fit: bs.Fit, pair: tuple[str, str], *, seed: int) -> Any:
    """Where two families cross, as draws."""
    a, b = (fit.select(**labels_of(fit, {"family": family})) for family in pair)
    return bs.crossover(a, b, along="params", seed=seed)


def decided(held: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The held-back model that is decided about, as a table of one row, and its target."""
    family, target = DECIDED
    return held[held["family"] == family].iloc[:1].reset_index(drop=True), target


def chinchilla_runs() -> pd.DataFrame | None:
    """The runs of ``chinchilla`` where they can be read without the network; None where not."""
    here = os.environ.get(MIRROR) or all((cache_folder() / pin.key).is_file() for pin in pins_of("chinchilla"))
    return bs.load_dataset("chinchilla", runs=True) if here else None


def optimum(runs: pd.DataFrame, *, seed: int) -> tuple[bs.Fit, Any]:
    """The law of size and data fitted to ``chinchilla``, and the best run for the budget, as draws."""
    fitted = bs.fit(bs.ScalingModel("chinchilla"), runs, seed=seed, sampler=bs.Hmc())
    return fitted, bs.compute_optimal(fitted, BUDGET, seed=seed)


def figures(
    fit: bs.Fit, held: pd.DataFrame, decision: bs.Decision, draws: Any, crossed: Any, out: Path, *, prob: float
) -> list[Path]:
    """The figures of the demo, as PNG files in a folder."""
    from matplotlib.figure import Figure

    from bayescale.plots.crossing import plot_crossover

    texts = list(dict.fromkeys(fit.data.table["text"]))
    rows = -(-len(texts) // 2)
    curves = Figure(figsize=(13, 4.2 * rows), layout="constrained")
    for ax, text in zip(curves.subplots(rows, 2, squeeze=False).flat, texts, strict=False):
        bs.plot_fit(fit, along="params", by="family", at={"text": text}, held_back=held, prob=prob, ax=ax)
        ax.set_title(text, fontsize=10, loc="left", fontweight="bold")
    for ax in curves.axes[len(texts) :]:
        ax.remove()
    curves.suptitle(
        f"Median and {prob:.0%} interval of a new run; dashed: beyond the data; open: held back, not fitted", fontsize=11
    )
    made = {name: Figure(figsize=size, layout="constrained") for name, size in SIZES.items()}
    bs.plot_exponents(fit, "alpha", prob, made["exponents.png"].subplots())
    ax = bs.plot_decision(decision, draws, made["decision.png"].subplots())
    ax.set_xlabel(f"loss of {decided(held)[0]['model'].iloc[0]}, which was held back")
    plot_crossover(crossed, names=PAIRS[0], prob=prob, ax=made["crossover.png"].subplots())
    made["curves.png"] = curves
    for name, figure in made.items():
        figure.savefig(out / name, dpi=150)
    return [out / name for name in made]

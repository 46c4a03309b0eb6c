"""The rows of each public table that a scaling law should be fitted to, in our names."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from bayescale.core.names import TEXT

#: A family needs so many sizes on a text before its exponent can be told from its floor.
FEWEST_SIZES = 3

#: Rows of ``pretraining_losses`` that its README advises against: another version of a table that is there already, ...
SECOND_VERSION = "Cerebras-GPT (model card)"
#: ... a perplexity three times that of models of its size, ...
PYTHIA_160M_PERPLEXITY = 29.64
#: ... and a loss above that of the next smaller model.
PYTHIA_DEDUPED_MISPRINT = "Pythia-deduped 1.4B"


def pretraining_losses(table: pd.DataFrame) -> pd.DataFrame:
    """Losses in nats per token of families with three sizes or more on a text; ``text`` names the text."""
    table = table[table["metric"].isin(["nats per token", "perplexity"])]
    suspect = (table["family"] == SECOND_VERSION) | (table["model"] == PYTHIA_DEDUPED_MISPRINT)
    suspect |= table["model"].str.contains("Pythia 160M") & (table["value"] == PYTHIA_160M_PERPLEXITY)
    table = table[~suspect]
    nats = np.where(table["metric"] == "perplexity", np.log(table["value"].where(table["value"] > 0)), table["value"])
    table = table.assign(loss=nats)
    sizes = table.groupby([*TEXT, "family"])["params"].transform("nunique")
    table = table[sizes >= FEWEST_SIZES].reset_index(drop=True)
    kept = ["family", "architecture", "model", "params", "tokens", "loss", *TEXT]
    return table[kept].assign(text=_text_labels(table))


def chinchilla(table: pd.DataFrame) -> pd.DataFrame:
    """The 240 runs that the replication fits."""
    table = table[table["dropped_by_replication"] == 0].reset_index(drop=True)
    return table.rename(columns={"loss_nats": "loss"})[["params", "tokens", "flops", "loss"]]


def overtraining(table: pd.DataFrame) -> pd.DataFrame:
    """Every run, by training set; the loss is that on the validation part of C4."""
    table = table.rename(columns={"run_id": "run", "loss_nats_c4_val": "loss"})
    return table[["run", "dataset", "params", "tokens", "flops", "seed", "loss"]]


def hyperparameters(table: pd.DataFrame) -> pd.DataFrame:
    """The best run of each grid of learning rate and batch size: what a scaling law speaks of is a tuned model.

    ``params`` are those that one token passes through, without embeddings; ``loss`` is the smoothed training loss.
    """
    cell = ["architecture", "params_non_embedding", "params_active", "tokens"]
    best = table.loc[table.groupby(cell, sort=False)["loss_nats_smoothed"].idxmin()].reset_index(drop=True)
    mixed = best["n_experts"] > 1
    experts = best["experts_per_token"].astype(str) + " of " + best["n_experts"].astype(str) + " experts"
    best = best.assign(layout=experts.where(mixed, "dense"))
    best = best.rename(columns={"params_active": "params", "loss_nats_smoothed": "loss"})
    return best[["architecture", "layout", "params", "tokens", "learning_rate", "batch_size_tokens", "loss"]]


def routed_moe(table: pd.DataFrame) -> pd.DataFrame:
    """Models with one expert a token in every other block, as in the paper's law; ``params`` are those of one token."""
    table = table[(table["experts_per_token"] == 1) & (table["routing_frequency"] == 0.5)].reset_index(drop=True)
    table = table.rename(columns={"run_id": "run", "params_dense": "params", "loss_nats_validation": "loss"})
    return table[["run", "architecture", "params", "params_total", "n_experts", "seed", "loss"]]


def crossover(table: pd.DataFrame) -> pd.DataFrame:
    """The best run of each architecture, tower and number of samples.

    ``compute`` is the forward pass in GFLOP; ``error`` is the zero-shot error rate on ImageNet, and ``loss`` repeats it,
    so that verbs find it under the name that they expect.
    """
    table = table[table["best_in_cell"] == 1].reset_index(drop=True)
    table = table.rename(
        columns={"run_id": "run", "samples_seen": "samples", "compute_gflops": "compute", "imagenet1k_error": "error"}
    )
    table = table.assign(loss=table["error"])
    return table[["run", "architecture", "vision_tower", "params", "samples", "compute", "error", "loss"]]


#: Recipe of each table of training runs.
RECIPES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    recipe.__name__: recipe for recipe in (pretraining_losses, chinchilla, overtraining, hyperparameters, routed_moe, crossover)
}


def _text_labels(table: pd.DataFrame) -> list[str]:
    """A short label of each text: the data set, with the tokenizer and the source where it is not unique without."""
    distinct = table[list(TEXT)].drop_duplicates()
    authors = distinct["source"].map(lambda source: re.split(r"[,(]", source)[0].strip())
    tokenizer = distinct["tokenizer"].where(~distinct["tokenizer"].str.startswith("same for all"), authors)  # not named
    label = distinct["dataset"]
    for addition in (tokenizer, authors, distinct["source"]):
        label = label.where(~label.duplicated(keep=False), label + " · " + addition)
    of = {tuple(row): name for row, name in zip(distinct.to_numpy().tolist(), label, strict=True)}
    return [of[tuple(row)] for row in table[list(TEXT)].to_numpy().tolist()]

"""The rows of each public table of benchmark scores that a model of capability should be fitted to, in our names."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bayescale.data.evals import melt

#: Chance rate, and number of items where the score is a share of them, of the standard benchmarks of ``observational``.
CHANCE = {
    "mmlu": 0.25,
    "arc_challenge": 0.25,
    "hellaswag": 0.25,
    "winogrande": 0.5,
    "truthfulqa_mc2": 0.3,
    "gsm8k": 0.0,
    "xwinograd": 0.5,
    "humaneval": 0.0,
}
ITEMS = {"arc_challenge": 1172.0, "hellaswag": 10042.0, "winogrande": 1267.0, "gsm8k": 1319.0, "humaneval": 164.0}

#: MMLU is a mean over 57 subjects: about as many items, unequally weighed.
ITEMS["mmlu"] = 14042.0

#: How much too large the tokens are that the source got wrong.
SLIP = 1000.0

_MODEL = ["family", "model", "params", "tokens", "flops"]
_ALL = [*_MODEL, "task", "prompt", "shots", "accuracy", "n_items", "chance", "eval_source"]


def observational(table: pd.DataFrame) -> pd.DataFrame:
    """The eight standard benchmarks in long form; tokens that are 1,000 times too large put right."""
    long = melt(_mended(table), list(CHANCE), chance=CHANCE, n_items=ITEMS).dropna(subset="accuracy")
    return _finish(long)


def observational_agent(table: pd.DataFrame) -> pd.DataFrame:
    """Chat models on the standard benchmarks and as agents, parts of AgentBench and AgentBoard as shares of all that there is.

    What is left out are means over the parts, and ratings of arenas, which are no shares.
    """
    means = ("abench_oa", "aboard_avg_pr", "aboard_avg_sr")
    parts = [c for c in map(str, table.columns) if c.startswith(("abench_", "aboard_")) and c not in means]
    shares = table.assign(**{c: table[c] / 100 for c in parts})
    chance = {name: value for name, value in CHANCE.items() if name in table}
    items = {name: value for name, value in ITEMS.items() if name in table}
    return _finish(melt(shares, [*chance, *parts], chance=chance, n_items=items).dropna(subset="accuracy"))


def observational_emergent(table: pd.DataFrame) -> pd.DataFrame:
    """Tasks scored by accuracy or exact match; BLEU, which is no share of items, is left out."""
    table = table[table["metric"] != "bleu"].rename(columns={"score": "accuracy"})
    return _finish(_mended(table))


def observational_post_training(table: pd.DataFrame) -> pd.DataFrame:
    """Every task by every way of prompting, the way under ``prompt``."""
    return _finish(_mended(table).rename(columns={"method": "prompt"}))


def benchmark_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracies and exact matches that are no quotation of another row."""
    return _figures(table)


def emergent_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracies and exact matches that are no quotation of another row, of tasks whose chance rate is known."""
    return _figures(table)


#: Recipe of each table of benchmark scores.
EVAL_RECIPES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    recipe.__name__: recipe
    for recipe in (
        benchmark_accuracy,
        emergent_tasks,
        observational,
        observational_agent,
        observational_emergent,
        observational_post_training,
    )
}


def _mended(table: pd.DataFrame) -> pd.DataFrame:
    if "suspect_tokens" in table:
        wrong = table["suspect_tokens"] == 1
    else:
        from bayescale.data.tidy_observational import SUSPECT_TOKENS

        wrong = table["tokens"] > SUSPECT_TOKENS
    share = wrong.map({True: 1 / SLIP, False: 1.0})
    return table.assign(tokens=table["tokens"] * share, flops=table["flops"] * share)


def _figures(table: pd.DataFrame) -> pd.DataFrame:
    kept = table["metric"].isin(["accuracy", "exact match"]) & table["repeats"].isna() & table["chance"].notna()
    table = table[kept].rename(columns={"value": "accuracy"})
    # A size of its own for each table: the same model may be entered with a nominal and with a printed number.
    return _finish(table)


def _finish(table: pd.DataFrame) -> pd.DataFrame:
    have = [name for name in _ALL if name in table]
    return table[have].reset_index(drop=True)

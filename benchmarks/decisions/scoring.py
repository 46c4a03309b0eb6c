"""Scores of probabilities that one method is better than another, beside ranking by the largest affordable scale."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: No forecast is scored as surer than this; the rank alone is taken for as sure.
SUREST = 0.99


def with_baselines(asked: pd.DataFrame) -> pd.DataFrame:
    """Probabilities of the methods that are compared, one column each.

    ``rank, sure`` says .99 for what is better at the largest affordable scale; ``rank, learnt`` how often that was right in all
    other pairs (a success and a failure added). ``bayescale`` is of the laws, ``as measured`` of runs with their noise, where
    those were forecast.
    """
    right = (asked["ranked"] == asked["better"]).astype(float)
    by_pair, size = right.groupby(asked["pair"]).transform("sum"), right.groupby(asked["pair"]).transform("size")
    frequency = (right.sum() - by_pair + 1) / (len(asked) - size + 2)
    measured = {"bayescale, as measured": asked["p_measured"].clip(1 - SUREST, SUREST)} if "p_measured" in asked else {}
    return pd.DataFrame(
        {
            "bayescale": asked["p"].clip(1 - SUREST, SUREST),
            **measured,
            "rank, sure": np.where(asked["ranked"], SUREST, 1 - SUREST),
            "rank, learnt": np.where(asked["ranked"], frequency, 1 - frequency),
            "even chances": 0.5,
        },
        index=asked.index,
    )


def scored(asked: pd.DataFrame, by: str) -> pd.DataFrame:
    """Mean log score (higher is better) and Brier score (lower is better) by a column and over all; pairs have one weight."""
    forecasts, better = with_baselines(asked), asked["better"].to_numpy()
    rows = []
    for name in forecasts:
        p = forecasts[name].to_numpy(float)
        each = asked[["pair", by]].assign(
            log=np.log(np.where(better, p, 1 - p)), brier=(p - better) ** 2, right=np.where(p == 0.5, 0.5, (p > 0.5) == better)
        )
        groups = [*each.groupby(by, sort=False), ("all pairs", each)]
        for label, own in groups:
            of_pair = own.groupby("pair")[["log", "brier", "right"]].mean()
            rows.append((str(label), name, len(of_pair), *of_pair.mean()))
    columns = [by, "method", "pairs", "log score", "Brier", "right"]
    order = [str(label) for label in asked[by].unique()] + ["all pairs"]
    found = pd.DataFrame(rows, columns=columns)
    found[by] = pd.Categorical(found[by], order)
    return found.sort_values(by, kind="stable").set_index([by, "method"])

"""How a table of benchmark scores is read, and every way in which it can be wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayescale.core.errors import unknown
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, Floats, breaches, near, read_labels, read_numbers, rows_text

#: Columns of labels, and of numbers, of a table that was read.
LABELS = ("family", "model", "task", "prompt", "shots", "eval_source")
NUMBERS = ("params", "tokens", "flops", "accuracy", "n_items", "chance")
REQUIRED = ("family", "model", "task", "accuracy")

SCALES = ("params", "tokens", "flops")

#: Sizes of one model that differ by less than this share are taken for the same number.
_SAME = 0.01
#: A score is no guess that lies so far below chance, and so many standard errors of guesses at the task's items.
_FAR_BELOW, _ERRORS = 0.1, 3.0
_SHOWN = 3


def read_evals(df: object, columns: Mapping[str, str] | None) -> tuple[pd.DataFrame | None, list[str], list[str]]:
    """The scores of a frame under our names, what was noted, and what is wrong; None where it cannot be read."""
    if not isinstance(df, pd.DataFrame):
        said = f"expected a pandas DataFrame or an Evals, got {type(df).__name__} (pandas.DataFrame(...) may make one of it)"
        return None, [], [said]
    sources, faults = _sources(df, dict(columns or {}))
    if faults:
        return None, [], faults
    held: dict[str, list[str] | Floats] = {}
    for name in LABELS:
        if name not in sources:
            held[name] = [""] * len(df)
            continue
        labels, absent = read_labels(df[sources[name]])
        held[name] = labels
        if name in REQUIRED and absent.any():
            faults.append(f"{name}: expected a label, got an empty cell in {rows_text(np.flatnonzero(absent))}")
    numbers: dict[str, Floats] = {}
    for name in NUMBERS:
        values, odd, found = (
            read_numbers(name, df[sources[name]])
            if name in sources
            else (np.full(len(df), np.nan), np.zeros(len(df), bool), [])
        )
        numbers[name] = values
        faults += [fault.message for fault in found]
        if name in SCALES:
            faults += [f.message for f in breaches(name, values, "covariate", told=odd | np.isnan(values))]
    table = pd.DataFrame({**held, **numbers})
    notes: list[str] = []
    absent_scores = table["accuracy"].isna().to_numpy()
    if absent_scores.any():
        notes.append(f"{int(absent_scores.sum())} rows without a score were left out")
        table = table[~absent_scores]
    if not len(table) and not faults:
        faults.append("there is no score in the table")
    if faults:
        return None, notes, faults
    faults += _accuracies(table) + _items(table) + _chances(table, notes) + _models(table)
    if not faults:
        table = _repeats(table, notes, faults)
        faults += lonely(table)
        table = _compute(table, notes)
    return table, notes, faults


def _sources(df: pd.DataFrame, columns: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The column of the frame that each of ours is read from."""
    known = (*LABELS, *NUMBERS)
    faults = [f"columns: {unknown('name', name, known)}" for name in columns if name not in known]
    given = [str(c) for c in df.columns]
    faults += [f"columns: {unknown('column', source, given)}" for source in columns.values() if source not in given]
    faults += [f"there are several columns {name!r}" for name in known if given.count(columns.get(name, name)) > 1]
    sources = {name: columns.get(name, name) for name in known if columns.get(name, name) in given}
    for name in REQUIRED:
        if name not in sources and name not in columns:
            meant = near(name, given)
            guess = f" Did you mean {meant!r}? Say columns={{{name!r}: {meant!r}}}." if meant else ""
            faults.append(f"there is no column {name!r}.{guess} Given: {', '.join(given) or '(none)'}")
    return sources, faults


def _told(table: pd.DataFrame, name: str, bad: pd.Series[bool]) -> str:
    rows = table.index[bad]
    got = ", ".join(f"{v:.6g}" for v in dict.fromkeys(table.loc[rows, name].head(_SHOWN)))
    return f"{got}{' …' if len(rows) > _SHOWN else ''} in {rows_text(rows)}"


def _accuracies(table: pd.DataFrame) -> list[str]:
    y, faults = table["accuracy"], []
    if (bad := ~np.isfinite(y)).any():
        faults.append(f"accuracy: expected a finite number, got {_told(table, 'accuracy', bad)}")
    if (bad := y < 0).any():
        faults.append(f"accuracy: expected a fraction from 0 to 1, got {_told(table, 'accuracy', bad & np.isfinite(y))}")
    over = (y > 1) & np.isfinite(y)
    if over.any():
        per_cent = y.max() <= 100 and (y[over] > 1.5).mean() > 0.5
        advice = "; looks like per cent: divide by 100" if per_cent else ""
        faults.append(f"accuracy: expected a fraction from 0 to 1, got {_told(table, 'accuracy', over)}{advice}")
    return faults


def _items(table: pd.DataFrame) -> list[str]:
    n, faults = table["n_items"], []
    if (bad := (n < 1) | np.isinf(n)).any():
        faults.append(f"n_items: expected a count of at least 1, got {_told(table, 'n_items', bad)}")
    return faults


def _chances(table: pd.DataFrame, notes: list[str]) -> list[str]:
    chance, faults = table["chance"], []
    if (bad := (chance < 0) | (chance >= 1)).any():
        faults.append(f"chance: expected a fraction of at least 0 and below 1, got {_told(table, 'chance', bad)}")
    by_task = table.groupby("task")["chance"]
    several = by_task.nunique()
    for task in several.index[several > 1][:_SHOWN]:
        values = ", ".join(f"{v:.6g}" for v in sorted(table.loc[table["task"] == task, "chance"].dropna().unique()))
        faults.append(f"chance: expected one rate a task, got {values} for {task!r}: give the variants names of their own")
    unknown_rate = [str(task) for task, values in by_task if values.isna().all()]
    if unknown_rate:
        notes.append(f"the chance rate of {_list(unknown_rate)} is not known: taken as 0")
    table["chance"] = by_task.transform("max").fillna(0.0)
    error = (table["chance"] * (1 - table["chance"]) / table["n_items"]).fillna(0.0) ** 0.5
    failed = table["accuracy"] < table["chance"] - np.maximum(_FAR_BELOW, _ERRORS * error)
    below = (table["accuracy"] < table["chance"]) & ~failed
    if below.any():
        notes.append(
            f"{int(below.sum())} scores lie below chance ({rows_text(table.index[below])}): allowed, since a model that "
            "guesses does so half of the time"
        )
    if failed.any():
        tasks = sorted(table.loc[failed, "task"].astype(str).unique())
        notes.append(
            f"{int(failed.sum())} scores of {_list(tasks)} lie more than {_FAR_BELOW} below chance, which guesses do not "
            f"({rows_text(table.index[failed])}): answers that were not understood, it may be, for which chance is no floor; "
            "give that way of asking a task name of its own with chance 0"
        )
    return faults


def _models(table: pd.DataFrame) -> list[str]:
    """A model is of one family, and has one size."""
    faults = []
    by_model = table.groupby("model")
    several = by_model["family"].unique()
    for model, families in several[several.map(len) > 1].head(_SHOWN).items():
        faults.append(f"model {str(model)!r} is in the families {', '.join(map(repr, families))}: expected one")
    for name in SCALES:
        apart = by_model[name].max() / by_model[name].min() - 1 > _SAME
        for model in apart.index[apart][:_SHOWN]:
            rows = table.index[(table["model"] == model) & table[name].notna()]
            values = ", ".join(f"{v:.6g}" for v in dict.fromkeys(table.loc[rows, name]))
            faults.append(f"{name} of model {str(model)!r} is {values} ({rows_text(rows)}): expected one number a model")
    return faults


def _repeats(table: pd.DataFrame, notes: list[str], faults: list[str]) -> pd.DataFrame:
    """The same model on the same task, asked the same way by the same source, twice: dropped when equal, else a fault."""
    key = ["model", "task", "prompt", "shots", "eval_source"]
    twice = table[table.duplicated(key, keep=False)]
    spread = twice.groupby(key)["accuracy"].agg(["min", "max"])
    apart = spread[spread["max"] - spread["min"] > 1e-9]
    for labels in apart.index[:_SHOWN]:
        rows = twice[(twice[key] == list(labels)).all(axis=1)]
        values = " and ".join(f"{v:.6g}" for v in dict.fromkeys(rows["accuracy"]))
        faults.append(
            f"{labels[0]!r} on {labels[1]!r} has the scores {values} in {rows_text(rows.index)}: expected one (keep one, "
            "or tell them apart by prompt, shots or eval_source)"
        )
    if len(apart) > _SHOWN:
        faults.append(f"… and {len(apart) - _SHOWN} more pairs of model and task with contradictory scores")
    copies = table.duplicated(key)
    if copies.any() and not len(apart):
        notes.append(f"{int(copies.sum())} rows repeat another ({rows_text(table.index[copies])}): left out")
        table = table[~copies]
    return table


def lonely(table: pd.DataFrame) -> list[str]:
    """The tasks on which one model has a score, in a sentence."""
    models = table.groupby("task")["model"].nunique()
    alone = [str(task) for task in models.index[models < 2]]
    if not alone:
        return []
    return [f"{_list(alone)}: one model has a score, which says nothing of others; drop the task or add models"]


def _compute(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Size, data and compute of each model completed from each other, and from its other rows."""
    table = table.copy()
    for name in SCALES:
        table[name] = table.groupby("model")[name].transform("mean")
    six = FLOP_PER_PARAM_TOKEN
    before = table["flops"].isna()
    table["flops"] = table["flops"].fillna(six * table["params"] * table["tokens"])
    if (before & table["flops"].notna()).any():
        notes.append("flops derived as 6·params·tokens")
    table["tokens"] = table["tokens"].fillna(table["flops"] / (six * table["params"]))
    table["params"] = table["params"].fillna(table["flops"] / (six * table["tokens"]))
    lacking = table[table["flops"].isna()]
    if len(lacking):
        whole = table.groupby("family")["flops"].apply(lambda v: v.isna().all())
        families = [str(family) for family in whole.index[whole]]
        of = f", among them all of {_list(families)}" if families else ""
        notes.append(f"the compute of {lacking['model'].nunique()} models is not known{of}: a latent quantity of each")
    return table


def _list(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown

"""Is a GO right as often as its probability says? ``python -m benchmarks.decisions go-no-go``.

Every held-back run of the extrapolation benchmarks is a planned run. Its targets are fixed beforehand, in steps of 2 % below
the best response that was shown, and its probability of each is that of the recommended model fitted to the shown runs.
Counted is how often the target was met among those with a probability near each line, and among those that would be a GO. The
standard errors take a curve or a table as the unit: its runs and targets are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

import bayescale as bs
from benchmarks.extrapolation import curves, tables

UNSET = curves.UNSET
PARTS = ("curves", "tables")

#: Targets: the best shown response times exp(-0.02 k).
STEPS = np.exp(-0.02 * np.arange(41))
#: Lines of a rule, and how near to a line a probability is counted with it.
LINES, NEAR = (0.6, 0.8, 0.9, 0.95), 0.025
#: A GO that is all but certain says little of whether probabilities are right.
CERTAIN = 0.99

_RESAMPLES = 2000


def decisions(unit: str, draws: np.ndarray, best: float, truth: np.ndarray) -> pd.DataFrame:
    """Every planned run and target: its probability, and whether it was met.

    Parameters
    ----------
    unit : str
        The curve or table.
    draws : array (draw, run)
    best : float
        Lowest response shown.
    truth : array (run,)
    """
    targets = best * STEPS
    p = (draws[:, :, None] <= targets).mean(axis=0)
    met = truth[:, None] <= targets
    return pd.DataFrame({"unit": unit, "p": p.ravel(), "met": met.ravel()})


def measure(parts: Iterable[str], seed: int = 0) -> pd.DataFrame:
    """Decisions about every held-back run of these parts; empty where the folder of the tables is not named."""
    wanted = [part for part in PARTS if part in (list(parts) or PARTS)]
    found = [decided for part in wanted for decided in {"curves": _curves, "tables": _tables}[part](seed)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["unit", "p", "met"])


def _curves(seed: int) -> Iterator[pd.DataFrame]:
    chosen = curves.read_curves()
    if not chosen:
        return
    shown = {curve.key: curve.shown for curve in chosen}
    models = {key: curves.recommended(table) for key, table in shown.items()}
    fits = bs.fit_many(models, shown, seed=seed, strict=False)
    for curve in chosen:
        drawn = bs.predict(fits[curve.key], {"steps": curve.held.steps.tolist()})["loss"].to_numpy()
        yield decisions(curve.key, drawn.reshape(-1, len(curve.held)), curve.shown.loss.min(), curve.held.loss.to_numpy())


def _tables(seed: int) -> Iterator[pd.DataFrame]:
    for table in tables.read_tables():
        fit = bs.fit(tables.recommended(table.shown), table.shown, seed=seed, progress=False, strict=False)
        drawn = bs.predict(fit, table.held)["loss"].to_numpy()
        unit = f"{table.row} {table.key}"
        yield decisions(unit, drawn.reshape(-1, len(table.held)), table.shown.loss.min(), table.held.loss.to_numpy())


def summary(found: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row a line and one a GO: how many, of how many units, their mean probability, how often the target was met.

    Every unit has one weight, however many of its decisions are counted. The standard error is that of resampled units.
    """
    p = found["p"]
    rows = {f"p within {NEAR:g} of {line:g}": (p - line).abs() <= NEAR for line in LINES}
    for line in LINES:
        rows[f"GO at {line:g}"] = p >= line
        rows[f"GO at {line:g}, p up to {CERTAIN:g}"] = (p >= line) & (p <= CERTAIN)
    out = {name: _share(found[mask], seed) for name, mask in rows.items()}
    return pd.DataFrame.from_dict(out, orient="index", columns=["decisions", "units", "mean p", "met", "s.e."])


def _share(counted: pd.DataFrame, seed: int) -> list[float]:
    by_unit = counted.groupby("unit")[["p", "met"]].mean().astype(float)
    if by_unit.empty:
        return [0, 0, np.nan, np.nan, np.nan]
    draws = np.random.default_rng(seed).integers(len(by_unit), size=(_RESAMPLES, len(by_unit)))
    error = by_unit["met"].to_numpy()[draws].mean(axis=1).std()
    return [len(counted), len(by_unit), by_unit["p"].mean(), by_unit["met"].mean(), error]


def printed(found: pd.DataFrame) -> str:
    """The summary as text."""
    return summary(found).astype({"decisions": int, "units": int}).round(3).to_string()

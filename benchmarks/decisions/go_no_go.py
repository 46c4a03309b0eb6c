"""Is a GO right as often as its probability says? ``python -m benchmarks.decisions go-no-go``.

Every held-back run of the extrapolation benchmarks is a planned run. Its targets are fixed beforehand, in steps of 2 % below
the best response that was shown, and its probability of each is that of the recommended model fitted to the shown runs.
Counted is how often the target was met among those with a probability near each line, and at or above it (a GO, were there no
review; fits that miss the convergence rule are counted as they stand, and their number is printed). Every source has one
weight, and the standard errors are those of resampled sources: the runs and targets of a curve, the cuts of a table and the
losses of its runs are not independent. Where all of a row met their targets the error is 0, and says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def decisions(source: str, draws: np.ndarray, best: float, truth: np.ndarray) -> pd.DataFrame:
    """Every planned run and target: its probability, and whether it was met.

    Parameters
    ----------
    source : str
        Where the runs are from: a curve, or a table whatever its cut.
    draws : array (draw, run)
    best : float
        Lowest response shown.
    truth : array (run,)
    """
    targets = best * STEPS
    p = (draws[:, :, None] <= targets).mean(axis=0)
    met = truth[:, None] <= targets
    return pd.DataFrame({"source": source, "p": p.ravel(), "met": met.ravel()})


def measure(parts: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Decisions about every held-back run of these parts (all); empty where the folder of the tables is not named.

    Raises
    ------
    SystemExit
        When there is no such part.
    """
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    makers = {"curves": _curves, "tables": _tables}
    found = [decided for part in (parts or PARTS) for decided in makers[part](seed)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["source", "p", "met", "converged"])


def _curves(seed: int) -> Iterator[pd.DataFrame]:
    chosen = curves.read_curves()
    if not chosen:
        return
    shown = {curve.key: curve.shown for curve in chosen}
    models = {key: curves.recommended(table) for key, table in shown.items()}
    fits = bs.fit_many(models, shown, seed=seed, strict=False)
    for curve in chosen:
        fit = fits[curve.key]
        found = decisions(curve.key, curves.draws_of(fit, curve), curve.shown.loss.min(), curve.held.loss.to_numpy())
        yield found.assign(fit=curve.key, converged=not fit.convergence.faults)


def _tables(seed: int) -> Iterator[pd.DataFrame]:
    for table in tables.read_tables():
        fit = bs.fit(tables.recommended(table.shown), table.shown, seed=seed, progress=False, strict=False)
        drawn = bs.predict(fit, table.held)["loss"].to_numpy()
        source = table.row.split(" <")[0].split(",")[0]
        found = decisions(source, drawn.reshape(-1, len(table.held)), table.shown.loss.min(), table.held.loss.to_numpy())
        yield found.assign(fit=f"{table.row} {table.key}", converged=not fit.convergence.faults)


def summary(found: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Three rows a line: how many decisions, of how many sources, their mean probability, how often the target was met."""
    p = found["p"]
    rows = {f"p within {NEAR:g} of {line:g}": (p - line).abs() <= NEAR for line in LINES}
    for line in LINES:
        rows[f"p from {line:g}"] = p >= line
        rows[f"p from {line:g} to {CERTAIN:g}"] = (p >= line) & (p <= CERTAIN)
    out = {name: _share(found[mask], seed) for name, mask in rows.items()}
    return pd.DataFrame.from_dict(out, orient="index", columns=["decisions", "sources", "mean p", "met", "s.e."])


def _share(counted: pd.DataFrame, seed: int) -> list[float]:
    by_source = counted.groupby("source")[["p", "met"]].mean().astype(float)
    if by_source.empty:
        return [0, 0, np.nan, np.nan, np.nan]
    draws = np.random.default_rng(seed).integers(len(by_source), size=(_RESAMPLES, len(by_source)))
    error = by_source["met"].to_numpy()[draws].mean(axis=1).std()
    return [len(counted), len(by_source), by_source["p"].mean(), by_source["met"].mean(), error]


def printed(found: pd.DataFrame) -> str:
    """The summary as text."""
    fits = found.groupby("fit")["converged"].first()
    table = summary(found).astype({"decisions": int, "sources": int}).round(3).to_string()
    return f"{table}\n{int(fits.sum())} of {len(fits)} fits meet the convergence rule"

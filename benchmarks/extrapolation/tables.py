"""Tables of training runs: the smaller runs are shown, the larger ones are forecast."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from benchmarks.extrapolation.scoring import log_density
from benchmarks.extrapolation.table_baselines import BASELINES

FOLDER = "BAYESCALE_DATA_DIR"
UNSET = f"{FOLDER} is not set: most of these tables are not bundled; it names the folder that holds them"

#: Sets of the over-training table on which the losses of a run were measured.
LOSSES = (
    "openlm", "c4_val", "paloma_c4_en", "paloma_100pl", "paloma_refinedweb", "paloma_ptb", "paloma_redpajama", "c4_german",
)  # fmt: skip

#: Levels of the central intervals, per cent, and draws scored.
LEVELS, SCORED = (50, 80, 90), 2000


@dataclass(frozen=True)
class Table:
    """A table in two parts, columns in the package's names; ``row`` is the line of the printed table that it belongs to."""

    row: str
    key: str
    shown: pd.DataFrame
    held: pd.DataFrame


def read_tables(only: Iterable[str] = ()) -> list[Table]:
    """Every table at every cut; none where the folder is not named."""
    if not os.environ.get(FOLDER):
        return []
    wanted = tuple(only)
    return [t for make in _ROWS for t in make() if not wanted or any(word in t.row for word in wanted)]


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(os.environ[FOLDER]) / name / f"{name}.csv")


def _cut(row: str, key: str, table: pd.DataFrame, shown: pd.Series, columns: dict[str, str]) -> Table:
    named = table.rename(columns={theirs: ours for ours, theirs in columns.items()})
    kept = [
        c
        for c in ("params", "tokens", "epochs", "flops", "loss", "run")
        if c in named and (c != "epochs" or named[c].nunique() > 1)
    ]
    parts = (named.loc[rows, kept].reset_index(drop=True) for rows in (shown, ~shown))
    return Table(row, key, *parts)


def _chinchilla() -> Iterator[Table]:
    table = _read("chinchilla")
    table = table[table.dropped_by_replication == 0]
    for cut in (1e20, 3e20, 1e21):
        yield _cut(f"chinchilla < {cut:.0e}", f"{cut:.0e}", table, table.flops < cut, {"loss": "loss_nats"})


def _overtraining() -> Iterator[Table]:
    for name, table in _read("overtraining").groupby("dataset"):
        for loss in LOSSES:
            yield _cut("overtraining", f"{name} {loss}", table, table.params < 1e9, {"loss": f"loss_nats_{loss}"})


def _data_constrained() -> Iterator[Table]:
    table = _read("data_constrained")
    table = table[table.epochs == 1]
    # Replicates differ by seed alone, which the package reads as the label that it is.
    yield _cut("data_constrained", "all", table, table.flops < table.flops.max() / 10, {"loss": "loss_nats"})


def _xlstm() -> Iterator[Table]:
    table = _read("architectures_xlstm")
    for (name, length), rows in table[table.kept_by_authors == 1].groupby(["architecture", "context_length"]):
        yield _cut(f"xlstm, {name} {length}", "all", rows, rows.flops < 2e19, {"loss": "loss_nats"})


def _gemstones() -> Iterator[Table]:
    table = _read("gemstones_dev")
    table = table[table.schedule == "hot"]
    columns = {"loss": "loss_nats", "flops": "flops_6nd", "run": "architecture"}
    yield _cut("gemstones", "all", table, table.flops_6nd < table.flops_6nd.max() / 10, columns)


def _hyperparameters() -> Iterator[Table]:
    table = _read("hyperparameters")
    cells = ["params_non_embedding", "tokens"]
    best = table[table.architecture == "dense"].groupby(cells, as_index=False).loss_nats_smoothed.min()
    flops = best.params_non_embedding * best.tokens
    columns = {"loss": "loss_nats_smoothed", "params": "params_non_embedding"}
    yield _cut("hyperparameters", "all", best, flops.rank() <= len(best) - 4, columns)


def _routed() -> Iterator[Table]:
    table = _read("routed_moe")
    table = table[table.architecture == "dense"].sort_values("params_dense", kind="stable")
    # Sizes repeat with other shapes: the ten smallest and the three largest runs.
    shown = pd.Series(np.arange(len(table)) < 10, index=table.index)
    columns = {"loss": "loss_nats_validation", "params": "params_dense", "run": "run_id"}
    yield _cut("routed_moe, dense", "all", table, shown, columns)


def _repeated() -> Iterator[Table]:
    table = pd.read_csv(Path(os.environ[FOLDER]) / "multi_variable" / "data_constrained.csv")
    yield _cut("repeated data", "all", table, table.split == "pool", {"loss": "loss_nats", "flops": "cost_flops"})


_ROWS = (_chinchilla, _overtraining, _data_constrained, _xlstm, _gemstones, _hyperparameters, _routed, _repeated)

#: A model for a table.
Chooser = Callable[[pd.DataFrame], bs.ScalingModel]


def recommended(table: pd.DataFrame) -> bs.ScalingModel:
    """What a user gets."""
    return bs.recommended(table)


def law_alone(table: pd.DataFrame) -> bs.ScalingModel:
    """The recommended model without its discrepancy."""
    model = bs.recommended(table)
    return bs.ScalingModel(model.law, axes=model.axes, noise=model.noise)


MODELS: dict[str, Chooser] = {"bayescale": recommended, "bayescale, law alone": law_alone}

#: An average of the models, weighted by what each forecast of larger runs from smaller ones within those shown.
STACKED = "bayescale, stacked"


@dataclass
class Found:
    """What a run of the benchmark found: one row a forecast run, and one a fit."""

    points: list[pd.DataFrame] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)

    def add(self, method: str, table: Table, draws: np.ndarray) -> None:
        """Score draws of the response, shape (draw, run)."""
        points = _scores(draws, table.held.loss.to_numpy())
        self.points.append(points.assign(method=method, row=table.row, table=table.key))

    def add_fit(self, method: str, table: Table, fit: bs.Fit, seconds: float) -> None:
        """Note how a fit went."""
        state = fit.convergence
        self.fits.append({
            "method": method, "row": table.row, "table": table.key, "runs": len(table.shown), "R-hat": state.worst_rhat,
            "ESS": state.worst_ess, "divergences": state.divergences, "converged": not state.faults, "s": seconds,
        })  # fmt: skip


def _scores(draws: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    if len(draws) > SCORED:
        draws = draws[np.linspace(0, len(draws) - 1, SCORED).astype(int)]
    out = {"error": np.abs(np.median(draws, axis=0) / truth - 1), "density": log_density(np.log(draws), np.log(truth))}
    for level in LEVELS:
        lower, upper = np.quantile(draws, [0.5 - level / 200, 0.5 + level / 200], axis=0)
        out[f"cov {level}"] = (lower <= truth) & (truth <= upper)
    return pd.DataFrame(out | {"width 90": np.log(upper / lower)})


def run_baselines(tables: list[Table], found: Found, seed: int, methods: Iterable[str] = ()) -> None:
    """Every baseline on every table, or those of some names."""
    for number, (method, forecast) in enumerate(BASELINES.items()):
        if methods and method not in methods:
            continue
        for i, table in enumerate(tables):
            found.add(method, table, forecast(table.shown, table.held, np.random.default_rng([seed, number, i])))


def run(tables: list[Table], found: Found, seed: int, methods: Iterable[str] = ()) -> None:
    """Fit and score every model on every table, or those of some names."""
    for method, model in MODELS.items():
        if methods and method not in methods:
            continue
        for table in tables:
            start = time.perf_counter()
            fit = bs.fit(model(table.shown), table.shown, seed=seed, progress=False, strict=False)
            drawn = bs.predict(fit, table.held)["loss"].to_numpy().reshape(-1, len(table.held))
            found.add(method, table, drawn)
            found.add_fit(method, table, fit, time.perf_counter() - start)
            print(".", end="", flush=True)
    if not methods or STACKED in methods:
        for table in tables:
            candidates = {method: model(table.shown) for method, model in MODELS.items()}
            both = bs.stack(candidates, table.shown, cutoffs=2, along=_axis(table), seed=seed, progress=False, strict=False)
            found.add(STACKED, table, bs.predict(both, table.held)["loss"].to_numpy().reshape(-1, len(table.held)))
            print(f"{table.row} {table.key}: {both.weights}", flush=True)
    print()


def _axis(table: Table) -> str:
    return "flops" if {"flops", "tokens"} & set(table.shown) else "params"


def means(points: pd.DataFrame) -> pd.DataFrame:
    """Means over the forecasts of each row and method, and over rows; per cent but for the width and the density."""
    scores = ["error", *(f"cov {level}" for level in LEVELS), "width 90", "density"]
    by_row = points.groupby(["method", "row"], sort=False)[scores].mean()
    every = by_row.groupby("method", sort=False).mean()
    pooled = points.groupby("method", sort=False)[scores].mean()
    parts = {"mean of rows": every, "pooled over runs": pooled}
    more = pd.concat([part.assign(row=name).set_index("row", append=True) for name, part in parts.items()])
    table = pd.concat([by_row, more])
    percent = [name for name in scores if name not in ("width 90", "density")]
    return table.assign(**{name: 100 * table[name] for name in percent})


def printed(table: pd.DataFrame) -> str:
    """A table as text."""
    digits = {"error": 2, "width 90": 3, "density": 2}
    return table.to_string(formatters={name: f"{{:.{digits.get(name, 0)}f}}".format for name in table.columns})

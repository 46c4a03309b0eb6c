"""Single curves: the training part of each is shown, the rest is forecast."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.infer.batch import fit_many
from bayescale.plots.style import COLOURS, FAINT, GREY, MARKERS, log_axis, tidy
from benchmarks.extrapolation.baselines import BASELINES
from benchmarks.extrapolation.scoring import score, tables

FOLDER, FILE = "BAYESCALE_DATA_DIR", Path("curves_dev") / "curves_dev.csv"
UNSET = f"{FOLDER} is not set: the curves are not bundled; it names the folder that holds {FILE.as_posix()}"

#: Curves of the figure, and the method drawn beside ours.
EXAMPLES, BESIDE = ("c010", "c084", "c002"), "line, tested"

#: The factor in scale that a curve of the figure spans.
WINDOW = 20


@dataclass(frozen=True)
class Curve:
    """A curve in its two parts, columns ``steps`` and ``loss``."""

    key: str
    domain: str
    title: str
    shown: pd.DataFrame
    held: pd.DataFrame


@dataclass
class Found:
    """What a run of the benchmark found.

    Parameters
    ----------
    scores : list of dict
        One row a method and curve.
    fits : list of dict
        Diagnostics of our fits, one row a method and curve.
    seconds : list of dict
        One row a method and run.
    bands : dict
        Quantiles (5, 50, 95 %) by method and curve, shape (3, point).
    """

    scores: list[dict[str, Any]] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[dict[str, Any]] = field(default_factory=list)
    bands: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def add(self, method: str, curve: Curve, draws: np.ndarray) -> None:
        """Score draws of y, shape (draw, point), at the held-back points of a curve."""
        found = score(draws, curve.held.loss.to_numpy())
        self.scores.append({"method": method, "curve": curve.key, "domain": curve.domain, **found})
        self.bands[method, curve.key] = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Means over curves, one table a group."""
        return tables(pd.DataFrame(self.scores))

    def as_json(self) -> dict[str, Any]:
        """Everything but the bands."""
        means = {group: table.to_dict("index") for group, table in self.tables().items()}
        return {"means": means, "curves": self.scores, "fits": self.fits, "seconds": self.seconds}


def read_curves(only: Iterable[str] = ()) -> list[Curve]:
    """The curves, by id; none where the folder is not named.

    Raises
    ------
    SystemExit
        When the folder lacks the table, or the table one of ``only``.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return []
    path = Path(folder) / FILE
    if not path.exists():
        raise SystemExit(f"no {FILE.as_posix()} under the folder that {FOLDER} names, {folder}")
    points = pd.read_csv(path).rename(columns={"x": "steps", "y": "loss"})
    wanted = set(only)
    if unknown := wanted - set(points.curve_id):
        raise SystemExit(f"no such curve: {', '.join(sorted(unknown))}")
    curves = []
    for key, rows in points.groupby("curve_id"):
        if wanted and key not in wanted:
            continue
        parts = {split: part[["steps", "loss"]].reset_index(drop=True) for split, part in rows.groupby("split")}
        first = rows.iloc[0]
        curves.append(Curve(str(key), first.domain, f"{first.task}, {first.model}", parts["train"], parts["extrapolation"]))
    return curves


#: The share of the scales of a training part that is forecast from the rest, the first that leaves points enough.
INSIDE, LEAST = (1 / 4, 1 / 3, 1 / 2.1, 1 / 1.5), 8


def inside(curves: list[Curve]) -> list[Curve]:
    """The training parts alone, each in two: for choices, which the extrapolation parts must not decide."""
    out = []
    for curve in curves:
        cuts = (curve.shown.steps <= share * curve.shown.steps.max() for share in INSIDE)
        shown = next((rows for rows in cuts if rows.sum() >= LEAST), None)
        if shown is not None:
            out.append(replace(curve, shown=curve.shown[shown], held=curve.shown[~shown].reset_index(drop=True)))
    return out


def law_alone(table: pd.DataFrame) -> bs.ScalingModel:
    """The recommended model without its discrepancy."""
    model = bs.recommended(table, along="steps")
    return bs.ScalingModel(model.law, axes=model.axes, noise=model.noise)


def recommended(table: pd.DataFrame) -> bs.ScalingModel:
    """What a user gets."""
    return bs.recommended(table, along="steps")


#: A model for a curve, and whether the curves of a domain are siblings.
MODELS: dict[str, tuple[Callable[[pd.DataFrame], bs.ScalingModel], bool]] = {
    "bayescale": (recommended, False),
    "bayescale, siblings pooled": (recommended, True),
    "bayescale, law alone": (law_alone, False),
}


def run_baselines(curves: list[Curve], found: Found, seed: int, methods: Iterable[str] = ()) -> None:
    """Every baseline on every curve, or those of some names."""
    for number, (method, forecast) in enumerate(BASELINES.items()):
        if methods and method not in methods:
            continue
        watch = _Watch()
        for i, curve in enumerate(curves):
            rng = np.random.default_rng([seed, number, i])
            x, y = curve.shown.steps.to_numpy(dtype=float), curve.shown.loss.to_numpy()
            found.add(method, curve, forecast(x, y, curve.held.steps.to_numpy(dtype=float), rng))
        found.seconds.append({"method": method, **watch.read()})


def run_ours(curves: list[Curve], found: Found, seed: int, methods: Iterable[str] = ()) -> None:
    """Our models on every curve, or those of some names."""
    shown, domains = {curve.key: curve.shown for curve in curves}, {curve.key: curve.domain for curve in curves}
    for method, (model, pooled) in MODELS.items():
        if methods and method not in methods:
            continue
        models = {key: model(table) for key, table in shown.items()}
        watch = _Watch()
        fits = fit_many(models, shown, siblings=domains if pooled else False, seed=seed, progress=False, strict=False)
        draws = {curve.key: draws_of(fits[curve.key], curve) for curve in curves}
        found.seconds.append({"method": method, **watch.read()})
        for curve in curves:
            found.add(method, curve, draws[curve.key])
            found.fits.append({"method": method, "curve": curve.key, **_diagnostics(fits[curve.key])})


def draws_of(fit: bs.Fit, curve: Curve) -> np.ndarray:
    """Draws of the response at the held-back points of a curve, shape (draw, point)."""
    drawn = bs.predict(fit, {"steps": curve.held.steps.tolist()})["loss"].to_numpy()
    return drawn.reshape(-1, len(curve.held))


def _diagnostics(fit: bs.Fit) -> dict[str, Any]:
    found = fit.convergence
    return {
        "points": len(fit.data),
        "noise": type(fit.model.noise).__name__,
        "R-hat": found.worst_rhat,
        "ESS": found.worst_ess,
        "divergences": found.divergences,
        "draws": found.draws,
        "converged": not found.faults,
    }


class _Watch:
    """CPU seconds of all threads, and wall seconds, since it was made."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def read(self) -> dict[str, float]:
        """Both, by name."""
        return {"CPU s": time.process_time() - self.cpu, "wall s": time.perf_counter() - self.wall}


def report_fits(found: Found) -> str:
    """R-hat, effective sample size and divergences of each curve, and the share that converged, by method."""
    out = []
    for method, rows in pd.DataFrame(found.fits).groupby("method", sort=False):
        table = rows.drop(columns="method").set_index("curve").astype({"ESS": int})
        share = f"{method}: {table.converged.sum()} of {len(table)} curves converged ({table.converged.mean():.0%})"
        out.append(f"{table.round({'R-hat': 4}).to_string()}\n{share}")
    return "\n\n".join(out)


def figure(curves: list[Curve], found: Found, path: Path) -> None:
    """Draw coverage against width, and a few curves with their 90 % bands."""
    from matplotlib.figure import Figure  # costs a second to import

    chosen = [c for c in curves if c.key in EXAMPLES] or curves[: len(EXAMPLES)]
    canvas = Figure(figsize=(12, 8), layout="constrained")
    top, bottom = canvas.subfigures(2, 1)
    _calibration(top.subplots(1, 2), found)
    for ax, curve in zip(np.atleast_1d(bottom.subplots(1, len(chosen))), chosen, strict=True):
        _example(ax, curve, found)
    canvas.savefig(path, dpi=150)


def _calibration(axes: Any, found: Found) -> None:
    """Left: coverage against nominal. Right: coverage of the 90 % interval against its width. Means over all curves."""
    table = found.tables()["all"]
    levels = [50, 80, 90]
    rows = sorted(table.iterrows(), key=lambda row: row[0] not in MODELS)
    for i, (method, row) in enumerate(rows):
        ours = method in MODELS
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "zorder": 3 if ours else 2}
        kind = "-" if ours else ":"
        axes[0].plot(levels, [row[f"cov {level}"] for level in levels], kind, label=method, markersize=5, **look)
        axes[1].plot(row["width 90"], row["cov 90"], markersize=9 if ours else 6, **look)
        axes[1].annotate(str(method), (row["width 90"], row["cov 90"]), (5, 4), textcoords="offset points", fontsize=7)
    axes[0].plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
    axes[0].set(xlim=(45, 95), ylim=(0, 100), xticks=levels, xlabel="nominal coverage, %", ylabel="coverage, %")
    axes[0].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes[1].axhline(90, color=GREY, linewidth=0.8)
    axes[1].set(xscale="log", ylim=(0, 100), xlabel="mean width of the 90 % interval, log units", ylabel="coverage of it, %")
    for ax in axes:
        tidy(ax)
    log_axis(axes[1], "x", "width")


def _example(ax: Any, curve: Curve, found: Found) -> None:
    ax.plot(curve.shown.steps, curve.shown.loss, "o", color=GREY, markersize=3, label="shown")
    ax.plot(curve.held.steps, curve.held.loss, "o", color=FAINT, markersize=3, label="held back")
    for method, colour in ((BESIDE, COLOURS[1]), (next(iter(MODELS)), COLOURS[0])):
        band = found.bands.get((method, curve.key))
        if band is not None:
            ax.fill_between(curve.held.steps, band[0], band[2], color=colour, alpha=0.25, linewidth=0)
            ax.plot(curve.held.steps, band[1], color=colour, linewidth=1.2, label=method)
    # The end of the curve, and no more: a wide band would press everything else flat.
    start = curve.held.steps.max() / WINDOW
    near = np.log(np.concatenate([curve.shown.loss[curve.shown.steps >= start], curve.held.loss]))
    ax.set(xlim=(start, 1.1 * curve.held.steps.max()), xlabel="data seen", title=curve.title)
    ax.set_ylim(*np.exp([near.min() - 0.25 * np.ptp(near), near.max() + 0.1 * np.ptp(near)]))
    log_axis(ax, "x", "tokens")
    log_axis(ax, "y", "loss")
    ax.legend(fontsize=7)
    tidy(ax)

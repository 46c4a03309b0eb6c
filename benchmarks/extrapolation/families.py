"""The largest model of every family forecast, from its two smallest or from all others: what a drift is worth under pooling."""

from __future__ import annotations

import time

import bayescale as bs
from benchmarks.extrapolation.tables import Found, Table
from benchmarks.pooling import POOLINGS, families

#: Pooling, and discrepancy.
MODELS: dict[str, tuple[str, bs.SlopeDrift | None]] = {
    "pooled, law alone": ("partial", None),
    "pooled, with drift": ("partial", bs.SlopeDrift("params")),
    "not pooled": ("none", None),
}


def splits(*, inside: bool) -> list[Table]:
    """The runs in two parts, twice; ``inside`` leaves the largest model of every family out of both, for choices."""
    runs = families()
    if inside:
        runs = runs[runs["rank"] < runs.groupby("curve")["rank"].transform("max")]
    sizes = runs.groupby("curve")["rank"].transform("max")
    # A family of two sizes has none to spare: it is shown whole.
    held = (runs["rank"] == sizes) & (sizes > 2)
    rows = {"two smallest shown": runs["rank"] <= 2, "all but the largest shown": ~held}
    return [Table(row + ", inside" * inside, row, runs[here], runs[held]) for row, here in rows.items()]


def run(found: Found, seed: int, *, inside: bool) -> None:
    """Fit and score every model."""
    for table in splits(inside=inside):
        for method, (pooling, drift) in MODELS.items():
            start = time.perf_counter()
            model = bs.ScalingModel(
                "power_law_offset", axes={"x": "params"}, pooling=POOLINGS[pooling], discrepancy=drift, noise=bs.Gaussian()
            )
            fit = bs.fit(model, table.shown, seed=seed, progress=False, strict=False)
            found.add(method, table, bs.predict(fit, table.held)["loss"].to_numpy().reshape(-1, len(table.held)))
            found.add_fit(method, table, fit, time.perf_counter() - start)

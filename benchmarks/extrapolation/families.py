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


def run(found: Found, seed: int) -> None:
    """Fit and score every model."""
    runs = families()
    last = runs["rank"] == runs.groupby("curve")["rank"].transform("max")
    for row, here in {"two smallest shown": runs["rank"] <= 2, "all but the largest shown": ~last}.items():
        table = Table(row, row, runs[here], runs[last])
        for method, (pooling, drift) in MODELS.items():
            start = time.perf_counter()
            model = bs.ScalingModel(
                "power_law_offset", axes={"x": "params"}, pooling=POOLINGS[pooling], discrepancy=drift, noise=bs.Gaussian()
            )
            fit = bs.fit(model, table.shown, seed=seed, progress=False, strict=False)
            found.add(method, table, bs.predict(fit, table.held)["loss"].to_numpy().reshape(-1, len(table.held)))
            found.add_fit(method, table, fit, time.perf_counter() - start)

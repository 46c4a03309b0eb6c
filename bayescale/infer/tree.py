"""Draws with their names, dimensions and labels: the DataTree of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayescale.core.names import CHAIN, DRAW, ROW, RUN
from bayescale.data.runs import Runs
from bayescale.models.binding import Binding

Sizes = dict[str, np.ndarray]


def coordinates(binding: Binding, runs: Runs) -> dict[str, Any]:
    """Labels of every group dimension, the groups in which they lie beside them, and the row numbers of the runs."""
    coords: dict[str, Any] = {RUN: runs.table.index.to_numpy()}
    for level in binding.levels.values():
        coords[level.dim] = list(level.labels)
    for columns, level in binding.levels.items():
        for i, column in enumerate(columns[:-1]):
            # A column that is a dimension in its own right cannot also be a label along another one.
            name = f"{level.dim}_{column}" if column in coords and column != level.dim else column
            coords.setdefault(name, (level.dim, [key[i] for key in level.keys]))
    return coords


def parameter_dims(binding: Binding) -> dict[str, tuple[str, ...]]:
    """Group dimension of every parameter that has one, and of its values at the outer levels."""
    dims: dict[str, tuple[str, ...]] = {}
    for name, pooling in binding.model.pooling.items():
        by = tuple(pooling.by)
        dims[name] = (binding.levels[by].dim,)
        for i in range(1, len(by)):
            dims[f"{name}_{by[i - 1]}"] = (binding.levels[by[:i]].dim,)
    return dims


def draws_dataset(values: Sizes, dims: dict[str, tuple[str, ...]], coords: dict[str, Any]) -> xr.Dataset:
    """Arrays (chain, draw, …) as a dataset with the labels of the dimensions that they have."""
    used = {d for name in values for d in dims.get(name, ())}
    first = next(iter(values.values()))
    labels = {k: v for k, v in coords.items() if (v[0] if isinstance(v, tuple) else k) in used}
    index = {CHAIN: np.arange(first.shape[0]), DRAW: np.arange(first.shape[1])}
    arrays = {name: ((CHAIN, DRAW, *dims.get(name, ())), value) for name, value in values.items()}
    return xr.Dataset(arrays, coords=index | labels)


def runs_dataset(runs: Runs) -> xr.Dataset:
    """The validated table, one variable a column, along a dimension that no column is named after."""
    dim = ROW
    while dim in runs.table:
        dim += "_"
    columns = {}
    for name, column in runs.table.items():
        numeric = np.issubdtype(column.to_numpy().dtype, np.number)
        columns[str(name)] = (dim, column.to_numpy(float) if numeric else column.fillna("").astype(str).to_numpy(object))
    return xr.Dataset(columns, coords={dim: runs.table.index.to_numpy()})


def constant_data(binding: Binding, runs: Runs) -> xr.Dataset:
    """What was fixed in the fit: covariates, reference run, size of the response, known standard errors (of rounding too)."""
    n, design = len(runs.table), binding.design
    rows = {c: (RUN, runs.table[column].to_numpy(float)) for c, column in binding.axes.items()}
    fixed = {f"{c}_reference": value for c, value in binding.reference.items()}
    fixed |= {} if binding.noise_reference is None else {"noise_reference": binding.noise_reference}
    errors = {"standard_error": (RUN, design.se[:n])} if design.se.any() else {}
    data = xr.Dataset({**rows, **fixed, **errors, "response_scale": binding.response_scale})
    return data.assign_coords({RUN: runs.table.index.to_numpy()})

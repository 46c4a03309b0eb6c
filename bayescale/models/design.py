"""What a model sees of a table: arrays only, so that one compiled program serves every table of like shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

Array = Any  # a NumPy array outside a traced function, a JAX tracer inside


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prior:
    """Prior of one parameter on its link scale, in the units of the response; scalars.

    ``loc`` and ``scale`` are those of the population mean, ``spread`` that of the half-normal on its spread over groups.
    """

    loc: Array
    scale: Array
    spread: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Slot:
    """Where the groups of one parameter are; one group when it is completely pooled.

    Parameters
    ----------
    rows : int array (run,)
        Group of each row.
    share : float array (group, run)
        Weights that average a quantity of the rows over each group.
    centered : float array (group,)
        1 where the value itself is sampled, 0 where its standardised offset is, in between a mixture.
    parents : tuple of int array
        For each level, outermost first: of each of its groups, the group of the level above (0, the whole, for the first).
    """

    rows: Array
    share: Array
    centered: Array
    parents: tuple[Array, ...] = ()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Path:
    """Rows sorted by curve and, within it, by log scale; padded rows come last.

    Parameters
    ----------
    order : int array (run,)
        Row that stands at each place; the other arrays (run,) go by place.
    step : float array (run,)
        Log scale since the row before; 0 at the first of a curve.
    first, last : bool array (run,)
        Whether a curve begins, or ends, with this row.
    seen : bool array (run,)
        False in padded rows.
    curve : int array (run,)
    ends : int array (curve, 2)
        Row of the smallest and of the largest scale of each curve.
    span : float array (curve,)
        Log scale between them.
    gap : float array (run,)
        Evaluations since the row before, if they came at even distances: the step of the axis over the curve's smallest.
    tie : bool array (run,)
        Whether the response is that of the row before.
    """

    order: Array
    step: Array
    first: Array
    last: Array
    seen: Array
    curve: Array
    ends: Array
    span: Array
    gap: Array
    tie: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Basis:
    """What a model sees of the discrepancy; rows are padded.

    Parameters
    ----------
    columns : float array (run, coefficient)
        The discrepancy at a row for a coefficient of 1: the slopes at the knots of each curve, the misfit at its places, its
        change with scale, the effect of each run.
    products : float array (run, pair)
        Products of the columns, of each pair of coefficients once: with them a weighted sum over the runs of their outer
        products is one product of matrices.
    behind : float array (curve, knot)
        Log scale of the knots below the largest run of the curve.
    contrast : float array (curve, run)
        Weights by which a quantity at the largest runs of a curve is taken from that at its smallest.
    span : float array (curve,)
        Log scale between these.
    places : float array (place,)
        As many as the misfit has places; their values are not used.
    effects : dict of site to float array (label,)
        As many as there are runs with effects, by the name of the effects' size; their values are not used.
    """

    columns: Array
    products: Array
    behind: Array
    contrast: Array
    span: Array
    places: Array
    effects: dict[str, Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """Which rows are consecutive checkpoints of one run.

    Parameters
    ----------
    before, after : int array (run,)
        The row before and the one after in the same run; the row itself where there is none.
    linked, followed : bool array (run,)
        Whether there is one before, and one after.
    """

    before: Array
    after: Array
    linked: Array
    followed: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Design:
    """A table as a model sees it; rows are padded to a bucket size and masked.

    Parameters
    ----------
    log_x : dict of covariate to float array (run,)
        Log ratio of each covariate to the reference run.
    y : float array (run,)
        Response.
    se : float array (run,)
        Known standard error on the noise's scale, that of rounding included; 0 where there is none.
    mask : bool array (run,)
        False in padded rows.
    slots : dict of parameter to Slot
    priors : dict of parameter to Prior
        Those of the law, of the noise (its scale under ``"sigma"``), and of a discrepancy.
    x_se : dict of covariate to float array (run,)
        Known relative standard errors of covariates, for those that have any.
    path : Path, optional
        The order of the runs along each curve, where the model filters along it.
    basis : Basis, optional
        The columns of the discrepancy, where the model has one that is not filtered.
    trend : float array (run,), optional
        Log ratio of the noise's axis to the reference run, where the noise changes along it.
    memory : Memory, optional
        Which rows follow one another, where errors are remembered.
    tries : float array (run,), optional
        How many runs each row is the best of, where rows are.
    """

    log_x: dict[str, Array]
    y: Array
    se: Array
    mask: Array
    slots: dict[str, Slot]
    priors: dict[str, Prior]
    x_se: dict[str, Array] = field(default_factory=dict)
    path: Path | None = None
    basis: Basis | None = None
    trend: Array | None = None
    memory: Memory | None = None
    tries: Array | None = None


def bucket(rows: int) -> int:
    """Number of rows to pad to: 16, 32, 64 … so that tables of like size share a program."""
    return max(16, 1 << (rows - 1).bit_length())


def pad(values: np.ndarray, rows: int, fill: float) -> np.ndarray:
    """``values`` lengthened to ``rows`` along the last axis."""
    width = [(0, 0)] * (values.ndim - 1) + [(0, rows - values.shape[-1])]
    return np.pad(values, width, constant_values=fill)

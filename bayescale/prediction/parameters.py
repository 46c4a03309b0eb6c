"""Draws of a law's parameters at given points: of fitted groups from the posterior, of unseen ones from the population."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.names import CHAIN, DRAW
from bayescale.infer.fit import Fit
from bayescale.laws.param import Link
from bayescale.models.groups import Level
from bayescale.models.pooling import PartialPooling

Array = NDArray[np.float64]
Unseen = Literal["population", "error"]


def generator(seed: int, stream: int) -> np.random.Generator:
    """A generator of its own for every use (``stream``) that a verb makes of its seed.

    Raises
    ------
    SpecError
        When the seed is no integer of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SpecError(f"seed is an integer of at least 0, got {seed!r}")
    return np.random.default_rng([int(seed), stream])


def to_link(link: Link, value: Any) -> Array:
    """From a parameter's own scale to its link scale."""
    return np.asarray(value if link == "identity" else np.log(value) if link == "log" else logit(value), dtype=np.float64)


def from_link(link: Link, value: Any) -> Array:
    """From the link scale to a parameter's own."""
    return np.asarray(value if link == "identity" else np.exp(value) if link == "log" else expit(value), dtype=np.float64)


def parameter_draws(fit: Fit, table: pd.DataFrame, rng: np.random.Generator, unseen: Unseen = "population") -> dict[str, Array]:
    """Parameters of the law at the rows of a table.

    A row whose labels were fitted has its group's posterior. A label that was not, or no label, is an unseen group: drawn
    from ``link(mu + tau z)`` with one ``z`` a label (rows without a label share one), about its parent where that was
    fitted; without pooling, drawn from the prior. The draws of an unseen group depend on ``rng`` and on its labels alone,
    not on the other rows.

    Parameters
    ----------
    table : DataFrame
        Group columns as text.
    rng : Generator
    unseen : {"population", "error"}
        Draw unseen groups, or refuse them.

    Returns
    -------
    dict of parameter to array (chain, draw, point)
        On the natural scale, at the reference run.

    Raises
    ------
    DataError
        Naming the unseen groups, where they are refused.
    SpecError
        When ``unseen`` is another word.
    """
    if unseen not in ("population", "error"):
        raise SpecError("unseen: " + unknown("word", str(unseen), ("population", "error")))
    if unseen == "error":
        _refuse(fit, table)
    posterior = fit.posterior
    drawn = {str(name): posterior[name].transpose(CHAIN, DRAW, ...).to_numpy() for name in posterior.data_vars}
    z = _Offsets(int(rng.integers(2**62)), (posterior.sizes[CHAIN], posterior.sizes[DRAW]))
    return {name: _at_rows(fit, name, table, drawn, z) for name in fit.model.law.params}


class _Offsets:
    """Standard normal draws (chain, draw) by what they are for: the same key, the same draws."""

    def __init__(self, root: int, shape: tuple[int, int]) -> None:
        self.root, self.shape = root, shape

    def __call__(self, name: str, key: tuple[str, ...]) -> Array:
        code = crc32("\x1f".join((name, *key)).encode())
        return np.random.default_rng([self.root, code]).standard_normal(self.shape)


def _at_rows(fit: Fit, name: str, table: pd.DataFrame, drawn: dict[str, Array], z: _Offsets) -> Array:
    """One parameter (chain, draw, point)."""
    level, values = fit.binding.level(name), drawn[name]
    if level is None:
        return np.broadcast_to(values[..., None], (*values.shape, len(table)))
    codes = level.codes(table)
    out = values[..., np.maximum(codes, 0)]
    for key, rows in _unseen(level, codes, table):
        out[..., rows] = _unseen_group(fit, name, table.iloc[rows[:1]], key, drawn, z)[..., None]
    return out


def _unseen_group(fit: Fit, name: str, row: pd.DataFrame, key: tuple[str, ...], drawn: dict[str, Array], z: _Offsets) -> Array:
    """A parameter (chain, draw) of a group that was not fitted."""
    link, pooling, binding = fit.model.law.params[name].link, fit.model.pooling_of(name), fit.binding
    if not isinstance(pooling, PartialPooling):
        loc, scale, _ = binding.prior_of(name)
        return from_link(link, loc + scale * z(name, key))
    by = tuple(pooling.by)
    location, depth = drawn[f"{name}_mu"], 0
    for i in range(1, len(by)):
        (code,) = binding.levels[by[:i]].codes(row)
        if code >= 0:
            location, depth = to_link(link, drawn[f"{name}_{by[i - 1]}"][..., code]), i
    for i in range(depth, len(by)):
        tau = drawn[f"{name}_tau" if i + 1 == len(by) else f"{name}_tau_{by[i]}"]
        location = location + tau * z(name, key[: i + 1])
    return from_link(link, location)


def _unseen(level: Level, codes: NDArray[np.int64], table: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], NDArray[np.int64]]]:
    """Labels of every distinct group that is not of the level, and its rows."""
    rows = np.flatnonzero(codes < 0)
    columns = [table[c].astype(str).to_numpy() if c in table else np.full(len(table), "") for c in level.columns]
    found: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        found.setdefault(tuple(str(c[row]) for c in columns), []).append(int(row))
    for key, members in found.items():
        yield key, np.array(members)


def _refuse(fit: Fit, table: pd.DataFrame) -> None:
    faults: dict[str, None] = {}
    for name in fit.model.pooling:
        level = fit.binding.level(name)
        if level is None:
            continue
        inner = level.columns[-1]
        for key, rows in _unseen(level, level.codes(table), table):
            if not key[-1]:
                faults[f"no {inner!r} is given in {_rows(rows)}. Fitted: {_some(k[-1] for k in level.keys)}"] = None
            else:
                told = {key[-1]} & {k[-1] for k in level.keys}  # fitted, but not within these parents
                within = f" within {' / '.join(k or '?' for k in key[:-1])}" if told else ""
                said = f"{inner} {key[-1]!r}{within} was not fitted." if told else unknown(inner, key[-1], level.labels)
                faults[f"{said} ({_rows(rows)})"] = None
    if faults:
        raise DataError("these groups were not fitted (unseen='population' draws them from the population):", list(faults))


def _some(labels: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(labels))
    return ", ".join(distinct[:5]) + (" …" if len(distinct) > 5 else "")


def _rows(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, rows[:3])) + (" …" if len(rows) > 3 else "")
    return f"row{'s' * (len(rows) > 1)} {shown}"

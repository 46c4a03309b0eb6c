"""The groups over which parameters vary: labels, codes of the rows, and which group lies in which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.core.errors import DataError, unknown
from bayescale.core.names import CHAIN, DRAW, POINT, RUN

#: Dimensions that results have in any case; groups by a column of that name get another.
RESERVED = (CHAIN, DRAW, POINT, RUN)

#: Between the columns of a group that one column alone does not name.
SEPARATOR = " / "


@dataclass(frozen=True)
class Level:
    """The groups that one column (within its parents) makes.

    Parameters
    ----------
    dim : str
        Name of the dimension in results: the last column, or all of them joined where that name is taken.
    columns : tuple of str
        From the outermost in.
    keys : tuple of tuple of str
        One a group: its value in each column.
    """

    dim: str
    columns: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """One name a group: the last column's value, or all of them joined where that alone is not unique."""
        last = [key[-1] for key in self.keys]
        return tuple(last) if len(set(last)) == len(last) else tuple(SEPARATOR.join(key) for key in self.keys)

    @property
    def size(self) -> int:
        """Number of groups."""
        return len(self.keys)

    def codes(self, table: pd.DataFrame) -> np.ndarray:
        """Group of each row; -1 where the row is in none of them, or its last column is not given.

        Rows are matched by the columns that are given; the last alone is enough where it tells the groups apart.

        Raises
        ------
        DataError
            When the columns that are given leave several groups possible.
        """
        last = self.columns[-1]
        if last not in table:
            return np.full(len(table), -1)
        given = [i for i, column in enumerate(self.columns) if column in table]
        found: dict[tuple[str, ...], list[int]] = {}
        for index, key in enumerate(self.keys):
            found.setdefault(tuple(key[i] for i in given), []).append(index)
        if given == [len(self.columns) - 1]:
            found = {(label,): [index] for index, label in enumerate(self.labels)} | found
        rows = list(zip(*(table[self.columns[i]].astype(str) for i in given), strict=True))
        vague = sorted({row[-1] for row in rows if len(found.get(row, ())) > 1})
        if vague:
            lacking = ", ".join(c for c in self.columns if c not in table)
            raise DataError(f"{last} {', '.join(map(repr, vague))} is in several groups: give also the column(s) {lacking}.")
        return np.array([found.get(row, [-1])[0] for row in rows], dtype=int)

    def parent(self, outer: Level) -> np.ndarray:
        """Index in ``outer`` (a level of fewer columns of the same nesting) of each group."""
        index = {key: i for i, key in enumerate(outer.keys)}
        return np.array([index[key[: len(outer.columns)]] for key in self.keys], dtype=int)


def make_levels(table: pd.DataFrame, nestings: Iterable[tuple[str, ...]]) -> Mapping[tuple[str, ...], Level]:
    """One level for every nesting and for every outer part of it, keyed by its columns.

    Raises
    ------
    DataError
        When a group column is missing, naming the near and the present ones.
    """
    inner = sorted(set(nestings), key=lambda c: (len(c), c))
    outer = sorted({c[:i] for c in inner for i in range(1, len(c))} - set(inner), key=lambda c: (len(c), c))
    missing = sorted({c for columns in inner for c in columns if c not in table})
    if missing:
        faults = [unknown("column", c, table.columns) for c in missing]
        raise DataError("the model groups runs by columns that the table lacks:", faults)
    levels: dict[tuple[str, ...], Level] = {}
    taken: dict[str, list[str]] = {}
    for columns in (*inner, *outer):
        # Sorted by the last column first, so that families, and families within architectures, come in one order.
        frame = table[list(columns)].astype(str).drop_duplicates().sort_values(list(reversed(columns)))
        keys = tuple(tuple(row) for row in frame.itertuples(index=False, name=None))
        last = [key[-1] for key in keys]
        # An outer level leaves its bare name to the coordinate that tells, beside each group, in which one it lies.
        name = columns[-1] if columns in inner and columns[-1] not in RESERVED else f"{columns[-1]}_group"
        # The same word for other groups (families, and families within texts) keeps a name of its own.
        levels[columns] = Level(name if taken.setdefault(name, last) == last else "_".join(columns), columns, keys)
    return levels

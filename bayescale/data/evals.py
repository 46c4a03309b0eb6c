"""A validated table of benchmark scores, one model on one task a row, for models of capability."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import DataError, unknown
from bayescale.data.eval_checks import LABELS, NUMBERS, lonely, read_evals
from bayescale.data.schema import Mask


@dataclass(frozen=True, eq=False)
class Evals:
    """Scores of models on tasks, in long form; numbers in float64, labels as text.

    Build one with :meth:`from_frame` or :meth:`from_wide`.

    Parameters
    ----------
    table : DataFrame, shape (scores, columns)
        ``family``, ``model``, ``task``, ``prompt``, ``shots``, ``eval_source`` (text, ``""`` where there is none), ``params``,
        ``tokens``, ``flops`` (NaN where not known), ``accuracy`` (fraction), ``n_items`` (NaN where not known), ``chance``; the
        index is the 0-based number of the row in the frame that it was read from.
    notes : tuple of str
        What was derived, left out or assumed.
    digest : str
        SHA-256 of the content.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]
    digest: str

    @classmethod
    def from_frame(cls, df: pd.DataFrame, *, columns: Mapping[str, str] | None = None) -> Evals:
        """Read and check a table, one score a row; the frame itself is not changed.

        Parameters
        ----------
        df : DataFrame
            ``family``, ``model``, ``task`` and ``accuracy`` must be there. ``params``, ``tokens``, ``flops`` may be missing or
            empty, and are derived by ``flops = 6 params tokens`` from two of them. ``prompt`` (the way of asking: ``direct``,
            ``cot``), ``shots``, ``eval_source`` (who measured), ``n_items`` and ``chance`` (0 where it is not known) may be
            missing. A score that is missing is left out.
        columns : mapping of our name to the table's, optional

        Raises
        ------
        DataError
            Naming everything that is wrong, with the rows.

        Examples
        --------
        >>> import pandas as pd
        >>> df = pd.DataFrame(
        ...     {
        ...         "family": ["A", "A"],
        ...         "model": ["A-1", "A-2"],
        ...         "params": [1e9, 7e9],
        ...         "tokens": [1e12, 1e12],
        ...         "task": "mmlu",
        ...         "accuracy": [0.3, 0.5],
        ...         "chance": 0.25,
        ...     }
        ... )
        >>> Evals.from_frame(df)
        Evals(2 scores of 2 models of 1 family on 1 task)
        """
        table, notes, faults = read_evals(df, columns)
        if table is None or faults:
            size = f" of {len(df)} rows" if isinstance(df, pd.DataFrame) else ""
            plural = "s" * (len(faults) != 1)
            raise DataError(f"the table{size} cannot be used, {len(faults)} fault{plural}:", faults)
        return cls(table, tuple(notes), _digest(table))

    @classmethod
    def from_wide(
        cls,
        df: pd.DataFrame,
        tasks: Sequence[str],
        *,
        chance: Mapping[str, float] | None = None,
        n_items: Mapping[str, float] | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Evals:
        """Read a table with a row a model and a column a task.

        Parameters
        ----------
        df : DataFrame
            ``family``, ``model`` and what is known of the models as in :meth:`from_frame`, and the columns of ``tasks``.
        tasks : sequence of str
            Columns of scores; empty cells are left out.
        chance, n_items : mapping of task to number, optional
            Chance rate (by default 0) and number of items.
        columns : mapping of our name to the table's, optional

        Raises
        ------
        DataError
            Naming everything that is wrong; rows are numbered task by task.
        """
        return cls.from_frame(melt(df, tasks, chance=chance, n_items=n_items), columns=columns)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in alphabetical order."""
        return self.labels("task")

    @property
    def families(self) -> tuple[str, ...]:
        """Families in alphabetical order."""
        return self.labels("family")

    @property
    def models(self) -> tuple[str, ...]:
        """Models in alphabetical order."""
        return self.labels("model")

    def labels(self, column: str) -> tuple[str, ...]:
        """The labels of a column in alphabetical order."""
        if column not in LABELS:
            raise DataError(unknown("column of labels", column, LABELS))
        return tuple(sorted(map(str, self.table[column].unique())))

    def codes(self, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Which label each score has: index (scores,) into the labels in alphabetical order."""
        labels = self.labels(column)
        return np.searchsorted(np.array(labels, dtype=object), self.table[column].to_numpy(object)).astype(np.int64), labels

    def subset(self, mask: Any) -> Evals:
        """The scores where ``mask`` (boolean, shape (scores,)) is true.

        What a part lacks is noted and not refused, since a part may be there to be forecast: :meth:`from_frame` refuses a table
        with a task on which one model has a score, since that says nothing of other models; here ``notes`` tell of it.

        Raises
        ------
        DataError
            When the mask is none, or keeps no score.
        """
        keep: Mask = np.asarray(mask)
        if keep.shape != (len(self),) or keep.dtype != np.bool_:
            raise DataError(f"expected a boolean mask of shape ({len(self)},), got {keep.dtype} of shape {keep.shape}")
        if not keep.any():
            raise DataError("the mask keeps none of the scores")
        table = self.table.loc[keep].copy()
        left = [note for note in lonely(table) if note not in self.notes]
        return replace(self, table=table, notes=(*self.notes, *left), digest=_digest(table))

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        counts = [(len(self), "score", "scores"), (len(self.models), "model", "models")]
        counts += [(len(self.families), "family", "families"), (len(self.tasks), "task", "tasks")]
        scores, models, families, tasks = (f"{n} {one if n == 1 else many}" for n, one, many in counts)
        return f"Evals({scores} of {models} of {families} on {tasks})"


def as_evals(data: pd.DataFrame | Evals, *, columns: Mapping[str, str] | None = None) -> Evals:
    """The scores of a table, or of an :class:`Evals`, which is returned as it is."""
    return data if isinstance(data, Evals) else Evals.from_frame(data, columns=columns)


def melt(
    df: pd.DataFrame,
    tasks: Sequence[str],
    *,
    chance: Mapping[str, float] | None = None,
    n_items: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """A table with a column a task in long form: ``task``, ``accuracy``, ``chance``, ``n_items`` behind the other columns."""
    faults = [unknown("column", task, map(str, df.columns)) for task in tasks if task not in df]
    faults += [
        f"{word}: {unknown('task', t, tasks)}"
        for word, m in (("chance", chance), ("n_items", n_items))
        for t in m or {}
        if t not in tasks
    ]
    if faults:
        raise DataError("the table cannot be put in long form:", faults)
    kept = [name for name in df.columns if name not in tasks]
    long = df.melt(id_vars=kept, value_vars=list(tasks), var_name="task", value_name="accuracy")
    long = long.assign(chance=long["task"].map(dict(chance or {})).fillna(0.0).astype(float))
    return long.assign(n_items=long["task"].map(dict(n_items or {})).astype(float))


def _digest(table: pd.DataFrame) -> str:
    """SHA-256 of what the scores say, in the order of the rows."""
    content = hashlib.sha256()
    for name in (*LABELS, *NUMBERS):
        column = table[name]
        if name in NUMBERS:
            content.update(column.to_numpy(dtype="<f8").tobytes())
        else:
            content.update("\x1f".join(map(str, column)).encode() + b"\x1e")
    return content.hexdigest()

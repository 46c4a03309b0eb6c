"""A validated table of training runs, and the one way in for every verb that takes data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import DataError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.core.names import IDENTIFIERS, RUN
from bayescale.data.columns import FLOPS_DERIVED, Reading, Request, read
from bayescale.data.schema import SCALE_ERRORS, UNITS, Fault, Role, breaches

#: How the training compute of a run was counted when it was not recorded.
SIX_ND = "6ND"


@dataclass(frozen=True, eq=False)
class Runs:
    """A table of training runs that holds what it says: numbers in float64, labels as text, nothing missing.

    Build one with :meth:`from_frame`.

    Parameters
    ----------
    table : pandas.DataFrame, shape (runs, columns)
        Response, covariates, their known standard errors, identifiers and group columns, under our names; the index is
        the 0-based number of the row in the frame that it was read from.
    response : str
        Name of the response column.
    groups : tuple of str
        Columns of labels, those that were asked for first.
    units : mapping of column to unit
        A value that is itself a column of labels holds the unit row by row.
    conventions : mapping of column to convention
        How a quantity was counted (``"6ND"``, ``"non-embedding"``); row by row in the same way.
    notes : tuple of str
        What was derived, left out or assumed.
    digest : str
        SHA-256 of the content.
    """

    table: pd.DataFrame
    response: str
    groups: tuple[str, ...]
    units: FrozenMap[str, str]
    conventions: FrozenMap[str, str]
    notes: tuple[str, ...]
    digest: str

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        columns: Mapping[str, str] | None = None,
        groups: Sequence[str] = (),
        response: str = "loss",
        units: Mapping[str, str] | None = None,
        conventions: Mapping[str, str] | None = None,
        covariates: Sequence[str] | None = None,
        positive_response: bool = True,
    ) -> Runs:
        """Read and check a table, one training run a row; the frame itself is not changed.

        Parameters
        ----------
        df : pandas.DataFrame
            Columns that mean something unnamed: the response, ``params``, ``tokens``, ``flops``, ``samples``, ``steps``,
            ``compute``, ``tokens_per_param``, ``<response>_sd``, ``params_sd``, ``tokens_sd``, ``seed``, ``run``,
            ``step``, and every column of text (a group column). Other columns are ignored.
        columns : mapping of our name to the table's, optional
            ``{"loss": "loss_nats"}``; also names a covariate of a law of your own (``{"width": "width"}``).
        groups : sequence of str
            Group columns that must be there, numbers among them (a seed, a width) read as labels.
        response : str
            Name of the response.
        units, conventions : mapping of column to word, optional
            A word, or the name of a column of text that holds it row by row.
        covariates : sequence of str, optional
            The covariates that the caller uses: they must be there, and faults of others only leave those out. By
            default every covariate of the table is checked.
        positive_response : bool
            Refuse a response of 0 or below, whose logarithm does not exist.

        Raises
        ------
        DataError
            Naming everything that is wrong, with the rows.

        Examples
        --------
        >>> import pandas as pd
        >>> from bayescale.data.runs import Runs
        >>> df = pd.DataFrame({"params": [1e8, 1e9], "tokens": [2e9, 2e10], "nats": [3.1, 2.6]})
        >>> Runs.from_frame(df, columns={"loss": "nats"})
        Runs(2 runs, loss ~ params, tokens, flops, tokens_per_param)
        """
        return as_runs(
            df,
            columns=columns,
            groups=groups,
            response=response,
            units=units,
            conventions=conventions,
            covariates=covariates,
            positive_response=positive_response,
        )

    @property
    def covariates(self) -> tuple[str, ...]:
        """The covariates of the table, derived ones included."""
        passed = {self.response, f"{self.response}_sd", "step", *SCALE_ERRORS}
        numbers = (str(name) for name, dtype in self.table.dtypes.items() if dtype == np.float64)
        return tuple(name for name in numbers if name not in passed)

    def codes(self, group: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Which label each run has.

        Returns
        -------
        codes : ndarray of int, shape (runs,)
            Index into ``labels``.
        labels : tuple of str
            Labels of the column in alphabetical order.
        """
        if group not in self.groups and not (group in IDENTIFIERS and group in self.table):
            raise DataError(unknown("group column", group, self.groups))
        labels, codes = np.unique(self.table[group].to_numpy(dtype=object).astype(str), return_inverse=True)
        return codes.astype(np.int64), tuple(str(label) for label in labels)

    def subset(self, mask: Any) -> Runs:
        """The runs where ``mask`` (boolean, shape (runs,)) is true, with the same metadata and a digest of their own."""
        keep = np.asarray(mask)
        if keep.shape != (len(self),) or keep.dtype != np.bool_:
            raise DataError(f"expected a boolean mask of shape ({len(self)},), got {keep.dtype} of shape {keep.shape}")
        if not keep.any():
            raise DataError("the mask keeps none of the runs")
        table = self.table.loc[keep].copy()
        return replace(self, table=table, digest=_digest(table, self.response, self.groups, self.units, self.conventions))

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        by = f", by {', '.join(self.groups)}" if self.groups else ""
        return f"Runs({len(self)} run{'s' * (len(self) != 1)}, {self.response} ~ {', '.join(self.covariates)}{by})"

    def _repr_html_(self) -> str:
        unit = [f"{name} in {word}" for name, word in self.units.items() if name in (self.response, *self.covariates)]
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        head = f"<p><b>{len(self)} runs</b>: {escape(repr(self)[5:-1])}<br>{escape('; '.join(unit))}</p>"
        return f"{head}<ul>{notes}</ul>{self.table.head(8).to_html(float_format='{:.6g}'.format)}"


def as_runs(
    data: pd.DataFrame | Runs,
    *,
    columns: Mapping[str, str] | None = None,
    groups: Sequence[str] = (),
    response: str = "loss",
    units: Mapping[str, str] | None = None,
    conventions: Mapping[str, str] | None = None,
    covariates: Sequence[str] | None = None,
    positive_response: bool = True,
) -> Runs:
    """The runs of a table or of a :class:`Runs`, which is returned as it is once it is known to hold what is asked.

    Parameters
    ----------
    data : pandas.DataFrame or Runs
        See :meth:`Runs.from_frame`, as for every other argument.
    columns, groups, response, units, conventions, covariates, positive_response
        As in :meth:`Runs.from_frame`. Of a :class:`Runs` they are checked; its columns bear our names already.

    Raises
    ------
    DataError
        When the table has faults, or the runs lack what is asked.
    """
    ask = Request.of(columns, groups, response, covariates, units, conventions, positive_response)
    runs, faults = assemble(data, ask)
    if runs is None or faults:
        size = f" of {len(data)} rows" if isinstance(data, pd.DataFrame | Runs) else ""
        plural = "s" * (len(faults) != 1)
        raise DataError(f"the table{size} cannot be used, {len(faults)} fault{plural}:", [fault.message for fault in faults])
    return runs


def assemble(data: pd.DataFrame | Runs, ask: Request) -> tuple[Runs | None, list[Fault]]:
    """The runs of a table (None when it cannot be read) and everything that is wrong with it."""
    if isinstance(data, Runs):
        return data, _lacking(data, ask)
    if not isinstance(data, pd.DataFrame):
        said = f"expected a pandas DataFrame or a Runs, got {type(data).__name__} (pandas.DataFrame(...) may make one of it)"
        return None, [Fault("type", said)]
    out = read(data, ask)
    if not out.faults:
        out.faults += _copies(data, out, ask.response)
    return (None, out.faults) if out.faults else (_build(out, ask), [])


def _lacking(runs: Runs, ask: Request) -> list[Fault]:
    """What runs that were read before lack of what is asked of them now."""
    faults = []
    if runs.response != ask.response:
        said = f"these runs have the response {runs.response!r}, not {ask.response!r}: read the table again"
        faults.append(Fault("columns", said, ask.response))
    held = [str(name) for name in runs.table]
    labels = [name for name in held if runs.table[name].dtype != np.float64]
    wanted = [("column", name, held) for name in ask.columns]
    wanted += [("group column", name, labels) for name in ask.groups]
    wanted += [("covariate", name, [other for other in held if other not in labels]) for name in ask.covariates or ()]
    for what, name, valid in wanted:
        if name not in valid:
            faults.append(Fault("columns", f"{unknown(what, name, valid)} Read the table again and name it there.", name))
    for what, stated, asked in (("units", runs.units, ask.units), ("conventions", runs.conventions, ask.conventions)):
        for name, word in asked.items():
            if stated.get(name) != word:
                faults.append(Fault("columns", f"{what} of {name!r} were read as {stated.get(name)!r}, not {word!r}", name))
    if ask.response in runs.table:
        values = runs.table[ask.response].to_numpy(dtype=np.float64)
        faults += breaches(ask.response, values, "response", positive_response=ask.positive_response)
    return faults


def _build(out: Reading, ask: Request) -> Runs:
    """The value itself, of a reading without faults."""
    asked = [name for name in ask.groups if name in out.labels]
    groups = tuple(dict.fromkeys([*asked, *(name for name in out.labels if name not in IDENTIFIERS)]))
    order: dict[Role, int] = {"response": 0, "covariate": 1, "response_sd": 2, "covariate_sd": 2, "step": 3, "label": 4}
    numbers = sorted(out.numbers, key=lambda name: order[out.roles[name]])
    labels = [*(name for name in out.labels if name not in groups), *groups]
    held: dict[str, Any] = {name: out.numbers[name] for name in numbers}
    held |= {name: out.labels[name] for name in labels}
    table = pd.DataFrame(held)
    table.index.name = RUN if RUN not in held else "row"
    units = FrozenMap({**{name: UNITS[name] for name in numbers if name in UNITS}, **ask.units})
    counted = {"flops": SIX_ND} if FLOPS_DERIVED in out.notes else {}
    conventions = FrozenMap({**counted, **ask.conventions})
    digest = _digest(table, ask.response, groups, units, conventions)
    return Runs(table, ask.response, groups, units, conventions, tuple(out.notes), digest)


def _copies(frame: pd.DataFrame, out: Reading, response: str) -> list[Fault]:
    """Runs entered twice are a fault; equal runs with other responses, or that an ignored column tells apart, replicates."""
    numbers = {name: x for name, x in out.numbers.items() if out.roles[name] in ("covariate", "step")}
    keys = pd.DataFrame({**numbers, **out.labels})
    alike = int(keys.duplicated(keep=False).sum())
    if not alike:
        return []
    out.notes.append(f"{alike} runs share all covariates and groups with another: taken as replicates")
    keys[" response"] = out.numbers[response]
    twins = np.flatnonzero(keys.duplicated(keep=False))
    used = {source for name, source in out.sources.items() if name in out.numbers or name in out.labels}
    ignored = [i for i, name in enumerate(frame.columns) if name not in used and not str(name).startswith("Unnamed")]
    for i in ignored:
        keys[i] = [str(cell) for cell in frame.iloc[:, i]]  # a cell may hold anything
    copies = np.flatnonzero(keys.duplicated(keep=False))
    if len(twins) > len(copies):
        told = ", ".join(str(frame.columns[i]) for i in ignored[:4]) + (" …" if len(ignored) > 4 else "")
        out.notes.append(f"{len(twins) - len(copies)} of them have the same {response} too; ignored columns differ ({told})")
    if not len(copies):
        return []
    sets = keys.iloc[copies].groupby(list(keys.columns), sort=False).indices.values()
    pairs = [" and ".join(str(copies[i]) for i in members) for members in sets]
    shown = "; ".join(pairs[:3]) + (f" … ({len(pairs)} sets in all)" if len(pairs) > 3 else "")
    advice = "drop all but one, or tell them apart by seed, run or step"
    return [Fault("duplicates", f"the same run is there more than once: rows {shown} are equal in every column ({advice})")]


def _digest(
    table: pd.DataFrame,
    response: str,
    groups: tuple[str, ...],
    units: Mapping[str, str],
    conventions: Mapping[str, str],
) -> str:
    """SHA-256 of what the runs say: columns in alphabetical order, rows in theirs, whatever the index."""
    head = [response, list(groups), sorted(units.items()), sorted(conventions.items()), sorted(table.columns)]
    content = hashlib.sha256(json.dumps(head).encode())
    for name in sorted(table.columns):
        column = table[name]
        if column.dtype == np.float64:
            content.update(column.to_numpy(dtype="<f8").tobytes())
        else:
            content.update(json.dumps(list(column)).encode())
    return content.hexdigest()

"""Which column of a user's table becomes which of ours, and what is wrong with the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.names import IDENTIFIERS
from bayescale.data.schema import (
    FLOP_PER_PARAM_TOKEN,
    SCALE_ERRORS,
    TOKENS_PER_PARAM,
    UNITS,
    Fault,
    Floats,
    Role,
    breaches,
    is_text,
    known_columns,
    mostly_numbers,
    near,
    read_labels,
    read_numbers,
    rows_text,
)

#: What the derived columns need.
DERIVED_FROM = {"flops": ("params", "tokens"), TOKENS_PER_PARAM: ("params", "tokens")}

FLOPS_DERIVED = "flops derived as 6·params·tokens"


@dataclass(frozen=True)
class Request:
    """What the caller said about a table (the arguments of :func:`~bayescale.data.runs.as_runs`)."""

    columns: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    response: str = "loss"
    covariates: tuple[str, ...] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)
    positive_response: bool = True

    @classmethod
    def of(
        cls,
        columns: Mapping[str, str] | None,
        groups: Sequence[str],
        response: str,
        covariates: Sequence[str] | None,
        units: Mapping[str, str] | None,
        conventions: Mapping[str, str] | None,
        positive_response: bool,
    ) -> Request:
        """The arguments in their canonical form; one name alone stands for a sequence of one."""
        asked = (groups,) if isinstance(groups, str) else tuple(groups)
        needed = (covariates,) if isinstance(covariates, str) else covariates
        return cls(
            dict(columns or {}),
            asked,
            response,
            None if needed is None else tuple(needed),
            dict(units or {}),
            dict(conventions or {}),
            positive_response,
        )

    def wants(self, name: str) -> bool:
        """Whether the caller named this column, so that it cannot be left out."""
        return name == self.response or name in {*self.columns, *self.groups, *(self.covariates or ())}

    @property
    def words(self) -> set[str]:
        """Units and conventions given, among them the names of columns that hold them row by row."""
        return {*self.units.values(), *self.conventions.values()}


@dataclass
class Reading:
    """What was read of a table so far: columns under our names, faults and remarks."""

    numbers: dict[str, Floats] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def read(frame: pd.DataFrame, ask: Request) -> Reading:
    """Read, check and derive the columns of a table; nothing is raised, and the frame is not changed."""
    out = Reading()
    if not len(frame):
        out.faults.append(Fault("empty", "the table is empty: expected at least one run a row, got 0 rows"))
    _locate(frame, ask, out)
    for name, source in out.sources.items():
        column = frame.loc[:, source]
        if isinstance(column, pd.DataFrame):
            said = f"column {source!r} is there {column.shape[1]} times: rename or drop all but one"
            out.faults.append(Fault("columns", said, name))
            column = column.iloc[:, 0]
        if out.roles[name] == "label":
            _read_label(name, column, ask, out)
        else:
            _read_number(name, column, ask, out)
    _leave_out_unknown(out, ask)
    _derive(out)
    _check_words(ask, out)
    return out


def _locate(frame: pd.DataFrame, ask: Request, out: Reading) -> None:
    """Decide for every column of ours which column of the table it is, and in which role."""
    names = [name for name in frame.columns if isinstance(name, str)]
    known = known_columns(ask.response)
    out.sources |= {name: source for name, source in ask.columns.items() if source in names}
    for name in dict.fromkeys([*known, *ask.groups, *(ask.covariates or ())]):
        if name in names and name not in ask.columns:
            out.sources[name] = name
    claimed = {*out.sources.values(), *ask.columns}
    for name in dict.fromkeys(names):
        if name not in claimed and is_text(_first(frame, name)):
            out.sources[name] = name
    out.roles |= {name: _role(name, _first(frame, source), ask, known) for name, source in out.sources.items()}
    out.faults += _absent_columns(names, known, ask, out)
    if ask.covariates is None:
        out.faults += _misspelt(frame, names, ask, out)


def _absent_columns(names: Sequence[str], known: Mapping[str, Role], ask: Request, out: Reading) -> list[Fault]:
    """Everything that was named, or is always needed, and is not there."""
    there = f" Columns of the table: {', '.join(names) or '(none)'}"
    faults = []

    def guess(name: str, *, ours: bool = True) -> str:
        meant = near(name, names)
        if not meant:
            return ""
        return f" Did you mean {meant!r}?" + (f" Then say columns={{{name!r}: {meant!r}}}." if ours else "")

    for name, source in ask.columns.items():
        if source not in names:
            said = f"columns={{{name!r}: {source!r}}}: there is no column {source!r}.{guess(str(source), ours=False)}{there}"
            faults.append(Fault("columns", said, name))
    wanted = [("response", ask.response), *(("group", name) for name in ask.groups)]
    wanted += [("covariate", name) for name in ask.covariates or ()]
    for what, name in wanted:
        derivable = what == "covariate" and name in DERIVED_FROM and all(part in out.sources for part in DERIVED_FROM[name])
        if name not in out.sources and name not in ask.columns and not derivable:
            faults.append(Fault("columns", f"there is no column {name!r} (the {what}).{guess(name)}{there}", name))
    for name in ask.groups:
        if known.get(name, "label") != "label":
            faults.append(Fault("columns", f"{name!r} is a number, so it cannot be a group: copy it under another name", name))
    return faults


def _first(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """The column of that name, the first where there are several."""
    column = frame.loc[:, name]
    return column.iloc[:, 0] if isinstance(column, pd.DataFrame) else column


def _role(name: str, column: pd.Series[Any], ask: Request, known: Mapping[str, Role]) -> Role:
    if name in ask.groups:
        return "label"
    if name in (ask.covariates or ()):
        return "covariate"
    if name in known:
        return known[name]
    return "label" if is_text(column) and not (name in ask.columns and mostly_numbers(column)) else "covariate"


def _misspelt(frame: pd.DataFrame, names: Sequence[str], ask: Request, out: Reading) -> list[Fault]:
    """A number that nobody named and that is spelt nearly like one of ours is a slip, not a column to ignore."""
    absent = [name for name in UNITS if name not in out.sources and name not in ask.columns]
    faults = []
    for name in names:
        meant = get_close_matches(name.lower(), [a for a in absent if a[0] == name[:1].lower()], n=1, cutoff=0.8)
        if meant and name not in out.sources.values() and not is_text(_first(frame, name)):
            way_out = f"Then say columns={{{meant[0]!r}: {name!r}}}; if not, drop or rename it"
            faults.append(Fault("columns", f"column {name!r} is not known. Did you mean {meant[0]!r}? {way_out}", name))
    if not faults and "covariate" not in out.roles.values() and not set(ask.columns) - {ask.response}:
        ways = f"expected at least one of {', '.join(UNITS)}, or one named in columns"
        faults.append(Fault("columns", f"there is no covariate: {ways}. Columns of the table: {', '.join(names) or '(none)'}"))
    return faults


def _read_number(name: str, column: pd.Series[Any], ask: Request, out: Reading) -> None:
    values, odd, faults = read_numbers(name, column)
    role = out.roles[name]
    if len(values) and np.isnan(values).all() and not faults and not ask.wants(name):
        out.notes.append(f"{name} left out: the column is empty")
        return
    faults += breaches(name, values, role, positive_response=ask.positive_response, told=odd)
    if faults and not _needed(name, role, ask):
        out.notes.append(f"{name} left out, as it was not asked for and cannot be used: {faults[0].message}")
        return
    unknown = int(np.isnan(values).sum())
    if unknown and role in ("response_sd", "covariate_sd"):
        out.notes.append(f"{name} is not known for {unknown} of {len(values)} runs")
    out.faults += faults
    out.numbers[name] = values


def _needed(name: str, role: Role, ask: Request) -> bool:
    """Whether faults of the column matter: all do, unless the caller listed the covariates that it uses."""
    if ask.covariates is None or ask.wants(name) or role in ("response", "response_sd", "step"):
        return True
    if role == "covariate_sd":
        return SCALE_ERRORS[name] in ask.covariates
    return any(name in DERIVED_FROM.get(other, ()) for other in ask.covariates)


def _read_label(name: str, column: pd.Series[Any], ask: Request, out: Reading) -> None:
    labels, absent = read_labels(column)
    rows = np.flatnonzero(absent)
    if len(rows) and (ask.wants(name) or name in ask.words):
        said = f"{name}: expected a label, got none in {rows_text(rows)} (write one in, or drop the rows)"
        out.faults.append(Fault("labels", said, name))
    elif len(rows) and name not in IDENTIFIERS:
        out.notes.append(f"{name} left out as a group column: {len(rows)} of {len(labels)} rows have no label")
        return
    out.labels[name] = labels


def _leave_out_unknown(out: Reading, ask: Request) -> None:
    """Leave out a covariate that was never published for whole families; a stray hole stays a fault."""
    sizes = [name for name, role in out.roles.items() if role == "covariate" and name in out.numbers]
    hollow = [name for name in sizes if {f.check for f in out.faults if f.column == name} == {"missing"}]
    if len(hollow) == len(sizes) or ask.covariates is not None:
        return
    for name in hollow:
        hole = np.isnan(out.numbers[name])
        groups = sorted((g for g in out.labels if g not in IDENTIFIERS), key=lambda g: g != "family")
        for group in () if ask.wants(name) else groups:
            table = pd.DataFrame({"group": out.labels[group], "hole": hole}).groupby("group")["hole"].agg(["sum", "size"])
            unknown = table[table["sum"] > 0]
            if (unknown["sum"] == unknown["size"]).all() and (unknown["size"] > 1).all():
                who = ", ".join(map(str, unknown.index[:3])) + (" …" if len(unknown) > 3 else "")
                out.notes.append(f"{name} left out: not known for {group} {who} ({int(hole.sum())} runs)")
                out.faults = [fault for fault in out.faults if fault.column != name]
                del out.numbers[name]
                break


def _derive(out: Reading) -> None:
    """Training FLOP and tokens per parameter, where the table holds size and data but not these."""
    params, tokens = out.numbers.get("params"), out.numbers.get("tokens")
    if params is None or tokens is None:
        return
    with np.errstate(all="ignore"):  # a fault of either is told already
        if "flops" not in out.numbers:
            out.numbers["flops"], out.roles["flops"] = FLOP_PER_PARAM_TOKEN * params * tokens, "covariate"
            out.notes.append(FLOPS_DERIVED)
        if TOKENS_PER_PARAM not in out.numbers:
            out.numbers[TOKENS_PER_PARAM], out.roles[TOKENS_PER_PARAM] = tokens / params, "covariate"


def _check_words(ask: Request, out: Reading) -> None:
    """Units and conventions must speak of columns that are there."""
    held = [*out.numbers, *out.sources]
    for what, words in (("units", ask.units), ("conventions", ask.conventions)):
        for name in words:
            if name not in held:
                guess = near(name, held)
                meant = f" Did you mean {guess!r}?" if guess else ""
                out.faults.append(Fault("columns", f"{what}[{name!r}]: {name!r} is not among the columns used.{meant}", name))

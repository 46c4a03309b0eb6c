"""Numbers, targets and runs as a reader of the page says them, and its tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.names import POINT
from bayescale.core.targets import Target
from bayescale.plots.style import amount

_SIGNS = {"<=": "≤", ">=": "≥", "<": "<", ">": ">"}
#: Between a number and its sign no line is broken.
_THIN = " "


@dataclass(frozen=True)
class Table:
    """A table of text; the first cell of a row is its header.

    Parameters
    ----------
    name : str
        Identifier on the page.
    caption : str
    header : tuple of str
    rows : tuple of tuple of str
    numeric : frozenset of int
        Columns that are aligned as numbers.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


def table(name: str, caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose columns are aligned as numbers where every cell is one."""
    held = tuple(tuple(row) for row in rows)
    numeric = {i for i in range(1, len(header)) if held and all(_is_number(row[i]) for row in held)}
    return Table(name, caption, tuple(header), held, frozenset(numeric))


def _is_number(cell: str) -> bool:
    return cell in ("–", "never") or cell[:1].isdigit() or cell[:1] in ("−", "<", ">", "×")


def number(value: Any, digits: int = 4) -> str:
    """A number to so many digits, a word as it is.

    >>> number(2.34567), number(-0.5), number(float("nan")), number(float("inf")), number("Mamba"), number(1.3e21)
    ('2.346', '−0.5', '–', 'never', 'Mamba', '1.3e+21')
    """
    if value is None or isinstance(value, bool | np.bool_):
        return "–" if value is None else "yes" if value else "no"
    if not isinstance(value, int | float | np.number):
        return str(value)
    held = float(value)
    if math.isnan(held):
        return "–"
    if math.isinf(held):
        return "never" if held > 0 else "−∞"
    return f"{held:.{digits}g}".replace("-", "−") if abs(held) < 1e6 else f"{held:.3g}"


def percent(share: float) -> str:
    """A probability in per cent; draws never show that it is 0 or 1.

    >>> percent(0.9731), percent(1.0), percent(0.0)
    ('97.3 %', '> 99.9 %', '< 0.1 %')
    """
    if math.isnan(share):
        return "–"
    if share >= 0.9995:
        return f"> 99.9{_THIN}%"
    return f"< 0.1{_THIN}%" if share < 0.0005 else f"{100 * share:.1f}{_THIN}%"


def whole_percent(share: float) -> str:
    """A probability that was asked for, in per cent.

    >>> whole_percent(0.9), whole_percent(0.975)
    ('90 %', '97.5 %')
    """
    return f"{100 * share:.6g}{_THIN}%"


def target_in_words(target: Target) -> str:
    """A target as it is printed.

    >>> from bayescale.core.targets import parse_target
    >>> target_in_words(parse_target("loss<=2.0"))
    'loss ≤ 2'
    """
    return f"{target.response} {_SIGNS[target.op]} {number(target.value, 6)}"


def value_of(value: Any, column: str) -> str:
    """A covariate or a label.

    >>> value_of(7e10, "params"), value_of("Mamba", "family")
    ('70B', 'Mamba')
    """
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return amount(float(value), column)
    return str(value)


def runs_in_words(draws: xr.Dataset, covariates: Sequence[str], groups: Sequence[str], fitted: pd.DataFrame) -> list[str]:
    """Each point that was forecast: its covariates, and as few of its labels as tell it from the fitted groups.

    Parameters
    ----------
    draws : Dataset
        Of ``predict``, with the coordinates of its points.
    covariates, groups : sequence of str
        Columns of numbers, and of labels.
    fitted : DataFrame
        The fitted rows with their labels.
    """
    held = {
        c: draws.coords[c].to_numpy() for c in (*covariates, *groups) if c in draws.coords and draws.coords[c].dims == (POINT,)
    }
    lines = []
    for i in range(draws.sizes.get(POINT, 1)):
        labels = {c: str(held[c][i]) for c in groups if c in held}
        numbers = {c: value_of(held[c][i], c) for c in covariates if c in held}
        told = numbers | {c: labels[c] for c in telling({c: v for c, v in labels.items() if v}, fitted)}
        lines.append(", ".join(f"{c} {v}" for c, v in told.items() if v != "–") or f"point {i}")
    return lines


def telling(labels: Mapping[str, str], fitted: pd.DataFrame) -> list[str]:
    """The columns whose labels tell a group from the other fitted ones, the family and short labels first.

    All of them where there is no such group: it is then their combination that is new.

    >>> fitted = pd.DataFrame({"text": ["a", "a", "b"], "family": ["F", "G", "G"]})
    >>> telling({"text": "a", "family": "F"}, fitted), telling({"text": "a", "family": "G"}, fitted)
    (['family'], ['family', 'text'])
    """
    columns = sorted((c for c in labels if c in fitted), key=lambda c: (c != "family", len(labels[c])))
    rows = fitted[columns].astype(str).drop_duplicates()
    if not (rows == pd.Series(labels)[columns]).all(axis=1).any():
        return list(labels)
    chosen: list[str] = []
    for column in columns:
        if len(rows) == 1:
            break
        kept = rows[rows[column] == labels[column]]
        if len(kept) < len(rows):
            chosen.append(column)
        rows = kept
    return chosen or columns[:1]


def frame_table(name: str, caption: str, frame: pd.DataFrame) -> Table:
    """Any table of results, its cells as a reader says them."""
    columns = [str(c) for c in frame.columns]
    rows = [[_cell(v, c) for c, v in zip(columns, row, strict=True)] for row in frame.itertuples(index=False)]
    return table(name, caption, [c.replace("_", " ") for c in columns], rows)


def _cell(value: Any, column: str) -> str:
    counted = column in ("params", "tokens", "samples", "steps")
    return value_of(value, column) if counted else number(value)


def count_of(number_: int, word: str) -> str:
    """``"1 run"``, ``"3 runs"``."""
    return f"{number_} {word}{'s' * (number_ != 1)}"


def sentence(text: str) -> str:
    """A clause as a sentence: a capital at its beginning, a stop at its end."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")

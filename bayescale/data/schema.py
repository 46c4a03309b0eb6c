"""What each column of a table of runs may hold, in which unit, and every way in which a cell can be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.names import COVARIATES, IDENTIFIERS

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Role = Literal["response", "response_sd", "covariate", "covariate_sd", "step", "label"]

#: Ratio of data to size; derived from the two when the table does not hold it.
TOKENS_PER_PARAM = "tokens_per_param"

#: Known covariates with their units, the derived ratio included.
UNITS = {**COVARIATES, TOKENS_PER_PARAM: "tokens/parameter"}

#: Covariates whose known standard error a model may use, by the column that holds it.
SCALE_ERRORS = {f"{name}_sd": name for name in ("params", "tokens")}

#: A model with fewer parameters than this was counted in millions or billions.
FEWEST_PARAMS = 1e4

#: FLOP of training per parameter and token: two forward and four backward.
FLOP_PER_PARAM_TOKEN = 6.0

_SHOWN = 3


@dataclass(frozen=True)
class Fault:
    """One thing that makes a table unusable: the check that found it, what to tell the user, and the column."""

    check: str
    message: str
    column: str = ""


@dataclass(frozen=True)
class Rule:
    """What a number must not be: cells for which ``breaks`` is true were expected to be ``expected``."""

    check: str
    expected: str
    breaks: Callable[[Floats], Mask]
    advice: str = ""


MISSING = Rule("missing", "a number", np.isnan, "fill the cells in, or drop the rows")
INFINITE = Rule("infinite", "a finite number", np.isinf)
ZERO = Rule("zero", "a number above 0", lambda x: x == 0)
NEGATIVE = Rule("negative", "a number above 0", lambda x: (x < 0) & np.isfinite(x))
BELOW_ZERO = Rule("negative", "a number of at least 0", lambda x: (x < 0) & np.isfinite(x))
LOW_RESPONSE = Rule(
    "response",
    "a response above 0, since the noise is on its logarithm",
    lambda x: (x <= 0) & np.isfinite(x),
    "a model with noise=StudentT(on='plain') takes one that may be 0 or negative",
)


def rules_of(role: Role, *, positive_response: bool = True) -> tuple[Rule, ...]:
    """The rules that the numbers of a column in that role must keep."""
    if role == "response":
        return (MISSING, INFINITE, LOW_RESPONSE) if positive_response else (MISSING, INFINITE)
    if role == "response_sd":
        return (INFINITE, ZERO, NEGATIVE)  # an empty cell is an error that is not known
    if role == "covariate_sd":
        return (INFINITE, BELOW_ZERO)
    return (MISSING, INFINITE, BELOW_ZERO) if role == "step" else (MISSING, INFINITE, ZERO, NEGATIVE)


def known_columns(response: str) -> dict[str, Role]:
    """Columns that mean something without being named, with what they mean."""
    known: dict[str, Role] = {response: "response", f"{response}_sd": "response_sd"}
    known |= dict.fromkeys(UNITS, "covariate")
    known |= dict.fromkeys(SCALE_ERRORS, "covariate_sd")
    return known | {name: "step" if name == "step" else "label" for name in IDENTIFIERS}


def breaches(name: str, values: Floats, role: Role, *, positive_response: bool = True, told: Mask | None = None) -> list[Fault]:
    """Every rule of its role that a column breaks, with the rows where it does; cells ``told`` of before are passed over."""
    faults = []
    open_cells = np.ones(len(values), dtype=np.bool_) if told is None else ~told
    for rule in rules_of(role, positive_response=positive_response):
        rows = np.flatnonzero(rule.breaks(values) & open_cells)
        if len(rows):
            got = ", ".join(dict.fromkeys(_number(v) for v in values[rows[:_SHOWN]]))
            more = " …" if len(rows) > _SHOWN else ""
            advice = f" ({rule.advice})" if rule.advice else ""
            said = f"{name}: expected {rule.expected}, got {got}{more} in {rows_text(rows)}{advice}"
            faults.append(Fault(rule.check, said, name))
    if name == "params" and role == "covariate":
        rows = np.flatnonzero((values > 0) & (values < FEWEST_PARAMS))
        if len(rows):
            least, most = _number(values[rows].min()), _number(values[rows].max())
            got = least if least == most else f"{least} to {most}"
            expected = f"a count of parameters of at least {FEWEST_PARAMS:g}"
            advice = "looks like billions: multiply by 1e9 (millions: by 1e6)"
            faults.append(Fault("scale", f"params: expected {expected}, got {got} in {rows_text(rows)}; {advice}", name))
    return faults


def passes_below_one(name: str, values: Floats) -> list[Fault]:
    """Passes over the unique tokens below 1, of which a law of repeated data knows nothing."""
    rows = np.flatnonzero((values > 0) & (values < 1))
    if not len(rows):
        return []
    got = ", ".join(dict.fromkeys(_number(v) for v in values[rows[:_SHOWN]]))
    said = f"{name}: expected passes over the unique tokens, at least 1, got {got} in {rows_text(rows)}; a run on a part of the"
    return [Fault("scale", f"{said} data has that part as its unique tokens, and 1 epoch", name)]


def read_numbers(name: str, column: pd.Series[Any]) -> tuple[Floats, Mask, list[Fault]]:
    """The column as float64 (a copy), NaN where it holds none; where it holds something else, and the fault that says so.

    Text that spells a number counts as one: a single stray word turns every other cell of a CSV column into text.
    """
    values, odd = np.full(len(column), np.nan), np.zeros(len(column), dtype=np.bool_)
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return values, ~odd, [Fault("text", f"{name}: expected numbers, got a column of {column.dtype}", name)]
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True), odd, []
    cells = list(column)
    for row, cell in enumerate(cells):
        number = _parse(cell)
        values[row], odd[row] = (np.nan, True) if number is None else (number, False)
    if not odd.any():
        return values, odd, []
    rows = np.flatnonzero(odd)
    shown = ", ".join(f"{str(cells[row])!r} in row {row}" for row in rows[:_SHOWN])
    more = f" … ({len(rows)} rows in all)" if len(rows) > _SHOWN else ""
    return values, odd, [Fault("text", f"{name}: expected a number, got text: {shown}{more}", name)]


def read_labels(column: pd.Series[Any]) -> tuple[list[str], Mask]:
    """The column as labels without surrounding blanks, ``""`` where one is missing, and where that is."""
    labels = ["" if _absent(cell) else _label(cell) for cell in column]
    return labels, np.array([not label for label in labels], dtype=bool)


def is_text(column: pd.Series[Any]) -> bool:
    """Whether a column that nobody named holds labels: text, categories or truth values, not numbers or dates."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return True
    if not (pd.api.types.is_string_dtype(dtype) or pd.api.types.is_object_dtype(dtype)):
        return False
    return any(isinstance(cell, str | bool | np.bool_) for cell in column)


def mostly_numbers(column: pd.Series[Any]) -> bool:
    """Whether more than half of the cells that hold something spell a number."""
    parsed = [_parse(cell) for cell in column if not _absent(cell)]
    return 2 * sum(number is not None for number in parsed) > len(parsed)


def rows_text(rows: Iterable[int]) -> str:
    """``"row 3"``, ``"rows 3 and 4"``, ``"rows 3, 4, 5 … (12 in all)"``: 0-based numbers of the given table."""
    numbers = [str(int(row)) for row in rows]
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    if len(numbers) <= _SHOWN:
        return f"rows {', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"rows {', '.join(numbers[:_SHOWN])} … ({len(numbers)} in all)"


def near(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant: a near spelling, or the same word with something behind it (``loss_nats``)."""
    valid = sorted(names)
    spelt = get_close_matches(name, valid, n=1, cutoff=0.6)
    longer = [other for other in valid if other.lower().startswith(name.lower()) or name.lower().startswith(other.lower())]
    return spelt[0] if spelt else min(longer, key=len, default=None)


def _parse(cell: Any) -> float | None:
    """The number that a cell holds or spells, NaN when it is empty, None when it is something else."""
    if _absent(cell):
        return math.nan
    if isinstance(cell, bool | np.bool_ | complex):
        return None
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return None


def _absent(cell: Any) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    missing = pd.isna(cell)
    return bool(missing) if isinstance(missing, bool | np.bool_) else False  # a list in a cell answers with an array


def _label(cell: Any) -> str:
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.6g}"

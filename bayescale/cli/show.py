"""What a command prints: tables for readers, JSON for machines."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    import bayescale as bs

#: Columns of a page when nobody's terminal says how wide it is (a pipe, a file).
WIDTH = 140
#: Arguments of the package that are mappings, and the option that says one pair of each.
OPTIONS = {"columns": "column", "axes": "axis"}
_MAPPING = rf"(?P<word>{'|'.join(OPTIONS)})=\{{(['\"])(?P<ours>.+?)\2: (['\"])(?P<theirs>.+?)\4\}}"
STYLES = {"PASS": "green", "REVIEW": "yellow", "FAIL": "red", "GO": "bold green", "NO_GO": "bold red", "HOLD": "bold yellow"}


def console(*, stderr: bool = False) -> Console:
    """Where to print; made anew each time, since tests and notebooks exchange ``sys.stdout``."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False, soft_wrap=False)


def note(text: str) -> None:
    """A line for the reader that is no part of the result."""
    print(text, file=sys.stderr)


def number(value: Any) -> str:
    """A number as a reader wants it; 13000000000 is 1.3e+10 and a count of runs stays a count."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) and abs(value) < 10_000_000:
        return str(value)
    if math.isinf(value):
        return "never" if value > 0 else "-inf"
    return f"{value:.4g}"


def cells(values: list[Any]) -> list[str]:
    """A column as text: numbers of like size with as many decimals, so that they can be compared at a glance."""
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v != 0]
    if not sizes or not all(isinstance(v, float) for v in values) or not (1e-3 <= max(sizes) < 1e4):
        return [number(v) for v in values]
    decimals = 3 - math.floor(math.log10(max(sizes)))
    return [f"{v:.{decimals}f}" if math.isfinite(v) else number(v) for v in values]


def table(frame: pd.DataFrame, title: str = "") -> None:
    """A frame as a table."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    columns = [cells(frame[name].tolist()) for name in frame.columns]
    for name, column in zip(frame.columns, columns, strict=True):
        numeric = all(cell[:1].isdigit() or cell[:1] == "-" or cell in ("never", "–") for cell in column)
        shown.add_column(str(name), justify="right" if numeric else "left", overflow="fold")
    for row in zip(*columns, strict=True):
        shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    page = console()
    if title:  # a table's own title is folded to the width of the table
        page.print(Text(title, style="bold"), soft_wrap=True)
    if page.is_terminal:
        page.print(shown)
        return
    with page.capture() as captured:
        page.print(shown)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))  # a file needs no padding


def review(found: bs.Review) -> None:
    """The findings of a review, the worst first in the heading."""
    frame = found.to_frame()[["status", "check"]].assign(finding=[in_options(f.text) for f in found])
    table(frame, f"review: {found.status}")


def in_options(text: str) -> str:
    """Advice of the package in the words of the command line: ``columns={'loss': 'nats'}`` is ``--column loss=nats``."""

    def option(found: re.Match[str]) -> str:
        return f"--{OPTIONS[found['word']]} {shlex.quote('='.join((found['ours'], found['theirs'])))}"

    return re.sub(_MAPPING, option, text)


def verdict(word: str, text: str) -> None:
    """A verdict in its colour, and the number behind it."""
    from rich.text import Text

    console().print(Text.assemble((word, STYLES[word]), "  ", text))


def as_json(value: Any) -> str:
    """Valid JSON: NaN is null, an infinity the word ``"inf"`` or ``"-inf"``."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False, indent=1)


def plain(value: Any) -> Any:
    """The value in what JSON knows."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a DataFrame: a list of rows
        return [plain(row) for row in value.to_dict("records")]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and xarray
        return plain(value.tolist())
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value if math.isfinite(value) else "inf" if value > 0 else "-inf"
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def emit(value: Mapping[str, Any]) -> None:
    """JSON on standard output, and nothing else there."""
    print(as_json(value))

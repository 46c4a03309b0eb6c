"""From words of the command line to values: pairs, points, tables, files that will be written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import typer

if TYPE_CHECKING:
    import pandas as pd

    import bayescale as bs

PARQUET = (".parquet", ".pq")
TABLES = (".csv", ".tsv", ".txt", *PARQUET)


def pairs(words: Iterable[str], option: str, what: str) -> dict[str, str]:
    """``["a=b", "c=d"]`` as a mapping; a word that is no pair, or says a name twice, is a usage error."""
    out: dict[str, str] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name or not value:
            raise typer.BadParameter(f"expected {what}, got {word!r}", param_hint=option)
        if name in out:
            raise typer.BadParameter(f"{name!r} is said twice", param_hint=option)
        out[name] = value
    return out


def fields(word: str, option: str, what: str) -> dict[str, str]:
    """``"params=7e10,tokens=1.4e12"`` as a mapping; a pair whose value holds a comma is put in double quotes."""
    cells = next(csv.reader([word], skipinitialspace=True), [])
    return pairs(cells, option, what)


def number(text: str, option: str) -> float:
    """A number, or a usage error."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected a number, got {text!r}", param_hint=option) from None


def one_target(words: Sequence[str] | None) -> str | None:
    """The target of a command that is about one, or none."""
    if words and len(words) > 1:
        said = f"expected one target, got {len(words)} ({', '.join(words)}); bayescale decide takes several"
        raise typer.BadParameter(said, param_hint="--target")
    return words[0] if words else None


def points(words: Sequence[str], labels: Iterable[str] = (), option: str = "--at") -> pd.DataFrame:
    """The runs to forecast: each word a point (``params=7e10,family=Mamba``) or a file of them.

    Parameters
    ----------
    words : sequence of str
    labels : iterable of str
        Columns whose values are labels, even where they look like numbers.
    """
    import pandas as pd

    frames = []
    for word in words:
        if Path(word).suffix.lower() in TABLES:
            frames.append(read_file(Path(word)))
            continue
        cells = fields(word, option, "COLUMN=VALUE, comma between several, or a CSV or Parquet file")
        frames.append(pd.DataFrame([{name: value if name in set(labels) else _plain(value) for name, value in cells.items()}]))
    if not frames:
        raise typer.BadParameter("say which run: params=7e10,tokens=1.4e12, or a CSV or Parquet file", param_hint=option)
    return pd.concat(frames, ignore_index=True)


def _plain(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def read_table(source: str) -> pd.DataFrame:
    """A table of runs: a CSV or Parquet file, or a public table by name."""
    import bayescale as bs

    path = Path(source)
    if not path.suffix and not path.exists():
        tables = bs.list_datasets()
        if source in tables.index:
            return bs.load_dataset(source, runs=True)
        runs = ", ".join(tables.index[tables["runs"]])
        raise bs.DataError(f"{source!r} is neither a file nor a public table. Public tables of runs: {runs}.")
    return read_file(path)


def read_file(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file, or an error that says what is wrong with it."""
    import pandas as pd

    from bayescale.core.errors import DataError

    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in TABLES) if path.parent.is_dir() else []
        there = f" Tables in its folder: {', '.join(near[:5])}." if near else ""
        raise DataError(f"there is no file {path}.{there}")
    kind = path.suffix.lower()
    try:
        if kind in PARQUET:
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="\t" if kind == ".tsv" else ",")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} could not be read as {'Parquet' if kind in PARQUET else 'CSV'}: {error}") from error


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV or Parquet, as the file's name says; what was there before stays until the new file is whole."""
    from bayescale.core.files import written_whole

    kind = path.suffix.lower()
    with written_whole(path, "table.csv") as part:
        if kind in PARQUET:
            table.to_parquet(part, index=False)
        else:
            table.to_csv(part, index=False, sep="\t" if kind == ".tsv" else ",")


def table_file(path: Path) -> Path:
    """The path itself, once it is known that a table can be written there."""
    if path.suffix.lower() not in TABLES:
        raise typer.BadParameter(f"expected a name that ends in .csv or .parquet, got {str(path)!r}", param_hint="--out")
    return writable(path)


def writable(path: Path, example: str = "fit.nc") -> Path:
    """The path itself, once it is known that a file can be written there: before the work, not after."""
    from bayescale.core.errors import SavedFileError

    if path.is_dir():
        raise SavedFileError(f"{path} cannot be written: it is a folder. Name a file in it, e.g. {path / example}.")
    if not path.parent.is_dir():
        raise SavedFileError(f"{path} cannot be written: there is no folder {path.parent}.")
    # Only trying tells: permissions, a full or read-only file system. An earlier result is not touched.
    probe = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
        if path.exists():
            with path.open("ab"):
                pass
    except OSError as error:
        raise SavedFileError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def folder(path: Path) -> Path:
    """A folder that can be written to, made if need be."""
    from bayescale.core.errors import SavedFileError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SavedFileError(f"the folder {path} cannot be made: {error.strerror or error}. Name another with -o.") from error
    writable(path / "fit.nc")
    return path


def poolings(partial: Sequence[str], separate: Sequence[str]) -> dict[str, bs.PartialPooling | bs.NoPooling]:
    """``alpha=architecture/family`` as poolings of parameters."""
    import bayescale as bs

    what = "PARAMETER=COLUMN, or PARAMETER=OUTER/INNER for nested columns"
    pooled, alone = pairs(partial, "--pool", what), pairs(separate, "--no-pool", what)
    both = sorted(pooled.keys() & alone.keys())
    if both:
        raise typer.BadParameter(f"{both[0]!r} is also pooled by --pool", param_hint="--no-pool")
    out: dict[str, bs.PartialPooling | bs.NoPooling] = {p: bs.PartialPooling(_columns(c)) for p, c in pooled.items()}
    return out | {p: bs.NoPooling(_columns(c)) for p, c in alone.items()}


def _columns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("/"))

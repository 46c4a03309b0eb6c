"""Small tables of figures that papers print, which come with the package."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import pandas as pd

from bayescale.core.errors import DataError


def bundled_file(name: str) -> Traversable:
    """The file of a bundled table.

    A wheel holds the tables inside the package; in a checkout (an editable install) they lie in ``data/`` beside it.

    Raises
    ------
    DataError
        When neither place has it: the installation is not whole.
    """
    inside = files("bayescale").joinpath("_bundled", f"{name}.csv")
    if inside.is_file():
        return inside
    beside = Path(__file__).parents[2] / "data" / f"{name}.csv"
    if beside.is_file():
        return beside
    raise DataError(f"the bundled table {name!r} is missing: neither {inside} nor {beside} is there. Install bayescale again.")


def read_bundled(name: str) -> pd.DataFrame:
    """A bundled table, as it is in its file."""
    with bundled_file(name).open("rb") as file:
        return pd.read_csv(file)

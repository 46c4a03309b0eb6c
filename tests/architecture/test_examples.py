"""The Python of the README and of the guides runs as it stands, on a table that a reader might have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.laws import base

PAGES = ("README.md", "docs/index.md", "docs/tutorials/quickstart.md", "docs/how-to/add-a-law.md", "docs/how-to/decisions.md")


@pytest.fixture
def table() -> pd.DataFrame:
    """Thirty runs of a dense transformer, within one per cent of the fit of Besiroglu et al. (2024)."""
    rng = np.random.default_rng(20)
    params = np.repeat(np.geomspace(1e8, 1e10, 6), 5)
    tokens = 20 * params * np.tile(np.geomspace(0.3, 3.0, 5), 6)
    loss = (1.82 + 482.0 * params**-0.348 + 2085.4 * tokens**-0.366) * np.exp(0.01 * rng.standard_normal(30))
    return pd.DataFrame({"params": params.round(), "tokens": tokens.round(), "loss": loss})


@pytest.fixture
def _registry_put_back() -> Iterator[None]:
    base.list_laws()  # the built-in laws are registered by the first look, and only by that
    before = dict(base._REGISTRY)
    yield
    base._REGISTRY.clear()
    base._REGISTRY.update(before)


@pytest.mark.usefixtures("_registry_put_back")
@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(
    page: str, root: Path, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (root / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert blocks, f"{page} shows no Python"
    monkeypatch.chdir(tmp_path)
    table.to_csv("my_runs.csv", index=False)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)

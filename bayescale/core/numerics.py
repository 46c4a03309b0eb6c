"""Double precision around our own work, and arrays that leave it as NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np


@contextmanager
def double_precision() -> Iterator[None]:
    """Run a block in float64 and leave the process's own precision as it was."""
    with jax.enable_x64(True):
        yield


def to_numpy(tree: Any) -> Any:
    """Every array of a tree as NumPy, before it leaves the float64 block (outside, JAX would read it as float32)."""
    return jax.tree.map(np.asarray, tree)

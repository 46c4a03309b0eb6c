"""What is reported of draws, chunk by chunk so that one program serves any number of them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from bayescale.core.numerics import to_numpy
from bayescale.infer.programs import AnyDesign, Programs
from bayescale.infer.samplers import CHUNK


def finish(made: Programs, flat: np.ndarray, design: AnyDesign) -> dict[str, Any]:
    """What is reported of draws (chain, draw, dim); each array (chain, draw, …)."""
    chains, draws, dim = flat.shape
    parts = []
    for i in range(draws // CHUNK):
        found = to_numpy(made.finish(flat[:, i * CHUNK : (i + 1) * CHUNK].reshape(-1, dim), design))
        parts.append(jax.tree.map(lambda a: a.reshape(chains, CHUNK, *a.shape[1:]), found))
    joined: dict[str, Any] = jax.tree.map(lambda *a: np.concatenate(a, axis=1), *parts)
    return joined

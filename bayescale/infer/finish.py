"""What is reported of draws, chunk by chunk so that one program serves any number of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bayescale.core.numerics import to_numpy
from bayescale.infer.programs import AnyDesign, Programs
from bayescale.infer.samplers import CHUNK


def finish(
    made: Programs,
    flat: np.ndarray,
    design: AnyDesign,
    kept: Callable[[dict[str, Any]], dict[str, Any]] = lambda found: found,
) -> dict[str, Any]:
    """What is reported of draws (chain, draw, dim); each array (chain, draw, …).

    Parameters
    ----------
    kept : callable
        What is kept of a chunk: all chunks together may be larger than memory.
    """
    chains, draws, dim = flat.shape
    parts = []
    for i in range(draws // CHUNK):
        found = to_numpy(made.finish(flat[:, i * CHUNK : (i + 1) * CHUNK].reshape(-1, dim), design))
        parts.append(kept(jax.tree.map(lambda a: a.reshape(chains, CHUNK, *a.shape[1:]), found)))
    joined: dict[str, Any] = jax.tree.map(lambda *a: np.concatenate(a, axis=1), *parts)
    return joined


def growing(reported: Callable[[np.ndarray], dict[str, Any]]) -> Callable[[np.ndarray], dict[str, Any]]:
    """What is reported of draws (chain, draw, dim) that become more from call to call; each is reported once."""
    last: list[tuple[np.ndarray, dict[str, Any]]] = []

    def call(flat: np.ndarray) -> dict[str, Any]:
        before, results = last.pop() if last else (flat[:, :0], {})
        seen = before.shape[1]
        if not seen or not np.array_equal(before, flat[:, :seen]):
            results = reported(flat)
        elif seen < flat.shape[1]:
            results = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), results, reported(flat[:, seen:]))
        last.append((flat, results))
        return results

    return call

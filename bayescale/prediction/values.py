"""The law itself at many points and draws, in double precision, compiled once a law."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from bayescale.core.numerics import double_precision
from bayescale.laws.base import Law, LawFunction

Array = NDArray[np.float64]

#: Values are computed in pieces of the smaller or the larger size, the last one padded, so that a law is compiled twice at
#: most; and in blocks of so many at once, which bounds the memory.
SMALL, LARGE, BLOCK = 4096, 65536, 1 << 22


def law_values(law: Law, ratios: Mapping[str, Array], parameters: Mapping[str, Array]) -> Array:
    """Response of a law; all arrays broadcast.

    Parameters
    ----------
    ratios : mapping of covariate to array
        Ratios to the reference run.
    parameters : mapping of parameter to array
        On the natural scale, at the reference run.

    Returns
    -------
    array
        In the unit of the response, of the shape that the arguments broadcast to.
    """
    given = [ratios[c] for c in law.covariates] + [parameters[p] for p in law.params]
    arrays = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in given))
    shape = arrays[0].shape
    if arrays[0].size > BLOCK and shape[0] > 1:
        rows = max(1, BLOCK * shape[0] // arrays[0].size)
        parts = [_flat(law, [a[i : i + rows] for a in arrays]) for i in range(0, shape[0], rows)]
        return np.concatenate(parts).reshape(shape)
    return _flat(law, arrays).reshape(shape)


def _flat(law: Law, arrays: Any) -> Array:
    flat = [a.reshape(-1) for a in arrays]
    number = flat[0].size
    step = SMALL if number <= 4 * SMALL else LARGE
    split = len(law.covariates)
    function, out = _compiled(law.function), np.empty(number)
    with double_precision():
        for start in range(0, number, step):
            piece = [_padded(a[start : start + step], step) for a in flat]
            values = function(tuple(piece[:split]), dict(zip(law.params, piece[split:], strict=True)))
            out[start : start + step] = np.broadcast_to(np.asarray(values), step)[: number - start]
    return out


def _padded(values: Array, size: int) -> Array:
    return values if len(values) == size else np.pad(values, (0, size - len(values)), mode="edge")


@lru_cache(maxsize=64)
def _compiled(function: LawFunction) -> Any:
    """By the function, not by the law: two laws with one source text may close over different numbers."""
    return jax.jit(lambda covariates, parameters: function(*covariates, **parameters))

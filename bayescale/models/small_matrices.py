"""Factors and inverses of many small matrices at once: which one is the last axis, along which the loops of a processor run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def inverted(matrix: Any) -> tuple[Any, Any]:
    """Inverses of positive definite matrices (size, size, family) by sweeping, and the sum of their log determinants."""
    size = matrix.shape[0]

    def sweep(j: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        held, logs = state
        row = jax.lax.dynamic_index_in_dim(held, j, 0, keepdims=False)
        pivot = jax.lax.dynamic_index_in_dim(row, j, 0, keepdims=False)
        here = (jnp.arange(size) == j)[:, None]
        # With 1 at the pivot, and the row and the column of the matrix taken out, the update is one outer product.
        scaled = jnp.where(here, -1.0, row)
        rest = jnp.where(here[:, None] | here[None], 0.0, held)
        return rest - scaled[:, None] * scaled / pivot, logs + jnp.sum(jnp.log(pivot))

    swept, logs = jax.lax.fori_loop(0, size, sweep, (matrix, jnp.zeros((), matrix.dtype)))
    return -swept, logs


def cholesky(matrix: list[list[Any]]) -> list[list[Any]]:
    """Lower factors of many small matrices, entry by entry."""
    size = len(matrix)
    rows: list[list[Any]] = [[None] * size for _ in range(size)]
    for j in range(size):
        rows[j][j] = jnp.sqrt(matrix[j][j] - summed(rows[j][k] ** 2 for k in range(j)))
        for i in range(j + 1, size):
            rows[i][j] = (matrix[i][j] - summed(rows[i][k] * rows[j][k] for k in range(j))) / rows[j][j]
    return [row[: i + 1] for i, row in enumerate(rows)]


def forward(factor: list[list[Any]], right: Any) -> Any:
    """``factor^-1 right`` for right (own, ..., model)."""
    out: list[Any] = []
    for i, row in enumerate(factor):
        out.append((right[i] - summed(row[k] * out[k] for k in range(i))) / row[i])
    return jnp.stack(out)


def back(factor: list[list[Any]], right: Any) -> Any:
    """``factor^-T right`` for right (own, ..., model)."""
    size = len(factor)
    out: list[Any] = [None] * size
    for i in reversed(range(size)):
        out[i] = (right[i] - summed(factor[k][i] * out[k] for k in range(i + 1, size))) / factor[i][i]
    return jnp.stack(out)


def summed(terms: Any) -> Any:
    """The sum of arrays; 0 where there are none."""
    total: Any = 0.0
    for term in terms:
        total = total + term
    return total

"""Chains in threads of their own: in their order, in double precision, with the median of their steps."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.core.numerics import double_precision
from bayescale.infer.threads import advance_each, finish_each, in_threads, processors


@pytest.mark.skipif(processors() < 2, reason="one processor runs one thread")
def test_results_keep_the_order_of_the_items_and_several_run_at_once() -> None:
    together = threading.Barrier(2, timeout=10)

    def task(item: int) -> int:
        together.wait()
        return item**2

    assert in_threads(task, range(4)) == [0, 1, 4, 9]


def test_a_thread_computes_in_double_precision_and_leaves_the_process_as_it_was() -> None:
    dtypes = in_threads(lambda x: (jnp.asarray(x) + 1).dtype, [np.float64(0.1), np.float64(0.2)])
    assert dtypes == [jnp.dtype("float64")] * 2
    assert not jax.config.jax_enable_x64


def test_an_error_of_one_item_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 / x, [1, 0, 2])


def advance(state, begin, stretch, key, z, design, white):
    """Records what it was called with."""
    step, place = state
    return (step * stretch, place + 1), (z + design, {"key": key, "stretch": np.float64(stretch), "begin": begin})


STATES = (np.array([0.1, 0.2, 0.4]), np.array([0, 10, 20]))
KEYS, Z = np.arange(6).reshape(3, 2), np.arange(3.0)[:, None] * np.ones(4)


def test_every_chain_has_its_own_state_key_and_point() -> None:
    states, (flat, info) = advance_each(advance)(STATES, True, 1.0, KEYS, Z, 1.0, None)
    np.testing.assert_array_equal(states[1], [1, 11, 21])
    np.testing.assert_array_equal(flat, Z + 1)
    np.testing.assert_array_equal(info["key"], KEYS)
    np.testing.assert_array_equal(states[0], STATES[0])


def test_chains_take_the_median_of_their_steps_except_where_a_window_begins() -> None:
    states, _ = advance_each(advance)(STATES, False, 0.5, KEYS, Z, 0.0, None)
    np.testing.assert_allclose(states[0], 0.1)
    states, _ = advance_each(advance)(STATES, True, 0.5, KEYS, Z, 0.0, None)
    np.testing.assert_allclose(states[0], [0.05, 0.1, 0.2])


def test_what_is_reported_is_put_together_in_the_order_of_the_draws() -> None:
    flat = np.arange(12.0).reshape(6, 2)
    sizes: list[int] = []

    def finish(part, design):
        sizes.append(len(part))
        return {"twice": design * part}

    with double_precision():
        found = finish_each(finish, 2)(flat, 2.0)
    np.testing.assert_array_equal(found["twice"], 2 * flat)
    assert sizes == [2, 2, 2]

"""Work of one fit in several threads: a compiled program runs on a core of its own, without Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from bayescale.core.numerics import double_precision, to_numpy

#: Threads hold arrays of their own: more of them than a fit has chains, or a few times that, would only cost memory.
_MOST = 16


def in_threads[Item, Result](task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What ``map`` gives, several at once; each in float64, which JAX switches on for a thread, not for a process."""

    def one(item: Item) -> Result:
        with double_precision():
            return task(item)

    pool = ThreadPoolExecutor(min(_MOST, processors()))
    try:
        return list(pool.map(one, items))
    finally:
        # After an error, and after Ctrl-C, nobody waits for what is still computed.
        pool.shutdown(wait=False, cancel_futures=True)


def processors() -> int:
    """Processors that this process may use, where the system says which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def advance_each(advance: Callable[..., Any]) -> Callable[..., Any]:
    """A program that advances one chain, for all of them.

    Chains that search for as long as they must would, in one program, wait for the longest search at every step. They take the
    median of the steps that they found: one that diverges early in a short warm-up is left with too short a step.

    Parameters
    ----------
    advance : callable (state, begin, stretch, key, z, design, whitening) -> (state, draws)
        The first array of a state is the step size.
    """

    def call(states: Any, begin: bool, stretch: float, keys: Any, z: Any, design: Any, white: Any) -> Any:
        steps = np.asarray(states[0])
        stretches = np.full(len(steps), stretch) * (1.0 if begin else np.median(steps) / steps)

        def one(i: int) -> Any:
            state = tuple(leaf[i] for leaf in states)
            return to_numpy(advance(state, begin, stretches[i], keys[i], z[i], design, white))

        return jax.tree.map(lambda *leaves: np.stack(leaves), *in_threads(one, range(len(steps))))

    return call


def finish_each(finish: Callable[..., Any], draws: int) -> Callable[..., Any]:
    """A program that takes so many flat draws, for several times as many."""

    def call(flat: Any, design: Any) -> Any:
        parts = np.split(np.asarray(flat), len(flat) // draws)
        found = in_threads(lambda part: to_numpy(finish(part, design)), parts)
        return jax.tree.map(lambda *a: np.concatenate(a), *found)

    return call

"""Progress of what takes longer than two seconds: on a terminal or in a notebook, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm


def _watched() -> bool:
    notebook = "ipykernel" in sys.modules
    return notebook or sys.stderr.isatty()


@contextmanager
def progress_bar(show: bool, unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """A function of (done, in all, what is being done) that moves a bar, or nothing when nobody watches.

    Parameters
    ----------
    show : bool
        False keeps silent whoever watches.
    unit : str
        What is counted.
    """
    with tqdm(disable=not (show and _watched()), unit=unit, leave=False, delay=2.0) as bar:

        def report(done: int, total: int, doing: str) -> None:
            bar.total = total
            bar.set_description(doing, refresh=False)
            bar.update(done - bar.n)
            bar.refresh()

        yield report

"""Progress of what takes longer than two seconds: on a terminal or in a notebook, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Never

from tqdm.std import tqdm

#: What takes less needs no bar.
PATIENCE_S = 2.0


def _bar() -> tuple[type[tqdm[Never]], bool]:
    """The kind of bar that can be drawn here, and whether anybody watches."""
    if "ipykernel" not in sys.modules:
        return tqdm, sys.stderr.isatty()
    if find_spec("ipywidgets") is None:
        return tqdm, True
    from tqdm.notebook import tqdm_notebook

    return tqdm_notebook, True


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
    kind, watched = _bar()
    with kind(disable=not (show and watched), unit=unit, leave=False, delay=PATIENCE_S) as bar:

        def report(done: int, total: int, doing: str) -> None:
            bar.total = total
            bar.set_description(doing, refresh=False)
            bar.update(done - bar.n)
            if not bar.disable and bar.format_dict["elapsed"] >= PATIENCE_S:
                bar.refresh()

        yield report

"""What a decision report costs: seconds to build the page of the demo's fit once everything is imported, and its size.

It takes the fit that ``bayescale demo`` saved (``make demo``), and asks what the demo asks: whether a model that was held back
meets its target. Seconds are of the clock, and of the processor, which other programs on the machine move less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Imported at first use by the package; here before the clock starts.
import arviz_stats.base  # noqa: F401
import jinja2  # noqa: F401
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import netCDF4  # noqa: F401

import bayescale as bs
from bayescale.cli import demo_job
from bayescale.report.page import to_html

#: What the page may cost, in seconds and bytes.
SECONDS, BYTES = 5.0, 3_000_000

T = TypeVar("T")


class Clock:
    """Seconds of the steps, of the clock and of the processor."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float]] = {}

    def step(self, name: str, do: Callable[[], T]) -> T:
        """Do it, and note how long it took."""
        began, busy = time.perf_counter(), time.process_time()
        made = do()
        self.steps[name] = time.perf_counter() - began, time.process_time() - busy
        return made

    def __str__(self) -> str:
        wall, busy = (sum(column) for column in zip(*self.steps.values(), strict=True))
        told = ", ".join(f"{name} {seconds:.2f}" for name, (seconds, _) in self.steps.items())
        return f"{wall:5.2f} s ({told}; at most {SECONDS:g} in all), {busy:.2f} s of the processor"


def built(file: Path, seed: int, clock: Clock) -> tuple[bs.DecisionReport, str]:
    """The report of everything that one fit gives (no backtest, which would fit again), and its page."""
    fit = clock.step("load", lambda: bs.load(file))
    assert isinstance(fit, bs.Fit), "the demo saves a fit to runs"
    _, held = demo_job.demo_runs(quick=set(fit.data.table["dataset"]) <= set(demo_job.QUICK))
    at, target = demo_job.decided(held)
    crossed = clock.step("crossover", lambda: demo_job.crossing(fit, demo_job.PAIRS[0], seed=seed))
    made = clock.step("report", lambda: bs.decision_report(fit, at, target=target, crossover=crossed, file=file, seed=seed))
    return made, clock.step("page", lambda: to_html(made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=Path, default=Path("demo/fit.nc"), help="the fit that the demo saved")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, help="keep the page there")
    asked = parser.parse_args()
    if not asked.fit.is_file():
        parser.exit(1, f"there is no {asked.fit}: `make demo` makes it, or name another with --fit\n")
    for i in range(asked.repeats):
        clock = Clock()
        report, page = built(asked.fit, asked.seed, clock)
        size = f"{len(page.encode()) / 1e3:.0f} kB (at most {BYTES / 1e3:.0f})"
        print(f"{'again' if i else 'first'}: {clock}; {size}", flush=True)
    print(report)
    if asked.out is not None:
        print(f"saved in {bs.write_report(report, asked.out)}")


if __name__ == "__main__":
    main()

"""Seconds from nothing to a converged fit, of bayescale and of other ways to fit the same model to the same table.

Every measurement is a whole process: the interpreter, imports, reading the table, compiling, sampling and diagnostics. The
rule is R-hat at most 1.01 and bulk and tail effective sample size at least 400 of the worst parameter; a contender that misses
it begins again with twice the draws, and only runs at a setting that always passed are counted. Contenders take turns. Cold:
all of a contender's caches empty. Second: the same process again, with the caches that the first one left.

Chinchilla: 240 runs, ``E + A N^-alpha + B D^-beta``, Student-t noise on log loss, 7 parameters. Hierarchy: 89 runs of 17
families, a floor for each text, amplitudes of curves and exponents of families each from a population.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

import bayescale as bs
from benchmarks.pooling import families
from benchmarks.speed.common import CHAINS, MAX_RHAT, MIN_ESS
from benchmarks.speed.contenders import CONTENDERS, FITS, YARDSTICK, Contender
from benchmarks.speed.measure import ContenderFailed, Run, measure, warm

#: Draws are doubled so often before a contender is said to miss the rule.
MOST_DOUBLINGS = 3

PACKAGES = ("bayescale", "jax", "numpyro", "pymc", "pytensor", "nutpie", "numba", "blackjax", "numpy", "scipy")


@dataclass
class Record:
    """The runs of one contender on one fit: those at its present setting, and those that missed the rule before."""

    contender: Contender
    setting: tuple[int, int]
    cold: list[Run] = field(default_factory=list)
    second: list[Run] = field(default_factory=list)
    missed: list[tuple[str, Run]] = field(default_factory=list)
    fault: str = ""

    @property
    def chains(self) -> str:
        """The present setting in words."""
        return f"{CHAINS} x ({self.setting[0] or 'own'}+{self.setting[1]})"

    def take_turn(self, fit: str, table: Path, seed: int) -> str:
        """A cold and a second start; what to say of them."""
        said = []
        with tempfile.TemporaryDirectory() as caches:
            for kept, start in ((self.cold, "cold"), (self.second, "second")):
                try:
                    run = measure(self.contender, fit, table, self.setting, seed, Path(caches))
                except ContenderFailed as failed:
                    self.fault = f"failed: {failed}"
                    return self.fault
                found = run.outcome
                told = f"{found.draws} draws, R-hat {found.r_hat:.4f}, ESS {found.ess:.0f}"
                said.append(f"{start} {run.cpu:.1f} s CPU, {run.wall:.1f} wall ({told})")
                if not found.passes:
                    said.append(self._miss(start, run, told))
                    break
                kept.append(run)
        return ", ".join(said)

    def _miss(self, start: str, run: Run, told: str) -> str:
        self.missed.append((f"{start}, {self.chains}", run))
        self.cold, self.second = [], []
        if len(self.missed) > MOST_DOUBLINGS:
            self.fault = f"misses the rule: {told}"
            return "missed"
        self.setting = (self.setting[0], 2 * self.setting[1])
        return "missed: draws doubled"


def tables(fits: list[str], folder: Path) -> dict[str, Path]:
    """The tables of the fits as CSV; one that cannot be had is left out, with a word."""
    found = {}
    for fit in fits:
        try:
            table = bs.load_dataset("chinchilla", runs=True) if fit == "chinchilla" else families()
        except bs.DownloadError as error:
            print(f"{fit}: skipped; it needs the network, or a mirror named by BAYESCALE_MIRROR ({error})")
            continue
        found[fit] = folder / f"{fit}.csv"
        table.to_csv(found[fit], index=False)
    return found


def compete(fit: str, table: Path, contenders: list[Contender], repeats: int) -> list[Record]:
    """Let the contenders take turns until each has its repeats."""
    records = [Record(c, c.settings[fit]) for c in contenders]
    turn = 0
    while waiting := [r for r in records if len(r.cold) < repeats and not r.fault]:
        for record in waiting:
            print(f"  {record.contender.name:20} {record.take_turn(fit, table, turn)}", flush=True)
        turn += 1
    return records


def summary(records: list[Record]) -> pd.DataFrame:
    """One row a contender: medians over its repeats."""
    cold_cpu = {r.contender.name: statistics.median(run.cpu for run in r.cold) for r in records if not r.fault}
    yardstick = cold_cpu.get(YARDSTICK, math.nan)
    rows: list[dict[str, Any]] = []
    for record in records:
        name = record.contender.name
        if record.fault:
            rows.append({"contender": name, "note": record.fault.splitlines()[-1][:80]})
            continue
        outcomes = [run.outcome for run in record.cold]
        second = statistics.median(run.cpu for run in record.second)
        goals = record.contender.goals or (None, None)
        rows.append(
            {
                "contender": name,
                "cold CPU": f"{cold_cpu[name]:.1f}",
                "cold wall": f"{statistics.median(run.wall for run in record.cold):.1f}",
                "second CPU": f"{second:.1f}",
                "second wall": f"{statistics.median(run.wall for run in record.second):.1f}",
                "draws": f"{CHAINS} x ({record.setting[0] or 'own'}+{max(o.draws for o in outcomes)})",
                "R-hat": f"{max(o.r_hat for o in outcomes):.4f}",
                "ESS": f"{min(o.ess for o in outcomes):.0f}",
                "diverged": str(max(o.divergences for o in outcomes)),
                "alpha": f"{statistics.median(o.alpha for o in outcomes):.3f}",
                "cold/nutpie": _against(cold_cpu[name] / yardstick, goals[0]),
                "second/nutpie cold": _against(second / yardstick, goals[1]),
                "note": "; ".join(f"missed at {setting}: {run.cpu:.1f} s" for setting, run in record.missed),
            }
        )
    return pd.DataFrame(rows).set_index("contender").fillna("-")


def cheaper(records: list[Record]) -> str:
    """Our ratios to what the yardstick cost at the setting that missed the rule, lest its doubling flatter us."""
    missed = [x for r in records if r.contender.name == YARDSTICK for x in r.missed]
    costs = [run.cpu for setting, run in missed if setting.startswith("cold")]
    if not costs:
        return ""
    ratios = [
        f"{r.contender.name} {statistics.median(x.cpu for x in r.cold) / costs[0]:.2f} cold, "
        f"{statistics.median(x.cpu for x in r.second) / costs[0]:.2f} second"
        for r in records
        if r.contender.goals and not r.fault
    ]
    return f"against {YARDSTICK} at the setting that missed the rule ({costs[0]:.1f} s): {'; '.join(ratios)}\n"


def _against(ratio: float, goal: float | None) -> str:
    if math.isnan(ratio):
        return "-"
    return f"{ratio:.2f}" if goal is None else f"{ratio:.2f} (goal < {goal:.2f}{'' if ratio < goal else ': missed'})"


def machine() -> str:
    """What these seconds were spent on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    load = f"load {os.getloadavg()[0]:.1f} at the start, " if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores, {cpu}; {load}Python {platform.python_version()}, {', '.join(_versions())}"


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {bs.__version__ if name == 'bayescale' else version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _missing(contender: Contender) -> list[str]:
    return [name for name in contender.needs if find_spec(name) is None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [c.name for c in CONTENDERS]
    parser.add_argument("--fit", choices=[*FITS, "both"], default="both")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="pairs of a cold and a second start (3)")
    parser.add_argument("--contender", choices=names, action="append", help="again for more; by default all")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every run to this file")
    asked = parser.parse_args()
    if asked.repeats < 1:
        parser.error("--repeats must be at least 1")
    contenders = []
    for contender in CONTENDERS:
        if asked.contender and contender.name not in asked.contender:
            continue
        if missing := _missing(contender):
            print(f"{contender.name}: skipped, {', '.join(missing)} not installed (pip install 'bayescale[bench]')")
            continue
        contenders.append(contender)
    setup = machine()
    print(f"{setup}\nrule: R-hat <= {MAX_RHAT}, bulk and tail ESS >= {MIN_ESS:.0f} of every parameter; {asked.repeats} repeats")
    kept: dict[str, Any] = {"machine": setup, "fits": {}}
    with tempfile.TemporaryDirectory() as folder:
        found = tables(list(FITS) if asked.fit == "both" else [asked.fit], Path(folder))
        for contender in contenders if found else ():
            warm(contender)
        for fit, table in found.items():
            print(f"\n{fit}, by turns:", flush=True)
            records = compete(fit, table, contenders, asked.repeats)
            print(f"\n{fit}: medians in seconds\n{summary(records).to_string()}\n{cheaper(records)}", flush=True)
            kept["fits"][fit] = [asdict(record) for record in records]
    if asked.json:
        asked.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()

"""Forecasts beyond the data, scored against what happened, beside plain baselines.

curves: 46 learning curves, each with its own training and extrapolation part. Means over curves of the RMSLE of the median,
the log density of y, the coverage of intervals and the width of the 90 % one. It needs the folder of the tables, which the
environment variable BAYESCALE_DATA_DIR names.

tables: tables of training runs, the smaller ones shown. Mean relative error of the median, coverage and width of intervals.

families: the bundled families of models, the largest of each forecast from the two smallest or from all others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.extrapolation import curves, families
from benchmarks.extrapolation import tables as runs
from benchmarks.extrapolation.scoring import printed


def run_curves(asked: argparse.Namespace) -> None:
    """Run the single curves and print what was found."""
    chosen = curves.read_curves(name for name in asked.only.split(",") if name)
    if not chosen:
        print(curves.UNSET)
        return
    if asked.inside:
        chosen = curves.inside(chosen)
    counts = pd.Series([curve.domain for curve in chosen]).value_counts()
    shown, held = (sum(len(part) for part in parts) for parts in zip(*((c.shown, c.held) for c in chosen), strict=True))
    told = ", ".join(f"{domain} {number}" for domain, number in counts.items())
    print(f"{len(chosen)} curves ({told}), {shown} points shown, {held} held back", flush=True)
    found, methods = curves.Found(), _methods(asked, [*curves.BASELINES, *curves.MODELS])
    curves.run_baselines(chosen, found, asked.seed, methods)
    if not asked.baselines_only:
        curves.run_ours(chosen, found, asked.seed, methods)
    if found.fits:
        print(f"\n{curves.report_fits(found)}")
    for group, table in found.tables().items():
        size = {"IC": counts.get("IC", 0), "rest": len(chosen) - counts.get("IC", 0), "all": len(chosen)}[group]
        print(f"\n{group} ({size})\n{printed(table)}")
    seconds = pd.DataFrame(found.seconds).set_index("method").round(1)
    print(f"\n{seconds.to_string()}\nin all: {seconds['CPU s'].sum():.0f} s CPU, {seconds['wall s'].sum():.0f} s wall")
    if asked.json:
        asked.json.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    if asked.figure:
        curves.figure(chosen, found, asked.figure)


def run_tables(asked: argparse.Namespace) -> None:
    """Run the tables of runs and print what was found."""
    chosen = runs.read_tables(word for word in asked.only.split(",") if word)
    if not chosen:
        print(runs.UNSET)
        return
    counts = pd.DataFrame([{"row": t.row, "tables": 1, "shown": len(t.shown), "held": len(t.held)} for t in chosen])
    print(counts.groupby("row", sort=False).sum().to_string(), flush=True)
    found, methods = runs.Found(), _methods(asked, [*runs.BASELINES, *runs.MODELS, runs.STACKED])
    runs.run_baselines(chosen, found, asked.seed, methods)
    if not asked.baselines_only:
        runs.run(chosen, found, asked.seed, methods)
    if asked.csv:
        pd.concat(found.points).to_csv(asked.csv, index=False)
    if found.fits:  # an average has none of its own
        fits = pd.DataFrame(found.fits)
        print(f"\n{fits.round(3).to_string()}\n{fits.converged.sum()} of {len(fits)} fits converged")
    print(f"\n{runs.printed(runs.means(pd.concat(found.points)))}")


def _methods(asked: argparse.Namespace, known: Iterable[str]) -> list[str]:
    """The methods that were named; none is all of them."""
    named = [word.strip() for word in asked.methods.split(";") if word.strip()]
    if unknown := set(named) - set(known):
        raise SystemExit(f"--methods: no {'; '.join(sorted(unknown))} among {'; '.join(known)}")
    return named


def run_families(asked: argparse.Namespace) -> None:
    """Run the bundled families, two sizes of each shown."""
    found = runs.Found()
    families.run(found, asked.seed, inside=asked.inside)
    print(pd.DataFrame(found.fits).round(3).to_string())
    scores = runs.means(pd.concat(found.points)).drop(index=["mean of rows", "pooled over runs"], level="row")
    print(f"\n{runs.printed(scores.sort_index(level='row', sort_remaining=False))}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extrapolation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    single = commands.add_parser("curves", help="single learning curves")
    single.add_argument("--only", default="", metavar="ID,ID", help="these curves only, such as c010,c084")
    single.add_argument("--inside", action="store_true", help="forecast the end of each training part from its beginning")
    methods = single.add_mutually_exclusive_group()
    methods.add_argument("--methods", default="", metavar="NAME;NAME", help="these only, by their names in the table")
    methods.add_argument("--baselines-only", action="store_true", help="leave our models out")
    single.add_argument("--seed", type=int, default=0)
    single.add_argument("--figure", type=Path, metavar="OUT.png", help="coverage and width, and a few curves with bands")
    single.add_argument("--json", type=Path, metavar="OUT", help="write every score and diagnostic to this file")
    single.set_defaults(run=run_curves)
    tables = commands.add_parser("tables", help="tables of training runs")
    tables.add_argument("--only", default="", metavar="WORD,WORD", help="rows with these words in their names only")
    methods = tables.add_mutually_exclusive_group()
    methods.add_argument("--methods", default="", metavar="NAME;NAME", help="these only, by their names in the table")
    methods.add_argument("--baselines-only", action="store_true", help="leave our models out")
    tables.add_argument("--seed", type=int, default=0)
    tables.add_argument("--csv", type=Path, metavar="OUT", help="write the scores of every forecast run to this file")
    tables.set_defaults(run=run_tables)
    short = commands.add_parser("families", help="bundled families, the largest model of each held back")
    short.add_argument("--inside", action="store_true", help="forecast the second largest models, the largest never looked at")
    short.add_argument("--seed", type=int, default=0)
    short.set_defaults(run=run_families)
    asked = parser.parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    # `make bench` names no command: the first of them.
    main(sys.argv[1:] or ["curves"])

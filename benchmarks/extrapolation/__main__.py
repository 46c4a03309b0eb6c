"""Forecasts beyond the data, scored against what happened, beside plain baselines.

curves: 46 learning curves, each with its own training and extrapolation part. Means over curves of the RMSLE of the median,
the log density of y, the coverage of intervals and the width of the 90 % one. It needs the folder of the tables, which the
environment variable BAYESCALE_DATA_DIR names.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.extrapolation import curves
from benchmarks.extrapolation.scoring import printed


def run_curves(asked: argparse.Namespace) -> None:
    """Run the single curves and print what was found."""
    chosen = curves.read_curves(name for name in asked.only.split(",") if name)
    if not chosen:
        print(curves.UNSET)
        return
    counts = pd.Series([curve.domain for curve in chosen]).value_counts()
    shown, held = (sum(len(part) for part in parts) for parts in zip(*((c.shown, c.held) for c in chosen), strict=True))
    told = ", ".join(f"{domain} {number}" for domain, number in counts.items())
    print(f"{len(chosen)} curves ({told}), {shown} points shown, {held} held back", flush=True)
    found = curves.Found()
    curves.run_baselines(chosen, found, asked.seed)
    if not asked.baselines_only:
        curves.run_ours(chosen, found, asked.seed, asked.twice)
        print(f"\n{curves.report_fits(found)}")
    for group, table in found.tables().items():
        size = {"IC": counts.get("IC", 0), "rest": len(chosen) - counts.get("IC", 0), "all": len(chosen)}[group]
        print(f"\n{group} ({size})\n{printed(table)}")
    seconds = pd.DataFrame(found.seconds).set_index(["method", "run"]).round(1)
    print(f"\n{seconds.to_string()}\nin all: {seconds['CPU s'].sum():.0f} s CPU, {seconds['wall s'].sum():.0f} s wall")
    if asked.json:
        asked.json.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    if asked.figure:
        curves.figure(chosen, found, asked.figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extrapolation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    single = commands.add_parser("curves", help="single learning curves")
    single.add_argument("--only", default="", metavar="ID,ID", help="these curves only, such as c010,c084")
    single.add_argument("--baselines-only", action="store_true", help="leave our models out")
    single.add_argument("--twice", action="store_true", help="fit ours a second time in this process, for the seconds")
    single.add_argument("--seed", type=int, default=0)
    single.add_argument("--figure", type=Path, metavar="OUT.png", help="coverage and width, and a few curves with bands")
    single.add_argument("--json", type=Path, metavar="OUT", help="write every score and diagnostic to this file")
    single.set_defaults(run=run_curves)
    asked = parser.parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    # `make bench` names no command: the first of them.
    main(sys.argv[1:] or ["curves"])

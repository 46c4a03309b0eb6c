"""What decisions are worth: the benchmarks of this folder.

next-runs: runs chosen for a budget from a pool, and how well the law that is fitted to them forecasts dearer ones. It needs the
folder of the tables, which the environment variable BAYESCALE_DATA_DIR names. crossover: P(B better than A) on simulated pairs
of methods. pairs: the same on real ones. go-no-go: how often targets are met that were given a probability, on the held-back
runs of the extrapolation benchmarks (same folder). allocation: whether the compute-optimal size is where its interval says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from benchmarks.decisions import allocation, crossover, go_no_go, next_runs, pairs
from benchmarks.decisions.scoring import scored


def run_next_runs(asked: argparse.Namespace) -> None:
    """Spend the budgets and print what was learnt."""
    tasks = next_runs.read_tasks([word for word in asked.only.split(",") if word], asked.inside)
    if not tasks:
        print(next_runs.UNSET)
        return
    for task in tasks:
        print(
            f"{task.name}: {task.model.law.name}, {len(task.pool)} runs in the pool, {len(task.region)} asked about", flush=True
        )
    scores = next_runs.run(tasks, asked.repeats, [word for word in asked.methods.split(";") if word], asked.misfit)
    print(f"\nR² of the region, mean of {asked.repeats} repeats (runs bought)\n{next_runs.printed(scores, not asked.inside)}")


def run_crossover(asked: argparse.Namespace) -> None:
    """Simulate pairs and print how P(B better) and the crossings hold."""
    found, forecasts = crossover.measure(asked.pairs)
    print(crossover.printed(found, forecasts, scored(forecasts, "kind")))


def run_pairs(asked: argparse.Namespace) -> None:
    """Forecast real pairs; print the answers and, pooled, their scores."""
    found = pairs.run([word for word in asked.only.split(",") if word])
    if found.empty:
        return
    print(f"\n{scored(found, 'table').round(3).to_string()}")


def run_go_no_go(asked: argparse.Namespace) -> None:
    """Decide about every held-back run; print how often the targets were met."""
    found = go_no_go.measure([word for word in asked.only.split(",") if word])
    print(go_no_go.UNSET if found.empty else go_no_go.printed(found))


def run_allocation(asked: argparse.Namespace) -> None:
    """Simulate designs, fit the published tables, and print what became of their optimal sizes."""
    if asked.designs:
        print(allocation.printed(allocation.measure(asked.designs)), flush=True)
    slopes = pd.DataFrame() if asked.no_tables else pd.DataFrame(allocation.exponents())
    if not slopes.empty:
        print(f"\n{slopes.set_index(['table', 'by']).round(4).to_string()}")
    elif not asked.no_tables:
        print(allocation.UNSET)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decisions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runs = commands.add_parser("next-runs", help="which runs to buy from a pool")
    runs.add_argument("--only", default="", metavar="NAME,NAME", help=f"of {', '.join(next_runs.MAKERS)}")
    runs.add_argument("--methods", default="", metavar="NAME;NAME", help="these methods only")
    runs.add_argument("--repeats", type=int, default=10)
    runs.add_argument("--inside", action="store_true", help="ask about the dearest part of each pool, not about its region")
    runs.add_argument("--misfit", type=float, default=next_runs.MISFIT, help="how far ours takes the law to be off")
    runs.set_defaults(run=run_next_runs)
    truth = commands.add_parser("crossover", help="P(B better) and the crossing, on simulated pairs of methods")
    truth.add_argument("--pairs", type=int, default=300)
    truth.set_defaults(run=run_crossover)
    real = commands.add_parser("pairs", help="P(B better) on real pairs of methods")
    real.add_argument("--only", default="", metavar="NAME,NAME", help=f"of {', '.join(pairs.PARTS)}")
    real.set_defaults(run=run_pairs)
    verdicts = commands.add_parser("go-no-go", help="whether a GO is right as often as its probability says")
    verdicts.add_argument("--only", default="", metavar="NAME,NAME", help=f"of {', '.join(go_no_go.PARTS)}")
    verdicts.set_defaults(run=run_go_no_go)
    sizes = commands.add_parser("allocation", help="whether the compute-optimal size is where its interval says")
    sizes.add_argument("--designs", type=int, default=200, help="simulated designs; 0 for none")
    sizes.add_argument("--no-tables", action="store_true", help="leave the published tables out")
    sizes.set_defaults(run=run_allocation)
    asked = parser.parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    # `make bench` names no command: the first of them.
    main(sys.argv[1:] or ["next-runs"])

"""Accuracies of models not yet scored, forecast and scored against what happened, beside plain rivals.

targets: tasks of large models from those of smaller ones, the standard benchmarks of all being known. It needs the folder of
the tables, which the environment variable BAYESCALE_DATA_DIR names.

families: the larger models of a family of which the one or the two smallest are shown, on six benchmarks (same folder).

bundled: the largest model of every family of three sizes or more, in the bundled tables.

choose: numbers of factors and kinds of noise compared, inside the training models of the targets.

read: the scores that --csv has kept, again, tasks left out, and the methods compared by log score.

speed: seconds to fit the standard benchmarks of all models at default settings, and whether the chains agree (same folder).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

import bayescale as bs
from benchmarks.capabilities import protocols
from benchmarks.capabilities.ours import CANDIDATES, LOCKED, OF_BUNDLED, OURS
from benchmarks.capabilities.protocols import Block
from benchmarks.capabilities.rivals import RIVALS, Method
from benchmarks.capabilities.scoring import differences, means, printed, score


def run(blocks: Iterable[Block], methods: dict[str, Method], seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Scores of every cell by every method, and the seconds that each method took."""
    points, seconds = [], dict.fromkeys(methods, 0.0)
    for block in blocks:
        for name, method in methods.items():
            start = time.perf_counter()
            points.append(score(block, method(block, seed)).assign(method=name))
            took = time.perf_counter() - start
            seconds[name] += took
            # Some of these commands take half an hour: what is done is not lost where one is stopped.
            told = points[-1][["sq. error", "MAE", "log score", "cov 90", "width 90"]].mean()
            scores = ", ".join(f"{column} {value:.3g}" for column, value in told.items())
            print(f"{block.name} {block.fold} | {name} | {took:.0f} s | {scores}", flush=True)
    return pd.concat(points, ignore_index=True), pd.Series(seconds, name="seconds")


def _chosen(command: str, asked: argparse.Namespace) -> list[Block]:
    if command != "bundled" and not protocols.available():
        return []
    made = {
        "targets": protocols.targets,
        "families": lambda: protocols.families(None if asked.folds == "each" else protocols.GROUPS),
        "bundled": protocols.bundled,
        "choose": protocols.inside,
    }[command]()
    words = [word for word in asked.only.split(",") if word]
    return [block for block in made if not words or any(word in block.name for word in words)]


def _counts(command: str, blocks: list[Block]) -> pd.DataFrame:
    if command in ("targets", "choose"):
        return pd.concat([block.counts for block in blocks])
    rows = [
        {
            "block": b.name, "folds": 1, "families": b.test.family.nunique(), "models held": b.test.model.nunique(),
            "cells held": len(b.test),
        }
        for b in blocks
    ]  # fmt: skip
    return pd.DataFrame(rows).groupby("block", sort=False).sum()


def _run(asked: argparse.Namespace) -> None:
    command, blocks = asked.command, _chosen(asked.command, asked)
    if not blocks:
        print(protocols.UNSET if not protocols.available() else f"no block of {command} is named so: {asked.only}")
        return
    print(_counts(command, blocks).to_string(), flush=True)
    ours = {} if asked.rivals_only else {"choose": CANDIDATES, "bundled": OF_BUNDLED}.get(command, OURS)
    methods = {**RIVALS.get(command, {}), **ours}
    words = [word for word in asked.methods.split(";") if word]
    points, seconds = run(blocks, {n: m for n, m in methods.items() if not words or n in words}, asked.seed)
    print(printed(means(points, "series" if command in ("targets", "choose") else "block")))
    if asked.by_task and command == "families":
        lines = points.groupby(["block", "series", "method"], sort=False)[["MAE", "log score", "cov 90", "width 90"]].mean()
        print(f"\n{lines.round(2).to_string()}")
    print(f"\n{seconds.round(1).to_string()}")
    if asked.csv:
        points.to_csv(asked.csv, index=False)


def _read(asked: argparse.Namespace) -> None:
    points = pd.concat([pd.read_csv(file) for file in asked.files], ignore_index=True)
    points = points[~points.series.isin(asked.without)]
    print(printed(means(points, "block")))
    print(
        f"\n{points.method.value_counts().iloc[0]} cells; log score beside the best\n{differences(points).round(2).to_string()}"
    )


def _speed(asked: argparse.Namespace) -> None:
    if not protocols.available():
        print(protocols.UNSET)
        return
    wall, busy = time.perf_counter(), time.process_time()
    fit = bs.fit(LOCKED, protocols.standard(), seed=asked.seed, strict=False, progress=False)
    seconds = time.perf_counter() - wall, time.process_time() - busy
    print(f"{fit!r}\n{seconds[0]:.0f} s, {seconds[1]:.0f} of one processor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capabilities", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--only", default="", metavar="WORD,WORD", help="blocks with these words in their names only")
    shared.add_argument("--methods", default="", metavar="NAME;NAME", help="these methods only")
    shared.add_argument("--rivals-only", action="store_true", help="leave our models out")
    shared.add_argument("--seed", type=int, default=0)
    shared.add_argument("--csv", type=Path, metavar="OUT", help="write the scores of every cell to this file")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("targets", parents=[shared], help="emergent tasks, arithmetic, GSM8K")
    grouped = commands.add_parser("families", parents=[shared], help="larger models of a family")
    grouped.add_argument("--folds", choices=("groups", "each"), default="groups", help="hide groups of families, or each alone")
    grouped.add_argument("--by-task", action="store_true", help="print means over each benchmark too")
    commands.add_parser("bundled", parents=[shared], help="largest models of the bundled tables")
    commands.add_parser("choose", parents=[shared], help="the number of factors and the noise, inside the training models")
    again = commands.add_parser("read", help="scores that --csv has kept, of one run or of several parts of one")
    again.add_argument("files", nargs="+", type=Path, metavar="FILE")
    again.add_argument("--without", nargs="*", default=[], metavar="SERIES", help="tasks to leave out")
    commands.add_parser("speed", parents=[shared], help="seconds to fit the standard benchmarks")
    asked = parser.parse_args(arguments)
    if asked.command in ("speed", "read"):
        {"speed": _speed, "read": _read}[asked.command](asked)
        return
    asked.by_task = getattr(asked, "by_task", False)
    _run(asked)


if __name__ == "__main__":
    # `make bench` names no command: the first of them.
    main(sys.argv[1:] or ["targets"])

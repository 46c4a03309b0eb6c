"""``plan`` and ``next-runs``: which runs are worth their cost, before there is any and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli import parse, show
from bayescale.cli.fits import load_runs
from bayescale.cli.options import At, FitFile, Json, Probability, Seed, Target, Unseen, UnseenName

if TYPE_CHECKING:
    import pandas as pd

Budget = Annotated[
    str | None, typer.Option("--budget", metavar="COST", help="What the runs may cost together, in the unit of their costs.")
]
CostColumn = Annotated[
    str | None,
    typer.Option("--cost", metavar="COLUMN", help="Column of costs; by default `cost`, or 6·params·tokens without one."),
]
Most = Annotated[int | None, typer.Option("--most", min=1, metavar="N", help="At most so many runs.")]
Misfit = Annotated[
    float, typer.Option("--misfit", metavar="SHARE", help="How far the law may be off: runs near the target then tell more.")
]
Out = Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the table there (.csv or .parquet).")]


def plan(
    at: At = None,
    budget: Budget = None,
    flops: Annotated[
        list[str] | None, typer.Option("--flops", metavar="C", help="FLOP of single runs: the rows of the grid. Repeatable.")
    ] = None,
    params: Annotated[
        list[str] | None, typer.Option("--params", metavar="N", help="Sizes; by default 5 to 80 tokens per parameter.")
    ] = None,
    law: Annotated[
        str, typer.Option("--law", metavar="NAME", help="The law of params and tokens whose prior plans.")
    ] = "chinchilla",
    target: Target = None,
    probability: Probability = 0.9,
    typical: Annotated[
        float | None, typer.Option("--typical", metavar="LOSS", help="Expected loss, for laws in multiples of it.")
    ] = None,
    response: Annotated[str, typer.Option("--response", metavar="NAME", help="Name of the column to fill in.")] = "loss",
    most: Most = None,
    misfit: Misfit = 0.02,
    out: Out = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Before any run exists: which runs of an iso-FLOP grid teach most about a large one, as a table to fill in.

    Train the runs of the plan, write their losses into its empty column, and give it to `bayescale fit`. Without --budget the
    whole grid is the plan.

    Example:

        bayescale plan --flops 1e18 --flops 1e19 --flops 1e20 --budget 2e20 --at params=7e10,tokens=1.4e12 -o plan.csv
    """
    import bayescale as bs
    from bayescale.decision.rules import as_threshold

    if not flops:
        raise typer.BadParameter("say what single runs may cost: --flops 1e18 --flops 1e19", param_hint="--flops")
    if out is not None:
        parse.table_file(out)
    sizes = [parse.number(word, "--params") for word in params or ()]
    grid = bs.make_grid([parse.number(word, "--flops") for word in flops], sizes or None, response=response)
    goal = parse.one_target(target)
    if budget is None:
        if at or goal:
            raise typer.BadParameter("say what the runs may cost together: --budget 2e20", param_hint="--budget")
        _print(grid, f"{len(grid)} runs, {grid['flops'].sum():.3g} FLOP in all", out, json)
        return
    spent = parse.number(budget, "--budget")
    where = parse.points(at or ())
    chosen = bs.plan_runs(
        bs.ScalingModel(law),
        grid,
        target=where if goal is None else as_threshold(goal, probability),
        at=None if goal is None else where,
        budget=spent,
        response=response,
        typical=typical,
        most=most,
        misfit=misfit,
        seed=seed,
    )
    _print(chosen.reset_index(), _headline(chosen, spent), out, json)


def next_runs(
    fit: FitFile,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            "--candidate",
            metavar="POINT|FILE",
            help="A run that could be made: params=1e9,tokens=2e10,cost=120; or a file, a row a run. Repeatable.",
        ),
    ] = None,
    at: At = None,
    budget: Budget = None,
    target: Target = None,
    probability: Probability = 0.9,
    cost: CostColumn = None,
    one: Annotated[
        bool, typer.Option("--one", help="Rank each candidate on its own: make the first, fit again, and ask again.")
    ] = False,
    replicates: Annotated[bool, typer.Option(help="A candidate may be made more than once.")] = True,
    most: Most = None,
    misfit: Misfit = 0.0,
    unseen: Unseen = UnseenName.population,
    out: Out = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Which pilot runs, for a budget, take most off the uncertainty of a large one, and what they are worth to a decision.

    The last columns: standard deviation at the run asked about before and after each pilot, the share of its variance that the
    pilots until there take off, and with --target the value of what they tell: a right GO is worth 1 - P, a wrong one costs P,
    with P of --probability.

    Example:

        bayescale next-runs chinchilla.nc --candidate params=2e10,tokens=4e11 --candidate params=1e9,tokens=1e12 --budget 1e23 --at params=7e10,tokens=1.4e12 --target 'loss<=2.0'
    """  # noqa: E501 - a line that is pasted into a shell
    import bayescale as bs
    from bayescale.decision.rules import as_threshold

    if not candidate:
        raise typer.BadParameter("say which runs could be made: --candidate params=1e9,tokens=2e10", param_hint="--candidate")
    if budget is None:
        raise typer.BadParameter("say what the runs may cost together: --budget 1e21", param_hint="--budget")
    if out is not None:
        parse.table_file(out)
    spent, goal = parse.number(budget, "--budget"), parse.one_target(target)
    fitted = load_runs(fit)
    labels = fitted.data.groups
    where = parse.points(at or (), labels)
    chosen = bs.next_runs(
        fitted,
        parse.points(candidate, labels, "--candidate"),
        target=where if goal is None else as_threshold(goal, probability),
        at=None if goal is None else where,
        budget=spent,
        cost=cost,
        batch=not one,
        replicates=replicates,
        most=most,
        misfit=misfit,
        unseen=unseen.value,
        seed=seed,
    )
    title = "each candidate on its own, the best first" if one else _headline(chosen, spent)
    _print(chosen.reset_index(), title, out, json)


def _headline(plan: pd.DataFrame, budget: float) -> str:
    """What a plan does, in one line."""
    if plan.empty:
        return "no run tells anything that counts about the target"
    last = plan.iloc[-1]
    runs = f"{len(plan)} run{'s' * (len(plan) != 1)}"
    return f"{runs} for {last['cumulative_cost']:.3g} of {budget:.3g} take {last['variance_removed']:.0%} off the variance"


def _print(table: pd.DataFrame, title: str, out: Path | None, json: bool) -> None:
    if out is not None:
        parse.write_table(table, out)
    if json:
        show.emit({"plan": table, "file": out})
        return
    show.table(table, title)
    if out is not None:
        print(f"written to {out}")

"""``report``: the decision, and everything behind it, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli import parse, show
from bayescale.cli.options import At, FitFile, Json, Probability, Seed, Target, Unseen, UnseenName
from bayescale.cli.planning import Budget
from bayescale.cli.predicting import Path_, Within, bounds, moves
from bayescale.cli.stakes import StakeCost, StakeMissed, StakeUnit, StakeValue, StakeWrong, rule_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    import bayescale as bs

Group = Annotated[
    str | None, typer.Option(metavar="GROUP", help="With the other: their crossover. family=Mamba, comma between several.")
]


def report(
    fit: FitFile,
    target: Target = None,
    at: At = None,
    probability: Probability = 0.9,
    value: StakeValue = None,
    cost: StakeCost = 0.0,
    wrong: StakeWrong = 0.0,
    missed: StakeMissed = 0.0,
    unit: StakeUnit = "",
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page; an earlier one is replaced.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What stands above the page.")] = "Decision report",
    backtest: Annotated[
        int, typer.Option("--backtest", min=0, metavar="N", help="Backtest at N cut-offs: takes as long as N fits. 0: none.")
    ] = 0,
    candidate: Annotated[
        list[str] | None,
        typer.Option("--candidate", metavar="POINT|FILE", help="A run that could be made next, or a file of them. Repeatable."),
    ] = None,
    budget: Budget = None,
    a: Group = None,
    b: Group = None,
    along: Annotated[str | None, typer.Option("--along", metavar="COLUMN", help="Scale of backtest and crossover.")] = None,
    path: Path_ = None,
    within: Within = None,
    unseen: Unseen = UnseenName.population,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """A page for whoever decides: verdict, forecast, evidence, what would change the answer, where the numbers come from.

    One HTML file that needs no network. Without --backtest and --candidate, calibration and next runs are "not assessed" on it.
    Exit status: 0 once the page is written, whatever the verdict.

    Example:

        bayescale report fit.nc --target 'loss<=2.0' --at params=7e10,family=Mamba -o report.html
    """
    import bayescale as bs
    from bayescale.data.eval_checks import LABELS

    goal = parse.one_target(target)
    rule = rule_of([goal] if goal else [], probability, value, {"cost": cost, "wrong": wrong, "missed": missed}, unit)
    if bool(candidate) != (budget is not None):
        raise typer.BadParameter("--candidate and --budget go together: what could be run, and for how much")
    if (a is None) != (b is None):
        raise typer.BadParameter("a crossover is of two: say both --a and --b")
    spent = None if budget is None else parse.number(budget, "--budget")
    parse.writable(out, "report.html")
    fitted = bs.load(fit)
    where = parse.points(at or (), LABELS if isinstance(fitted, bs.CapabilityFit) else fitted.data.groups)
    made = bs.decision_report(
        fitted,
        where,
        target=rule,
        backtest=_backtest(fitted, backtest, along, seed) if backtest else None,
        crossover=None if a is None or b is None else _crossover(fitted, (a, b), along, path, within, seed),
        next_runs=None if spent is None else _next(fitted, candidate or [], spent, rule, where, seed),
        file=fit,
        title=title,
        unseen=unseen.value,
        seed=seed,
    )
    bs.write_report(made, out)
    decision = made.decision
    if json:
        words: dict[str, Any] = {"verdict": decision.verdict, "probability": decision.probability, "mcse": decision.mcse}
        show.emit({"file": out, **words, "rule": str(decision.rule), "forecast": made.forecast, "flips": made.flips})
        return
    show.verdict(decision.verdict, decision.headline.removeprefix(f"{decision.verdict}: "))
    print(f"- {decision.reasons[0]}")
    print(f"saved in {out}: open it in a browser")


def _one(fitted: bs.Fit | bs.Ensemble | bs.CapabilityFit, what: str) -> bs.Fit:
    """A fit of runs alone."""
    import bayescale as bs

    if not isinstance(fitted, bs.Fit):
        raise bs.SpecError(f"{what} on the command line is of a fit of runs, got {type(fitted).__name__}: use Python")
    return fitted


def _backtest(fitted: bs.Fit | bs.Ensemble | bs.CapabilityFit, cutoffs: int, along: str | None, seed: int) -> bs.Backtest:
    """The model of the fit, at cut-offs of its own table."""
    import bayescale as bs
    from bayescale.prediction.mixing import axis_of

    if isinstance(fitted, bs.CapabilityFit):
        return bs.backtest(fitted.model, fitted.data, along=along or "flops", cutoffs=cutoffs, seed=seed)
    one = _one(fitted, "--backtest")
    return bs.backtest(one.model, one.data, along=along or axis_of(one), cutoffs=cutoffs, seed=seed)


def _crossover(
    fitted: bs.Fit | bs.Ensemble | bs.CapabilityFit,
    pair: tuple[str, str],
    along: str | None,
    path: str | None,
    within: str | None,
    seed: int,
) -> xr.Dataset:
    """The crossover of two groups of the fit."""
    import bayescale as bs
    from bayescale.prediction.mixing import axis_of

    if isinstance(fitted, bs.CapabilityFit):
        raise bs.SpecError("a fit to benchmark scores has no law, and so no crossover: leave out --a and --b")
    first, second = (
        fitted.select(**parse.fields(word, option, "COLUMN=LABEL, comma between several"))
        for word, option in zip(pair, ("--a", "--b"), strict=True)
    )
    return bs.crossover(first, second, along=along or axis_of(fitted), path=moves(path), within=bounds(within), seed=seed)


def _next(
    fitted: bs.Fit | bs.Ensemble | bs.CapabilityFit,
    candidates: list[str],
    budget: float,
    rule: bs.Threshold | bs.AllOf | bs.Utility,
    where: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    """Which of the candidates pay."""
    import bayescale as bs

    if isinstance(fitted, bs.CapabilityFit):
        raise bs.SpecError("a fit to benchmark scores chooses no runs: leave out --candidate")
    table = parse.points(candidates, fitted.data.groups, "--candidate")
    if len(where) > 1:
        return bs.next_runs(fitted, table, target=where, budget=budget, seed=seed)
    return bs.next_runs(fitted, table, target=rule, at=where, budget=budget, seed=seed)

"""``forecast`` and ``decide``: a verdict, its probability, its reasons, and the exit status that a script reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli import parse, show
from bayescale.cli.options import (
    VERDICTS,
    At,
    Column,
    FitFile,
    Json,
    Prob,
    Probability,
    Response,
    Seed,
    Table,
    Target,
    Targets,
    Unseen,
    UnseenName,
)
from bayescale.cli.stakes import StakeCost, StakeMissed, StakeUnit, StakeValue, StakeWrong, rule_of

if TYPE_CHECKING:
    import bayescale as bs


def forecast(
    table: Table,
    at: At = None,
    target: Target = None,
    probability: Probability = 0.9,
    column: Column = None,
    response: Response = "loss",
    prob: Prob = 0.9,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Save the fit there (netCDF).")] = None,
    json: Json = False,
) -> None:
    """The whole way in one call: recommended model, fit, review, prediction and, with --target, the decision.

    Exit status with --target: 0 GO, 10 NO_GO, 20 HOLD.

    Example:

        bayescale forecast runs.csv --at params=7e10,family=Mamba --target 'loss<=2.0'
    """
    import bayescale as bs
    from bayescale.decision.forecast import describe, reasons_of
    from bayescale.decision.rules import as_threshold
    from bayescale.evaluate.backtest_result import name_of

    columns = parse.pairs(column or (), "--column", "OURS=THEIRS")
    if out is not None:
        parse.writable(out)
    data = parse.read_table(table)
    where = parse.points(at or (), data.select_dtypes(exclude="number").columns)
    goal = parse.one_target(target)
    rule = as_threshold(goal, probability) if goal else None
    made = bs.forecast(data, where, target=rule, columns=columns or None, response=response, seed=seed)
    if out is not None:
        # The review says that the chains do not agree, and the file's name keeps saying it.
        out = bs.save(made.fit, out.with_suffix(".unconverged.nc") if made.fit.convergence.faults else out)
    points = made.table(prob).reset_index(drop=True)
    decision = made.decision
    if json:
        show.emit(
            {
                "law": name_of(made.model),
                "reasons": reasons_of(made.model),
                "response": made.fit.response,
                "prob": prob,
                "points": points,
                "review": {"status": made.review.status, "findings": made.review.to_frame()},
                "decision": None if decision is None else as_words(decision),
                "file": out,
            }
        )
    else:
        print(f"model: {describe(made.model)}")
        for reason in reasons_of(made.model):
            print(f"- {reason}")
        show.review(made.review)
        show.table(points, f"{made.fit.response}: {prob:.0%} intervals of a new run")
        if decision is not None:
            print_decision(decision)
        if out is not None:
            print(f"saved in {out}")
    if decision is not None:
        raise typer.Exit(VERDICTS[decision.verdict])


def decide(
    fit: FitFile,
    target: Targets = None,
    at: At = None,
    probability: Probability = 0.9,
    value: StakeValue = None,
    cost: StakeCost = 0.0,
    wrong: StakeWrong = 0.0,
    missed: StakeMissed = 0.0,
    unit: StakeUnit = "",
    unseen: Unseen = UnseenName.population,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """GO, NO_GO or HOLD for a target, or several at once, from a saved fit.

    With --value the rule is a utility: what success, the run and being wrong are worth takes the place of --probability.

    Exit status: 0 GO, 10 NO_GO, 20 HOLD.

    Example:

        bayescale decide fit.nc --target 'loss<=2.0' --at params=7e10,family=Mamba
    """
    import bayescale as bs
    from bayescale.data.eval_checks import LABELS
    from bayescale.decision.decide import targets_of
    from bayescale.decision.floor import why_missed

    rule = rule_of(target or [], probability, value, {"cost": cost, "wrong": wrong, "missed": missed}, unit)
    fitted = bs.load(fit)
    where = parse.points(at or (), LABELS if isinstance(fitted, bs.CapabilityFit) else fitted.data.groups)
    draws = bs.predict(fitted, where, unseen=unseen.value, seed=seed)
    found = bs.review(fitted, where)
    if not isinstance(fitted, bs.CapabilityFit):
        found += why_missed(fitted, targets_of(rule), where, seed=seed)
    decision = bs.decide(draws, rule, found)
    if json:
        show.emit(as_words(decision))
    else:
        print_decision(decision)
    raise typer.Exit(VERDICTS[decision.verdict])


def as_words(decision: bs.Decision) -> dict[str, Any]:
    """A decision for machines."""
    return {
        "verdict": decision.verdict,
        "probability": decision.probability,
        "mcse": decision.mcse,
        "utility": decision.utility,
        "utility_mcse": decision.utility_mcse,
        "rule": str(decision.rule),
        "reasons": decision.reasons,
        "findings": decision.findings,
    }


def print_decision(decision: bs.Decision) -> None:
    """A decision for readers: verdict, probability, reasons."""
    show.verdict(decision.verdict, decision.headline.removeprefix(f"{decision.verdict}: "))
    for reason in decision.reasons:
        print(f"- {reason}")

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


Worth = Annotated[
    float | None, typer.Option("--value", metavar="V", help="What success is worth: GO where it is worth more in expectation.")
]


def _stake(name: str, meaning: str) -> Any:
    return typer.Option(name, metavar="V", help=f"{meaning}; with --value.")


def decide(
    fit: FitFile,
    target: Targets = None,
    at: At = None,
    probability: Probability = 0.9,
    value: Worth = None,
    cost: Annotated[float, _stake("--cost", "What the run costs")] = 0.0,
    wrong: Annotated[float, _stake("--wrong", "What a GO that misses the target costs beyond the run")] = 0.0,
    missed: Annotated[float, _stake("--missed", "What a NO_GO costs where the target would have been met")] = 0.0,
    unit: Annotated[str, typer.Option("--unit", metavar="UNIT", help="Unit of these, for what is printed.")] = "",
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
    from bayescale.decision.floor import why_missed
    from bayescale.decision.rules import read_targets

    rule = _rule(target or [], probability, value, {"cost": cost, "wrong": wrong, "missed": missed}, unit)
    fitted = bs.load(fit)
    where = parse.points(at or (), LABELS if isinstance(fitted, bs.CapabilityFit) else fitted.data.groups)
    draws = bs.predict(fitted, where, unseen=unseen.value, seed=seed)
    found = bs.review(fitted, where)
    if not isinstance(fitted, bs.CapabilityFit):
        goals = rule.target if isinstance(rule, bs.Utility) else read_targets(rule)
        found += why_missed(fitted, goals, where, seed=seed)
    decision = bs.decide(draws, rule, found)
    if json:
        show.emit(as_words(decision))
    else:
        print_decision(decision)
    raise typer.Exit(VERDICTS[decision.verdict])


def _rule(
    targets: list[str], probability: float, value: float | None, stakes: dict[str, float], unit: str
) -> bs.Threshold | bs.AllOf | bs.Utility:
    """The rule that the options say."""
    import bayescale as bs
    from bayescale.decision.rules import as_threshold

    if not targets:
        raise typer.BadParameter("say what must be met: --target 'loss<=2.0'", param_hint="--target")
    if value is not None:
        goal = targets[0] if len(targets) == 1 else bs.AllOf(targets)
        cost, wrong, missed = (stakes[name] for name in ("cost", "wrong", "missed"))
        return bs.Utility(goal, value=value, cost=cost, wrong=wrong, missed=missed, unit=unit)
    if named := [f"--{name}" for name, stake in stakes.items() if stake] + ["--unit"] * bool(unit):
        raise typer.BadParameter("stakes need what success is worth: --value", param_hint=", ".join(named))
    return as_threshold(targets[0], probability) if len(targets) == 1 else bs.AllOf(targets, probability)


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

"""What is decided about, in options: targets, how sure to be of them, and what the outcomes are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import bayescale as bs


def _stake(name: str, meaning: str) -> Any:
    return typer.Option(name, metavar="V", help=f"{meaning}; with --value.")


StakeValue = Annotated[
    float | None, typer.Option("--value", metavar="V", help="What success is worth: GO where it is worth more in expectation.")
]
StakeCost = Annotated[float, _stake("--cost", "What the run costs")]
StakeWrong = Annotated[float, _stake("--wrong", "What a GO that misses the target costs beyond the run")]
StakeMissed = Annotated[float, _stake("--missed", "What a NO_GO costs where the target would have been met")]
StakeUnit = Annotated[str, typer.Option("--unit", metavar="UNIT", help="Unit of these, for what is printed.")]


def rule_of(
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

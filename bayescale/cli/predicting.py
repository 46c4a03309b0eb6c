"""``predict``, ``optimal``, ``crossover``: what follows from a saved fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bayescale.cli import parse, show
from bayescale.cli.fits import load_runs
from bayescale.cli.options import At, FitFile, Json, KindName, Prob, Seed, Unseen, UnseenName

if TYPE_CHECKING:
    import bayescale as bs

Path_ = Annotated[
    str | None,
    typer.Option("--path", metavar="PATH", help="How the other covariate moves: optimal, tokens_per_param=20 or tokens=3e11."),
]
Within = Annotated[str | None, typer.Option("--within", metavar="LOW:HIGH", help="Where to look: 1e18:1e26.")]


def predict(
    fit: FitFile,
    at: At = None,
    kind: Annotated[KindName, typer.Option("--kind", help="A new run with its noise, or the law alone.")] = KindName.response,
    unseen: Unseen = UnseenName.population,
    prob: Prob = 0.9,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Forecast runs from a saved fit, with intervals.

    Example:

        bayescale predict fit.nc --at params=7e10,family=Mamba --at params=7e10
    """
    import bayescale as bs
    from bayescale.data.eval_checks import LABELS

    fitted = bs.load(fit)
    labels = LABELS if isinstance(fitted, bs.CapabilityFit) else fitted.data.groups
    where = parse.points(at or (), labels)
    draws = bs.predict(fitted, where, kind=kind.value, unseen=unseen.value, seed=seed)
    table = bs.summarize(draws, prob=prob).reset_index(drop=True)
    if json:
        show.emit({"response": fitted.response, "prob": prob, "kind": kind, "points": table})
    else:
        show.table(table, f"{fitted.response}: {prob:.0%} intervals of {'a new run' if kind == 'response' else 'the law'}")


def optimal(
    fit: FitFile,
    flops: Annotated[
        list[str] | None, typer.Option("--flops", metavar="C", help="Budget in FLOP, e.g. 1e24. Repeat for more.")
    ] = None,
    at: At = None,
    inference_tokens: Annotated[
        str | None,
        typer.Option("--inference-tokens", metavar="T", help="The budget serves so many tokens too, 2·params FLOP each."),
    ] = None,
    max_tokens: Annotated[
        str | None, typer.Option("--max-tokens", metavar="T", help="At most so many tokens of data are to be had.")
    ] = None,
    unique_tokens: Annotated[
        str | None,
        typer.Option(
            "--unique-tokens", metavar="T", help="Unique tokens that there are: a law of repeated data then chooses the epochs."
        ),
    ] = None,
    prob: Prob = 0.9,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Size and data that a budget of compute buys best, and whether that is to be relied on.

    Example:

        bayescale optimal chinchilla.nc --flops 1e21 --flops 5.76e23 --inference-tokens 1e13
    """
    import bayescale as bs

    if not flops:
        raise typer.BadParameter("say a budget: --flops 1e24", param_hint="--flops")
    budgets = [parse.number(word, "--flops") for word in flops]
    fitted = load_runs(fit)
    cost = bs.Cost(inference_tokens=parse.number(inference_tokens, "--inference-tokens")) if inference_tokens else None
    most = parse.number(max_tokens, "--max-tokens") if max_tokens else None
    unique = parse.number(unique_tokens, "--unique-tokens") if unique_tokens else None
    asked: dict[str, Any] = {"cost": cost, "max_tokens": most, "unique_tokens": unique, "at": group(at, fitted), "seed": seed}
    draws = bs.compute_optimal(fitted, budgets, **asked)
    table = bs.summarize(draws, prob=prob).reset_index().drop(columns="point")
    found = bs.check_allocation(fitted, budgets, **asked)
    if json:
        show.emit({"prob": prob, "optima": table, "findings": found.to_frame()})
    else:
        show.table(table, f"compute-optimal runs: median and {prob:.0%} interval")
        show.review(found)


def group(at: list[str] | None, fitted: bs.Fit | bs.Ensemble) -> dict[str, Any] | None:
    """The one group, or other fixed covariate, that a command is about."""
    if not at:
        return None
    where = parse.points(at, fitted.data.groups)
    if len(where) > 1:
        raise typer.BadParameter(f"expected one point, got {len(where)}", param_hint="--at")
    return {str(name): value for name, value in where.iloc[0].items()}


def crossover(
    fit: FitFile,
    a: Annotated[str, typer.Option("--a", metavar="GROUP", help="The one: family=Mamba (comma between several columns).")] = "",
    b: Annotated[str, typer.Option("--b", metavar="GROUP", help="The other; of two fits both may be left out.")] = "",
    fit_b: Annotated[
        Path | None, typer.Option("--fit-b", metavar="FIT", help="The fit of the other; by default the same.")
    ] = None,
    along: Annotated[
        str | None, typer.Option("--along", metavar="COLUMN", help="The scale; by default the law's only covariate, or flops.")
    ] = None,
    path: Path_ = None,
    at: At = None,
    within: Within = None,
    prob: Prob = 0.9,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """From which scale on one group is better than another, and whether it ever is.

    Example:

        bayescale crossover fit.nc --a family=Llama --b family=Mamba
    """
    import bayescale as bs
    from bayescale.plots.crossing import crossing_interval, crossover_table
    from bayescale.prediction.mixing import axis_of

    if fit_b is None and not (a and b):
        missing = [name for name, group in (("--a", a), ("--b", b)) if not group]
        raise typer.BadParameter("say which groups to compare, or give a second fit: --fit-b", param_hint=", ".join(missing))
    first = load_runs(fit)
    second = first if fit_b is None else load_runs(fit_b)
    along = along or axis_of(first)
    what = "COLUMN=LABEL, comma between several"
    one, other = (
        whole.select(**parse.fields(group, name, what)) if group else whole
        for whole, group, name in ((first, a, "--a"), (second, b, "--b"))
    )
    names = fit, fit_b or fit
    alike = names[0].stem == names[1].stem
    a, b = (group or str(path if alike else path.stem) for group, path in zip((a, b), names, strict=True))
    draws = bs.crossover(
        one,
        other,
        along=along,
        path=moves(path),
        at=group(at, first),
        within=bounds(within),
        seed=seed,
    )
    found, scale = crossing_interval(draws, prob), crossover_table(draws)
    if json:
        plain = {name: draws.attrs[name] for name in ("baseline", "baseline_scale")}
        show.emit({"a": a, "b": b, "along": along, "prob": prob, "crossing": found, "scale": scale, **plain})
        return
    if found["p_none"] < 1:
        cells = [show.number(found[name]) for name in ("median", "lower", "upper")]
        print(f"{a} and {b} cross at {along} = {cells[0]} ({prob:.0%} interval {cells[1]} to {cells[2]})")
    print(f"P(no crossing) = {found['p_none']:.2f}")
    where = f"at the largest scale that both were run at ({along} = {show.number(draws.attrs['baseline_scale'])})"
    better = {"a": f"{a} was better", "b": f"{b} was better", "tie": "they were alike"}.get(draws.attrs["baseline"])
    print(f"as measured {where}, {better}" if better else "their runs share no scale: nothing was measured side by side")
    show.table(scale.iloc[:: max(1, len(scale) // 12)], f"P({b} is better than {a})")


def moves(path: str | None) -> Literal["optimal"] | dict[str, float] | None:
    """``--path`` as a path: a word, or a covariate and its value."""
    if path is None:
        return None
    if path == "optimal":
        return "optimal"
    return {
        name: parse.number(value, "--path") for name, value in parse.pairs([path], "--path", "optimal or COLUMN=VALUE").items()
    }


def bounds(within: str | None) -> tuple[float, float] | None:
    """``--within 1e18:1e26`` as two numbers."""
    if within is None:
        return None
    low, colon, high = within.partition(":")
    if not colon:
        raise typer.BadParameter(f"expected LOW:HIGH, got {within!r}", param_hint="--within")
    return parse.number(low, "--within"), parse.number(high, "--within")

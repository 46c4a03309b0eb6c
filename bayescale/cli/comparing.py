"""``compare`` and ``stack``: several saved fits of one table, side by side and as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli import parse, show
from bayescale.cli.fits import load_runs
from bayescale.cli.options import Json, Seed

if TYPE_CHECKING:
    from bayescale.infer.ensemble import Ensemble
    from bayescale.infer.fit import Fit

FitFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FIT", help="Fits of the same runs that `bayescale fit -o` wrote, two at least.", show_default=False
    ),
]


def compare(
    fits: FitFiles,
    json: Json = False,
) -> None:
    """Compare saved fits of the same runs by leave-one-out.

    It says which law describes the fitted runs. For what lies beyond them ask `bayescale stack`, which holds larger runs back.

    Example:

        bayescale compare power_law.nc power_law_offset.nc
    """
    import bayescale as bs

    table = bs.compare(_loaded(fits)).reset_index()
    if json:
        show.emit({"fits": table})
        return
    show.table(table, "leave-one-out: the best first")
    print("Leave-one-out is about runs among the fitted ones; bayescale stack weighs laws by forecasts of larger runs.")


def stack(
    fits: FitFiles,
    along: Annotated[str, typer.Option("--along", metavar="COLUMN", help="The scale along which runs are held out.")] = "flops",
    cutoffs: Annotated[
        str | None,
        typer.Option("--cutoffs", metavar="N|SCALES", help="How many cut-offs, or which: 1e20,1e21. By default up to three."),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="GROUP", help="Cut each group of this column on its own.")] = None,
    pick: Annotated[bool, typer.Option("--pick", help="All weight to the best one, instead of an average.")] = False,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Save the ensemble there (netCDF).")] = None,
    json: Json = False,
) -> None:
    """Weigh saved fits by their forecasts of held-out larger runs, and average them.

    Each model is fitted again below a few cut-offs and forecasts the runs above. What is saved is taken wherever a fit is:
    by predict, review, decide, optimal and crossover.

    Example:

        bayescale stack power_law.nc power_law_offset.nc --along params -o ensemble.nc
    """
    import bayescale as bs

    wanted = _cutoffs(cutoffs)
    if out is not None:
        parse.writable(out)
    made = bs.stack(_loaded(fits), along=along, cutoffs=wanted, by=by, pick=pick, seed=seed)
    if out is not None:
        bs.save(made, out)
    evidence = made.evidence.reset_index()
    if json:
        show.emit({"file": out, "weights": made.weights, "evidence": evidence, "advice": made.advice})
        return
    print(made)
    show.table(evidence, "forecasts of held-out larger runs")
    if out is not None:
        print(f"saved in {out}")


def _loaded(paths: Sequence[Path]) -> dict[str, Fit]:
    """The fits by the names of their files; with the folder where two files have one name."""
    stems = [path.stem for path in paths]
    names = [path.stem if stems.count(path.stem) == 1 else str(path.with_suffix("")) for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise typer.BadParameter(f"{twice!r} is said twice", param_hint="FIT")
    if len(paths) < 2:
        raise typer.BadParameter("expected two fits at least", param_hint="FIT")
    return {name: _alone(load_runs(path), path) for name, path in zip(names, paths, strict=True)}


def _alone(found: Fit | Ensemble, path: Path) -> Fit:
    import bayescale as bs

    if isinstance(found, bs.Ensemble):
        raise bs.SpecError(f"{path} is an ensemble: name the files of its members ({', '.join(found.fits)}), or others")
    return found


def _cutoffs(text: str | None) -> int | list[float] | None:
    """``--cutoffs 2`` as a number of them, ``--cutoffs 1e20,1e21`` as scales."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    return [parse.number(word, "--cutoffs") for word in text.split(",")]

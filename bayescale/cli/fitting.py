"""``fit`` and ``review``: from a table to a saved fit, and what is to be thought of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bayescale.cli import parse, show
from bayescale.cli.fits import load_runs
from bayescale.cli.options import At, Column, FitFile, Json, NoiseName, PriorsName, Prob, Response, SamplerName, Seed, Table

if TYPE_CHECKING:
    import pandas as pd

    import bayescale as bs

#: Rows of groups that a reader is shown; JSON holds all.
SHOWN = 25


def fit(
    table: Table,
    law: Annotated[
        str | None, typer.Option("--law", "-l", help="A law of `bayescale laws`; by default the recommended model.")
    ] = None,
    column: Column = None,
    axis: Annotated[
        list[str] | None,
        typer.Option("--axis", "-x", metavar="COVARIATE=COLUMN", help="Column a covariate is read from: x=params."),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            "--pool",
            "-p",
            metavar="PARAM=GROUP",
            help="A parameter whose groups share a population: alpha=family, or nested: alpha=architecture/family.",
        ),
    ] = None,
    no_pool: Annotated[
        list[str] | None,
        typer.Option("--no-pool", metavar="PARAM=GROUP", help="A parameter of each group on its own: E=dataset."),
    ] = None,
    noise: Annotated[
        NoiseName | None, typer.Option("--noise", help="How runs scatter about the law; by default student-t.")
    ] = None,
    priors: Annotated[
        PriorsName | None, typer.Option("--priors", help="The law's own (weak, the default), or the published fits'.")
    ] = None,
    response: Response = "loss",
    sampler: Annotated[
        SamplerName, typer.Option("--sampler", help="hmc compiles faster, nuts copes with more.")
    ] = SamplerName.nuts,
    draws: Annotated[int | None, typer.Option("--draws", min=4, help="Draws of each chain; by default the sampler's.")] = None,
    seed: Seed = 0,
    no_strict: Annotated[bool, typer.Option("--no-strict", help="Keep draws whose chains do not agree.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Save the fit there (netCDF).")] = None,
    prob: Prob = 0.9,
    json: Json = False,
) -> None:
    """Fit a law to a table of runs and save the fit.

    Without --law the recommended model is fitted, and its reasons are shown. Draws whose chains do not agree are kept beside
    the file, as FILE.unconverged.nc, and the exit status is 1.

    Example:

        bayescale fit runs.csv -l power_law_offset -x x=params -p A=family -p alpha=family -o fit.nc
    """
    import bayescale as bs

    columns = parse.pairs(column or (), "--column", "OURS=THEIRS")
    axes = parse.pairs(axis or (), "--axis", "COVARIATE=COLUMN")
    pooling = parse.poolings(pool or (), no_pool or ())
    if law is None and (axes or pooling or noise or priors):
        said = "--axis, --pool, --no-pool, --noise and --priors describe a model: say its law too"
        raise typer.BadParameter(said, param_hint="--law")
    unconverged = (out or Path(f"{Path(table).stem}.nc")).with_suffix(".unconverged.nc")
    if out is not None:
        parse.writable(out)
        parse.writable(unconverged)
    data = parse.read_table(table)
    if law is None:
        model = bs.recommended(data, columns=columns or None, response=response)
    else:
        on: Literal["plain", "log"] = "plain" if noise and noise.endswith("-plain") else "log"
        errors = bs.Gaussian(on=on) if noise and noise.startswith("gaussian") else bs.StudentT(on=on)
        model = bs.ScalingModel(law, axes=axes, pooling=pooling, noise=errors, priors=priors.value if priors else "weak")
    kept = {} if draws is None else {"draws": draws}
    chosen = bs.Hmc(**kept) if sampler is SamplerName.hmc else bs.Nuts(**kept)
    try:
        fitted = bs.fit(
            model, data, columns=columns or None, response=response, seed=seed, sampler=chosen, strict=not no_strict
        )
    except bs.ConvergenceError as error:
        keep_unconverged(error, unconverged)
        raise
    if out is not None:
        bs.save(fitted, out)
    parameters = parameters_table(fitted, prob)
    found = fitted.convergence
    if json:
        show.emit(
            {
                "file": out,
                "law": model.law.name,
                "runs": len(fitted.data),
                "reasons": model.reasons,
                "prob": prob,
                "converged": not found.faults,
                "r_hat": found.worst_rhat,
                "ess": found.worst_ess,
                "divergences": found.divergences,
                "parameters": parameters,
            }
        )
        return
    for reason in model.reasons:
        print(f"- {reason}")
    print(fitted)
    show.table(parameters.head(SHOWN), f"parameters: median and {prob:.0%} interval")
    if len(parameters) > SHOWN:
        print(f"… and {len(parameters) - SHOWN} more; --json prints all")
    for fault in found.faults:
        show.note(f"not converged: {fault}")
    if out is not None:
        print(f"saved in {out}")


def keep_unconverged(error: bs.ConvergenceError, path: Path) -> None:
    """Save the draws of a fit that did not converge, and say where they are."""
    import bayescale as bs

    if error.fit is None:
        return
    try:
        bs.save(error.fit, path)
    except bs.SavedFileError as failed:
        show.note(f"the draws could not be kept: {failed}")
    else:
        show.note(f"the draws were kept in {path}; --no-strict accepts them")


def parameters_table(fitted: bs.Fit, prob: float) -> pd.DataFrame:
    """Every parameter of the law by group, and those of the noise."""
    import pandas as pd

    from bayescale.plots.forest import exponents_table

    parts = [exponents_table(fitted, name, prob).assign(parameter=name) for name in fitted.model.law.params]
    names = [name for name in (*fitted.model.noise.priors, "nu") if name in fitted.posterior]
    ends = fitted.posterior[names].quantile([0.5, (1 - prob) / 2, (1 + prob) / 2], dim=("chain", "draw"))
    noise = [["population", "all runs", "", len(fitted.data), *ends[name].to_numpy().tolist(), name] for name in names]
    parts.append(pd.DataFrame(noise, columns=parts[0].columns))
    table = pd.concat(parts, ignore_index=True)
    return table[["parameter", *table.columns[:-1]]]


def review(
    fit: FitFile,
    at: At = None,
    json: Json = False,
) -> None:
    """Judge a saved fit: convergence, data, posterior predictive, influence, prior, and how far a forecast reaches.

    Example:

        bayescale review fit.nc --at params=7e10,family=Mamba
    """
    import bayescale as bs

    fitted = load_runs(fit)
    found = bs.review(fitted, parse.points(at, fitted.data.groups) if at else None)
    if json:
        show.emit({"status": found.status, "findings": found.to_frame()})
    else:
        show.review(found)

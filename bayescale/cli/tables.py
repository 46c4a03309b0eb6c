"""``datasets``, ``laws``, ``check``: what there is, and what is wrong with a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli import parse, show
from bayescale.cli.options import Column, Json, Response, Table

if TYPE_CHECKING:
    import pandas as pd

    import bayescale as bs


def datasets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this table; by default list all.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Only the rows that a law should be fitted to, in our names.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the table there (CSV or Parquet).")
    ] = None,
    json: Json = False,
) -> None:
    """List the public tables, or show or write one of them.

    Bundled tables work offline; the others are downloaded once, from their public repositories.

    Example:

        bayescale datasets pretraining_losses --runs -o losses.csv
    """
    import bayescale as bs

    if name is None:
        known = bs.list_datasets()
        if json:
            show.emit({"datasets": known})
        else:
            show.table(known[["name", "where", "rows", "row_is", "runs", "citation"]], "public tables")
        return
    if out is not None:
        parse.table_file(out)
    table = bs.load_dataset(name, runs=runs)
    if out is not None:
        parse.write_table(table, out)
    if json:
        show.emit({"name": name, "rows": len(table), "file": out, "table": None if out else table})
    elif out is not None:
        print(f"{out}: {len(table)} rows, columns {', '.join(table.columns)}")
    else:
        show.table(table.head(10), f"{name}: the first of {len(table)} rows")


def laws(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this law; by default list all.")] = None,
    json: Json = False,
) -> None:
    """List the scaling laws, or show one with its parameters and priors.

    Example:

        bayescale laws chinchilla
    """
    import bayescale as bs

    if name is None:
        known = bs.list_laws().reset_index()
        if json:
            show.emit({"laws": known})
        else:
            show.table(known, "laws")
        return
    law = bs.get_law(name)
    params = _parameters(law)
    if json:
        show.emit(
            {"law": law.name, "covariates": law.covariates, "response": law.response, "cite": law.cite, "parameters": params}
        )
        return
    print(f"{law.name}({', '.join(law.covariates)}): {law.doc} [{law.cite}]")
    show.table(params, "parameters and weak priors")


def _parameters(law: bs.Law) -> pd.DataFrame:
    """A row a parameter: its prior on the scale of its link, its unit, what it means."""
    import pandas as pd

    priors = {"log": "{0}: log ~ Normal({1:.4g}, {2:.4g})", "identity": "{0} ~ Normal({1:.4g}, {2:.4g})"}
    logit = "{0}: logit ~ Normal({1:.4g}, {2:.4g})"
    rows = [
        {
            "parameter": name,
            "prior": priors.get(param.link, logit).format(name, param.loc, param.scale),
            "unit": param.unit,
            "meaning": param.doc,
        }
        for name, param in law.params.items()
    ]
    return pd.DataFrame(rows)


def check(
    table: Table,
    column: Column = None,
    response: Response = "loss",
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", metavar="COLUMN", help="A group column; repeat for more.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what is wrong or worrying about a table, before any fitting.

    It exits 0 whatever it finds: the findings are the result.

    Example:

        bayescale check runs.csv --column loss=loss_nats
    """
    import bayescale as bs

    columns = parse.pairs(column or (), "--column", "OURS=THEIRS")
    found = bs.check(parse.read_table(table), columns=columns or None, response=response, groups=tuple(group or ()))
    if json:
        show.emit({"status": found.status, "findings": found.to_frame()})
    else:
        show.review(found)

"""``bayescale``: the command line. Each command parses, calls a public function and prints."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from bayescale.cli import comparing, deciding, demo, fitting, planning, predicting, reporting, tables

app = typer.Typer(
    name="bayescale",
    epilog="Begin with `bayescale demo`, or with your own table: `bayescale check runs.csv`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

for function in (
    demo.demo,
    tables.datasets,
    tables.laws,
    tables.check,
    fitting.fit,
    fitting.review,
    comparing.compare,
    comparing.stack,
    predicting.predict,
    deciding.forecast,
    predicting.optimal,
    predicting.crossover,
    deciding.decide,
    planning.plan,
    planning.next_runs,
    reporting.report,
):
    app.command(function.__name__.replace("_", "-"))(function)


def _version(asked: bool) -> None:
    if asked:
        from bayescale import __version__

        print(f"bayescale {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (also BAYESCALE_DEBUG=1).")] = False,
) -> None:
    """From a table of training runs to calibrated forecasts and go/no-go decisions.

    Exit status: 0 done (of decide and forecast --target: GO), 10 NO_GO, 20 HOLD, 1 an error, 2 the command line was not
    understood.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    from bayescale.cli.show import in_options
    from bayescale.core.errors import BayescaleError

    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words or os.environ.get("BAYESCALE_DEBUG", "") not in ("", "0")
    try:
        app(args=words, prog_name="bayescale")
    except Exception as error:
        if debug:
            raise
        if isinstance(error, BayescaleError):
            said = f"bayescale: {in_options(str(error))}"
        else:
            # A fault of ours, not the user's: one line, and how to see more.
            said = f"bayescale: unexpected {type(error).__name__}: {error}\nRun `bayescale --debug …` for the traceback."
        print(said, file=sys.stderr)
        sys.exit(1)

"""Options that several commands share, in one wording."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

#: Exit status of a verdict.
VERDICTS = {"GO": 0, "NO_GO": 10, "HOLD": 20}


class NoiseName(StrEnum):
    """Noise by name; ``-plain`` adds errors to the response itself, which may then be negative."""

    student_t = "student-t"
    gaussian = "gaussian"
    student_t_plain = "student-t-plain"
    gaussian_plain = "gaussian-plain"


class PriorsName(StrEnum):
    """Where priors come from."""

    weak = "weak"
    literature = "literature"


class SamplerName(StrEnum):
    """Samplers by name."""

    nuts = "nuts"
    hmc = "hmc"


class KindName(StrEnum):
    """What is predicted: a new run with its noise, or the law alone."""

    response = "response"
    mean = "mean"


class UnseenName(StrEnum):
    """What is done about a group that was not seen."""

    population = "population"
    error = "error"


Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE", help="A CSV or Parquet file with a row a run, or the name of a public table.", show_default=False
    ),
]
FitFile = Annotated[
    Path,
    typer.Argument(metavar="FIT", help="What `bayescale fit -o` or `bayescale stack -o` wrote (netCDF).", show_default=False),
]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", "-c", metavar="OURS=THEIRS", help="Our name of a column and theirs: loss=loss_nats. Repeatable."),
]
Response = Annotated[str, typer.Option("--response", metavar="NAME", help="Name of the response.")]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="POINT|FILE",
        help="A run: params=7e10,tokens=1.4e12,family=Mamba; or a CSV or Parquet file, a row a run. Repeatable.",
    ),
]
#: A list, although one is meant: of a plain option given twice the first would be lost without a word. `parse.one_target`.
Target = Annotated[list[str] | None, typer.Option("--target", "-t", metavar="RULE", help="What must be met: 'loss<=2.0'.")]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", metavar="RULE", help="What must be met: 'loss<=2.0'. Repeat for several at once."),
]
Probability = Annotated[float, typer.Option("--probability", metavar="P", help="GO needs the target met so probably.")]
Prob = Annotated[float, typer.Option("--prob", metavar="P", help="Probability of the intervals.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same numbers.")]
Unseen = Annotated[UnseenName, typer.Option("--unseen", help="An unseen group: draw it from the population, or refuse.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else, on standard output.")]

"""The report as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayescale.core.errors import SpecError
from bayescale.core.files import written_whole
from bayescale.core.findings import Status
from bayescale.core.names import GO, HOLD, NO_GO
from bayescale.decision.margin import turning_factor
from bayescale.evaluate.scores import LEVELS
from bayescale.plots.verdict import WORDS
from bayescale.report.content import DecisionReport, interval
from bayescale.report.figures import BAND, PROB
from bayescale.report.words import (
    Table,
    count_of,
    frame_table,
    number,
    percent,
    sentence,
    table,
    target_in_words,
    value_of,
    whole_percent,
)

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment

#: A sign beside each word, so that no status is told by colour alone.
SIGNS = {"GO": "✓", "NO_GO": "✕", "HOLD": "‖", "PASS": "✓", "REVIEW": "!", "FAIL": "✕", "NOT_ASSESSED": "?"}
MEANINGS = {
    GO: "The evidence carries the run.",
    NO_GO: "The target is not met as surely as was asked.",
    HOLD: "The evidence does not carry a decision yet.",
}
#: The same where what the outcomes are worth decides.
WORTHS = MEANINGS | {GO: "The evidence carries the run: it is worth its cost.", NO_GO: "The run is not worth its cost."}
STATUSES = (Status.FAIL, Status.REVIEW, Status.NOT_ASSESSED, Status.PASS)
_STATUS_WORDS = {status: status.value.replace("_", " ") for status in Status}


def to_html(report: DecisionReport) -> str:
    """The page.

    Parameters
    ----------
    report : DecisionReport

    Returns
    -------
    str
        A whole HTML document. Whatever text it holds, names of families and notes on the data too, is text on the page.
    """
    return _environment().get_template("page.html").render(_shown(report))


def write_report(report: DecisionReport, path: str | os.PathLike[str]) -> Path:
    """Write a report as one HTML page; an earlier file of that name is replaced once the new one is whole.

    Parameters
    ----------
    report : DecisionReport
        Of :func:`decision_report`.
    path : path
        File to write, ``.html`` by custom; its folder must exist.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SavedFileError
        When it cannot be written there.

    Examples
    --------
    With a fit of your own:

    >>> import bayescale as bs
    >>> found = bs.decision_report(fitted, planned, target="loss<=2.0")  # doctest: +SKIP
    >>> bs.write_report(found, "report.html")  # doctest: +SKIP
    """
    if not isinstance(report, DecisionReport):
        raise SpecError(f"write_report takes what decision_report returns, and a path; got {type(report).__name__}")
    page = to_html(report)
    with written_whole(path, "report.html") as part:
        part.write_text(page, encoding="utf-8")
    return Path(path).expanduser()


def _unbroken(value: Any) -> Any:
    """No line ends between a number and its per cent."""
    return value.replace(" %", "\u00a0%") if isinstance(value, str) else value


def _printed(text: str) -> str:
    """A sentence about targets, its comparisons as they are printed."""
    return sentence(text.replace("<=", "≤").replace(">=", "≥"))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bayescale.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(report: DecisionReport) -> dict[str, Any]:
    """What the template says, in words."""
    decision = report.decision
    rule = decision.line
    return {
        "title": report.title,
        "verdict": decision.verdict,
        "word": WORDS[decision.verdict],
        "sign": SIGNS[decision.verdict],
        "meaning": (MEANINGS if decision.utility is None else WORTHS)[decision.verdict],
        "target": target_in_words(rule.target),
        "probability": percent(decision.probability),
        "share": 100 * decision.probability,
        "error": f"{100 * decision.mcse:.2g}",
        "line": _line(rule.probability),
        "line_share": 100 * rule.probability if 0 <= rule.probability <= 1 else None,
        "why": _printed(decision.reasons[0]),
        "reasons": [_printed(reason) for reason in decision.reasons[1:]],
        "runs": list(report.forecast["run"]),
        "summary": _summary(report),
        "pictures": {picture.name: picture for picture in report.pictures},
        "no_curve": report.no_curve,
        "forecast": _forecast(report),
        "findings": sorted(report.review, key=lambda f: STATUSES.index(f.status)),
        "statuses": _STATUS_WORDS,
        "signs": SIGNS,
        "number": number,
        "counts": _counts(report),
        "calibration": _calibration(report),
        "calibrated": _calibrated(report),
        "changes": _changes(report),
        "targets": _targets(report),
        "scales": _scales(report),
        "crossing": report.crossing,
        "next_runs": _next(report),
        "no_next_runs": "Not assessed: no runs that could be made were given." if report.next_runs is None else NOTHING_TELLS,
        "provenance": report.provenance,
    }


def _line(probability: float) -> str:
    """From where on GO; a utility may say GO, or not, whatever is met."""
    if 0 <= probability <= 1:
        return f"GO from {whole_percent(probability)}, the mark on the bar"
    return "GO pays whether the target is met or not" if probability < 0 else "no probability of meeting it makes GO pay"


def _counts(report: DecisionReport) -> str:
    """How many findings are of which status."""
    counts = [(len(report.review.only(status)), _STATUS_WORDS[status]) for status in STATUSES]
    return ", ".join(f"{n} {word}" for n, word in counts if n) or "no findings"


def _summary(report: DecisionReport) -> list[tuple[str, str]]:
    """The page in four or five lines."""
    response = report.decision.line.response
    lines = []
    for row in (row for _, row in report.forecast.head(3).iterrows()):
        which = "" if len(report.forecast) == 1 else f" of {row['run']}"
        lines.append(f"median {response}{which} {number(row['median'])}, {BAND} interval {interval(row)}")
    if (more := len(report.forecast) - 3) > 0:
        lines.append(f"and {count_of(more, 'more run')}")
    bad = [f.check for f in report.review.only(Status.FAIL, Status.REVIEW)]
    evidence = _counts(report) + (f" (look at: {', '.join(dict.fromkeys(bad))})" if bad else "")
    out = [("Forecast", sentence("; ".join(lines))), ("Evidence", sentence(evidence))]
    out.append(("Calibration", _calibrated(report)))
    out.append(("What would change the answer", _changes(report)[0]))
    if report.crossing:
        out.append(("Crossover", report.crossing))
    if (made := _best_next(report)) is not None:
        out.append(("Next run", made))
    return out


def _forecast(report: DecisionReport) -> Table:
    response = report.decision.line.response
    header = [
        "run",
        "median",
        "lower",
        "upper",
        "standard deviation",
        f"P({target_in_words(report.decision.line.target)})",
    ]
    rows = [
        [row["run"], *(number(row[c]) for c in ("median", "lower", "upper", "sd")), percent(row["p_met"])]
        for _, row in report.forecast.iterrows()
    ]
    return table("forecast", f"Forecast of {response}, with the {BAND} interval of a new run", header, rows)


def _calibrated(report: DecisionReport) -> str:
    """What a backtest found, in a sentence."""
    found = report.backtest
    if found is None:
        return "Not assessed: no backtest was given, so whether intervals of this model cover what comes is not known."
    return (
        f"{BAND} intervals covered {percent(found.coverage(PROB))} of {count_of(len(found.points), 'forecast')} of "
        f"{found.runs} held-out {found.what}, worth {found.effective_n:.0f} independent ones."
    )


def _calibration(report: DecisionReport) -> Table | None:
    if report.backtest is None:
        return None
    found = report.backtest.summary("distance")
    levels = [f"coverage_{100 * p:.0f}" for p in LEVELS]
    header = [
        "beyond the fitted runs",
        "forecasts",
        *(f"{whole_percent(p)} interval covers" for p in LEVELS),
        "error",
        "width of 90 %",
    ]
    rows = [
        [
            str(key).replace("x", "×"),
            number(int(row["n"])),
            *(percent(row[c]) if 0 < row[c] < 1 else whole_percent(row[c]) for c in levels),
            f"{100 * row['relative_error']:.2g} %",
            number(row["width_90"], 3),
        ]
        for key, row in found.iterrows()
    ]
    return table("coverage", f"Backtest of {report.backtest.name} along {report.backtest.along}, by distance", header, rows)


def _changes(report: DecisionReport) -> list[str]:
    """What would have to be otherwise for another verdict, in sentences."""
    said = []
    if (failed := report.review.only(Status.FAIL)) and report.decision.verdict == HOLD:
        checks = ", ".join(dict.fromkeys(f.check for f in failed))
        said.append(f"The review fails ({checks}): while it does, neither a target nor a larger run changes HOLD.")
    said += [_printed(text) for text in report.flips["sentence"]]
    if report.scales is not None and 0 < report.decision.line.probability < 1:
        said.append(_turning(report, whole_percent(report.decision.line.probability)))
    if report.shares is not None:
        said.append(_due(report.shares))
    return said


def _due(shares: pd.DataFrame) -> str:
    """What the uncertainty is due to, the most first."""
    first = shares.iloc[0]
    parts = sorted(((float(first[f"share_{name}"]), text) for name, text in _SOURCES.items()), reverse=True)
    told = ", ".join(f"{percent(share)} {text}" for share, text in parts if share >= 0.0005)
    whose = " of the first run" if len(shares) > 1 else ""
    return f"What the variance of the forecast{whose} is due to: {told or 'nothing'}."


def _turning(report: DecisionReport, line: str) -> str:
    """At which scale the probability passes the line."""
    scales = report.scales
    assert scales is not None
    along, shares = scales.attrs["along"], scales["probability"]
    factor = turning_factor(scales, report.decision.line.probability)
    if factor is not None:
        return f"The probability passes {line} at about {number(factor, 2)} times the {along} of what was asked."
    low, high = number(scales["factor"].min()), number(scales["factor"].max())
    return (
        f"Between {low} and {high} times the {along} the probability does not pass {line}: it goes from "
        f"{percent(shares.iloc[0])} to {percent(shares.iloc[-1])}."
    )


def _targets(report: DecisionReport) -> Table:
    rule = report.decision.line
    header = ["met with probability", f"{rule.response} {'at most' if '<' in rule.op else 'at least'}", "easier than asked by"]
    rows = [
        [whole_percent(row["probability"]), number(row["target"]), number(row["margin"], 3)]
        for _, row in report.targets.iterrows()
    ]
    return table("targets", f"Which target would be met how surely (asked: {target_in_words(rule.target)})", header, rows)


def _scales(report: DecisionReport) -> Table | None:
    scales = report.scales
    if scales is None:
        return None
    columns = [c for c in scales.columns if c not in ("factor", "probability")]
    header = [f"times the {scales.attrs['along']}", *columns, f"P({target_in_words(report.decision.line.target)})"]
    rows = [
        [f"× {number(row['factor'])}", *(value_of(row[c], c) for c in columns), percent(row["probability"])]
        for _, row in scales.iterrows()
    ]
    several = ", of the first run" if len(report.forecast) > 1 else ""
    return table("scales", f"The same run, larger or smaller{several}", header, rows)


#: An empty table of next runs.
NOTHING_TELLS = "None of the candidates tells enough about the target to be worth a run."


def _next(report: DecisionReport) -> Table | None:
    if report.next_runs is None or report.next_runs.empty:
        return None
    return frame_table("next", "Runs worth paying for, best first", report.next_runs)


def _best_next(report: DecisionReport) -> str | None:
    found = report.next_runs
    if found is None:
        return None
    if found.empty:
        return NOTHING_TELLS
    best = found.iloc[0]
    named = [c for c in found.columns if c not in _MEASURES]
    told = ", ".join(f"{c} {value_of(best[c], c)}" for c in named)
    if {"sd_before", "sd_after"} <= set(found.columns):
        told += f": standard deviation at the target from {number(best['sd_before'], 3)} to {number(best['sd_after'], 3)}"
    return f"Make {told}."


_SOURCES = {
    "parameters": "parameters of the law",
    "family": "what an unseen group has of its own",
    "law": "which law holds",
    "misfit": "what the law does not say",
    "noise": "noise of a single run (no other run takes that away)",
}
_MEASURES = ("candidate", "cost", "cumulative_cost", "sd_before", "sd_after", "variance_removed", "value")

"""Everything wrong or worrying about a table of runs, before any fitting, as findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.core.findings import Finding, Status
from bayescale.core.names import IDENTIFIERS
from bayescale.core.targets import higher_is_better
from bayescale.data.columns import Request
from bayescale.data.runs import Runs, assemble
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, TOKENS_PER_PARAM, Floats, rows_text

#: Sizes beyond what has been trained, or that suggest another unit.
MOST_PARAMS, FEWEST_TOKENS = 1e14, 1e6
TOKENS_PER_PARAM_RANGE = (0.01, 1e5)

#: Recorded compute further than this factor from 6·params·tokens was counted otherwise.
FLOP_FACTOR = 3.0

#: Above this correlation of their logarithms, the effects of size and data cannot be told apart.
COLLINEAR = 0.99

#: Rounding whose standard error is a larger share of the median response counts beside noise of about one per cent; digits
#: after the point up to which it is looked for, and the rows from which it is no accident.
ROUNDED, MOST_DIGITS, FEWEST_ROUNDED = 1e-3, 4, 5

#: Columns of text that name a run or say something about it, rather than group runs.
NAMES = {"model", "name", "source", "note", "run_id", *IDENTIFIERS}


def inspect_runs(
    data: pd.DataFrame | Runs,
    *,
    columns: Mapping[str, str] | None = None,
    groups: Sequence[str] = (),
    response: str = "loss",
    units: Mapping[str, str] | None = None,
    conventions: Mapping[str, str] | None = None,
    covariates: Sequence[str] | None = None,
    positive_response: bool = True,
) -> tuple[Finding, ...]:
    """What is wrong (FAIL) or worrying (REVIEW) about a table of runs; nothing is raised.

    Parameters
    ----------
    data : pandas.DataFrame or Runs
    columns, groups, response, units, conventions, covariates, positive_response
        As in :meth:`bayescale.data.runs.Runs.from_frame`.

    Returns
    -------
    tuple of Finding
        One or more a check; when the table cannot be read, a FAIL for each fault and the rest not assessed.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayescale.data.inspection import inspect_runs
    >>> [f.message for f in inspect_runs(pd.DataFrame({"params": [1e9], "loss": [-1.0]})) if f.status == "FAIL"]
    ["loss: expected a response above 0, ..., got -1 in row 0 (...)"]
    """
    if isinstance(data, Runs) and response == "loss":
        response = data.response
    asked = Request.of(columns, groups, response, covariates, units, conventions, positive_response)
    runs, faults = assemble(data, asked)
    if runs is None or faults:
        failed = [
            Finding(fault.check, Status.FAIL, fault.message, advice="Mend the table: it cannot be fitted.") for fault in faults
        ]
        return (*failed, Finding("scales", Status.NOT_ASSESSED, "the other checks need a table without faults"))
    return tuple(finding for check in _CHECKS for finding in check(runs))


def _scales(runs: Runs) -> Iterator[Finding]:
    """Sizes that no run has had yet: most likely another unit."""
    table, found = runs.table, False
    low, high = TOKENS_PER_PARAM_RANGE
    lines = (
        ("params", 1, MOST_PARAMS, "more params than any model has had", "params counted one by one?"),
        ("tokens", -1, FEWEST_TOKENS, "fewer than a million tokens", "tokens in millions or billions?"),
        (TOKENS_PER_PARAM, -1, low, "few tokens for the size", "tokens counted one by one, as params are?"),
        (TOKENS_PER_PARAM, 1, high, "many tokens for the size", "params counted one by one, as tokens are?"),
    )
    for name, side, line, what, question in lines:
        if name in table and (side * table[name] > side * line).any():
            found = True
            values = side * table[name]
            said = f"{what} in {_rows(table, values > side * line)}"
            yield Finding("scales", Status.REVIEW, said, float(side * values.max()), line, f"Check the unit: {question}")
    if {"params", "tokens", "flops"} <= set(table):
        ratio = table["flops"] / (FLOP_PER_PARAM_TOKEN * table["params"] * table["tokens"])
        far = (ratio > FLOP_FACTOR) | (ratio < 1 / FLOP_FACTOR)
        if far.any():
            found = True
            worst = float(np.exp(np.log(ratio).abs().max()))
            said = f"flops are more than {FLOP_FACTOR:g} times off 6·params·tokens in {_rows(table, far)}"
            advice = 'State how they were counted: conventions={"flops": ...}.'
            yield Finding("scales", Status.REVIEW, said, worst, FLOP_FACTOR, advice)
    if not found:
        yield Finding("scales", Status.PASS, "sizes, tokens and compute are of the order that training runs have")


def _groups(runs: Runs) -> Iterator[Finding]:
    """Labels with a single run, and a single label."""
    n, found = len(runs), False
    for group in runs.groups:
        counts = runs.table[group].value_counts()
        if group in NAMES or (len(counts) > n / 2 and group != "family"):
            continue
        alone = sorted(str(label) for label in counts.index[counts == 1])
        if alone and len(counts) > 1:
            found = True
            shown = ", ".join(alone[:3]) + (" …" if len(alone) > 3 else "")
            said = f"{len(alone)} of {len(counts)} labels of {group} have one run: {shown}"
            advice = "Their own parameters come from the population of the others: pool them, and read their intervals so."
            yield Finding("groups", Status.REVIEW, said, len(alone), 0, advice)
        if len(counts) == 1 and group in ("family", "architecture"):
            found = True
            said = f"a single {group} ({counts.index[0]})"
            advice = "How groups differ cannot be learnt: an unseen one is forecast from the prior's spread alone."
            yield Finding("groups", Status.REVIEW, said, 1, 2, advice)
    if not found:
        kinds = ", ".join(f"{group} ({runs.table[group].nunique()})" for group in runs.groups if group not in NAMES)
        yield Finding("groups", Status.PASS, f"group columns and their labels: {kinds or 'none'}")


def _variation(runs: Runs) -> Iterator[Finding]:
    """Covariates that do not vary, or hardly: what they do cannot be learnt."""
    found = False
    for name in runs.covariates:
        values = runs.table[name].to_numpy(dtype=np.float64)
        decades = float(np.log10(values.max() / values.min()))
        if decades < 1e-9:  # rounding of a ratio
            found = True
            said = f"not identified: {name} do{'es' * (not name.endswith('s'))} not vary ({values[0]:.6g} in every run)"
            advice = f"No exponent of {name} can be estimated; a law that uses it returns its prior there."
            yield Finding("variation", Status.REVIEW, said, 0.0, 1.0, advice)
        elif decades < 1 and name != TOKENS_PER_PARAM:
            found = True
            said = f"{name} spans {decades:.2f} decades, from {values.min():.6g} to {values.max():.6g}"
            advice = "An exponent from less than a decade extrapolates poorly: add smaller or larger runs."
            yield Finding("variation", Status.REVIEW, said, decades, 1.0, advice)
    if not found:
        yield Finding("variation", Status.PASS, "every covariate spans a decade or more")


def _collinearity(runs: Runs) -> Iterator[Finding]:
    """Size and data that grow together."""
    table = runs.table
    if (
        not {"params", "tokens"} <= set(table)
        or len(table) < 3
        or min(table["params"].nunique(), table["tokens"].nunique()) < 2
    ):
        yield Finding("collinearity", Status.NOT_ASSESSED, "needs params and tokens that both vary, in three runs or more")
        return
    r = float(np.corrcoef(np.log(table["params"]), np.log(table["tokens"]))[0, 1])
    if abs(r) > COLLINEAR:
        said = f"not identified: a separate data exponent; params and tokens move together (correlation of logarithms {r:.4f})"
        advice = "Use a law of one variable, or add runs of one size with different numbers of tokens."
        yield Finding("collinearity", Status.REVIEW, said, abs(r), COLLINEAR, advice)
    else:
        yield Finding("collinearity", Status.PASS, "params and tokens vary separately", abs(r), COLLINEAR)


def _trend(runs: Runs) -> Iterator[Finding]:
    """A response that is no better at larger scale, group by group."""
    scales = [name for name in ("flops", "compute", "params", "tokens", "samples", "steps") if name in runs.table]
    scales = [*(name for name in scales if runs.table[name].nunique() > 1)]
    if not scales or higher_is_better(runs.response):
        yield Finding(
            "trend", Status.NOT_ASSESSED, f"needs a scale that varies, and a response that should fall (got {runs.response})"
        )
        return
    by = [group for group in runs.groups if group not in NAMES and 1 < runs.table[group].nunique() <= len(runs) / 2]
    x, y = np.log(runs.table[scales[0]].to_numpy(dtype=np.float64)), runs.table[runs.response].to_numpy(dtype=np.float64)
    cells = runs.table.groupby(by, sort=False).ngroup().to_numpy() if by else np.zeros(len(runs), dtype=np.int64)
    x, y = _centred(x, cells), _centred(y, cells)
    slope = float(x @ y / (x @ x)) if x @ x > 0 else 0.0
    if slope >= 0:
        said = f"{runs.response} does not fall with {scales[0]} within groups (slope {slope:.3g} per unit of its logarithm)"
        advice = "A scaling law that falls does not describe this table: check the columns and the runs."
        yield Finding("trend", Status.REVIEW, said, slope, 0.0, advice)
    else:
        yield Finding("trend", Status.PASS, f"{runs.response} falls with {scales[0]}", slope, 0.0)


def _replicates(runs: Runs) -> Iterator[Finding]:
    """Runs that are equal in all but the response."""
    told = [name for name in runs.table if name not in (runs.response, f"{runs.response}_sd", *IDENTIFIERS)]
    alike = runs.table.duplicated(told, keep=False)
    if alike.any():
        said = f"{int(alike.sum())} runs share all covariates and groups with another: {_rows(runs.table, alike)}"
        advice = "They are taken as replicates, which tell the noise; name a covariate that sets them apart in columns."
        yield Finding("replicates", Status.REVIEW, said, float(alike.sum()), 0.0, advice)
    else:
        yield Finding("replicates", Status.PASS, "no two runs are equal in every covariate and group")


def _rounding(runs: Runs) -> Iterator[Finding]:
    """A response written down with so few digits that rounding is part of its noise."""
    values = np.abs(runs.table[runs.response].to_numpy(dtype=np.float64))
    middle = float(np.median(values))
    for digits in range(MOST_DIGITS + 1):
        step = 10.0**-digits
        if len(values) < FEWEST_ROUNDED or np.ptp(values) == 0 or middle == 0:
            break
        if np.abs(values / step - np.round(values / step)).max() < 1e-6:
            share = step / np.sqrt(12) / middle
            if share > ROUNDED:
                said = f"{runs.response} is rounded to multiples of {step:g}, a standard error of {share:.2%} of its median"
                advice = f"Get more digits, or say so in the model: noise=StudentT(rounding={step:g})."
                yield Finding("rounding", Status.REVIEW, said, share, ROUNDED, advice)
                return
            break
    yield Finding("rounding", Status.PASS, f"{runs.response} is not visibly rounded")


def _words(runs: Runs) -> Iterator[Finding]:
    """Units and conventions that differ from row to row."""
    found = False
    for what, words in (("units", runs.units), ("conventions", runs.conventions)):
        for name, word in words.items():
            if word not in runs.groups:
                continue
            kinds = sorted(runs.table[word].unique())
            if len(kinds) > 1:
                found = True
                said = f"mixed {what} of {name}: {', '.join(kinds[:4])}{' …' if len(kinds) > 4 else ''} (column {word})"
                advice = "Exponents are not pooled across them; convert the column, or keep one kind."
                yield Finding("conventions", Status.REVIEW, said, len(kinds), 1, advice)
    if not found:
        stated = ", ".join(
            f"{name} in {word}" for name, word in runs.units.items() if name in (runs.response, *runs.covariates)
        )
        yield Finding("conventions", Status.PASS, f"one unit and convention a column ({stated})")


def _left_out(runs: Runs) -> Iterator[Finding]:
    """What was left out on the way in."""
    said = [note for note in runs.notes if "left out:" in note or "left out, as" in note or "is not known for" in note]
    for note in said:
        yield Finding("columns", Status.REVIEW, note, advice="Complete the column if it should be used.")
    if not said:
        yield Finding("columns", Status.PASS, "every column that means something was used")


_CHECKS = (_left_out, _scales, _variation, _collinearity, _trend, _groups, _replicates, _rounding, _words)


def _centred(values: Floats, cells: np.ndarray) -> Floats:
    means = np.bincount(cells, values) / np.bincount(cells)
    return np.asarray(values - means[cells], dtype=np.float64)


def _rows(table: pd.DataFrame, where: pd.Series[bool]) -> str:
    return rows_text(int(row) for row in table.index[where])

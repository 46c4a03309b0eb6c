"""Which model suits a table, chosen from its columns and from what varies in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.core.errors import NotIdentifiedError, SpecError, unknown
from bayescale.core.names import COVARIATES, TEXT
from bayescale.core.targets import higher_is_better
from bayescale.data.columns import FLOPS_DERIVED
from bayescale.data.inspection import COLLINEAR, NAMES
from bayescale.data.runs import Runs, as_runs
from bayescale.data.schema import TOKENS_PER_PARAM
from bayescale.laws.base import Law, get_law
from bayescale.laws.param import Param
from bayescale.models.discrepancy import Discrepancy, RunEffect, SlopeDrift, SmoothMisfit
from bayescale.models.noise import CURVE_SIGMA, BestSoFar, Gaussian, Noise, StudentT
from bayescale.models.pooling import NoPooling, PartialPooling, Pooling
from bayescale.models.scaling import ScalingModel

#: Responses whose zero or negative value is a slip: elsewhere it may be right, and the noise is then on the plain scale.
POSITIVE = ("loss", "perplexity", "ppl")

#: The groups over which parameters are pooled: the first that has enough runs; after these any other column of labels.
GROUPS = ("family", "architecture", "dataset", "tokenizer")

#: Runs a group needs on average, or nothing of its own can be learnt.
FEWEST_RUNS = 2

#: A column of so many rows that never rises is no accident.
FEWEST_MINIMA = 8

#: From so many outer groups the spread among them can be told.
FEWEST_OUTER = 3

#: Chains of 21 pooled curves with drifts agree at default settings, those of 60 do not (`benchmarks.convergence --bundled`).
MOST_DRIFTS = 21

#: The covariate of a law of one variable, where several would do.
AXES = ("flops", "compute", *(name for name in COVARIATES if name not in ("flops", "compute")))

#: Tables obey their law better than single curves do, and best at their largest runs.
TABLE_DRIFT = SlopeDrift(along="flops", size=Param.positive(0.15, 0.5), growth=Param.positive(0.15, 1.0))
TABLE_MISFIT = SmoothMisfit(tilt=Param.positive(0.005, 0.5))
TABLE_NOISE = StudentT(df=5, sigma=Param.positive(0.006, 1.3))

#: Logarithms that differ by less are one number with rounding.
ROUNDING = 1e-9


def is_positive(response: str) -> bool:
    """Whether a response of that name must be above 0."""
    return any(word in response.lower() for word in POSITIVE)


def recommended(
    data: pd.DataFrame | Runs,
    *,
    along: str | None = None,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
) -> ScalingModel:
    """The model that :func:`forecast` uses on such a table.

    It holds no number computed from the table, so that like tables get equal models and share one compiled program.

    Parameters
    ----------
    data : DataFrame or Runs
        One row a run.
    along : str, optional
        Covariate of a law of one variable. By default the law has size and data where both vary, and not together;
        otherwise one variable: recorded ``flops``, else ``params``, else what varies.
    columns : mapping, optional
        Our name of a column to the table's.
    response : str
        Name of the response column (ignored for a ``Runs``, which knows its own).

    Returns
    -------
    ScalingModel
        Its ``reasons`` say why.

    Raises
    ------
    DataError
        When the table has faults.
    NotIdentifiedError
        When no covariate varies, or the response of one curve does not.
    SpecError
        When ``along`` is no covariate, or the response is one that rises with scale.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> model = bs.recommended(runs[runs.dataset == "Pile validation"])
    >>> model.law.name, dict(model.axes), model.dims
    ('power_law_offset', {'x': 'params'}, ('source', 'family'))
    """
    response = data.response if isinstance(data, Runs) else response
    if higher_is_better(response):
        raise SpecError(
            f"{response!r} rises with scale, and every law here falls: forecast the error instead (1 - {response}, under a "
            f"name of its own), or give a law of your own as the model."
        )
    runs = as_runs(
        data,
        columns=columns,
        response=response,
        covariates=None if along is None else [along],
        positive_response=is_positive(response),
    )
    group = _group(runs)
    if group is not None and not _varying(runs, [group]):
        group = None
    law, axes, why_law = _law(runs, group, along)
    pooling, why_pooling = _pooling(law, axes, runs, group)
    noise, why_noise = _noise(runs)
    if noise.on == "log" and not pooling and len(axes) == 1:
        return _curve(runs, axes["x"], why_law, why_pooling)
    if noise.on == "log" and not pooling and law.name == "chinchilla":
        return _table(runs, why_law, why_pooling)
    if noise.on == "log" and len(axes) == 1:
        return _groups(runs, law, axes, pooling, (why_law, *why_pooling))
    return ScalingModel(law, axes=axes, pooling=pooling, noise=noise, reasons=(why_law, *why_pooling, why_noise))


def _groups(
    runs: Runs, law: Law, axes: Mapping[str, str], pooling: Mapping[str, Pooling], reasons: Sequence[str]
) -> ScalingModel:
    """The model of curves of groups. That they drift was chosen inside the families of benchmarks/extrapolation/families.py."""
    columns = list(dict.fromkeys(name for rule in pooling.values() for name in rule.by))
    curves = len(runs.table[columns].drop_duplicates())
    noise = f"normal noise on the logarithm of {runs.response}"
    if curves <= MOST_DRIFTS:
        drift: SlopeDrift | None = SlopeDrift()
        why_drift = (
            "a slope of each that drifts: no law holds for ever, and agreement of groups makes one that is not right confident"
        )
        why_noise = f"{noise}, under which drifts are integrated out exactly"
    else:
        drift = None
        why_drift = f"no drift: {curves} curves that drift are more than chains have been seen to agree on"
        why_noise = f"{noise}: chains of so many curves agree worse under heavy tails"
    reasons = (*reasons, why_drift, why_noise)
    return ScalingModel(law, axes=axes, pooling=pooling, noise=Gaussian(), discrepancy=drift, reasons=reasons)


def _curve(runs: Runs, axis: str, why: str, more: Sequence[str]) -> ScalingModel:
    """The model of one curve: what was best of all that were tried on learning curves."""
    if runs.table[runs.response].nunique() == 1:
        raise NotIdentifiedError(
            f"not identified: {runs.response} is the same in all {len(runs)} runs, so nothing says how it falls with {axis}. "
            "Add runs of another scale, or digits."
        )
    law = get_law("bent_power_law")
    why_law = why.replace(get_law("power_law_offset").name, law.name)
    why_drift = "a slope that drifts: no law holds for ever, and how far this one is left is told by its own slope"
    noise: Noise = Gaussian(sigma=CURVE_SIGMA)
    why_noise = f"normal noise on the logarithm of {runs.response}, within a factor of 2.7 of {np.exp(CURVE_SIGMA.loc):.1%}"
    if _never_rises(runs, axis):
        noise = BestSoFar()
        why_noise = (
            f"{runs.response} never rises along {axis}: taken for the best so far of noisy evaluations, and the forecast is of "
            "a raw one (noise=Gaussian() where each row was measured on its own)"
        )
    reasons = (why_law, *more, why_drift, why_noise)
    return ScalingModel(law, axes={"x": axis}, noise=noise, discrepancy=SlopeDrift(), reasons=reasons)


def _table(runs: Runs, why: str, more: Sequence[str]) -> ScalingModel:
    """The model of one table of sizes and data: what was best in backtests (benchmarks/extrapolation/tables.py)."""
    repeated = "epochs" in runs.table and runs.table["epochs"].nunique() > 1
    law = get_law("repeated_power_law" if repeated else "coupled_power_law")
    parts: list[Discrepancy] = [TABLE_DRIFT, TABLE_MISFIT]
    reasons = [
        why.replace("chinchilla", law.name) + (", and data that runs repeat" if repeated else ""),
        *more,
        "a slope that drifts along flops, and a smooth misfit in tokens per parameter: no law holds for ever",
        f"Student-t noise on the logarithm of {runs.response}: a stray run moves the law little",
    ]
    if "run" in runs.table and runs.table["run"].duplicated().any():
        parts.append(RunEffect())
        reasons.append("an effect of each run: its rows are checkpoints, which share what sets the run apart")
    return ScalingModel(law, noise=TABLE_NOISE, discrepancy=tuple(parts), reasons=tuple(reasons))


def _never_rises(runs: Runs, axis: str) -> bool:
    ordered = runs.table.sort_values(axis)
    x, y = ordered[axis].to_numpy(float), ordered[runs.response].to_numpy(float)
    return len(y) >= FEWEST_MINIMA and bool((np.diff(x) > 0).all() and (np.diff(y) <= 0).all() and y[-1] < y[0])


def _group(runs: Runs) -> str | None:
    """The column of groups over which parameters are pooled."""
    passed = {*NAMES, *runs.units.values(), *runs.conventions.values()}
    known = [name for name in GROUPS if name in runs.groups]
    others = [name for name in runs.groups if name not in GROUPS]
    for name in (*known, *others):
        labels = runs.table[name].nunique()
        if name not in passed and labels > 1 and len(runs) >= FEWEST_RUNS * labels:
            return name
    return None


def _within(runs: Runs, name: str, by: Sequence[str]) -> np.ndarray:
    """Logarithm of a covariate less its mean in each group."""
    log = np.log(runs.table[name])
    centred = log - log.groupby([runs.table[g] for g in by]).transform("mean") if by else log - log.mean()
    return np.asarray(centred, dtype=np.float64)


def _tie(runs: Runs, by: Sequence[str]) -> float:
    """Correlation of size and data, each group with a line of its own.

    Where one family keeps its data fixed and another lets them grow with its size, lines differ, and yet in none of them
    can the two exponents be told apart. Groups of two runs, which are always on a line, are judged by one line for all.
    """
    x, y = _within(runs, "params", by), _within(runs, "tokens", by)
    parts = pd.DataFrame({"xx": x * x, "xy": x * y, "yy": y * y}, index=runs.table.index)
    lines = parts.sum().to_frame().T
    if by:
        groups = parts.groupby([runs.table[name] for name in by])
        own = groups.sum()[groups.size() > 2]
        lines = lines if own.empty else own
    # A group in which one of them hardly varies tells nothing of its exponent, whatever the other does.
    rest = (lines.yy - lines.xy**2 / lines.xx.where(lines.xx > ROUNDING)).where(lines.yy > ROUNDING, 0.0).fillna(0.0)
    return float(np.sqrt(1 - rest.sum() / lines.yy.sum())) if rest.sum() > 0 else 1.0


def _varying(runs: Runs, by: Sequence[str]) -> list[str]:
    """Covariates that vary within groups, those of :data:`AXES` first; what is derived from others left out."""
    derived = {"flops"} if FLOPS_DERIVED in runs.notes else set()
    derived |= {TOKENS_PER_PARAM} if {"params", "tokens"} <= set(runs.table) else set()
    held = [name for name in runs.covariates if name not in derived]
    ordered = [name for name in AXES if name in held] + [name for name in held if name not in AXES]
    return [name for name in ordered if np.ptp(_within(runs, name, by)) > ROUNDING]


def _law(runs: Runs, group: str | None, along: str | None) -> tuple[Law, dict[str, str], str]:
    """The law, where it reads its covariates, and why."""
    one = get_law("power_law_offset")
    if along is not None:
        if along not in runs.covariates:
            raise SpecError(f"along: {unknown('covariate', along, runs.covariates)}")
        if np.ptp(_within(runs, along, [])) <= ROUNDING:
            raise NotIdentifiedError(f"not identified: {along} does not vary, so nothing can be forecast along it")
        return one, {"x": along}, f"law {one.name} along {along}: you named it"
    by = [] if group is None else [group]
    inside = f" within {group}" if group else ""
    varying = _varying(runs, by)
    if not varying:
        raise NotIdentifiedError(
            f"not identified: no covariate varies ({', '.join(runs.covariates)}), so no exponent can be estimated. "
            "Add runs of another scale."
        )
    if {"params", "tokens"} <= set(varying):
        apart = _tie(runs, by) < COLLINEAR
        if apart and "loss" in runs.response.lower():
            law = get_law("chinchilla")
            return law, {}, f"law {law.name}: params and tokens both vary{inside}, and not together"
        if apart:
            why = f"params and tokens both vary{inside}, but laws of both are in nats, which {runs.response!r} may not be"
            return one, {"x": "flops"}, f"law {one.name} along flops: {why}"
        tied = f"; params and tokens vary together{inside}, so their exponents cannot be told apart"
    else:
        fixed = [name for name in ("params", "tokens") if name in runs.table and name not in varying]
        tied = f"; {' and '.join(fixed)} do not vary{inside}" if fixed else ""
    x, others = varying[0], [name for name in varying[1:] if name not in ("params", "tokens") or not tied]
    if others:
        tied += f"; {', '.join(others)} vary too (`along` names another)"
    return one, {"x": x}, f"law {one.name} along {x}, which varies{inside}{tied}"


def _pooling(law: Law, axes: Mapping[str, str], runs: Runs, group: str | None) -> tuple[dict[str, Pooling], list[str]]:
    """How each parameter varies over groups, and why."""
    exponents = [p for p, v in law.params.items() if not v.unit]
    amplitudes = [p for p, v in law.params.items() if v.decays]
    floors = [p for p, v in law.params.items() if v.unit and not v.decays]
    pooling: dict[str, Pooling] = {}
    reasons = []
    texts = _refine(runs, (), TEXT)
    if texts:
        pooling |= dict.fromkeys(floors, NoPooling(texts))
        reasons.append(f"{_named('floor', floors)} one a {_and(texts)}: losses are comparable within these only")
    kinds = _kinds(law, axes, runs)
    if kinds:
        pooling |= dict.fromkeys(exponents, NoPooling(kinds))
        reasons.append(f"{_named('exponent', exponents)} one a {_and(kinds)}: those of unlike conventions are not comparable")
    if group is None:
        if not pooling:
            reasons.append("no pooling: no column of groups has two groups of two runs on average")
        return pooling, reasons
    levels = _refine(runs, (group,), [name for name in TEXT if name != group])
    pooling |= dict.fromkeys(amplitudes, PartialPooling(levels))
    if not kinds:
        by = (*_outer(runs, group), group)
        pooling |= dict.fromkeys(exponents, PartialPooling(by))
        nested = f" within its {by[0]}" if len(by) > 1 else ""
        reasons.append(f"{_named('exponent', exponents)} partly pooled: each {group}{nested} learns from the others")
    reasons.append(f"{_named('amplitude', amplitudes)} partly pooled by {_and(levels)}")
    return pooling, reasons


def _refine(runs: Runs, start: tuple[str, ...], columns: Sequence[str]) -> tuple[str, ...]:
    """``start`` and those of the columns that split its groups further and leave them enough runs."""
    chosen = start
    for name in columns:
        if name in runs.groups and name not in {*runs.units.values(), *runs.conventions.values()}:
            before = len(runs.table[list(chosen)].drop_duplicates()) if chosen else 1
            after = len(runs.table[[*chosen, name]].drop_duplicates())
            if after > before and len(runs) >= FEWEST_RUNS * after:
                chosen = (*chosen, name)
    return chosen


def _outer(runs: Runs, group: str) -> tuple[str, ...]:
    """``architecture``, where each family lies in one, and there are enough of them, some with several families."""
    if group != "family" or "architecture" not in runs.groups:
        return ()
    pairs = runs.table[["architecture", "family"]].drop_duplicates()
    sizes = pairs["architecture"].value_counts()
    nested = not pairs["family"].duplicated().any()
    return ("architecture",) if nested and len(sizes) >= FEWEST_OUTER and (sizes > 1).sum() > 1 else ()


def _kinds(law: Law, axes: Mapping[str, str], runs: Runs) -> tuple[str, ...]:
    """Columns by which the units or conventions of what the law reads differ from row to row."""
    stated = {**runs.units, **runs.conventions}
    read = {runs.response, *(axes.get(c, c) for c in law.covariates)}
    words = dict.fromkeys(stated[name] for name in sorted(read) if name in stated)
    return tuple(word for word in words if word in runs.groups and runs.table[word].nunique() > 1)


def _noise(runs: Runs) -> tuple[Noise, str]:
    values = runs.table[runs.response]
    if (values <= 0).any():
        return StudentT(on="plain"), f"Student-t noise on the plain scale: {runs.response} is not always above 0"
    return StudentT(), f"Student-t noise on the logarithm of {runs.response}: a stray run moves the law little"


def _named(kind: str, names: Sequence[str]) -> str:
    return f"{kind}{'s' * (len(names) > 1)} {_and(names)}"


def _and(words: Sequence[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1]) if len(words) > 1 else words)

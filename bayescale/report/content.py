"""``decision_report``: everything that the page shows, as one value."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.findings import Review
from bayescale.core.names import POINT
from bayescale.data.evals import Evals
from bayescale.decision.decide import Decision, as_rule, decide, only_target
from bayescale.decision.flip import flip
from bayescale.decision.floor import why_missed
from bayescale.decision.margin import scale_margin, target_margin
from bayescale.decision.review import review
from bayescale.decision.rules import AllOf, Line, Threshold
from bayescale.decision.utility import Utility
from bayescale.evaluate.backtest_result import Backtest
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.plots.crossing import crossing_interval
from bayescale.prediction.crossings import CROSSING
from bayescale.prediction.mixing import fits_of, source
from bayescale.prediction.parameters import Unseen
from bayescale.prediction.points import At, Fitted, columns_of
from bayescale.prediction.predict import predict
from bayescale.prediction.scores import AtScores
from bayescale.prediction.shares import uncertainty_shares
from bayescale.prediction.summary import summarize
from bayescale.report.figures import (
    BAND,
    PROB,
    Picture,
    calibration_picture,
    crossover_picture,
    curve_picture,
    decision_picture,
)
from bayescale.report.provenance import now, provenance
from bayescale.report.words import number, percent, runs_in_words, value_of

#: Columns that tell of a point of a model of capability.
_SCALES, _LABELS = ("params", "tokens", "flops"), ("task", "family", "model", "prompt")


@dataclass(frozen=True, eq=False)
class DecisionReport:
    """What a report shows; :func:`write_report` makes a page of it.

    Parameters
    ----------
    title : str
    decision : Decision
        Verdict, probability, reasons, and the findings behind them.
    review : Review
        Every finding about the fit and the forecast.
    forecast : DataFrame
        One row a run: ``run`` (in words), ``median``, ``lower``, ``upper`` (90 % interval), ``sd``, in the unit of the
        response, and ``p_met``, the probability that it alone meets the target.
    flips : DataFrame
        What would have to be true for the verdict to be another, as :func:`flip` tells it.
    targets : DataFrame
        What would be met how surely: ``probability``, ``target``, ``margin``.
    scales : DataFrame or None
        The probability for larger and smaller runs: ``factor``, covariates, ``probability``; None where the law does not say
        what makes a run larger.
    shares : DataFrame or None
        What the uncertainty of each run is due to, as :func:`uncertainty_shares` tells it; None of a model of capability.
    pictures : tuple of Picture
        ``"decision"``, and ``"curve"``, ``"calibration"``, ``"crossover"`` where there are such.
    no_curve : str
        Why there is no curve; empty where there is one.
    backtest : Backtest or None
    crossing : str
        What was found about the crossover that was asked for; empty where none was.
    next_runs : DataFrame or None
    provenance : tuple of (str, str)
        Names and values: data, model, draws, versions, seeds, dates.
    """

    title: str
    decision: Decision
    review: Review
    forecast: pd.DataFrame
    flips: pd.DataFrame
    targets: pd.DataFrame
    scales: pd.DataFrame | None
    shares: pd.DataFrame | None
    pictures: tuple[Picture, ...]
    no_curve: str
    backtest: Backtest | None
    crossing: str
    next_runs: pd.DataFrame | None
    provenance: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.title}: {self.decision.headline}"

    def __repr__(self) -> str:
        return str(self)


def decision_report(
    fit: Fitted | CapabilityFit,
    at: At | AtScores,
    *,
    target: str | Threshold | AllOf | Utility,
    backtest: Backtest | None = None,
    crossover: xr.Dataset | None = None,
    next_runs: pd.DataFrame | None = None,
    file: str | os.PathLike[str] | None = None,
    title: str = "Decision report",
    unseen: Unseen = "population",
    seed: int = 0,
) -> DecisionReport:
    """Decide about a target, and gather everything that speaks for and against it.

    What is not given is not assessed, and the page says so.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one, or CapabilityFit
    at : DataFrame or dict
        The runs to decide about, as of :func:`predict`; all of them must meet the target.
    target : str, Threshold, Utility or AllOf
        ``"loss<=2.0"`` (with probability 0.9), or a rule of one target; of several, decide about each.
    backtest : Backtest, optional
        Of :func:`backtest`: whether intervals of this model covered what came.
    crossover : Dataset, optional
        Of :func:`crossover`: from which scale on one method is better than another.
    next_runs : DataFrame, optional
        Which runs are worth paying for next, best first; its columns are shown as they are.
    file : path, optional
        The file that the fit was loaded from: its checksum, date and versions are then part of the provenance.
    title : str
    unseen : {"population", "error"}
        As of :func:`predict`.
    seed : int
        The same seed gives the same numbers as :func:`predict` and :func:`decide` with it.

    Returns
    -------
    DecisionReport

    Raises
    ------
    DataError, SpecError
        When points, target or another argument make no sense.
    SavedFileError
        When ``file`` cannot be read.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> found = bs.decision_report(fitted, {"params": 7e9}, target="loss<=2.2")
    >>> found.decision.verdict in ("GO", "NO_GO", "HOLD")
    True
    """
    rule = as_rule(target)
    goal = only_target(rule)
    _check(backtest, crossover, next_runs, title)
    held = provenance(fit, file, seed, now())  # a file that cannot be read is told before the work
    draws = predict(fit, at, unseen=unseen, seed=seed)
    found = review(fit, at, backtest)
    if not isinstance(fit, CapabilityFit) and not isinstance(at, Evals):
        found += why_missed(fit, (goal,), at, seed=seed)
    decision = decide(draws, rule, found)
    line = decision.line
    forecast = _forecast(fit, draws, line)
    pictures: list[Picture] = [decision_picture(decision, draws, forecast)]
    curve = curve_picture(_heaviest(fit), draws, forecast, decision, _whose(fit))
    pictures += [curve] if isinstance(curve, Picture) else []
    if backtest is not None:
        pictures.append(calibration_picture(backtest))
    crossing = ""
    if crossover is not None:
        a, b = _pair(str(crossover.attrs.get("a", "a")), str(crossover.attrs.get("b", "b")))
        crossing = f"{_crossing(crossover, (a, b))} {_measured(crossover, (a, b))}"
        pictures.append(crossover_picture(crossover, (a, b), crossing))
    scales = shares = None
    if not isinstance(fit, CapabilityFit) and not isinstance(at, Evals):
        scales = scale_margin(fit, at, line, unseen=unseen, seed=seed)
        # Of laws with noise on different scales there are no shares of one variance.
        if len({one.model.noise.on for one in fits_of(fit)}) == 1:
            shares = uncertainty_shares(fit, at, seed=seed)
    return DecisionReport(
        title,
        decision,
        found,
        forecast,
        flip(draws, rule),
        target_margin(draws, line),
        scales,
        shares,
        tuple(pictures),
        curve if isinstance(curve, str) else "",
        backtest,
        crossing,
        next_runs,
        (("runs asked for", _labels(draws)), *held),
    )


def _check(backtest: object, crossover: object, next_runs: object, title: object) -> None:
    faults = []
    if backtest is not None and not isinstance(backtest, Backtest):
        faults.append(f"backtest is what backtest(...) returns, got {type(backtest).__name__}")
    if crossover is not None and not (isinstance(crossover, xr.Dataset) and "p_b_better" in crossover):
        faults.append(f"crossover is what crossover(...) returns, got {type(crossover).__name__}")
    elif isinstance(crossover, xr.Dataset) and CROSSING in crossover.dims:
        faults.append("crossover is what crossover(...) returns, got that of crossings(...), which has several a draw")
    if next_runs is not None and not isinstance(next_runs, pd.DataFrame):
        faults.append(f"next_runs is a table, a row a run, got {type(next_runs).__name__}")
    if not isinstance(title, str) or not title.strip():
        faults.append(f"title is a line of text, got {title!r}")
    if faults:
        raise SpecError("decision_report: " + "; ".join(faults))


def _forecast(fit: Fitted | CapabilityFit, draws: xr.Dataset, rule: Line) -> pd.DataFrame:
    """The forecast of each run, its name in words first."""
    summary = summarize(draws[[rule.response]], prob=PROB)
    met = rule.target.met(draws[rule.response].to_numpy())
    axis = tuple(i for i, d in enumerate(draws[rule.response].dims) if d != POINT)
    table = pd.DataFrame({"run": _runs(fit, draws)})
    for name in ("median", "lower", "upper", "sd"):
        table[name] = summary[name].to_numpy()
    return table.assign(p_met=met.mean(axis=axis))


def _labels(draws: xr.Dataset) -> str:
    """Everything that was said about the points."""
    named = {str(c): v.to_numpy() for c, v in draws.coords.items() if v.dims == (POINT,) and c != POINT}
    return "; ".join(
        ", ".join(f"{c} {value_of(v[i], c)}" for c, v in named.items() if str(v[i])) for i in range(draws.sizes.get(POINT, 1))
    )


def _runs(fit: Fitted | CapabilityFit, draws: xr.Dataset) -> list[str]:
    """The runs asked for, in words."""
    if isinstance(fit, CapabilityFit):
        return runs_in_words(draws, _SCALES, _LABELS, fit.data.table[[]])
    fits = fits_of(fit)
    covariates = list(dict.fromkeys(c for one in fits for c in columns_of(one)))
    groups = list(dict.fromkeys(c for one in fits for c in one.model.group_columns))
    return runs_in_words(draws, covariates, groups, fits[0].data.table)


def _heaviest(fit: Fitted | CapabilityFit) -> Fit | CapabilityFit:
    """The fit whose curve is shown: of an ensemble the member that weighs most."""
    whole = fit if isinstance(fit, CapabilityFit) else source(fit)
    return whole.fits[max(whole.weights, key=lambda name: whole.weights[name])] if isinstance(whole, Ensemble) else whole


def _whose(fit: Fitted | CapabilityFit) -> str:
    shown = _heaviest(fit)
    averaged = not isinstance(fit, CapabilityFit) and isinstance(source(fit), Ensemble)
    return f", by the law that weighs most, {shown.model.law.name}" if averaged and isinstance(shown, Fit) else ""


def _pair(a: str, b: str) -> tuple[str, str]:
    """The two of a crossover by the labels that tell them apart: the family, or the shortest."""
    first, second = (dict(re.findall(r"(?:^|, )(\w+)=(.*?)(?=, \w+=|$)", text, re.DOTALL)) for text in (a, b))
    apart = [c for c in first if c in second and first[c] != second[c]]
    if not apart:
        return a, b
    column = min(apart, key=lambda c: (c != "family", len(first[c]) + len(second[c])))
    return first[column], second[column]


def _crossing(draws: xr.Dataset, names: tuple[str, str]) -> str:
    """What was found about a crossover, in a sentence or two."""
    along, found = str(draws.attrs["along"]), crossing_interval(draws, PROB)
    last = float(draws["p_b_better"].to_numpy()[-1])
    end = f"At the end of the range, {along} {value_of(float(draws['scale'].to_numpy()[-1]), along)}, "
    end += f"{names[1]} is better with a probability of {percent(last)}."
    none = f"with a probability of {percent(found['p_none'])}"
    if found["p_none"] >= 1:
        return f"They do not cross in the range, {none}. {end}"
    low, middle, high = (value_of(found[k], along) for k in ("lower", "median", "upper"))
    where = f"at {along} {middle} ({BAND} interval {low} to {high})"
    if found["p_none"] > 0.5:
        return f"They do not cross in the range, {none}; in the draws in which they do, {where}. {end}"
    after = dict(zip(("a", "b"), names, strict=True))[str(draws.attrs.get("better_after", "b"))]
    return f"They cross {where}, and {after} is better from there on; they do not cross in the range {none}. {end}"


def _measured(draws: xr.Dataset, names: tuple[str, str]) -> str:
    """The plain baseline beside a crossover, in a sentence."""
    along, plain = str(draws.attrs["along"]), str(draws.attrs["baseline"])
    if not plain:
        return "The runs of the two share no scale, so that nothing was measured of both side by side."
    better = f"{names[plain == 'b']} was better" if plain != "tie" else "they were alike"
    where = value_of(float(draws.attrs["baseline_scale"]), along)
    return f"As measured, at the largest scale that both were run at, {along} {where}, {better}."


def interval(row: pd.Series) -> str:
    """The interval of a row of the forecast, in words."""
    return f"{number(row['lower'])} to {number(row['upper'])}"

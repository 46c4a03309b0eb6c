"""``forecast``: the whole way from a table to a decision, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.findings import Review, Status
from bayescale.core.names import POINT
from bayescale.data.evals import Evals, as_evals
from bayescale.data.runs import Runs, as_runs
from bayescale.decision.decide import Decision, decide
from bayescale.decision.floor import why_missed
from bayescale.decision.review import review
from bayescale.decision.rules import Threshold, as_threshold
from bayescale.evaluate.backtest_result import name_of
from bayescale.evaluate.recommend import is_positive, recommended
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit
from bayescale.infer.fit import Fit, fit, read_runs
from bayescale.models.capability import CapabilityModel
from bayescale.models.pooling import NoPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.points import At, read_points
from bayescale.prediction.predict import predict
from bayescale.prediction.scores import AtScores, read_score_points
from bayescale.prediction.summary import summarize


@dataclass(frozen=True, eq=False)
class Forecast:
    """A forecast with everything behind it; it shows itself in a terminal and in a notebook.

    Parameters
    ----------
    model : ScalingModel or CapabilityModel
        What was believed, with its ``reasons`` (of a ScalingModel).
    fit : Fit or CapabilityFit
        What was learnt.
    review : Review
        Whether it is to be relied on.
    draws : Dataset
        Posterior predictive draws of new runs at the points, dims (chain, draw, point).
    decision : Decision or None
        None where no target was given.
    """

    model: ScalingModel | CapabilityModel
    fit: Fit | CapabilityFit
    review: Review
    draws: xr.Dataset
    decision: Decision | None = None

    def table(self, prob: float = 0.9) -> pd.DataFrame:
        """One row a point, as :func:`summarize` gives it.

        Parameters
        ----------
        prob : float
            Probability of the credible interval.
        """
        return summarize(self.draws, prob=prob)

    def __str__(self) -> str:
        parts = [self._headline, "", f"Model: {describe(self.model)}", *(f"  - {reason}" for reason in reasons_of(self.model))]
        parts += ["", "Forecast, with 90 % intervals:", self.table().to_string(float_format="{:.4g}".format), ""]
        if self.decision is not None:
            parts += [self.decision.headline, *(f"  - {reason}" for reason in self.decision.reasons), ""]
        return "\n".join([*parts, str(self._open)])

    def _repr_html_(self) -> str:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in reasons_of(self.model))
        parts = [f"<p><b>{escape(self._headline)}</b></p>", f"<p>Model: {escape(describe(self.model))}</p><ul>{reasons}</ul>"]
        parts += ["<p>Forecast, with 90 % intervals:</p>", self.table().to_html(float_format="{:.4g}".format)]
        if self.decision is not None:
            why = "".join(f"<li>{escape(reason)}</li>" for reason in self.decision.reasons)
            parts.append(f"<p><b>{escape(self.decision.headline)}</b></p><ul>{why}</ul>")
        return f"<div>{''.join([*parts, self._open._repr_html_()])}</div>"

    def __repr__(self) -> str:
        return str(self)

    @property
    def _headline(self) -> str:
        points, rows = self.draws.sizes[POINT], len(self.fit.data)
        row = "run" if isinstance(self.fit, Fit) else "score"
        what = f"{points} point{'s' * (points != 1)}, from {rows} {row}{'s' * (rows != 1)}"
        return f"Forecast of {self.fit.response} at {what}" + (f": {self.decision.verdict}" if self.decision else "")

    @property
    def _open(self) -> Review:
        """What of the review is no PASS; the worst status stays its status."""
        return Review(tuple(f for f in self.review if f.status is not Status.PASS))


def reasons_of(model: ScalingModel | CapabilityModel) -> tuple[str, ...]:
    """Why the model is what it is; a model of capability gives none."""
    return () if isinstance(model, CapabilityModel) else tuple(model.reasons)


def describe(model: ScalingModel | CapabilityModel) -> str:
    """A model in one line: law, covariates, and which parameters vary over which groups; or factors and noise."""
    if isinstance(model, CapabilityModel):
        return f"{name_of(model)} of {', '.join(model.covariate_names)}; noise {model.noise}"
    covariates = ", ".join(model.axes.get(c, c) for c in model.law.covariates)
    parts = [f"{model.law.name}({covariates})"]
    for name, pooling in model.pooling.items():
        how = "one a" if isinstance(pooling, NoPooling) else "partly pooled by"
        parts.append(f"{name} {how} {' / '.join(pooling.by)}")
    return "; ".join(parts)


def forecast(
    data: pd.DataFrame | Runs | Evals,
    at: At | AtScores,
    *,
    target: str | Threshold | None = None,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    model: ScalingModel | CapabilityModel | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Forecast:
    """Forecast runs from a table of runs, and decide about a target: recommended model, fit, review, prediction, decision.

    Chains that do not agree are no error here: the review fails, and the decision is HOLD.

    Parameters
    ----------
    data : DataFrame, Runs or Evals
        One row a run, or a score.
    at : DataFrame or dict
        The runs to forecast, as of :func:`predict`; all of them must meet the target.
    target : str or Threshold, optional
        ``"loss<=2.0"`` (with probability 0.9) or a rule.
    columns : mapping, optional
        Our name of a column to the table's: ``{"loss": "loss_nats"}``.
    response : str
        Name of the response column (ignored for a ``Runs``, which knows its own).
    model : ScalingModel or CapabilityModel, optional
        By default the :func:`recommended` one; of an ``Evals`` ``CapabilityModel()``.
    seed : int
        The same seed gives the same forecast.
    progress : bool
        Show progress on a terminal or in a notebook.

    Returns
    -------
    Forecast

    Raises
    ------
    DataError, SpecError
        When the table, the points, the target or the model make no sense, before anything is fitted.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> found = bs.forecast(mamba, {"params": 7e9}, target="loss<=2.2")
    >>> found.decision.verdict in ("GO", "NO_GO", "HOLD")
    True
    """
    rule = None if target is None else as_threshold(target)
    if isinstance(data, Evals) or isinstance(model, CapabilityModel):
        return _of_scores(data, at, rule, columns, model, seed, progress)
    if isinstance(at, Evals):
        raise SpecError("expected points of a law, got scores (Evals): a CapabilityModel foretells those")
    response = data.response if isinstance(data, Runs) else response
    if rule is not None and rule.response != response:
        raise SpecError(f"the target is one for {rule.response!r}, and the response is {response!r}")
    if model is None:
        runs = as_runs(data, columns=columns, response=response, positive_response=is_positive(response))
        chosen = recommended(runs)
    else:
        runs, chosen = read_runs(model, data, columns=columns, response=response), model
    _readable(chosen, runs, at)
    fitted = fit(chosen, runs, response=response, seed=seed, progress=progress, strict=False)
    draws = predict(fitted, at, seed=seed)
    found = review(fitted, at)
    if rule is not None:
        found += why_missed(fitted, rule.targets, at, seed=seed)
    return Forecast(chosen, fitted, found, draws, None if rule is None else decide(draws, rule, found))


def _of_scores(
    data: pd.DataFrame | Runs | Evals,
    at: At | AtScores,
    rule: Threshold | None,
    columns: Mapping[str, str] | None,
    model: ScalingModel | CapabilityModel | None,
    seed: int,
    progress: bool,
) -> Forecast:
    """The same from a table of scores."""
    if isinstance(data, Runs) or isinstance(model, ScalingModel) or isinstance(at, Runs):
        raise SpecError("forecast: a ScalingModel takes runs, a CapabilityModel takes scores (Evals.from_frame); so do points")
    if rule is not None and rule.response != ACCURACY:
        raise SpecError(f"the target is one for {rule.response!r}, and the response is {ACCURACY!r}")
    evals, chosen = as_evals(data, columns=columns), model or CapabilityModel()
    unfitted = CapabilityFit(chosen, evals, xr.DataTree())
    read_score_points(unfitted, at)  # refuses what cannot be read before minutes are spent on a fit
    fitted = fit(chosen, evals, seed=seed, progress=progress, strict=False)
    draws, found = predict(fitted, at, seed=seed), review(fitted, at)
    return Forecast(chosen, fitted, found, draws, None if rule is None else decide(draws, rule, found))


def _readable(model: ScalingModel, runs: Runs, at: At) -> None:
    """Refuse points that cannot be read before minutes are spent on a fit."""
    unfitted = Fit(model, runs, xr.DataTree())
    read_points(unfitted, at, {}, tuple(unfitted.binding.axes.values()))

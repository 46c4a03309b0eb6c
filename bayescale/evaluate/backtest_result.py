"""What ``backtest`` returns: forecasts of runs or scores that were held back, with what came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import ROW
from bayescale.evaluate.scores import LEVELS, covered, rmsle
from bayescale.models.capability import CapabilityModel
from bayescale.models.scaling import ScalingModel

#: Edges of the bins of distance, as factors beyond the largest fitted value of the axis.
FACTORS = (1.0, 2.0, 5.0, 10.0, 30.0)

#: How alike the hits of two runs are that were forecast together: a law that leaves its course misses several at once.
ALIKE = 0.3


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of runs that were held back, with what came.

    Parameters
    ----------
    model : ScalingModel or CapabilityModel
        The model; where it was chosen below each cut-off, that of the last one.
    points : DataFrame
        One row a forecast of a run, or of a score: ``cutoff``; labels of its groups; the axis; ``distance``, the logarithm of
        its ratio to the largest fitted value (of the run's own group, with ``by``); what
        :func:`~bayescale.evaluate.scores.score` returns, in its units; ``converged``, whether the fit met the convergence
        rule; ``row`` in the table; ``factor``, by which the width was recalibrated (1 where it was not).
    along : str
        The axis.
    by : str, optional
        Column of what was cut on its own: a group, or a table of several.
    groups : tuple of str
        Columns of labels in ``points``.
    recalibration : float, optional
        Factor by which these forecasts say that the width of a new forecast should be stretched; None unless asked for.
    notes : tuple of str
        What could not be cut.
    """

    model: ScalingModel | CapabilityModel
    points: pd.DataFrame
    along: str
    by: str | None = None
    groups: tuple[str, ...] = ()
    recalibration: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the model is called: its law, or its factors."""
        return name_of(self.model)

    @property
    def what(self) -> str:
        """What was forecast."""
        return "scores" if isinstance(self.model, CapabilityModel) else "runs"

    @property
    def log(self) -> bool:
        """Whether forecasts were scored on the logarithm of the response."""
        return not isinstance(self.model, CapabilityModel) and self.model.noise.on == "log"

    @property
    def fits(self) -> pd.DataFrame:
        """One row a fit: what was cut and where, and whether the fit converged."""
        keys = [*([self.by] if self.by else []), "cutoff"]
        return self.points[[*keys, "converged"]].drop_duplicates(keys).reset_index(drop=True)

    @property
    def runs(self) -> int:
        """Runs that were forecast, each counted once."""
        return len(self.points[[*([self.by] if self.by else []), ROW]].drop_duplicates())

    @property
    def effective_n(self) -> float:
        """Number of independent forecasts that say as much as these.

        ``n / (1 + 0.3 (m - 1))``: n runs, m of them on average in a group (or a table, or else above a cut-off), the hits of
        two runs that were forecast together being correlated at 0.3. A run that several cut-offs forecast counts once.
        """
        units = self.points[self.by or "cutoff"].nunique()
        return self.runs / (1 + ALIKE * max(self.runs / units - 1, 0.0))

    def coverage(self, prob: float) -> float:
        """Share of the outcomes inside their central intervals of that probability."""
        if isinstance(prob, bool) or not isinstance(prob, int | float | np.number) or not 0 < prob < 1:
            raise SpecError(f"prob lies between 0 and 1, both excluded; got {prob!r}")
        return _coverage(self.points, float(prob))

    def summary(self, by: str | None = None) -> pd.DataFrame:
        """Scores, averaged over the forecasts.

        Parameters
        ----------
        by : {"distance", "cutoff", "group"} or column of labels, optional
            One row each; ``"distance"`` in bins of the factor beyond the largest fitted value; ``"group"`` is what was cut on
            its own, or the first column of labels. By default one row for all.

        Returns
        -------
        DataFrame
            ``n`` (forecasts), ``rmsle`` and ``relative_error`` of the median, ``crps``, ``wis``, ``log_score``, ``coverage_50``
            … ``coverage_95``, ``width_90``, and ``converged``, the share from fits that met the convergence rule.
        """
        parts = self.points.groupby(self._key(by), observed=True, sort=True)
        return pd.DataFrame({key: _means(part) for key, part in parts}).T.rename_axis(by).astype({"n": int})

    def _key(self, by: str | None) -> Any:
        if by is None:
            return np.repeat("all", len(self.points))
        if by == "distance":
            edges = [*FACTORS, math.inf]
            labels = [f"{a:g}x to {b:g}x" for a, b in pairwise(FACTORS)]
            return pd.cut(np.exp(self.points["distance"]), edges, labels=[*labels, f"over {FACTORS[-1]:g}x"])
        column = self.by or next(iter(self.groups), by) if by == "group" else by
        if column == "group":
            raise SpecError("summary: there are no groups; by='distance' or by='cutoff' split one table")
        if column not in {"cutoff", *self.groups}:
            raise SpecError("summary: " + unknown("split", str(by), ("distance", "cutoff", "group", *self.groups)))
        return column

    def __repr__(self) -> str:
        every, fits = self.summary().iloc[0], self.fits
        units = f" of {fits[self.by].nunique()} ({self.by})" if self.by else ""
        cuts = f"{len(fits)} cut-off{'s' * (len(fits) != 1)}{units}"
        farthest = math.exp(self.points["distance"].max())
        stretched = f", recalibrated (new ones: x{self.recalibration:.2f})" if self.recalibration is not None else ""
        # A score of 0 is infinitely far off as a ratio.
        off = self.points["median"] - self.points["observed"]
        error = f"{every['relative_error']:.2%}" if self.what == "runs" else f"{100 * off.abs().mean():.2g} points"
        return (
            f"Backtest of {self.name} along {self.along}: {cuts}, {int(every['n'])} forecasts of {self.runs} {self.what} "
            f"up to {farthest:.3g}x beyond the fitted: median off by {error}, "
            f"90 % intervals cover {every['coverage_90']:.0%} (width {every['width_90']:.3g}){stretched}; "
            f"{int(fits['converged'].sum())} of {len(fits)} fits converged"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.summary('distance').to_html(float_format='{:.4g}'.format)}"


def _coverage(points: pd.DataFrame, prob: float) -> float:
    if prob not in LEVELS:
        return float((np.abs(2 * points["pit"] - 1) <= prob).mean())
    lower, upper = (points[f"{end}_{100 * prob:.0f}"].to_numpy() for end in ("lower", "upper"))
    return float(covered(lower, upper, points["observed"].to_numpy()).mean())


def _means(part: pd.DataFrame) -> dict[str, float]:
    means = part[["relative_error", "crps", "wis", "log_score", "width_90", "converged"]].mean()
    row = {"n": len(part), "rmsle": rmsle(part["median"].to_numpy(), part["observed"].to_numpy())}
    row |= {name: float(means[name]) for name in ("relative_error", "crps", "wis", "log_score")}
    row |= {f"coverage_{100 * prob:.0f}": _coverage(part, prob) for prob in LEVELS}
    return row | {name: float(means[name]) for name in ("width_90", "converged")}


def name_of(model: ScalingModel | CapabilityModel) -> str:
    """The law of a model, or its capability factors."""
    if isinstance(model, CapabilityModel):
        return f"{model.factors} capability factor{'s' * (model.factors != 1)}"
    return model.law.name

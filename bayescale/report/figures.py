"""The figures of the page, as SVG in which no text of the user's is code."""

from __future__ import annotations

import re
import warnings
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import BayescaleError
from bayescale.decision.decide import Decision
from bayescale.evaluate.backtest_result import Backtest
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.plots.calibration import plot_calibration
from bayescale.plots.capability import plot_task
from bayescale.plots.crossing import plot_crossover
from bayescale.plots.curves import plot_fit
from bayescale.plots.style import log_axis
from bayescale.plots.verdict import plot_decision
from bayescale.prediction.points import LINKED, columns_of, complete
from bayescale.report.words import number, percent, target_in_words, whole_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Probability of the intervals on the page.
PROB = 0.9
BAND = whole_percent(PROB)
#: Curves that a reader can tell apart in one small figure.
MOST_CURVES = 8
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """A figure.

    Parameters
    ----------
    name : str
        Identifier on the page.
    svg : str
        The picture; text is drawn as outlines, so that it looks alike everywhere.
    alt : str
        What it shows, for those who do not see it.
    caption : str
    width : float
        In inches, at which letters have the size that they were drawn in.
    """

    name: str
    svg: str
    alt: str
    caption: str
    width: float

    @property
    def uri(self) -> str:
        """The picture as an address that needs no network."""
        return "data:image/svg+xml;base64," + b64encode(self.svg.encode()).decode()


def drawn(draw: Callable[[Axes], Any], width: float, height: float) -> str:
    """What a function draws, in inches, as SVG; the user's own settings of matplotlib neither matter nor change."""
    import matplotlib  # costs a second to import
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A script that the font lacks is a box in the picture, and is spelt out in the table beside it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "bayescale"  # the same numbers make the same file
        figure = Figure(figsize=(width, height), layout="constrained")
        ax = figure.subplots()
        draw(ax)
        ticks = {id(t) for axis in (ax.xaxis, ax.yaxis) for tick in _ticks(axis) for t in (tick.label1, tick.label2)}
        for text in figure.findobj(Text):
            if id(text) not in ticks:  # a dollar in a name is no formula
                text.set_parse_math(False)
        out = StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    # Names stand in comments beside their outlines, and may hold characters that XML does not.
    return _COMMENT.sub("", svg[svg.index("<svg") :])


def _ticks(axis: Any) -> list[Any]:
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


def decision_picture(decision: Decision, draws: xr.Dataset, forecast: pd.DataFrame) -> Picture:
    """Where the draws lie about the target."""
    target = target_in_words(decision.line.target)

    def draw(ax: Axes) -> None:
        plot_decision(decision, draws, ax=ax)
        ax.texts[-1].remove()  # verdict and reason stand above, in larger letters
        ax.set_title(f"P({decision.line.target}) = {decision.probability:.3f}", loc="left", fontsize=9)

    first = forecast.iloc[0]
    several = f"the furthest of {len(forecast)} runs from the target" if len(forecast) > 1 else "the new run"
    alt = (
        f"Histogram of the forecast of {several}. Median {number(first['median'])}, {BAND} interval "
        f"{number(first['lower'])} to {number(first['upper'])}{' for the first run' if len(forecast) > 1 else ''}. "
        f"{percent(decision.probability)} of it meets {target}, {percent(1 - decision.probability)} misses it."
    )
    caption = f"The forecast of {several}: what meets the target is green and plain, what misses it orange and hatched."
    return Picture("decision", drawn(draw, 5.2, 3.0), alt, caption, 5.2)


def curve_picture(
    fit: Fit | CapabilityFit, draws: xr.Dataset, forecast: pd.DataFrame, decision: Decision, whose: str = ""
) -> Picture | str:
    """The curve that leads to the forecast, with the fitted runs; or in words why there is none.

    Parameters
    ----------
    fit : Fit or CapabilityFit
        Of an ensemble, the member that weighs most.
    draws, forecast, decision
        What was forecast, its table (a row a point), and what was decided.
    whose : str
        Words about which member it is.
    """
    try:
        return (
            _capability(fit, draws, decision)
            if isinstance(fit, CapabilityFit)
            else _curves(fit, draws, forecast, decision, whose)
        )
    except BayescaleError as error:
        return f"No curve is shown: {str(error).splitlines()[0]}"


def along_of(fit: Fit) -> str:
    """The horizontal axis: the law's only covariate, or compute."""
    columns = columns_of(fit)
    return columns[0] if len(columns) == 1 or "flops" not in fit.data.table else "flops"


def _curves(fit: Fit, draws: xr.Dataset, forecast: pd.DataFrame, decision: Decision, whose: str) -> Picture | str:
    along, coords = along_of(fit), {str(c): v.to_numpy() for c, v in draws.coords.items() if v.dims == ("point",)}
    where = complete({c: v.astype(float) for c, v in coords.items() if c in (*LINKED, along)}, [along, "tokens_per_param"])
    shown, labels = _same_groups(fit, coords)
    groups = shown.drop_duplicates(list(fit.model.group_columns)) if fit.model.group_columns else shown.iloc[:1]
    if len(groups) > MOST_CURVES:
        return f"No curve is shown: the fit has {len(groups)} groups, and none of them is that of the run asked for."
    if along not in where:
        return f"No curve is shown: the runs asked for do not say their {along}."
    held: dict[str, Any] = dict(labels)
    ratio = where.get("tokens_per_param")
    if (
        along == "flops"
        and set(columns_of(fit)) == {"params", "tokens"}
        and ratio is not None
        and np.ptp(ratio) < 1e-6 * ratio.max()
    ):
        held["tokens_per_param"] = float(ratio[0])
    x, target, first = where[along], decision.line, forecast.iloc[0]
    largest = shown[along].max()
    beyond = float(np.clip(1.6 * x.max() / _least_end(shown, fit, along), 2.0, 1e9))

    def draw(ax: Axes) -> None:
        plot_fit(
            fit, along=along, by="family" if "family" in fit.data.groups else None, at=held, beyond=beyond, prob=PROB, ax=ax
        )
        middle = forecast["median"].to_numpy()
        gaps = np.nan_to_num(np.abs(forecast[["lower", "upper"]].to_numpy().T - middle), posinf=0.0)
        ax.errorbar(x, middle, yerr=gaps, fmt="D", color="black", markersize=5, capsize=4, linewidth=1.6, zorder=5)
        ax.axhline(target.value, color="black", linewidth=1.1, linestyle=(0, (1, 2)))
        ax.annotate(
            f"target {target.value:g}", (0.01, target.value), xycoords=("axes fraction", "data"), fontsize=8, va="bottom"
        )
        sides: tuple[tuple[Literal["x", "y"], str], ...] = (("x", along), ("y", fit.response))
        for side, name in sides:
            if (ax.get_xscale() if side == "x" else ax.get_yscale()) == "log":
                log_axis(ax, side, name)  # the range is another now, and so are its round numbers

    ratio_said = ", ".join(f"{number(x_ / largest, 3)} times" for x_ in x[:3])
    alt = (
        f"{fit.response} against {along}: {len(shown)} fitted runs, the curve of the law with its {BAND} band, and "
        f"the run asked for at {ratio_said} the largest fitted {along}: median {number(first['median'])}, interval "
        f"{number(first['lower'])} to {number(first['upper'])}, beside the target of {number(target.value)}."
    )
    at_ratio = (
        f" Curves at {number(held['tokens_per_param'])} tokens per parameter, as asked." if "tokens_per_param" in held else ""
    )
    caption = (
        f"How the forecast comes about{whose}: the fitted runs (coloured), the law and its {BAND} band, dashed beyond "
        f"the runs; black: the run asked for and the target.{at_ratio}"
    )
    return Picture("curve", drawn(draw, 5.2, 3.5), alt, caption, 5.2)


def _least_end(shown: pd.DataFrame, fit: Fit, along: str) -> float:
    """The largest run of the group whose largest run is smallest: from there each curve must reach the run asked for."""
    columns = list(fit.model.group_columns)
    return float(shown.groupby(columns)[along].max().min() if columns else shown[along].max())


def _same_groups(fit: Fit, coords: dict[str, np.ndarray]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The fitted runs of the groups of the points, and their labels; a group that was not fitted narrows nothing."""
    shown, labels = fit.data.table, dict[str, Any]()
    for column in fit.model.group_columns:
        asked = {str(v) for v in coords.get(column, ())}
        kept = shown[shown[column].astype(str).isin(asked)]
        if len(kept):
            shown, labels[column] = kept, sorted(set(kept[column].astype(str)))
    return shown, labels


def _capability(fit: CapabilityFit, draws: xr.Dataset, decision: Decision) -> Picture:
    task, family = (str(draws.coords[c].to_numpy()[0]) if c in draws.coords else "" for c in ("task", "family"))
    families = [family] if family in fit.binding.families else None
    compute = draws.coords["flops"].to_numpy().astype(float) if "flops" in draws.coords else np.array([np.nan])
    models = fit.data.table.drop_duplicates("model")["flops"]
    beyond = float(np.clip(1.6 * np.nanmax([*compute, 0.0]) / models.max(), 2.0, 1e9))

    def draw(ax: Axes) -> None:
        plot_task(fit, task, families=families, beyond=beyond, prob=PROB, ax=ax)
        ax.axhline(decision.line.value, color="black", linewidth=1.1, linestyle=(0, (1, 2)))
        ax.annotate(
            f"target {decision.line.value:g}",
            (0.99, decision.line.value),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            ha="right",
            va="bottom",
        )

    whose = f"a new model of {family}" if families else "a model of a new family"
    alt = f"{ACCURACY} on {task} against training compute: fitted scores, and the median and {BAND} band of {whose}."
    caption = f"Accuracy on {task} along training compute, for {whose}; dashed beyond the fitted models. Dotted: the target."
    return Picture("curve", drawn(draw, 6.2, 3.6), alt, caption, 6.2)


def calibration_picture(backtest: Backtest) -> Picture:
    """Whether intervals covered what came."""
    found = backtest.coverage(PROB)
    alt = (
        f"Share of held-out {backtest.what} inside intervals of each probability, beside the diagonal of calibrated "
        f"forecasts and the band that chance allows; {BAND} intervals covered {percent(found)}."
    )
    caption = "On the diagonal forecasts are calibrated; below it they were too sure of themselves. Grey: what chance allows."
    return Picture("calibration", drawn(lambda ax: plot_calibration(backtest, ax=ax), 4.4, 4.3), alt, caption, 4.4)


def crossover_picture(draws: xr.Dataset, names: tuple[str, str], said: str) -> Picture:
    """Which of two is better at which scale."""
    alt = f"Probability that {names[1]} is better than {names[0]} along {draws.attrs['along']}. {said}"
    caption = f"P({names[1]} is better than {names[0]}); the band is the {BAND} interval of the crossing."

    def draw(ax: Axes) -> None:
        plot_crossover(draws, names=names, prob=PROB, ax=ax)
        ax.set_title("", loc="left")  # names of any length stand below
        ax.set_ylabel("probability that it is better")

    svg = drawn(draw, 5.2, 3.0)
    return Picture("crossover", svg, alt, caption, 5.2)

"""What a model of capability found: families in the plane of the factors, a task along compute, loadings of the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.core.errors import SpecError, unknown
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit
from bayescale.models.evals_binding import prompting
from bayescale.plots.style import COLOURS, FAINT, GREY, MARKERS, log_axis, new_axes, tidy, wrapped
from bayescale.prediction.predict import predict
from bayescale.prediction.summary import summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points of a curve inside the data, and of its part beyond them.
INSIDE, OUTSIDE = 25, 15
#: Families that have a colour and a name where none are asked for.
NAMED = 12
#: What a family that was not fitted is called.
NEW = "a new family"
CURVE, SCORE, HELD_BACK, CHANCE, CEILING = "curve", "score", "held back", "chance", "ceiling"


def capability_table(fit: CapabilityFit, *, prob: float = 0.9) -> pd.DataFrame:
    """Capability of every fitted model.

    Parameters
    ----------
    fit : CapabilityFit
    prob : float
        Probability of the equal-tailed credible intervals.

    Returns
    -------
    DataFrame
        One row a model, families in alphabetical order and their models from small to large: ``family``, ``model``, ``params``,
        ``tokens``, ``flops``, and for each factor ``k`` the median ``factor_k`` with ``factor_k_lower``, ``factor_k_upper``, in
        logits of a task whose loading is 1.
    """
    _is_share(prob)
    known = fit.data.table.drop_duplicates("model").set_index("model")[["family", "params", "tokens", "flops"]]
    draws = fit.latents["capability"]
    table = known.loc[[str(m) for m in draws["model"].to_numpy()]].rename_axis("model").reset_index()
    table = table[["family", "model", "params", "tokens", "flops"]]
    for k in range(fit.model.factors):
        values = np.quantile(draws.isel(factor=k).to_numpy(), _levels(prob), axis=(0, 1))
        for name, value in zip((f"factor_{k + 1}", f"factor_{k + 1}_lower", f"factor_{k + 1}_upper"), values, strict=True):
            table[name] = value
    return table.sort_values(["family", "params", "flops", "model"], kind="stable").reset_index(drop=True)


def plot_capability(
    fit: CapabilityFit, *, prob: float = 0.9, families: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Families as paths from their smallest model (open) to their largest, in the plane of the first two factors.

    With one factor: capability against training compute, with intervals; models of unknown compute are left out.

    Parameters
    ----------
    fit, prob
        As in :func:`capability_table`, which gives the numbers drawn here.
    families : sequence of str, optional
        Those with a colour and a name, the others are grey; by default the twelve with most models.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    table = capability_table(fit, prob=prob)
    plane = fit.model.factors > 1
    x, y = ("factor_1", "factor_2") if plane else ("flops", "factor_1")
    shown = table.dropna(subset=[x, y])
    styles = _styles(shown, families, fit.binding.families)
    ax = new_axes(ax, 8.0, 5.0)
    for family, rows in shown.groupby("family"):
        colour, marker, order = styles.get(str(family), (FAINT, "o", 1.5))
        path = rows[x].to_numpy(), rows[y].to_numpy()
        ax.plot(*path, color=colour, linewidth=1.1, zorder=order)
        if not plane:
            for row in rows.to_dict("records"):
                ax.plot([row[x]] * 2, [row[f"{y}_lower"], row[f"{y}_upper"]], color=colour, linewidth=0.8, zorder=order)
        ax.plot(*path, marker, color=colour, markersize=5.5, linestyle="none", zorder=order)
        if len(rows) > 1:
            ax.plot(path[0][:1], path[1][:1], marker, color=colour, markerfacecolor="white", markersize=5.5, zorder=order + 0.1)
    anchors = fit.binding.tasks
    if plane:
        ax.set_xlabel(f"capability, factor 1 (its anchor: {anchors[0]})")
        ax.set_ylabel(f"capability, factor 2 (its anchor: {anchors[1]})")
    else:
        log_axis(ax, "x", "flops")
        ax.set_xlabel("training compute (flops)")
        ax.set_ylabel(f"capability (logits of {anchors[0]})")
    said = "medians of the models" if plane else f"medians and {prob:.0%} intervals"
    ax.set_title(f"{said}\nfamilies from their smallest model (open) to their largest", loc="left", fontsize=9)
    tidy(ax)
    _legend(ax, styles, others=bool(set(shown["family"]) - set(styles)))
    return ax


def task_table(
    fit: CapabilityFit,
    task: str,
    *,
    families: Sequence[str] | None = None,
    prompt: str | None = None,
    beyond: float = 10.0,
    prob: float = 0.9,
    held_back: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Accuracy of one task along training compute: what a new model would score, and what models scored.

    Parameters
    ----------
    fit : CapabilityFit
    task : str
    families : sequence of str, optional
        Fitted families with a curve each; by default one curve of a family that was not fitted.
    prompt : str, optional
        Way of prompting of the curves, and of the scores shown; by default the commonest one for curves, and all scores.
    beyond : float
        Curves go on to so many times the largest compute of the fitted models: of the family, or of all.
    prob : float
        Probability of the equal-tailed interval of a new model's score.
    held_back : DataFrame, optional
        Scores that were not fitted, in the columns of :class:`Evals`, shown beside.

    Returns
    -------
    DataFrame
        ``curve`` (family), ``kind`` (``"curve"``, ``"score"``, ``"held back"``, ``"chance"``, ``"ceiling"``), ``params``,
        ``tokens``, ``flops``, ``accuracy`` (median of a curve and of the ceiling, else what is known), ``lower``, ``upper`` and
        ``extrapolated`` (beyond the compute of the fitted models). Size and data move along a curve as they do in its family:
        along the line through its models in log-log.

    Raises
    ------
    SpecError
        When the task, a family or the way of prompting is unknown, or no model with a score has known compute.
    """
    _is_share(prob)
    faults = [] if task in fit.binding.tasks else [unknown("task", task, fit.binding.tasks)]
    faults += [unknown("family", f, fit.binding.families) for f in families or () if f not in fit.binding.families]
    ways = sorted({str(way) for way in prompting(fit.data.table)} - {""})
    faults += [unknown("way of prompting", prompt, ways)] if prompt is not None and prompt not in ways else []
    faults += [f"beyond is at least 1, got {beyond}"] if not beyond >= 1 else []
    if faults:
        raise SpecError("; ".join(faults))
    models = fit.data.table.drop_duplicates("model").dropna(subset=["flops"])
    lacking = [f for f in families or () if f not in set(models["family"])]
    if lacking or models.empty:
        raise SpecError(f"training compute is not known of any model of {', '.join(lacking) or 'the table'}")
    parts = [
        _path(models[models["family"] == family] if family in fit.binding.families else models, models, family, beyond)
        for family in families or (NEW,)
    ]
    curves = pd.concat(parts, ignore_index=True)
    at = curves[["params", "tokens", "flops"]].assign(family=curves["curve"], task=task, prompt=prompt or "")
    said = summarize(predict(fit, at), prob=prob)
    curves = curves.assign(accuracy=said["median"], lower=said["lower"], upper=said["upper"])
    ceiling = np.quantile(fit.posterior["ceiling"].sel(task=task).to_numpy(), _levels(prob))
    chance = float(np.asarray(fit.binding.design.chance)[fit.binding.tasks.index(task)])
    lines = pd.DataFrame({"kind": [CHANCE, CEILING], ACCURACY: [chance, ceiling[0]], "lower": [np.nan, ceiling[1]]})
    parts = [curves, _scores(fit.data.table, task, prompt, SCORE)]
    if held_back is not None:
        parts.append(_scores(_not_fitted(held_back), task, prompt, HELD_BACK))
    table = pd.concat([*parts, lines.assign(curve="", upper=[np.nan, ceiling[2]], extrapolated=False)], ignore_index=True)
    return table[["curve", "kind", "params", "tokens", "flops", ACCURACY, "lower", "upper", "extrapolated"]]


def plot_task(
    fit: CapabilityFit,
    task: str,
    *,
    families: Sequence[str] | None = None,
    prompt: str | None = None,
    beyond: float = 10.0,
    prob: float = 0.9,
    held_back: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Accuracy of one task against training compute: median and interval of a new model, scores, chance and ceiling.

    Parameters
    ----------
    fit, task, families, prompt, beyond, prob, held_back
        As in :func:`task_table`, which gives the numbers drawn here. Scores of families that are not asked for are grey; where
        none are, the twelve with most scores have colours.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    table = task_table(fit, task, families=families, prompt=prompt, beyond=beyond, prob=prob, held_back=held_back)
    scores = table[table["kind"].isin([SCORE, HELD_BACK])].dropna(subset=["flops"])
    styles = _styles(scores.rename(columns={"curve": "family"}), families, fit.binding.families)
    ax = new_axes(ax, 8.0, 4.5)
    for kind, place in ((CHANCE, "top"), (CEILING, "bottom")):
        level = float(table.loc[table["kind"] == kind, ACCURACY].iloc[0])
        ax.axhline(level, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)) if kind == CHANCE else (0, (5, 3)), zorder=1.2)
        ax.annotate(kind, (0.01, level), xycoords=("axes fraction", "data"), fontsize=7.5, color=GREY, va=place, zorder=3)
    for name, curve in table[table["kind"] == CURVE].groupby("curve", sort=False):
        colour = styles[str(name)][0] if families else "black"
        ax.fill_between(curve["flops"], curve["lower"], curve["upper"], color=colour, alpha=0.13, linewidth=0)
        inside = curve[~curve["extrapolated"]]
        ax.plot(inside["flops"], inside[ACCURACY], color=colour, linewidth=1.4)
        # The dashes start at the last point inside, so that the curve has no gap.
        outside = curve.iloc[max(len(inside) - 1, 0) :]
        ax.plot(outside["flops"], outside[ACCURACY], color=colour, linewidth=1.4, linestyle=(0, (4, 2)))
    for (family, what), rows in scores.groupby(["curve", "kind"]):
        colour, marker, order = styles.get(str(family), (FAINT, "o", 1.5))
        fill = "white" if what == HELD_BACK else colour
        at = rows["flops"], rows[ACCURACY]
        ax.plot(*at, marker, color=colour, markersize=5, markerfacecolor=fill, linestyle="none", zorder=order)
    log_axis(ax, "x", "flops")
    ax.set_ylim(-0.06, 1.06)
    ax.set_xlabel("training compute (flops)")
    ax.set_ylabel(f"accuracy: {task}" + (f" ({prompt})" if prompt else ""))
    whose = "a new model" if families else "a new family's model"
    said = f"median and {prob:.0%} interval of {whose}\ndashed: beyond the fitted models"
    ax.set_title(said + ("; open: held back" if held_back is not None else ""), loc="left", fontsize=9)
    tidy(ax)
    _legend(ax, styles, others=bool(set(scores["curve"]) - set(styles)))
    return ax


def loadings_table(fit: CapabilityFit, *, prob: float = 0.9) -> pd.DataFrame:
    """How the tasks depend on the factors.

    Parameters
    ----------
    fit : CapabilityFit
    prob : float
        Probability of the equal-tailed credible intervals.

    Returns
    -------
    DataFrame
        One row a task and factor, anchors first, then by the loading on the first factor: ``task``, ``factor``, ``scores`` (how
        many the task has), ``free`` (whether the loading is estimated: those of anchors are fixed), ``median``, ``lower``,
        ``upper``, in logits of the task per unit of capability.
    """
    _is_share(prob)
    draws = fit.posterior["loading"].transpose(CHAIN, DRAW, "task", "factor").to_numpy()
    median, lower, upper = np.quantile(draws, _levels(prob), axis=(0, 1))
    counts, free = fit.data.table["task"].value_counts(), fit.binding.free["loading"]
    first, rest = list(range(fit.model.factors)), range(fit.model.factors, len(fit.binding.tasks))
    order = first + sorted(rest, key=lambda i: -median[i, 0])
    names = fit.binding.tasks
    rows = [
        (names[i], k + 1, int(counts[names[i]]), bool(free[i, k]), median[i, k], lower[i, k], upper[i, k])
        for i in order
        for k in range(fit.model.factors)
    ]
    return pd.DataFrame(rows, columns=["task", "factor", "scores", "free", "median", "lower", "upper"])


def plot_loadings(fit: CapabilityFit, *, prob: float = 0.9, ax: Axes | None = None) -> Axes:
    """Forest plot of the loadings by task, one colour a factor; those that the model fixes are open.

    Parameters
    ----------
    fit, prob
        As in :func:`loadings_table`, which gives the numbers drawn here.
    ax : Axes, optional
        Where to draw; by default a new figure, tall enough for its tasks.
    """
    table = loadings_table(fit, prob=prob)
    tasks, factors = list(dict.fromkeys(table["task"])), fit.model.factors
    ax = new_axes(ax, 7.0, 1.3 + (0.2 + 0.09 * factors) * len(tasks))
    ax.axvline(0.0, color=GREY, linewidth=0.8)
    for row in table.to_dict("records"):
        colour, marker = COLOURS[row["factor"] - 1], MARKERS[row["factor"] - 1]
        height = -tasks.index(row["task"]) - 0.6 * ((row["factor"] - 0.5) / factors - 0.5)
        fill = colour if row["free"] else "white"
        ax.plot([row["lower"], row["upper"]], [height, height], color=colour, linewidth=1.5, solid_capstyle="butt")
        ax.plot(row["median"], height, marker, color=colour, markersize=4.5, markerfacecolor=fill)
    ax.set_yticks([-i for i in range(len(tasks))], [wrapped(task, 34) for task in tasks], fontsize=8.5)
    ax.set_ylim(-len(tasks) + 0.4, 0.6)
    ax.set_xlabel("loading (logits of the task per unit of capability)")
    ax.set_title(f"median and {prob:.0%} interval; open: fixed by the model", loc="left", fontsize=9)
    tidy(ax, grid="x")
    ax.spines["left"].set_color(FAINT)
    ax.tick_params(axis="y", length=0)
    if factors > 1:
        _legend(ax, {f"factor {k + 1}": (COLOURS[k], MARKERS[k], 2.0) for k in range(factors)}, others=False)
    return ax


def _is_share(prob: float) -> None:
    if not 0 < prob < 1:
        raise SpecError(f"prob lies between 0 and 1, got {prob}")


def _levels(prob: float) -> list[float]:
    return [0.5, (1 - prob) / 2, (1 + prob) / 2]


def _not_fitted(table: pd.DataFrame) -> pd.DataFrame:
    """Scores that are only shown: few enough of a task that no table to be fitted may have them."""
    lacking = [name for name in ("family", "task", ACCURACY) if name not in table]
    if lacking:
        raise SpecError(f"held_back has no column {', '.join(map(repr, lacking))}")
    labels = {name: table[name].fillna("").astype(str) if name in table else "" for name in ("prompt", "shots")}
    numbers = {name: table[name].astype(float) if name in table else np.nan for name in ("params", "tokens", "flops")}
    table = table.assign(**labels, **numbers)
    return table.assign(flops=table["flops"].fillna(FLOP_PER_PARAM_TOKEN * table["params"] * table["tokens"]))


def _scores(table: pd.DataFrame, task: str, prompt: str | None, kind: str) -> pd.DataFrame:
    """Scores of one task as rows of the table of a figure."""
    rows = table[table["task"] == task]
    rows = rows if prompt is None else rows[prompting(rows) == prompt]
    rows = rows[["family", "params", "tokens", "flops", ACCURACY]].rename(columns={"family": "curve"})
    return rows.assign(kind=kind, lower=np.nan, upper=np.nan, extrapolated=False)


def _path(models: pd.DataFrame, everyone: pd.DataFrame, name: str, beyond: float) -> pd.DataFrame:
    """Size, data and compute along a curve: those of the family's models, or of all where the family has one size."""
    low, high = models["flops"].min(), models["flops"].max()
    low = everyone["flops"].min() if low == high else low
    inside = np.geomspace(low, high, INSIDE) if high > low else np.array([high])
    # geomspace rounds its ends, and the largest model must not count as beyond itself.
    inside[-1] = high
    flops = np.concatenate([inside, np.geomspace(high, high * beyond, OUTSIDE + 1)[1:] if beyond > 1 else []])
    known = models.dropna(subset=["params"])
    guide = known if known["flops"].nunique() > 1 else everyone.dropna(subset=["params"])
    if known.empty or guide["flops"].nunique() < 2:
        params = np.full(len(flops), np.nan)
    else:
        slope = float(np.polyfit(np.log(guide["flops"]), np.log(guide["params"]), 1)[0])
        x, y = (float(np.log(known[name].to_numpy(float)).mean()) for name in ("flops", "params"))
        params = np.exp(y + slope * (np.log(flops) - x))
    table = pd.DataFrame({"curve": name, "kind": CURVE, "params": params, "flops": flops, "extrapolated": flops > high})
    return table.assign(tokens=table["flops"] / (FLOP_PER_PARAM_TOKEN * table["params"]))


def _styles(table: pd.DataFrame, families: Sequence[str] | None, known: Sequence[str]) -> dict[str, tuple[str, str, float]]:
    """Colour, marker and height above the page of each family that has a name."""
    wrong = [unknown("family", family, known) for family in families or () if family not in known]
    if wrong:
        raise SpecError("; ".join(wrong))
    most = table["family"].value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:NAMED]
    names = sorted(map(str, most)) if families is None else list(dict.fromkeys(families))
    # By their place among all that were fitted, so that a family looks alike in all figures of a fit.
    places = {name: i for i, name in enumerate([*known, *(name for name in names if name not in known)])}
    return {name: (COLOURS[places[name] % len(COLOURS)], MARKERS[places[name] % len(MARKERS)], 2.0) for name in names}


def _legend(ax: Axes, styles: dict[str, tuple[str, str, float]], *, others: bool) -> None:
    """Names right of the axes."""
    from matplotlib.lines import Line2D

    shown = {wrapped(name, 24): (colour, marker) for name, (colour, marker, _) in styles.items()}
    shown |= {"others": (FAINT, "o")} if others else {}
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.1, label=name)
        for name, (colour, marker) in shown.items()
    ]
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False, borderaxespad=0.0)

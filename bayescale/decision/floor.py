"""``check_floor``: whether any scale meets a target, or the floor of the law lies above it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bayescale.core.findings import Finding, Review, Status
from bayescale.core.names import COVARIATES
from bayescale.core.targets import Target, Threshold, as_target
from bayescale.infer.fit import Fit
from bayescale.prediction.mixing import Labels, answers, fits_of, selected_rows, source
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.points import LINKED, At, Fitted, columns_of, columns_to_forecast, read_points
from bayescale.prediction.values import law_values

Array = NDArray[np.float64]

#: The floor is read from the law at so many times the scale of the points.
FAR = 1e12
#: Share of draws whose floor misses the target, from which on that is worth a look, and from which on no scale will help.
SOME, MOST = 0.05, 0.5


def check_floor(fit: Fitted, target: str | float | Target | Threshold, at: At | None = None, *, seed: int = 0) -> Finding:
    """Whether the floor of the law lies beyond a target, so that no scale meets it.

    Asked of the law at 1e12 times the covariates of the points (of a ratio such as tokens_per_param, and of what the law takes
    as it is, at those of the points), without noise and discrepancy.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    target : str, float or Threshold
        As of :func:`scale_for`.
    at : DataFrame or dict, optional
        The points that the target is for, as of :func:`predict`; by default the fitted runs. Of several, the worst counts.
    seed : int
        The same seed gives the same draws (of unseen groups).

    Returns
    -------
    Finding
        The share of the draws in which the target lies beyond the floor: PASS below 5 %, REVIEW from there on. NOT_ASSESSED
        where the law takes more than the scales of a run, such as a learning rate, whose best moves with scale, or experts.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> found = bs.check_floor(fitted, "loss<=0.1")
    >>> found.status, found.value
    (<Status.REVIEW: 'REVIEW'>, 1.0)
    """
    goal = as_target(target, source(fit).response)
    if beside := _beside(fit):
        told = f"not assessed: the law takes {', '.join(beside)} too, and what is reached at any scale depends on that"
        return Finding("floor", Status.NOT_ASSESSED, told)
    found = answers(fit, seed, lambda one, labels: _limit(one, labels, at, seed))
    limits = list(found.of.values())
    if found.members is None:
        floors = limits[0]
    else:
        floors = np.empty((len(found.members.which), limits[0].shape[1]))
        for i, one in enumerate(limits):
            here = found.members.which == i
            floors[here] = one[found.members.place[here]]
    beyond = (~goal.met(floors)).any(axis=1)
    share = float(beyond.mean())
    far = floors.max(axis=1) if "<" in goal.op else floors.min(axis=1)
    middle = f"its median is {np.median(far):.4g}"
    if share < SOME:
        return Finding("floor", Status.PASS, f"the floor of the law allows {goal} ({middle})", share, SOME)
    side = "below" if "<" in goal.op else "above"
    told = f"the target {goal} lies {side} what any scale reaches in {share:.0%} of the draws: the floor of the law, {middle}"
    advice = "No larger run is likely to meet it: change the target, the data or the method, or see that the floor is right."
    if share < MOST:
        advice = "A larger run may not be enough: the floor is not known well, and runs at larger scales would tell it."
    return Finding("floor", Status.REVIEW, told, share, SOME, advice)


def why_missed(fit: Fitted, targets: Iterable[Target], at: At | None = None, *, seed: int = 0) -> Review:
    """Why targets are missed: the findings of :func:`check_floor` about them, none of one that the floor allows."""
    found = (check_floor(fit, target, at, seed=seed) for target in targets)
    return Review(tuple(floor for floor in found if floor.status is Status.REVIEW))


def _beside(fit: Fitted) -> list[str]:
    """Columns that a law takes beside the scales of a run, and that cost no compute of their own."""
    found: dict[str, None] = {}
    for one in fits_of(fit):
        axes = one.binding.axes
        others = [column for covariate, column in axes.items() if not {covariate, column} & {*LINKED, *COVARIATES}]
        found |= dict.fromkeys(others if len(others) < len(axes) else ())
    return list(found)


def _limit(fit: Fit, labels: Labels, at: At | None, seed: int) -> Array:
    """The law at unlimited scale, shape (draw, point)."""
    binding, law = fit.binding, fit.model.law
    table = fit.data.table if at is None else read_points(fit, at, labels, columns_to_forecast(fit))
    if at is None:
        table = table[selected_rows(table, labels)].drop_duplicates(
            [c for c in (*fit.model.group_columns, *columns_of(fit)) if c in table]
        )
    stay = {LINKED[-1], *(binding.axes[c] for c in law.absolute)}
    ratios = {
        c: table[column].to_numpy(float) / binding.reference[c] * (1.0 if column in stay else FAR)
        for c, column in binding.axes.items()
    }
    drawn = parameter_draws(fit, table, generator(seed, 0))
    values = law_values(law, ratios, drawn)
    return values.reshape(-1, values.shape[-1])

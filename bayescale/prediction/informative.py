"""Which benchmarks tell of a task, and which of two models is better on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import logit

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.infer.evals_fit import ACCURACY, CapabilityFit
from bayescale.models.capability_values import cells_of
from bayescale.models.eval_noise import moments
from bayescale.prediction.predict import Kind, check_kind
from bayescale.prediction.score_curves import flat_parameters, new_model_points, of_task, require_scores
from bayescale.prediction.scores import asked_at, score_draws


class Better(NamedTuple):
    """A probability, and its Monte Carlo standard error."""

    probability: float
    mcse: float


def informative_tasks(fit: CapabilityFit, task: str, *, share: float = 0.5, prob: float = 0.9) -> pd.DataFrame:
    """How much a score on each other task would tell of a new model's ability at one.

    Of a model of known size whose family is not known, the logit of the task has variance ``V = l' S l + t^2``, where l are the
    task's loadings, S = diag(family_sd² + model_sd²), t the spread of families' effects on it. A score on another task,
    linearised about a stated accuracy, observes that task's logit with variance ``R = t'^2 + sd(score)^2 / slope^2``, and takes
    away the share ``(l' S l')^2 / (V (l'' S l' + R))`` of V: exact in that linear Gaussian form, draw by draw.

    Parameters
    ----------
    fit : CapabilityFit
    task : str
        The task that is to be known.
    share : float
        Where the score on the other task lies, as a share of the way from its floor to its ceiling: noise hides most near the
        ends.
    prob : float
        Probability of the credible interval.

    Returns
    -------
    DataFrame
        A row a task, best first: ``median``, ``lower`` and ``upper`` of the share of variance, from 0 to 1; ``scores``, how
        many the fit has of it.

    Raises
    ------
    SpecError
        When there is no such task, or share or prob is not between 0 and 1.

    Examples
    --------
    Tests skip the fit, which takes minutes, and what follows it.

    >>> import bayescale as bs
    >>> table = bs.load_dataset("benchmark_accuracy", evals=True)
    >>> tasks = ["HellaSwag", "PIQA", "Winogrande", "ARC-E"]
    >>> fitted = bs.fit(bs.CapabilityModel(1), table[table.task.isin(tasks)])  # doctest: +SKIP
    >>> sorted(bs.informative_tasks(fitted, "PIQA").index)  # doctest: +SKIP
    ['ARC-E', 'HellaSwag', 'Winogrande']
    """
    fit = require_scores(fit, "informative_tasks")
    of_task(fit, task)
    for name, value in (("share", share), ("prob", prob)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < 1:
            raise SpecError(f"{name} lies between 0 and 1, both excluded; got {value!r}")
    parameters, tasks = flat_parameters(fit), fit.binding.tasks
    asked = asked_at(fit, new_model_points(fit, {"task": list(tasks)}))
    loading = parameters["loading"]
    spread = parameters["family_sd"] ** 2 + parameters["model_sd"] ** 2
    own = parameters["task_sd"] ** 2 if "task_sd" in parameters else np.zeros(loading.shape[:2])
    common = np.einsum("stk,sk,suk->stu", loading, spread, loading)
    cells = cells_of(parameters, asked)
    _, slope, variance = moments(np, np.full(loading.shape[:2], logit(share)), cells)
    seen = np.diagonal(common, axis1=1, axis2=2) + own + variance / slope**2
    i = tasks.index(task)
    told = common[:, i] ** 2 / ((common[:, i, i] + own[:, i])[:, None] * seen)
    lower, median, upper = np.quantile(told, [(1 - prob) / 2, 0.5, (1 + prob) / 2], axis=0)
    counts = fit.data.table["task"].value_counts().reindex(list(tasks)).to_numpy()
    columns = {"median": median, "lower": lower, "upper": upper, "scores": counts}
    table = pd.DataFrame(columns, index=pd.Index(tasks, name="task")).drop(index=task)
    return table.sort_values("median", ascending=False, kind="stable")


def p_better(
    fit: CapabilityFit,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    task: str,
    *,
    kind: Kind = "response",
    item_correlation: float = 0.5,
    seed: int = 0,
) -> Better:
    """Probability that one model scores higher than another on a task.

    From draws of both together, so that what is uncertain of the task for both cancels; equal scores count half, so that
    ``p_better(fit, a, b, task)`` and ``p_better(fit, b, a, task)`` add up to 1. Scores on the same items share noise, since an
    item that is hard for one model is hard for the other: they are paired, not independent :cite:p:`miller2024`.

    Parameters
    ----------
    fit : CapabilityFit
    a, b : dict
        One model each: ``model`` (a fitted one), or ``family``, ``params``, ``tokens`` or ``flops`` as far as they are known;
        ``prompt``, ``eval_source``, ``n_items``. Two new models of one family and size need labels (``model``) of their own,
        or they are one.
    task : str
        A fitted task.
    kind : {"response", "mean"}
        Scores with their noise, or the accuracies that they are scores of.
    item_correlation : float
        Correlation over the items between one model being right and the other, from 0 (other items for each) to below 1. The
        default is an assumption: take yours from scores item by item. It counts where both have the same number of items.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Better
        ``probability`` and ``mcse``.

    Raises
    ------
    DataError, SpecError
        When a model, the task, the kind or the correlation makes no sense.

    Examples
    --------
    Tests skip the fit, which takes minutes, and what follows it.

    >>> import bayescale as bs
    >>> table = bs.load_dataset("benchmark_accuracy", evals=True)
    >>> tasks = ["HellaSwag", "PIQA", "Winogrande", "ARC-E"]
    >>> fitted = bs.fit(bs.CapabilityModel(1), table[table.task.isin(tasks)])  # doctest: +SKIP
    >>> large, small = ({"family": "Pythia", "params": n, "tokens": 3e11} for n in (3e10, 1e9))  # doctest: +SKIP
    >>> bs.p_better(fitted, large, small, "PIQA").probability > 0.9  # doctest: +SKIP
    True
    """
    fit = require_scores(fit, "p_better")
    of_task(fit, task)
    check_kind(kind)
    known = isinstance(item_correlation, int | float | np.number) and not isinstance(item_correlation, bool)
    if not known or not 0 <= item_correlation < 1:
        raise SpecError(f"item_correlation lies from 0 to below 1, got {item_correlation!r}")
    for name, point in (("a", a), ("b", b)):
        if not isinstance(point, Mapping) or not all(isinstance(v, str) or np.ndim(v) == 0 for v in point.values()):
            raise SpecError(
                f"{name} is one model, such as {{'family': 'Pythia', 'params': 1e10, 'tokens': 3e11}}; got {point!r}"
            )
    rows = [{**{str(k): v for k, v in point.items()}, "task": task} for point in (a, b)]
    # In one order whichever comes first: the noise of a point depends on its place.
    turned = repr(sorted(rows[0].items())) > repr(sorted(rows[1].items()))
    at = pd.DataFrame(rows[::-1] if turned else rows)
    drawn = (
        score_draws(fit, at, kind, "population", seed, item_correlation=item_correlation)[ACCURACY]
        .transpose(CHAIN, DRAW, ...)
        .to_numpy()
    )
    first, second = (drawn[..., 1], drawn[..., 0]) if turned else (drawn[..., 0], drawn[..., 1])
    higher = (first > second) + 0.5 * (first == second)
    return Better(float(higher.mean()), _mcse(higher, first - second))


def _mcse(higher: np.ndarray, gap: np.ndarray) -> float:
    """Monte Carlo error of the mean of draws (chain, draw); by the rule of three where all agree, as :func:`decide` has it."""
    from arviz_stats.base import array_stats  # costs a second to import

    if np.ptp(higher) > 0:
        return float(array_stats.mcse(higher, chain_axis=0, draw_axis=1, method="mean"))
    size = float(array_stats.ess(gap, chain_axis=0, draw_axis=1, method="bulk")) if np.ptp(gap) > 0 else np.nan
    return 1.5 / (min(size, gap.size) if np.isfinite(size) else gap.size)

"""``stack``: several laws in one go, weighted by their forecasts of runs at larger scales than they had seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from bayescale.core.errors import ConvergenceError, SpecError
from bayescale.data.runs import Runs
from bayescale.evaluate.backtest import backtest
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.mixture import Forecasts, means, score_mixture, together
from bayescale.evaluate.scores import Array
from bayescale.infer.ensemble import Ensemble, unlike_runs
from bayescale.infer.fit import Fit, fit
from bayescale.infer.samplers import Sampler
from bayescale.models.scaling import ScalingModel

#: Rows of the evidence beside those of the candidates.
STACKED, PICKED = "stacked", "picked"

#: Forecasts, spread evenly over the candidates, that the prior of the weights counts as.
PSEUDO_ROWS = 1.0

Candidates = Mapping[str, Fit] | Mapping[str, ScalingModel] | Mapping[str, Fit | ScalingModel]


def stack(
    candidates: Candidates,
    data: pd.DataFrame | Runs | None = None,
    *,
    along: str = "flops",
    cutoffs: int | float | Sequence[float] | None = None,
    by: str | None = None,
    pick: bool = False,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
    strict: bool = True,
) -> Ensemble:
    """Weigh several laws by their forecasts of held-out larger runs, and average them, or pick the best.

    Each candidate is fitted to the runs at or below each cut-off and forecasts those above it, as :func:`backtest` does. The
    weights maximise the mean log score of the mixture over these forecasts :cite:p:`yao2018`. A law with a discrepancy and the
    same law without are candidates like any others.

    Parameters
    ----------
    candidates : mapping of name to Fit or ScalingModel
        Two at least. Models are fitted to ``data`` first.
    data : DataFrame or Runs, optional
        The table; needed where there is a model. Fits must be of its runs; without it theirs are used.
    along, cutoffs, by
        As for :func:`backtest`.
    pick : bool
        All weight to the candidate of the highest mean log score, instead of an average.
    columns, response, seed, sampler, progress
        As for :func:`fit`.
    strict : bool
        Refuse a candidate whose fit to all of the runs misses the convergence rule. Fits of the backtests that miss it count as
        they stand, and their share is in the evidence.

    Returns
    -------
    Ensemble
        With ``evidence``, a row a candidate and two more: ``log_score`` (mean log density of what came, per unit of the
        response, the higher the better), ``rmsle`` of the median, ``coverage_90``, ``width_90`` (log units), ``weight``,
        ``difference`` of the log score to that of the best candidate with its standard error ``difference_se``, and
        ``converged``, the share of the forecasts that are from fits that met the convergence rule. The rows ``stacked`` and
        ``picked`` say what an average, and what the choice of one, would have scored on runs that did not help to choose: their
        weights for the forecasts of one cut-off (with ``by``, of one group) are found from the others; of a single cut-off, row
        by row. ``advice`` says so where an average is worse than the best candidate by more than the standard error.

    Raises
    ------
    SpecError
        When there are fewer than two candidates, one is neither fit nor model, or the table is missing.
    DataError
        When the table has faults, or cannot be cut along the axis.
    ConvergenceError
        When ``strict`` and a fit misses the rule; its ``fit`` holds the draws.

    Notes
    -----
    With m forecasts of which each candidate k gives the log density ``l_ik``, the weights maximise ::

        n * mean_i log(sum_k w_k exp(l_ik)) + sum_k (1 / K) log w_k

    Forecasts from one cut-off miss together, so m of them count as the smaller ``n`` of :attr:`Backtest.effective_n`. The
    second term is a Dirichlet prior that counts as one more forecast, spread evenly over the K candidates: on a few forecasts
    the maximum alone tends to lie in a corner, however small the difference. The prior is soon outweighed; a candidate that is
    always far worse keeps a weight of ``1 / (K (n + 1))``, and ``pick=True`` leaves it none.

    Standard errors are those of a mean of n independent differences. Cut-offs share runs, so the rows ``stacked`` and
    ``picked`` are honest about the cut-off and not quite about the runs; groups (``by``) share none.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> laws = {name: bs.ScalingModel(name, axes={"x": "params"}) for name in ("power_law", "power_law_offset")}
    >>> both = bs.stack(laws, mamba, along="params", cutoffs=1)
    >>> list(both.evidence.index)
    ['power_law', 'power_law_offset', 'stacked', 'picked']
    >>> bs.predict(both, {"params": 7e10})["loss"].dims
    ('chain', 'draw', 'point')
    """
    _check(candidates, data)
    how: dict[str, Any] = {"columns": columns, "response": response, "seed": seed, "sampler": sampler}
    fits = dict(_fitted(candidates, data, how, progress=progress, strict=strict))
    if apart := unlike_runs(fits):
        raise SpecError("stack: " + "; ".join(apart))
    cut = {"along": along, "cutoffs": cutoffs, "by": by, "progress": progress, **how}
    tested = {}
    for name, one in fits.items():
        table = one.data if data is None else data
        tested[name] = backtest(one.model, table, **cut)
    return weigh(fits, tested, pick=pick)


def weigh(fits: Mapping[str, Fit], backtests: Mapping[str, Backtest], *, pick: bool = False) -> Ensemble:
    """The ensemble of fits whose backtests were made already, on the same runs and cut-offs."""
    found = together(backtests)
    chosen = (_pick if pick else stacking_weights)(found.densities, found.size)
    evidence = _evidence(found, chosen, backtests)
    weights = dict(zip(found.names, chosen.tolist(), strict=True))
    return Ensemble(fits, weights, evidence, tuple(_advice(evidence, found.names, pick)))


def stacking_weights(densities: Array, size: float) -> Array:
    """Weights of the mixture of the highest log score, with the light prior of :func:`stack`.

    Parameters
    ----------
    densities : array (forecast, candidate)
        Log densities of what came.
    size : float
        Number of independent forecasts that these count as.

    Returns
    -------
    array (candidate,)
        Above 0, with a sum of 1; all equal where there are no forecasts.

    Examples
    --------
    >>> stacking_weights(np.log([[0.9, 0.1], [0.1, 0.9]]), 2.0).round(3).tolist()
    [0.5, 0.5]
    """
    number, candidates = densities.shape
    even = PSEUDO_ROWS / candidates
    if not number:
        return np.full(candidates, 1 / candidates)

    def loss(logits: Array) -> tuple[float, Array]:
        """What is minimised over logits of the weights, in which it has one stationary point, with its slope."""
        log_w = logits - logsumexp(logits)
        mixed = densities + log_w
        row = logsumexp(mixed, axis=1)
        share = np.exp(mixed - row[:, None]).mean(axis=0)
        slope = size * share + even - (size + PSEUDO_ROWS) * np.exp(log_w)
        return -(size * float(row.mean()) + even * float(log_w.sum())), -slope

    best = minimize(loss, np.zeros(candidates), jac=True, method="BFGS", options={"gtol": 1e-8 * (size + PSEUDO_ROWS)})
    weights: Array = softmax(best.x)
    return weights


def _pick(densities: Array, size: float) -> Array:
    """All weight to the highest mean log density; even weights where there are no forecasts to tell."""
    number, candidates = densities.shape
    if not number:
        return np.full(candidates, 1 / candidates)
    return np.asarray(np.eye(candidates)[int(np.argmax(densities.mean(axis=0)))])


def _evidence(found: Forecasts, chosen: Array, backtests: Mapping[str, Backtest]) -> pd.DataFrame:
    """The table behind the weights."""
    each = np.eye(len(found.names))
    scored = {name: score_mixture(found, each[k]) for k, name in enumerate(found.names)}
    best = max(scored, key=lambda name: float(scored[name]["log_score"].mean()))
    scored |= {STACKED: score_mixture(found, _unseen(found, stacking_weights))}
    scored |= {PICKED: score_mixture(found, _unseen(found, _pick))}
    table = {}
    for name, one in scored.items():
        gap = (one["log_score"] - scored[best]["log_score"]).to_numpy()
        error = float(np.std(gap, ddof=1) / np.sqrt(found.size)) if len(gap) > 1 else np.nan
        told = {"difference": float(gap.mean()), "difference_se": 0.0 if name == best else error}
        if name in backtests:
            told |= {"weight": float(chosen[found.names.index(name)])}
            told |= {"converged": float(backtests[name].points["converged"].mean())}
        table[name] = means(found, one) | told
    order = ["log_score", "rmsle", "coverage_90", "width_90", "weight", "difference", "difference_se", "converged"]
    return pd.DataFrame.from_dict(table, orient="index")[order].rename_axis("candidate")


def _unseen(found: Forecasts, rule: Any) -> Array:
    """Weights (forecast, candidate) for each forecast from those that are not of its part."""
    labels = _parts(found.keys)
    out = np.empty_like(found.densities)
    for label in np.unique(labels):
        here = labels == label
        out[here] = rule(found.densities[~here], found.size * (~here).mean())
    return out


def _parts(keys: pd.DataFrame) -> NDArray[np.int64]:
    """What is left out together: a group, else a cut-off, else a row."""
    for column in keys:
        codes, labels = pd.factorize(keys[column])
        if len(labels) > 1:
            return np.asarray(codes, dtype=np.int64)
    return np.arange(len(keys))


def _advice(evidence: pd.DataFrame, names: Sequence[str], pick: bool) -> Iterator[str]:
    """What the evidence says about averaging."""
    best = str(evidence.loc[list(names), "log_score"].idxmax())
    row = evidence.loc[STACKED].to_dict()
    told = f"by {abs(row['difference']):.3g} nats a run (standard error {row['difference_se']:.2g})"
    if row["difference"] < -row["difference_se"]:
        then = f"pick=True {'has put' if pick else 'puts'} all weight on it"
        yield f"averaging hurts: on held-out larger runs it scores below {best!r} alone, {told}; {then}"
    elif pick and row["difference"] > row["difference_se"]:
        yield f"averaging would help: on held-out larger runs it scores above {best!r} alone, {told}"
    # There is no such number in the last two rows.
    missed = ", ".join(str(name) for name, share in evidence["converged"].items() if share < 1)
    if missed:
        yield f"not every fit of the backtests met the convergence rule ({missed}): the weights rest on these too"


def _check(candidates: object, data: object) -> None:
    if not isinstance(candidates, Mapping):
        raise SpecError(f"stack takes a mapping of name to Fit or ScalingModel, got {type(candidates).__name__}")
    faults = [] if len(candidates) > 1 else [f"there is a choice from two candidates on, got {len(candidates)}"]
    for name, one in candidates.items():
        if not isinstance(name, str) or not name or name in (STACKED, PICKED):
            faults.append(f"a name is text other than {STACKED!r} and {PICKED!r}, which the evidence uses; got {name!r}")
        if not isinstance(one, Fit | ScalingModel):
            faults.append(f"{name!r} is neither Fit nor ScalingModel but {type(one).__name__}")
        elif isinstance(one, ScalingModel) and data is None:
            faults.append(f"{name!r} is a model, to be fitted to a table: stack(candidates, data)")
    if faults:
        raise SpecError("stack: " + "; ".join(faults))


def _fitted(
    candidates: Candidates, data: Any, how: Mapping[str, Any], *, progress: bool, strict: bool
) -> Iterator[tuple[str, Fit]]:
    """Each candidate, fitted: before the backtests, which take longer, so that what cannot be fitted is told at once."""
    for name, one in candidates.items():
        if isinstance(one, Fit):
            yield name, one
            continue
        try:
            yield name, fit(one, data, progress=progress, strict=strict, **how)
        except ConvergenceError as error:
            raise ConvergenceError(f"candidate {name!r}: {error}", error.fit) from error

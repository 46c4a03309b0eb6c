"""How many capability factors: by forecasts of scores that were held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.core.errors import SpecError
from bayescale.core.names import ROW
from bayescale.data.evals import Evals, as_evals
from bayescale.evaluate.backtest import backtest
from bayescale.evaluate.mixture import together
from bayescale.evaluate.scores import Array
from bayescale.evaluate.stacking import stacking_weights
from bayescale.infer.samplers import Sampler
from bayescale.models.capability import CapabilityModel


def compare_factors(
    data: pd.DataFrame | Evals,
    *,
    factors: Sequence[int] = (1, 2, 3),
    model: CapabilityModel | None = None,
    along: str = "flops",
    cutoffs: int | float | Sequence[float] | None = None,
    tasks: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Compare numbers of capability factors by what they forecast of the larger models of a table.

    Scores of the models above each cut-off are hidden from all alike, forecast, and scored, as :func:`backtest` does. So give
    it the models that a later forecast may learn from, and none that it is to be judged by.

    Parameters
    ----------
    data : DataFrame or Evals
    factors : sequence of int
        Numbers to compare, two at least.
    model : CapabilityModel, optional
        What they share; its own number of factors is not used, and of its anchors as many as there are factors.
    along, cutoffs, tasks, columns, seed, sampler, progress
        As of :func:`backtest`.

    Returns
    -------
    DataFrame
        One row a number of factors: ``n`` forecasts; ``log_score``, mean log density of the scores, a unit of accuracy;
        ``difference`` to the best, with its standard error ``se``, models being the unit, whose scores are not independent;
        ``weight`` of a mixture of them all, by stacking :cite:p:`yao2018`; ``error``, the mean absolute error in points;
        ``coverage_90`` and ``width_90``; ``converged``, the share of fits that met the rule; ``chosen``, true of the fewest
        factors whose difference is within one standard error of nought.

    Raises
    ------
    SpecError
        When ``factors`` are not two different numbers at least, a backtest cannot be made, or it hides fewer than two models.

    Examples
    --------
    Fits of scores take minutes:

    >>> import bayescale as bs
    >>> scores = bs.load_dataset("benchmark_accuracy", evals=True)
    >>> bs.compare_factors(scores, factors=(1, 2), cutoffs=1e23)  # doctest: +SKIP
    """
    numbers = list(factors) if not isinstance(factors, str) else []
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) for k in numbers)
    if not whole or len(set(numbers)) < 2 or len(set(numbers)) < len(numbers):
        raise SpecError(f"factors are two different numbers of capability factors at least, got {factors!r}")
    base = model or CapabilityModel()
    if not isinstance(base, CapabilityModel):
        raise SpecError(f"model is a CapabilityModel, got {type(base).__name__}")
    models = {str(k): replace(base, factors=k, anchors=base.anchors[:k]) for k in sorted(numbers)}
    evals = as_evals(data, columns=columns)
    made = {
        name: backtest(one, evals, along=along, cutoffs=cutoffs, tasks=tasks, seed=seed, sampler=sampler, progress=progress)
        for name, one in models.items()
    }
    found = together(made)
    best = int(found.densities.mean(axis=0).argmax())
    behind = found.densities - found.densities[:, [best]]
    first = next(iter(made.values())).points.set_index(["cutoff", ROW]).sort_index()
    if first["model"].nunique() < 2:
        raise SpecError(f"the scores of {first['model'].iloc[0]} alone tell nothing: a lower cut-off hides more models")
    errors = np.array([clustered_error(column, first["model"].to_numpy()) for column in behind.T])
    means = behind.mean(axis=0)
    summaries = pd.DataFrame({name: one.summary().iloc[0] for name, one in made.items()}).T
    points = [100 * float((one.points["median"] - one.points["observed"]).abs().mean()) for one in made.values()]
    close = means + errors >= 0
    return pd.DataFrame(
        {
            "n": len(found),
            "log_score": found.densities.mean(axis=0),
            "difference": means,
            "se": errors,
            "weight": stacking_weights(found.densities, found.size),
            "error": points,
            "coverage_90": summaries["coverage_90"].to_numpy(float),
            "width_90": summaries["width_90"].to_numpy(float),
            "converged": summaries["converged"].to_numpy(float),
            "chosen": np.arange(len(models)) == int(np.argmax(close)),
        },
        index=pd.Index([one.factors for one in models.values()], name="factors"),
    )


def clustered_error(values: Array, units: Array) -> float:
    """Standard error of a mean of values that are independent between units only."""
    sums = pd.Series(values - values.mean()).groupby(units).sum()
    number = len(sums)
    return float(np.sqrt(number / (number - 1) * (sums**2).sum()) / len(values))

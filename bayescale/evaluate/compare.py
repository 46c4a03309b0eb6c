"""``compare``: fits side by side, by leave-one-out and, where there are backtests, by their forecasts of larger runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bayescale.core.errors import SpecError, unknown
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.mixture import together
from bayescale.infer.ensemble import unlike_runs
from bayescale.infer.fit import Fit

#: Columns of a backtest's summary that are shown, each after the word.
HELD_OUT = ("log_score", "rmsle", "coverage_90", "width_90", "converged")


def compare(fits: Mapping[str, Fit], *, backtests: Mapping[str, Backtest] | None = None) -> pd.DataFrame:
    """Compare fits of the same runs by PSIS-LOO, and by what they forecast of held-out larger runs.

    Leave-one-out asks how well a run is told from the others, most of which lie about it. It says whether a law describes the
    fitted runs; it does not choose a law for extrapolation, where two laws that fit alike part. :func:`stack` weighs laws by
    forecasts of larger runs.

    Parameters
    ----------
    fits : mapping of name to Fit
        Two at least.
    backtests : mapping of name to Backtest, optional
        Of the models of these fits, all of them, on the same runs and cut-offs.

    Returns
    -------
    DataFrame
        A row a fit, the best by leave-one-out first, or by the held-out log score where there are backtests. By ArviZ
        :cite:p:`vehtari2017`: ``elpd``, the expected log density of the runs left out one at a time (per unit of the response,
        summed), with its standard error ``se``; ``p``, the effective number of parameters; ``elpd_diff`` to the best by it,
        with standard error ``dse``; ``weight_loo``, stacking weights on these densities :cite:p:`yao2018`; ``pareto_k``, the
        largest: above 0.7, ``elpd`` is not to be trusted. With backtests ``held_out_n`` forecasts, and of them
        ``held_out_log_score`` (mean), ``held_out_rmsle``, ``held_out_coverage_90``, ``held_out_width_90``,
        ``held_out_converged``, as :meth:`Backtest.summary` has them.

    Raises
    ------
    SpecError
        When there are fewer than two fits, or they, or the backtests, are not of the same runs.

    Notes
    -----
    Where a discrepancy is integrated out, the runs depend on each other given the parameters, and ``log_likelihood`` holds
    ``log p(y_i | y_-i, theta)``. PSIS-LOO takes these as it takes independent ones, and nothing is left out twice: from
    ``p(y | theta) = p(y_i | y_-i, theta) p(y_-i | theta)`` the ratio of the posterior without run i to the one with it is
    ``1 / p(y_i | y_-i, theta)``, and the density to be averaged with it is the same one :cite:p:`burkner2021`. For running
    minima (:class:`BestSoFar`) under a drift these conditionals are themselves approximated at a mode.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> laws = ("power_law", "power_law_offset")
    >>> fits = {name: bs.fit(bs.ScalingModel(name, axes={"x": "params"}), mamba) for name in laws}
    >>> compare(fits).columns.tolist()
    ['elpd', 'se', 'p', 'elpd_diff', 'dse', 'weight_loo', 'pareto_k']
    """
    _check(fits, backtests)
    table = _leave_one_out(fits)
    if backtests is None:
        return table
    together({name: backtests[name] for name in fits})  # refuses forecasts of other runs
    held = {name: backtests[name].summary().iloc[0] for name in fits}
    table["held_out_n"] = [int(held[str(name)]["n"]) for name in table.index]
    for column in HELD_OUT:
        table[f"held_out_{column}"] = [float(held[str(name)][column]) for name in table.index]
    return table.sort_values("held_out_log_score", ascending=False, kind="stable")


def _leave_one_out(fits: Mapping[str, Fit]) -> pd.DataFrame:
    import arviz_stats as az  # costs a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a large Pareto k is told in its column
        left = {name: az.loo(fit.tree, var_name=fit.response, pointwise=True) for name, fit in fits.items()}
        found: Any = az.compare(left, method="stacking", round_to="none")
    table: pd.DataFrame = found[["elpd", "se", "p", "elpd_diff", "dse", "weight"]].rename(columns={"weight": "weight_loo"})
    table["pareto_k"] = [float(left[name].pareto_k.max()) for name in table.index]
    return table.astype(float).rename_axis("fit")


def _check(fits: object, backtests: object) -> None:
    if not isinstance(fits, Mapping) or len(fits) < 2:
        told = f"{len(fits)}" if isinstance(fits, Mapping) else type(fits).__name__
        raise SpecError(f"compare takes a mapping of name to Fit, two at least; got {told}")
    faults = [f"{name!r} is no Fit but {type(one).__name__}" for name, one in fits.items() if not isinstance(one, Fit)]
    if not faults:
        faults += unlike_runs(fits)
    if backtests is not None:
        if not isinstance(backtests, Mapping):
            raise SpecError(f"compare: backtests is a mapping of name to Backtest, got {type(backtests).__name__}")
        faults += [f"there is no backtest of {name!r}" for name in fits if name not in backtests]
        faults += ["backtests: " + unknown("fit", str(name), map(str, fits)) for name in backtests if name not in fits]
        for name, one in backtests.items():
            if not isinstance(one, Backtest):
                faults.append(f"the backtest of {name!r} is none but {type(one).__name__}")
            elif name in fits and isinstance(fits[name], Fit) and one.model != fits[name].model:
                faults.append(f"the backtest of {name!r} is of another model than the fit")
    if faults:
        raise SpecError("compare: " + "; ".join(faults))

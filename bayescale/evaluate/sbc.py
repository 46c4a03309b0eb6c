"""Simulation-based calibration: tables drawn from a model's own prior, fitted, and the truth's rank among the draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bayescale.core.errors import DataError, SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.runs import Runs
from bayescale.evaluate.scores import LEVELS, percent
from bayescale.infer.fit import fit
from bayescale.infer.progress import progress_bar
from bayescale.infer.samplers import Sampler
from bayescale.models.noise import Minima
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.predict import predict
from bayescale.prediction.prior_draws import CHAINS, DRAWS, prior_fit

#: Draws of a fit among which the truth is ranked, evenly spaced: few enough to be independent of one another.
RANKED = 99

#: Bins of the test of uniform ranks: about so many replicates each, between the least and the most bins.
PER_BIN, LEAST_BINS, MOST_BINS = 10, 4, 20

#: From so many replicates the test means something.
LEAST = PER_BIN * LEAST_BINS


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of true parameters among the draws of fits to tables that were simulated from them.

    Parameters
    ----------
    model : ScalingModel
    ranks : DataFrame
        One row a scalar parameter of a replicate: ``replicate``, ``parameter``, ``truth``, ``rank`` (how many of the ranked
        draws lie below the truth), ``pit`` (the rank as a probability, ties of the grid broken at random: uniform between 0
        and 1 for a right posterior), ``converged``, whether the fit met the convergence rule.
    draws : int
        Draws of each fit among which the truth was ranked.
    """

    model: ScalingModel
    ranks: pd.DataFrame
    draws: int

    @property
    def replicates(self) -> int:
        """Tables that were simulated and fitted."""
        return int(self.ranks["replicate"].nunique())

    @property
    def converged(self) -> float:
        """Share of the fits that met the convergence rule; the others count as they are."""
        return float(self.ranks.groupby("replicate")["converged"].first().mean())

    def coverage(self, prob: float = 0.9) -> tuple[float, float]:
        """Share of the true values in their central intervals, and its standard error with the replicate as the unit.

        Parameters of one table are not independent, so that they count as one replicate.
        """
        if isinstance(prob, bool) or not isinstance(prob, int | float | np.number) or not 0 < prob < 1:
            raise SpecError(f"prob lies between 0 and 1, both excluded; got {prob!r}")
        inside = (2 * self.ranks["pit"] - 1).abs() <= prob
        shares = inside.groupby(self.ranks["replicate"]).mean()
        return float(shares.mean()), float(shares.std(ddof=1) / np.sqrt(len(shares)))

    def summary(self) -> pd.DataFrame:
        """One row a parameter.

        Returns
        -------
        DataFrame
            ``n`` replicates; ``coverage_50`` … ``coverage_95`` of the central intervals; ``mean_pit`` (0.5 for a right
            posterior, more where the draws lie too low); ``p_value`` of a chi-squared test of uniform ranks
            :cite:p:`talts2018`.
        """
        parts = self.ranks.groupby("parameter", sort=False)["pit"]
        return pd.DataFrame({name: _row(pit.to_numpy()) for name, pit in parts}).T.astype({"n": int}).rename_axis("parameter")

    @property
    def p_value(self) -> float:
        """Smallest p-value of the parameters times their number (Bonferroni), at most 1: small where ranks are not uniform."""
        each = self.summary()["p_value"]
        return min(1.0, float(each.min()) * len(each))

    def __repr__(self) -> str:
        share, error = self.coverage()
        return (
            f"Calibration of {self.model.law.name}: {self.replicates} simulated tables, {self.ranks['parameter'].nunique()} "
            f"parameters, 90 % intervals cover {share:.1%} (s.e. {error:.1%}), uniform ranks p = {self.p_value:.2g}; "
            f"{self.converged:.0%} of the fits converged"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.summary().to_html(float_format='{:.3g}'.format)}"


def sbc(
    model: ScalingModel,
    design: pd.DataFrame | Runs,
    *,
    n: int = 100,
    response: str = "loss",
    seed: int = 0,
    sampler: Sampler | None = None,
    progress: bool = True,
) -> Calibration:
    """Whether the intervals of a model cover if the world is as it says: simulation-based calibration :cite:p:`talts2018`.

    Parameters are drawn from the prior, a response for every run of the design from the parameters, and the model is fitted to
    that table as to any other. A right posterior has the truth at a uniform rank among its draws, whatever the number of runs.
    So this checks the sampler, and how much a design teaches; that the world is as the model says, only ``backtest`` can tell.

    Parameters
    ----------
    model : ScalingModel
        Its priors have to say all there is to a table: levels in the response's own unit (``unit="nats/token"``), not in
        multiples of what the response turns out to be.
    design : DataFrame or Runs
        Covariates and groups, one run a row; a response is ignored.
    n : int
        Number of tables: 40 or more, at most 1000. After the first nothing is compiled.
    response : str
        Name of the response.
    seed : int
        The same seed gives the same tables and draws.
    sampler : Nuts or Hmc, optional
        As of :func:`fit`.
    progress : bool
        Show progress on a terminal or in a notebook.

    Returns
    -------
    Calibration
        Ranks, coverage and test, also of fits that missed the convergence rule.

    Raises
    ------
    SpecError
        When tables cannot be simulated from the prior alone: levels in multiples of the response, the best of several runs or a
        running minimum, noise with memory or rounding, errors of the covariates, a drift that is filtered along fitted runs.
    DataError
        When the design lacks what the model needs.

    Examples
    --------
    A hundred fits take minutes:

    >>> import bayescale as bs
    >>> design = bs.make_grid([1e18, 1e19, 1e20, 1e21])
    >>> found = bs.sbc(bs.ScalingModel("chinchilla"), design, n=100)  # doctest: +SKIP
    >>> found.coverage(0.9)  # doctest: +SKIP
    """
    _check(model, design, n, seed)
    table = (design.table if isinstance(design, Runs) else design).reset_index(drop=True)
    response = design.response if isinstance(design, Runs) else response
    table = table.drop(columns=response, errors="ignore")  # a design need not have one
    known = prior_fit(model, table, response=response, seed=seed)
    priors = {**known.binding.params, **model.noise.priors, **{k: v for part in model.parts for k, v in part.priors.items()}}
    relative = [name for name, param in priors.items() if param.unit == "response"]
    if relative:
        raise SpecError(
            f"sbc: the priors of {', '.join(relative)} are in multiples of the table's typical {response}, which each "
            "simulated table would set anew: give them in its own unit, "
            "priors={'A': Param.positive(0.4, 0.7, unit='nats/token'), ...}"
        )
    if known.binding.design.x_se:
        raise SpecError("sbc: errors of params or tokens are not simulated: leave params_sd and tokens_sd out of the design")
    simulated = predict(known, table, seed=seed)[response].stack(all=(CHAIN, DRAW)).transpose("all", "point").to_numpy()
    truths = known.posterior.stack(all=(CHAIN, DRAW))
    rng = np.random.default_rng([seed, 7])
    parts = []
    with progress_bar(progress, "table") as report:
        for i in range(n):
            report(i, n, "fitting simulated tables")
            made = table.assign(**{response: simulated[i]})
            fitted = fit(model, made, response=response, seed=seed + i, sampler=sampler, strict=False, progress=False)
            ranks = _ranks(fitted.posterior, truths.isel(all=i), rng)
            parts.append(ranks.assign(replicate=i, converged=not fitted.convergence.faults))
    return Calibration(model, pd.concat(parts, ignore_index=True), RANKED)


def _check(model: object, design: object, n: object, seed: object) -> None:
    if not isinstance(model, ScalingModel):
        raise SpecError(f"sbc: model is a ScalingModel, got {type(model).__name__}; sbc(model, design, n=100)")
    if isinstance(model.noise, Minima):
        raise SpecError("sbc: the best of several runs is not simulated run by run: take StudentT or Gaussian noise")
    if model.noise.memory is not None or model.noise.rounding is not None:
        raise SpecError("sbc: noise is simulated run by run, without memory and without rounding")
    if not isinstance(design, pd.DataFrame | Runs):
        raise DataError(f"sbc: design is a DataFrame or Runs, one run a row, got {type(design).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SpecError(f"seed is an integer of at least 0, got {seed!r}")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not LEAST <= n <= CHAINS * DRAWS:
        most = CHAINS * DRAWS
        raise SpecError(f"sbc: n is a number of tables from {LEAST}, below which the test says nothing, to {most}; got {n!r}")


def _ranks(posterior: Any, truth: Any, rng: np.random.Generator) -> pd.DataFrame:
    """Rank of each true value among evenly spaced draws; what is the same in every draw was not learnt, and has none."""
    rows = []
    for name, variable in posterior.data_vars.items():
        drawn = variable.stack(all=(CHAIN, DRAW)).transpose("all", ...)
        values = drawn.to_numpy().reshape(drawn.sizes["all"], -1)
        values = values[np.linspace(0, len(values) - 1, RANKED).round().astype(int)]
        true = np.atleast_1d(truth[name].to_numpy())
        labels = [str(v) for v in variable.coords[variable.dims[2]].to_numpy()] if variable.ndim > 2 else [""]
        for j, label in enumerate(labels):
            if np.ptp(values[:, j]) == 0:
                continue
            below, equal = int((values[:, j] < true[j]).sum()), int((values[:, j] == true[j]).sum())
            rank = below + int(rng.integers(0, equal + 1))
            key = f"{name}[{label}]" if label else str(name)
            rows.append({"parameter": key, "truth": true[j], "rank": rank, "pit": (rank + rng.random()) / (RANKED + 1)})
    return pd.DataFrame(rows)


def _row(pit: np.ndarray) -> dict[str, float]:
    bins = int(np.clip(len(pit) // PER_BIN, LEAST_BINS, MOST_BINS))
    counts, _ = np.histogram(pit, bins=bins, range=(0.0, 1.0))
    inside = {f"coverage_{percent(prob)}": float((np.abs(2 * pit - 1) <= prob).mean()) for prob in LEVELS}
    return {"n": len(pit), **inside, "mean_pit": float(pit.mean()), "p_value": float(stats.chisquare(counts).pvalue)}

"""Whether chains agree: R-hat, effective sample sizes, divergences, and the rule that refuses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import pandas as pd
import xarray as xr

#: The rule: split R-hat (rank-normalised and folded), bulk and tail effective sample size, share of divergent draws.
MAX_RHAT, MIN_ESS, MAX_DIVERGENT = 1.01, 400.0, 0.001

#: Above this R-hat chains are in different places, and more draws of them are a waste of time.
APART_RHAT = 1.1


class Agreement(Enum):
    """Whether chains agree, would with more draws, or are in different places."""

    AGREED = "agreed"
    NEAR = "near"
    APART = "apart"


@dataclass(frozen=True, eq=False)
class Convergence:
    """Diagnostics of a fit.

    Parameters
    ----------
    table : DataFrame
        One row a scalar parameter: ``r_hat``, ``ess_bulk``, ``ess_tail``.
    divergences, draws : int
        Divergent draws, and draws in all.
    """

    table: pd.DataFrame
    divergences: int
    draws: int

    def with_divergences(self, diverging: np.ndarray) -> Convergence:
        """The same with the divergences of ``diverging``, bool of shape (chain, draw)."""
        return replace(self, divergences=int(diverging.sum()), draws=diverging.size)

    @property
    def worst_rhat(self) -> float:
        """Largest R-hat."""
        return float(self.table["r_hat"].max())

    @property
    def worst_ess(self) -> float:
        """Smallest bulk or tail effective sample size."""
        return float(self.table[["ess_bulk", "ess_tail"]].min().min())

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the parameters that miss the rule."""
        sizes = self.table[["ess_bulk", "ess_tail"]].min(axis=1)
        return tuple(map(str, self.table.index[~((self.table["r_hat"] <= MAX_RHAT) & (sizes >= MIN_ESS))]))

    @property
    def agreement(self) -> Agreement:
        """Whether the rule is met, or would be with more draws."""
        if not self.faults:
            return Agreement.AGREED
        return Agreement.NEAR if self.worst_rhat <= APART_RHAT else Agreement.APART

    @property
    def faults(self) -> tuple[str, ...]:
        """How the rule is missed, worst parameter first; empty when it is met."""
        faults = []
        bad = self.table[~(self.table["r_hat"] <= MAX_RHAT)].sort_values("r_hat", ascending=False)
        if len(bad):
            row = bad.iloc[0]
            faults.append(f"R-hat of {bad.index[0]} is {row.r_hat:.3f} (at most {MAX_RHAT}){_others(bad)}")
        low = self.table[~(self.table[["ess_bulk", "ess_tail"]].min(axis=1) >= MIN_ESS)]
        if len(low):
            low = low.assign(least=low[["ess_bulk", "ess_tail"]].min(axis=1)).sort_values("least")
            row = low.iloc[0]
            sizes = f"bulk {row.ess_bulk:.0f}, tail {row.ess_tail:.0f}"
            faults.append(f"effective sample size of {low.index[0]} is {sizes} (at least {MIN_ESS:.0f}){_others(low)}")
        if self.divergences > MAX_DIVERGENT * self.draws:
            faults.append(f"{self.divergences} of {self.draws} draws diverged (at most {MAX_DIVERGENT:.1%})")
        return tuple(faults)


def _others(rows: pd.DataFrame) -> str:
    return f", and {len(rows) - 1} more: {', '.join(map(str, rows.index[1:4]))}" if len(rows) > 1 else ""


def diagnose(
    posterior: xr.Dataset, diverging: np.ndarray | None = None, *, names: Collection[str] | None = None
) -> Convergence:
    """Diagnostics of every scalar parameter by ArviZ :cite:p:`vehtari2021`.

    Parameters
    ----------
    posterior : Dataset
        Variables with dims (chain, draw, …).
    diverging : bool array (chain, draw), optional
        Without it divergences count as none.
    names : collection of str, optional
        The scalar parameters to look at; by default all.
    """
    from arviz_stats.base import array_stats  # costs a second to import, and only fits need it

    index, columns = [], []
    for name, variable in posterior.data_vars.items():
        stacked = variable.transpose("chain", "draw", ...)
        extra = stacked.dims[2:]
        values = stacked.to_numpy().reshape(*stacked.shape[:2], -1)
        labels = [stacked.coords[d].to_numpy() if d in stacked.coords else np.arange(stacked.sizes[d]) for d in extra]
        places = pd.MultiIndex.from_product(labels) if len(labels) > 1 else (labels[0] if labels else [None])
        for i, label in enumerate(places):
            scalar = str(name) if label is None else f"{name}[{label}]"
            if names is None or scalar in names:
                index.append(scalar)
                columns.append(values[:, :, i])
    drawn = np.stack(columns)
    table = pd.DataFrame(
        {
            "r_hat": array_stats.rhat(drawn, chain_axis=1, draw_axis=2, method="rank"),
            "ess_bulk": array_stats.ess(drawn, chain_axis=1, draw_axis=2, method="bulk"),
            "ess_tail": array_stats.ess(drawn, chain_axis=1, draw_axis=2, method="tail", prob=(0.05, 0.95)),
        },
        index=pd.Index(index, name="parameter"),
    )
    found = Convergence(table, 0, posterior.sizes["chain"] * posterior.sizes["draw"])
    return found if diverging is None else found.with_divergences(diverging)

"""``Ensemble``: several fits of one table, each with a weight, that answer as one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.runs import Runs
from bayescale.infer.fit import Fit, check_labels

#: Weights that miss a sum of 1 by less do so by rounding.
ROUNDING = 1e-9

#: Stream of a verb's seed that says which member a draw is from; the prediction verbs use those below.
STREAM = 17

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Members:
    """Which member each draw of an ensemble is from, and which draw of that member it is.

    Parameters
    ----------
    names : tuple of str
        The members that have a draw at least.
    shape : (int, int)
        Chains and draws.
    which : int array (chain · draw,)
        Index into ``names``.
    place : int array (chain · draw,)
        Which of the member's own draws, its chains one after the other.
    """

    names: tuple[str, ...]
    shape: tuple[int, int]
    which: Integers
    place: Integers

    @property
    def counts(self) -> dict[str, int]:
        """Draws of each member."""
        return dict(zip(self.names, np.bincount(self.which, minlength=len(self.names)).tolist(), strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble:
    """Several laws fitted to one table, averaged with weights: each draw is from one of them.

    :func:`stack` makes it. :func:`predict`, :func:`scale_for`, :func:`compute_optimal`, :func:`crossover` and :func:`save` take
    it as they take a fit. A new run is distributed as ``sum_k w_k p_k(y)``: the laws' predictive distributions are
    mixed, not their parameters.

    Parameters
    ----------
    fits : mapping of name to Fit
        Of the same runs, with the same response.
    weights : mapping of name to float
        At least 0, with a sum of 1.
    evidence : DataFrame
        What the weights rest on, a row a candidate, as :func:`stack` describes it; empty where they were stated.
    advice : tuple of str
        What the evidence says about averaging these laws, in sentences.

    Raises
    ------
    SpecError
        Naming everything that is wrong: no fit, other runs or responses, weights that are none.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> both = bs.Ensemble({"one": fitted, "other": fitted}, {"one": 0.25, "other": 0.75})
    >>> both
    Ensemble of 2 laws fitted to 5 runs: other 0.75, one 0.25
    >>> bs.predict(both, {"params": 7e10})["loss"].dims
    ('chain', 'draw', 'point')
    """

    fits: Mapping[str, Fit]
    weights: Mapping[str, float]
    evidence: pd.DataFrame = field(default_factory=pd.DataFrame)
    advice: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults = _faults(self.fits, self.weights)
        if faults:
            raise SpecError("an ensemble cannot be made:\n" + "\n".join(f"  - {fault}" for fault in faults))
        object.__setattr__(self, "fits", FrozenMap(self.fits))
        object.__setattr__(self, "weights", FrozenMap({name: float(self.weights[name]) for name in self.fits}))

    @property
    def response(self) -> str:
        """Name of the response."""
        return self.data.response

    @property
    def data(self) -> Runs:
        """The runs, as the first member read them."""
        return next(iter(self.fits.values())).data

    def members(self, seed: int = 0) -> Members:
        """Which member each draw is from; of one seed, the same for every verb.

        The members' draws are counted out by largest remainders, so that each has ``w_k`` of them to within one, dealt evenly
        over the chains, and shuffled within each. The draw at a chain and place is the member's own there; of members with more
        draws than the shortest, evenly spaced ones are taken.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Members
            Over as many chains and draws as every member has.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise SpecError(f"seed is an integer of at least 0, got {seed!r}")
        sizes = {name: (f.posterior.sizes[CHAIN], f.posterior.sizes[DRAW]) for name, f in self.fits.items()}
        used = [name for name in self.fits if self.weights[name] > 0]
        chains, draws = (min(sizes[name][i] for name in used) for i in (0, 1))
        counts = _counts(np.array([self.weights[name] for name in used]), chains * draws)
        # A member's k-th draw is dealt at (k + 1/2) / count of the whole: every stretch holds its share of each member.
        at = np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count])
        dealt = np.repeat(np.arange(len(used)), counts)[np.argsort(at, kind="stable")].reshape(chains, draws)
        which = np.random.default_rng([int(seed), STREAM]).permuted(dealt, axis=1)
        place = np.empty_like(which)
        for i, name in enumerate(used):
            own = sizes[name][1]
            spaced = ((np.arange(draws) + 0.5) * own / draws).astype(np.int64)
            place = np.where(which == i, own * np.arange(chains)[:, None] + spaced, place)
        kept = [i for i, count in enumerate(counts) if count]
        renumbered = np.searchsorted(kept, which.ravel())
        return Members(tuple(used[i] for i in kept), (chains, draws), renumbered, place.ravel())

    def select(self, **labels: str) -> EnsembleSelection:
        """This ensemble as seen by one group, for :func:`crossover` and :func:`predict`.

        A law that does not tell the groups apart gives each of them the same answer.

        Parameters
        ----------
        **labels : str
            Group column and label, e.g. ``family="Mamba"``.

        Raises
        ------
        SpecError
            When no member knows the column, or the label is unknown.
        """
        check_labels(labels, {column: fit.data.table for fit in self.fits.values() for column in fit.data.groups})
        return EnsembleSelection(self, FrozenMap(labels))

    def __repr__(self) -> str:
        order = sorted(self.weights, key=lambda name: -self.weights[name])
        told = ", ".join(f"{name} {self.weights[name]:.2f}" for name in order)
        laws = f"{len(self.fits)} law{'s' * (len(self.fits) != 1)}"
        return "\n  - ".join([f"Ensemble of {laws} fitted to {len(self.data)} runs: {told}", *self.advice])


@dataclass(frozen=True, eq=False)
class EnsembleSelection:
    """An ensemble as seen by one group of its runs."""

    ensemble: Ensemble
    labels: FrozenMap[str, str] = field(default_factory=FrozenMap)


def unlike_runs(fits: Mapping[str, Fit]) -> list[str]:
    """Which fits are not of the runs of the first, and why.

    Runs are the same when they are the same rows with the same response in one unit, and agree in every column that both
    hold: which columns a model reads, and over which of them it pools, is no difference.
    """
    faults: list[str] = []
    (first, base), *others = fits.items()
    for name, fit in others:
        ours, theirs = base.data, fit.data
        if ours.digest == theirs.digest:
            continue
        told = _difference(ours, theirs)
        if told:
            digests = f"data digests {ours.digest[:12]} and {theirs.digest[:12]}"
            faults.append(f"{first!r} and {name!r} were not fitted to the same runs: {told} ({digests}). Fit them to one table")
    return faults


def _difference(a: Runs, b: Runs) -> str:
    """What tells the runs of two tables apart; empty where nothing does."""
    if a.response != b.response:
        return f"the responses are {a.response!r} and {b.response!r}"
    if a.units.get(a.response) != b.units.get(b.response):
        return f"{a.response} is in {a.units.get(a.response)} and in {b.units.get(b.response)}"
    if not a.table.index.equals(b.table.index):
        return f"they are of {len(a)} and of {len(b)} rows" if len(a) != len(b) else "their rows are others"
    for column in a.table.columns.intersection(b.table.columns):
        # A number that one of two models takes for a label is text there.
        if a.table[column].dtype == b.table[column].dtype and not a.table[column].equals(b.table[column]):
            return f"they differ in {column!r}"
    return ""


def _faults(fits: Mapping[str, Fit], weights: Mapping[str, float]) -> list[str]:
    form = "a mapping of name to"
    given = (("fits", "Fit", fits), ("weights", "float", weights))
    faults = [f"{a}: expected {form} {b}, got {type(v).__name__}" for a, b, v in given if not isinstance(v, Mapping)]
    if faults:
        return faults
    if not fits:
        return ["fits: there is none, expected one at least"]
    faults += [f"fits: {name!r} is no Fit but {type(v).__name__}" for name, v in fits.items() if not isinstance(v, Fit)]
    faults += [
        f"fits: a name is text that is not empty, got {name!r}" for name in fits if not isinstance(name, str) or not name
    ]
    if not faults:
        faults += unlike_runs(fits)
    faults += [f"weights: there is none for {name!r}" for name in fits if name not in weights]
    faults += [f"weights: {unknown('fit', str(name), map(str, fits))}" for name in weights if name not in fits]
    wrong = [name for name, w in weights.items() if not _is_weight(w)]
    faults += [f"weights: {name!r} has {weights[name]!r}, expected a number of at least 0" for name in wrong]
    if not wrong and abs((total := math.fsum(weights.values())) - 1) > ROUNDING:
        faults.append(f"weights: they sum to {total:.6g}, expected 1")
    return faults


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(0 <= value < math.inf)


def _counts(weights: NDArray[np.float64], total: int) -> Integers:
    """Whole numbers with that total, as near to the weights as can be: the largest remainders are rounded up."""
    exact = weights / weights.sum() * total
    counts = np.floor(exact).astype(np.int64)
    # Rounded, so that remainders that differ by rounding alone go to the first.
    order = np.argsort(np.round(counts - exact, 9), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts

"""``crossover``: the scale from which on one method is better than another, as draws, with the probability of none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.core.targets import higher_is_better
from bayescale.infer.fit import Fit
from bayescale.prediction.measured import Baseline, baseline_of
from bayescale.prediction.methods import Costs, Method, common_range, traced_along
from bayescale.prediction.mixing import Labels, fits_of, labels_of, selected_rows, source
from bayescale.prediction.parameters import generator
from bayescale.prediction.paths import Array, Path
from bayescale.prediction.points import At, Fitted
from bayescale.prediction.pricing import AnyCurve, reordered
from bayescale.prediction.roots import bisect, first_change, log_grid

SCALE = "scale"

#: Curves that differ by less than this part of their height are one there: rounding crosses them anywhere.
ALIKE = 1e-9


def crossover(
    a: Fitted,
    b: Fitted,
    *,
    along: str = "flops",
    path: Path | None = None,
    at: At | None = None,
    within: tuple[float, float] | None = None,
    cost: Costs | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """The smallest scale at which the laws of ``a`` and ``b`` cross.

    Compared are the laws, with the discrepancy where the model has one, without the noise and the effects of single runs. Parts
    of one fit or ensemble are compared draw by draw; of two, independent draws are paired at random.

    Parameters
    ----------
    a, b : Fit, Ensemble, or a selection of one
        ``fit.select(family="Mamba")``; the responses must be the same, in one unit.
    along : str
        The axis: a covariate of both laws, or of params, tokens, flops and tokens_per_param any; or ``"cost"``.
    path : "optimal" or dict, optional
        How the other covariates move: ``"optimal"`` (compute-optimal at each ``flops``, each by its own law),
        ``{"tokens_per_param": 20}``, ``{"tokens": 3e11}``. Required when the axis does not fix them (flops = 6·params·tokens).
    at : dict, optional
        What else is fixed for both: group labels, covariates. One point.
    within : (float, float), optional
        Part of the axis to search; by default from a tenth of the smallest fitted scale to 1e4 times the largest.
    cost : Cost or FittedCost, or one of a and one of b
        With ``along="cost"``: what a run costs. A fitted one draw by draw, the same draws where both pay by the same object.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        A variable named ``along``, dims (chain, draw), in the unit of the axis: the crossing, NaN in draws without one, whose
        share is ``p_none``. ``p_b_better`` (scale): the probability that ``b`` is better there. Both are over the draws in
        which the two have a response (a path to the optimum may lead nowhere); ``p_absent`` (scale) is the share of the others.
        Attributes ``better_before`` and ``better_after`` say which of the two (``"a"``, ``"b"``) mostly is, over the draws with
        a crossing; ``baseline`` which one was measured to be better at the largest scale that both reach, ``baseline_scale``
        (empty and NaN where the runs share none, ``"tie"`` where they are alike): the plain rule, which is hard to beat.

    Raises
    ------
    SpecError
        When responses differ, the axis and path do not say where every covariate is, a cost is missing, or no draw has a
        response of both.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> pile = runs[runs.dataset == "Pile validation"]
    >>> model = bs.ScalingModel("power_law_offset", axes={"x": "params"})
    >>> mamba = bs.fit(model, pile[pile.family == "Mamba"])
    >>> pythia = bs.fit(model, pile[pile.family == "Pythia"])
    >>> found = bs.crossover(pythia, mamba, along="params")
    >>> bool(0 <= found["p_none"] <= 1)
    True
    """
    found = compare(a, b, along, path, at, within, seed, cost)
    grid, ahead = found.grid, found.ahead
    before, after = first_change(ahead)
    scales = found.between(before, after)
    chains = found.chains
    shape = tuple(len(chains[d]) for d in (CHAIN, DRAW))
    out = xr.Dataset(
        {
            along: ((CHAIN, DRAW), scales.reshape(shape)),
            "p_none": float(np.isnan(scales[found.there]).mean()),
            "p_b_better": (SCALE, p_ahead(ahead)),
            "p_absent": (SCALE, np.isnan(ahead).mean(axis=0)),
        },
        coords={**chains, SCALE: grid, f"{along}_grid": (SCALE, grid)},
    )
    names = {"a": _name(labels_of(a), "a"), "b": _name(labels_of(b), "b")}
    plain = {"baseline": found.measured_better, "baseline_scale": found.baseline.scale}
    return out.assign_attrs(**_order(ahead, before), **names, **plain, along=along, path=_told(path), seed=int(seed))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two methods on one axis.

    Parameters
    ----------
    a, b : curve
        With as many draws each, draw by draw.
    chains : mapping
        Coordinates of chain and draw.
    grid : array (scale,)
    ahead : array (draw, scale)
        How much better ``b`` is, as a part of ``a``; 0 where they are one, NaN where one has no response.
    sign : float
        1 where a higher response is better, else -1.
    baseline : Baseline
        The two by what was measured.
    """

    a: AnyCurve
    b: AnyCurve
    chains: Mapping[str, Any]
    grid: Array
    ahead: Array
    sign: float
    baseline: Baseline

    @property
    def there(self) -> NDArray[np.bool_]:
        """Draws in which both have a response somewhere on the axis."""
        found: NDArray[np.bool_] = np.isfinite(self.ahead).any(axis=1)
        return found

    @property
    def measured_better(self) -> str:
        """``"a"`` or ``"b"``, ``"tie"``, or nothing without a common scale."""
        first, second = self.baseline.ranks
        if np.isnan(first):
            return ""
        return "tie" if first == second else "a" if first < second else "b"

    def between(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> Array:
        """Where the two cross between two points of the grid, shape (draw,); NaN where ``after`` is negative."""
        found = np.full(len(after), np.nan)
        crossing = np.flatnonzero(after > 0)
        if crossing.size:
            few_a, few_b = self.a.take(crossing), self.b.take(crossing)
            ends = self.grid[before[crossing]], self.grid[after[crossing]]
            found[crossing] = bisect(lambda s: gap(few_a, few_b, self.sign, s[:, None])[:, 0], *ends)
        return found


def compare(
    a: Fitted,
    b: Fitted,
    along: str,
    path: Path | None,
    at: At | None,
    within: tuple[float, float] | None,
    seed: int,
    cost: Costs | None = None,
) -> Comparison:
    """Two methods on one axis, or along what they cost; what makes no sense is refused as by :func:`crossover`."""
    same_response([a, b])
    methods = traced_along([a, b], along, path, at, cost, seed)
    sign = 1.0 if higher_is_better(source(a).response) else -1.0
    measured = baseline_of([a, b], methods, sign, at)
    low, high = common_range(methods, within)
    first, second = (one.departing(low, high, generator(seed, 4 + i)) for i, one in enumerate(methods))
    grid = log_grid(low, high)
    curve_a, curve_b, chains = paired(first, second, seed, together=source(a) is source(b))
    ahead = gap(curve_a, curve_b, sign, grid)
    ahead[np.abs(ahead) < ALIKE] = 0.0
    if not np.isfinite(ahead).any():
        why = "on that path one of them has no optimum there, or lies beyond the scales whose costs are known"
        raise SpecError(f"no draw has a response of both methods along {along} {low:.3g} to {high:.3g}: {why}")
    return Comparison(curve_a, curve_b, chains, grid, ahead, sign, measured)


def p_ahead(ahead: Array) -> Array:
    """The share of draws in which ``b`` is better at each scale, of those in which both have a response; NaN without any."""
    there = np.isfinite(ahead).sum(axis=0)
    share: Array = np.divide((ahead > 0).sum(axis=0), there, out=np.full(ahead.shape[1], np.nan), where=there > 0)
    return share


def gap(a: AnyCurve, b: AnyCurve, sign: float, scale: Array) -> Array:
    """How much better ``b`` is, as a part of ``a``."""
    base = a(scale)
    return np.asarray(sign * (b(scale) - base) / np.abs(base))


def paired(a: Method, b: Method, seed: int, *, together: bool) -> tuple[AnyCurve, AnyCurve, Mapping[str, Any]]:
    """Curves with as many draws each, and the chains and draws that they are numbered by.

    Draws of one fit stay together: what is uncertain for both cancels. Those of two fits are put in random order, or the
    progress of two chains from like starts would look like dependence; the longer is cut.
    """
    if together:
        return a.curve, b.curve, a.chains
    sizes = a.curve.draws, b.curve.draws
    mixed = generator(seed, 2).permutation(max(sizes))[: min(sizes)]
    shorter = a if sizes[0] <= sizes[1] else b
    chains = {d: shorter.chains[d] for d in (CHAIN, DRAW)}
    if shorter is a:
        return a.curve, reordered(b.curve, mixed), chains
    return reordered(a.curve, mixed), b.curve, chains


def _order(ahead: Array, before: NDArray[np.int64]) -> dict[str, str]:
    """Which is mostly better below and above the crossing; without one, over the whole range."""
    crossing = np.flatnonzero(before >= 0)
    if not crossing.size:
        better = "b" if (ahead > 0).sum() > 0.5 * np.isfinite(ahead).sum() else "a"
        return {"better_before": better, "better_after": better}
    first = "b" if (ahead[crossing, before[crossing]] > 0).mean() > 0.5 else "a"
    return {"better_before": first, "better_after": "a" if first == "b" else "b"}


def same_response(methods: Sequence[Fitted]) -> None:
    """Refuse methods whose responses, or the units of them, differ."""
    a, *others = methods
    for b in others:
        (one, *_), (two, *_) = fits_of(a), fits_of(b)
        if one.response != two.response:
            raise SpecError(f"the fits have different responses, {one.response!r} and {two.response!r}: there is no crossover")
        units = [_unit(one, labels_of(a)), _unit(two, labels_of(b))]
        if all(units) and units[0] != units[1]:
            raise SpecError(f"{one.response} is in {units[0]} in a and in {units[1]} in b: convert one of the tables")


def _unit(fit: Fit, labels: Labels) -> str:
    """Unit of the response, of the selected rows where it is stated row by row; empty where it is not known."""
    word = fit.data.units.get(fit.response, "")
    if word not in fit.data.table:
        return word
    table = fit.data.table
    return " and ".join(sorted(table.loc[selected_rows(table, labels), word].astype(str).unique()))


def _name(labels: Labels, otherwise: str) -> str:
    return ", ".join(f"{column}={label}" for column, label in labels.items()) or otherwise


def _told(path: Path | None) -> str:
    if path is None or isinstance(path, str):
        return path or ""
    return ", ".join(f"{name}={value:g}" for name, value in path.items())

"""``isoflop_profiles``: the best size at each budget, read from the runs without a law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from bayescale.core.errors import DataError, SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.data.runs import Runs, as_runs
from bayescale.prediction.parameters import generator

Array = NDArray[np.float64]

BUDGET = "budget"
#: Runs whose FLOP differ by less than this, in log, from the next are of one budget, which spans no more than twice as much.
GAP = 0.2
#: Sizes without which a budget says nothing of its minimum.
FEWEST_SIZES = 4
#: Precisions, in units of the noise, of what curvature and skewness of one budget have of their own: from free to equal.
PRECISIONS = 10.0 ** np.arange(-4, 5, 2)
#: Scatter of a budget's optimum about the line of them all, in log params, as expected; points of its grid; no less variance.
SCATTER, GRID, TINY = 0.1, 41, 1e-10
#: Share of draws with an optimum from which on a budget counts for the line.
KNOWN = 0.5
#: Precision of what nothing is known of; prior of the noise variance in log loss, InverseGamma: a median of 0.4 %.
FLAT, SHAPE, SPREAD = 1e-6, 1.0, 1e-5


def isoflop_profiles(
    data: pd.DataFrame | Runs,
    *,
    budgets: Sequence[float] | None = None,
    response: str = "loss",
    draws: int = 2000,
    seed: int = 0,
) -> xr.Dataset:
    """The compute-optimal size at each budget by iso-FLOP profiles, without a law.

    Log loss is a cubic in log params at each budget, ``a_b + b_b x + (c + c_b) x^2 + (d + d_b) x^3``, with a common slope in
    what the FLOP of a run miss its budget by. Level and slope are each budget's own; curvature and skewness are pooled,
    ``c_b, d_b ~ Normal(0, sigma / sqrt(k))``, with ``k`` averaged over a grid by its marginal likelihood. A conjugate Bayesian
    linear regression in closed form; the profiles are those of :cite:p:`hoffmann2022`, approach 2, with a cubic for their
    parabola. Noise is normal: leave out runs that diverged.

    Parameters
    ----------
    data : DataFrame or Runs
        One run a row: params, tokens, response; FLOP as recorded, else 6·params·tokens. One family, one data set.
    budgets : sequence of float, optional
        Budgets in FLOP, to the nearest of which each run within 20 % belongs; by default runs whose FLOP lie close together.
    response : str
        Name of the response (of a ``Runs``, its own).
    draws : int
        How many draws to make.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    Dataset
        ``params``, ``tokens`` and the response at the minimum, dims (chain, draw, budget); NaN in draws whose minimum is not
        between the smallest and the largest run of the budget, whose share is ``p_none`` (budget). ``params_exponent`` and
        ``tokens_exponent`` (chain, draw): slopes of log params and log tokens in log FLOP, of a line about which the optima of
        the budgets scatter, each weighted by what is known of it. Coordinates ``flops``, ``runs``, ``smallest`` and
        ``largest`` (params) along ``budget``.

    Raises
    ------
    DataError
        When no budget has four sizes at least.
    SpecError
        When ``budgets``, ``draws`` or ``seed`` is none.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> flops, ratio = np.repeat([1e18, 1e19, 1e20], 7), np.tile(np.geomspace(2, 200, 7), 3)
    >>> params = np.sqrt(flops / (6 * ratio))
    >>> tokens = flops / (6 * params)
    >>> loss = 1.82 + 482.0 * params**-0.348 + 2085.4 * tokens**-0.366
    >>> runs = pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "loss": loss})
    >>> found = bs.isoflop_profiles(runs)
    >>> round(found["params_exponent"].median().item(), 2)  # 0.366 / (0.348 + 0.366) = 0.51
    0.51
    """
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 2:
        raise SpecError(f"draws is a number of at least 2, got {draws!r}")
    rng = generator(seed, 11)
    response = data.response if isinstance(data, Runs) else response
    runs = as_runs(data, response=response)
    lacking = [n for n in ("params", "tokens") if n not in runs.table]
    if lacking:
        raise DataError(f"iso-FLOP profiles are of size and data: there is no {' and no '.join(lacking)}")
    table = runs.table
    mixed = {column: sorted(labels) for column in runs.groups if len(labels := set(table[column].astype(str))) > 1}
    if mixed:
        told = "; ".join(f"{column} has {', '.join(labels[:5])}{' …' * (len(labels) > 5)}" for column, labels in mixed.items())
        raise DataError(
            f"iso-FLOP profiles are of runs that differ in size and data alone: {told}. Give the runs of one of them"
        )
    columns = {n: table[n].to_numpy(float) for n in ("params", "tokens", "flops", response)}
    codes, centers = _budgets(np.log(columns["flops"]), np.log(columns["params"]), budgets)
    profile = _Profile.of(columns, response, codes, centers)
    fitted = _sample(profile, int(draws), rng)
    best = _minima(profile, fitted)
    return _shown(profile, columns, best, response, rng).assign_attrs(response=response, seed=int(seed))


@dataclass(frozen=True, eq=False)
class _Profile:
    """Runs of a few budgets.

    Parameters
    ----------
    code : int array (run,)
        Budget of each run.
    keep : int array (run,)
        Rows of the table.
    flops : array (budget,)
        Logarithm of the budgets.
    middle : array (budget,)
        Mean log params of each.
    x : array (run,)
        Log params about that.
    off : array (run,)
        Log FLOP about the budget.
    y : array (run,)
        Log response.
    """

    code: NDArray[np.int64]
    keep: NDArray[np.int64]
    flops: Array
    middle: Array
    x: Array
    off: Array
    y: Array

    @classmethod
    def of(cls, columns: dict[str, Array], response: str, codes: NDArray[np.int64], centers: Array) -> _Profile:
        """The runs that belong to a budget."""
        keep = np.flatnonzero(codes >= 0)
        code, size, flops = codes[keep], np.log(columns["params"][keep]), np.log(columns["flops"][keep])
        middle = np.array([size[code == b].mean() for b in range(len(centers))])
        return cls(code, keep, centers, middle, size - middle[code], flops - centers[code], np.log(columns[response][keep]))

    @property
    def budgets(self) -> int:
        """How many."""
        return len(self.flops)


def _budgets(flops: Array, params: Array, asked: Sequence[float] | None) -> tuple[NDArray[np.int64], Array]:
    """Budget of each run, -1 where it has none, and the log FLOP of each budget."""
    if asked is None:
        codes = np.empty(len(flops), dtype=np.int64)
        for budget, rows in enumerate(_parted(flops)):
            codes[rows] = budget
    else:
        given = np.unique(np.asarray(asked, dtype=float))
        if not given.size or not (np.isfinite(given).all() and (given > 0).all()):
            raise SpecError(f"budgets are positive numbers of FLOP, got {asked!r}")
        apart = np.abs(flops[:, None] - np.log(given))
        codes = np.where(apart.min(axis=1) <= GAP, apart.argmin(axis=1), -1)
    kept: list[float] = []
    out = np.full(len(flops), -1)
    for budget in range(int(codes.max()) + 1):
        here = codes == budget
        if len(np.unique(np.round(params[here], 2))) >= FEWEST_SIZES:
            out[here] = len(kept)
            kept.append(float(np.mean(flops[here])) if asked is None else float(np.log(given[budget])))
    if not kept:
        raise DataError(
            f"no iso-FLOP profile: expected at least {FEWEST_SIZES} sizes at one budget (runs whose FLOP lie within "
            f"{np.expm1(2 * GAP):.0%}), got none. Name the budgets: budgets=[1e19, 1e20]"
        )
    return out, np.array(kept)


def _parted(flops: Array) -> list[NDArray[np.int64]]:
    """Rows parted at the widest gaps of their FLOP until each part is of one budget."""
    left, parts = [np.argsort(flops)], []
    while left:
        rows = left.pop()
        gaps = np.diff(flops[rows])
        if not len(gaps) or (gaps.max() <= GAP and gaps.sum() <= 2 * GAP):
            parts.append(rows)
        else:
            at = int(np.argmax(gaps)) + 1
            left += [rows[at:], rows[:at]]  # the lower part comes next, so that budgets are in order
    return parts


def _sample(profile: _Profile, draws: int, rng: np.random.Generator) -> Array:
    """Draws of level, slope, curvature and skewness of each budget, shape (draw, budget, 4)."""
    number, x = profile.budgets, profile.x
    one = np.eye(number)[profile.code]
    powers = np.column_stack([x**2, x**3])
    scale = powers.std(axis=0)
    powers = powers / scale
    own = np.concatenate([one * powers[:, [0]], one * powers[:, [1]]], axis=1)
    off = profile.off[:, None] if np.ptp(profile.off) > 1e-6 else np.empty((len(x), 0))
    design = np.concatenate([one, one * x[:, None], powers, off, own], axis=1)
    free = design.shape[1] - own.shape[1]
    fits = [
        _Regression.of(design, profile.y, np.r_[np.full(free, FLAT), np.full(number, curve), np.full(number, skew)])
        for curve in PRECISIONS
        for skew in PRECISIONS
    ]
    weights = np.array([f.evidence for f in fits])
    counts = rng.multinomial(draws, np.exp(weights - logsumexp(weights)))
    drawn = np.concatenate([f.draw(int(n), rng) for f, n in zip(fits, counts, strict=True) if n])
    shared, each = drawn[:, 2 * number : 2 * number + 2], drawn[:, free:].reshape(len(drawn), 2, number)
    shapes = (shared[:, :, None] + each) / scale[:, None]
    out = np.stack([drawn[:, :number], drawn[:, number : 2 * number], shapes[:, 0], shapes[:, 1]], axis=2)
    return out[rng.permutation(len(out))]


@dataclass(frozen=True, eq=False)
class _Regression:
    """A linear regression with a normal-inverse-gamma prior about nought, in closed form."""

    mean: Array
    factor: Array
    shape: float
    scale: float
    evidence: float

    @classmethod
    def of(cls, design: Array, y: Array, prior: Array) -> _Regression:
        """Posterior and log marginal likelihood, up to what does not depend on the prior precisions."""
        precision = design.T @ design + np.diag(prior)
        mean = np.linalg.solve(precision, design.T @ y)
        residual = y - design @ mean
        shape, scale = SHAPE + len(y) / 2, SPREAD + (residual @ residual + mean @ (prior * mean)) / 2
        evidence = (np.log(prior).sum() - np.linalg.slogdet(precision)[1]) / 2 + gammaln(shape) - shape * np.log(scale)
        return cls(mean, np.linalg.cholesky(np.linalg.inv(precision)), shape, float(scale), float(evidence))

    def draw(self, number: int, rng: np.random.Generator) -> Array:
        """Draws of the coefficients, shape (draw, coefficient)."""
        sigma = np.sqrt(self.scale / rng.gamma(self.shape, size=number))
        return self.mean + sigma[:, None] * (rng.standard_normal((number, len(self.mean))) @ self.factor.T)


def _minima(profile: _Profile, fitted: Array) -> tuple[Array, Array]:
    """Log params and log response of the least of each cubic inside its runs, shape (draw, budget); NaN where it is not."""
    level, slope, curve, skew = np.moveaxis(fitted, 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a cubic without a minimum is told as NaN
        root = np.sqrt(curve**2 - 3 * slope * skew)
        # The root of the derivative at which the second one is positive, in the form that does not cancel.
        place = np.where(curve > 0, -slope / (curve + root), (root - curve) / (3 * skew))
    ends = np.array([[profile.x[profile.code == b].min(), profile.x[profile.code == b].max()] for b in range(profile.budgets)])
    with np.errstate(invalid="ignore"):  # and so it is here
        inside = (place > ends[:, 0]) & (place < ends[:, 1])
    place = np.where(inside, place, np.nan)
    return place + profile.middle, level + slope * place + curve * place**2 + skew * place**3


def _exponent(flops: Array, size: Array, rng: np.random.Generator) -> Array:
    """Draws of the slope of log size in log FLOP; NaN where fewer than two budgets have an optimum.

    A line about which the optimum of a budget scatters by tau (a cubic is not the truth, and the runs of a budget err
    together), with what is known of each optimum beside it; the line is flat a priori, tau HalfNormal(0.1), on a grid.
    """
    known = np.isfinite(size).mean(axis=0) > KNOWN
    if known.sum() < 2:
        return np.full(len(size), np.nan)
    y, variance = np.nanmean(size[:, known], axis=0), np.nanvar(size[:, known], axis=0)
    x = np.column_stack([np.ones(len(y)), flops[known] - flops[known].mean()])
    taus = np.linspace(0.0, 4 * SCATTER, GRID)
    lines = []
    for tau in taus:
        weight = 1 / (variance + tau**2 + TINY)
        precision = x.T @ (weight[:, None] * x)
        line = np.linalg.solve(precision, x.T @ (weight * y))
        residual = y - x @ line
        fits = np.log(weight).sum() - np.linalg.slogdet(precision)[1] - residual @ (weight * residual)
        lines.append((line[1], np.sqrt(np.linalg.inv(precision)[1, 1]), fits / 2 - (tau / SCATTER) ** 2 / 2))
    slope, error, density = np.array(lines).T
    chosen = rng.choice(GRID, size=len(size), p=np.exp(density - logsumexp(density)))
    return np.asarray(slope[chosen] + error[chosen] * rng.standard_normal(len(size)))


def _shown(
    profile: _Profile, columns: dict[str, Array], best: tuple[Array, Array], response: str, rng: np.random.Generator
) -> xr.Dataset:
    size, lowest = best
    kept = {n: v[profile.keep] for n, v in columns.items()}
    rate = np.log(kept["flops"] / (kept["params"] * kept["tokens"]))
    rates = np.array([rate[profile.code == b].mean() for b in range(profile.budgets)])
    data = profile.flops - rates - size
    exponent = _exponent(profile.flops, size, rng)
    # FLOP over params and tokens may change with the budget (attention counts more in small models).
    rest = 1 - (np.polyfit(profile.flops, rates, 1)[0] if profile.budgets > 1 else 0.0)
    dims = (CHAIN, DRAW, BUDGET)
    parts = [kept["params"][profile.code == b] for b in range(profile.budgets)]
    return xr.Dataset(
        {
            "params": (dims, np.exp(size)[None]),
            "tokens": (dims, np.exp(data)[None]),
            response: (dims, np.exp(lowest)[None]),
            "p_none": (BUDGET, np.isnan(size).mean(axis=0)),
            "params_exponent": ((CHAIN, DRAW), exponent[None]),
            "tokens_exponent": ((CHAIN, DRAW), (rest - exponent)[None]),
        },
        coords={
            CHAIN: [0],
            DRAW: np.arange(len(size)),
            "flops": (BUDGET, np.exp(profile.flops)),
            "runs": (BUDGET, np.array([len(p) for p in parts])),
            "smallest": (BUDGET, np.array([p.min() for p in parts])),
            "largest": (BUDGET, np.array([p.max() for p in parts])),
        },
    )

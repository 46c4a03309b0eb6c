"""Rivals, written from their formulas and fitted by least squares: each gives a point and the noise of its residuals.

Principal components of the standard benchmarks with a logistic curve in them (Ruan, Maddison and Hashimoto 2024, "observational
scaling laws"), a sigmoid in log compute for each task, skills of families ("Sloth") and regressions with a family intercept.
The noise is that of the training residuals of the same series on the scale of accuracy, free parameters taken off and a few
degrees of freedom of all series added, and at least the sampling noise of the items of the forecast cell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import expit, logit

from benchmarks.capabilities.protocols import Block
from benchmarks.capabilities.scoring import Forecast, Normal
from benchmarks.capabilities.skills import WEAK, Covariates, Grid, Skills, by_flops, by_product, by_size, chosen_ridge, filled

Array = np.ndarray
Method = Callable[[Block, int], Forecast]

#: The floor of a logistic curve, above chance, is free up to this share: what the paper's authors allow.
HIGHEST_FLOOR = 0.2

#: The fewest points of a curve with a floor of its own, and the degrees of freedom that all series lend to the noise of one:
#: a series of zeros, fitted without a miss, is not believed to have none.
FEWEST, LENT = 5, 3

#: Rounds of imputing missing benchmarks, and the weight of a slope beside a squared error.
ROUNDS, RIDGE = 200, 1e-6


def _noise(square: Array, free: Array, series: Array, test: pd.DataFrame, point: Array) -> Array:
    """Standard deviations of the forecast cells, from sums of squared residuals and degrees of freedom of ``series``."""
    pooled = square.sum() / max(free.sum(), 1.0)
    own = (square + LENT * pooled) / (free + LENT)
    spread = test.series.map(dict(zip(series, own, strict=True))).fillna(pooled).to_numpy()
    sampling = np.nan_to_num(point * (1 - point) / test.n_items.to_numpy())
    return np.sqrt(np.maximum(spread, sampling))


def logistic(features: Array, y: Array, asked: Array) -> tuple[Array, Array, int]:
    """``y = h + (1 - h) sigmoid(w . x + b)`` by least squares: y at ``asked`` and at ``features``, and how many parameters."""
    scale = np.where(features.std(axis=0) > 1e-9, features.std(axis=0), 1.0)
    center, number = features.mean(axis=0), features.shape[1]
    x, new = (features - center) / scale, (asked - center) / scale
    top = HIGHEST_FLOOR if len(y) >= FEWEST else 1e-9

    def curve(theta: Array, at: Array) -> Array:
        return theta[0] + (1 - theta[0]) * expit(theta[1] + at @ theta[2:])

    def residuals(theta: Array) -> Array:
        return np.concatenate([curve(theta, x) - y, np.sqrt(RIDGE) * theta[2:]])

    level = logit(np.clip(y.mean(), 0.002, 0.998))
    lower, upper = np.r_[0.0, np.full(number + 1, -60.0)], np.r_[top, np.full(number + 1, 60.0)]
    # The first component, or compute, is the one in which accuracy grows.
    sign = np.sign(np.corrcoef(x[:, 0], y)[0, 1]) if len(y) > 2 and y.std() > 0 and x[:, 0].std() > 0 else 1.0
    starts = [(h, b, w) for h in (0.0, 0.5) for b, w in ((level, 0.01), (level - 1, 1.0), (level - 3, 3.0))]
    found = []
    for h, b, w in starts:
        start = np.r_[h * top, b, sign * w, np.full(number - 1, 0.01)]
        found.append(least_squares(residuals, start, bounds=(lower, upper), x_scale=1.0, max_nfev=2000))
    theta = min(found, key=lambda f: f.cost).x
    return curve(theta, new), curve(theta, x), number + 1 + (len(y) >= FEWEST)


def components(scores: Array, fitted: Array, number: int) -> Array:
    """Principal components of all rows, by axes of the rows ``fitted``: centred, not scaled, missing cells filled in.

    Missing cells are imputed by one component of the standardised scores, again and again; axes come from ``fitted`` alone.
    """
    center, spread = np.nanmean(scores[fitted], axis=0), np.nanstd(scores[fitted], axis=0)
    z = (scores - center) / spread
    missing = np.isnan(z)
    z[missing] = 0.0
    for _ in range(ROUNDS):
        middle = z[fitted].mean(axis=0)
        axis = np.linalg.svd(z[fitted] - middle, full_matrices=False)[2][:1]
        z[missing] = (middle + (z - middle) @ axis.T @ axis)[missing]
    whole = center + spread * z
    middle = whole[fitted].mean(axis=0)
    axes = np.linalg.svd(whole[fitted] - middle, full_matrices=False)[2][:number]
    return np.asarray((whole - middle) @ axes.T)


def _curves(block: Block, features: Callable[[str, pd.Series, pd.Series], tuple[Array, Array]], cell: list[str]) -> Normal:
    """A logistic curve for each ``cell``, from features of the models shown and asked."""
    labels = block.test[cell].astype(str).agg(" | ".join, axis=1)
    shown = block.train[cell].astype(str).agg(" | ".join, axis=1)
    point, square, free = np.empty(len(block.test)), [], []
    models = _models(block)
    known = block.train.model.isin(models.index[models.known])
    for label, rows in block.test.groupby(labels):
        train = block.train[(shown == label) & known]
        before, after = features(str(rows.series.iloc[0]), train.model, rows.model)
        chance = rows.chance.iloc[0]
        to_one = (train.accuracy.to_numpy() - chance) / (1 - chance)
        forecast, fit, number = logistic(before, to_one, after)
        point[block.test.index.get_indexer(rows.index)] = chance + (1 - chance) * forecast
        square.append((1 - chance) ** 2 * ((to_one - fit) ** 2).sum())
        free.append(len(train) - number)
    series = np.array(sorted(labels.unique()))
    free = np.maximum(np.array(free, dtype=float), 0.0)
    return Normal(point, _noise(np.array(square), free, series, block.test.assign(series=labels), point))


def _models(block: Block) -> pd.DataFrame:
    """Every model of a block, one a row, sizes filled in; ``known`` says whether they had been known."""
    sizes = ["model", "family", "params", "tokens", "flops"]
    models = pd.concat([block.train[sizes], block.test[sizes]]).drop_duplicates("model").set_index("model")
    return filled(models).assign(known=models.flops.notna())


def principal(number: int, block: Block, seed: int) -> Normal:
    """A logistic curve in ``number`` principal components of the benchmarks."""
    known = block.train[block.train.series.isin(block.benchmarks)]
    wide = known.pivot(index="model", columns="series", values="accuracy")

    def features(series: str, shown: pd.Series, asked: pd.Series) -> tuple[Array, Array]:
        found = pd.DataFrame(components(wide.to_numpy(), np.asarray(wide.index.isin(shown)), number), index=wide.index)
        return found.loc[shown].to_numpy(), found.loc[asked].to_numpy()

    return _curves(block, features, ["series"])


def sigmoid(cell: list[str], block: Block, seed: int) -> Normal:
    """A sigmoid in log compute for each ``cell``."""
    flops = np.log(_models(block).flops)

    def features(series: str, shown: pd.Series, asked: pd.Series) -> tuple[Array, Array]:
        return flops.loc[shown].to_numpy()[:, None], flops.loc[asked].to_numpy()[:, None]

    return _curves(block, features, cell)


def _largest(train: pd.DataFrame, targets: tuple[str, ...]) -> pd.DataFrame:
    """Shown scores of the targets by the largest model of each family that has several."""
    cells = train[train.series.isin(targets)].sort_values(["params", "tokens", "model"])
    cell = cells.groupby(["family", "series"]).model
    return cells[(cell.transform("size") > 1) & (cell.cumcount(ascending=False) == 0)]


def skills(rank: int | None, covariates: Covariates, ridge: float | None, block: Block, seed: int) -> Normal:
    """``rank`` skills of families, or with None a regression of each series with intercepts of families.

    Without a ``ridge`` it is the one that best forecasts the largest model shown of each family.
    """
    models = _models(block)
    models = models[models.known | models.index.isin(block.test.model)]
    train = block.train[block.train.model.isin(models.index)]
    if rank is None:
        train = train[train.series.isin(block.targets)]
    wide = train.pivot(index="model", columns="series", values="accuracy").reindex(models.index)
    chance = train.groupby("series").chance.first().reindex(wide.columns).to_numpy()
    family = pd.factorize(models.family)[0]
    grid = Grid(wide.to_numpy(), chance, family, covariates(models))
    if ridge is None:
        inside = _largest(train, block.targets)
        hidden = np.zeros(wide.shape, dtype=bool)
        hidden[wide.index.get_indexer(inside.model), wide.columns.get_indexer(inside.series)] = True
        ridge = chosen_ridge(grid, rank, hidden, seed)
    law = Skills(grid, rank, ridge)
    fit = pd.DataFrame(law.fit(np.random.default_rng(seed)), index=wide.index, columns=wide.columns)
    square = ((wide - fit) ** 2).sum().to_numpy()
    free = np.maximum(wide.notna().sum().to_numpy() - law.parameters, 0.0)
    point = fit.to_numpy()[fit.index.get_indexer(block.test.model), fit.columns.get_indexer(block.test.series)]
    return Normal(point, _noise(square, free, wide.columns.to_numpy(), block.test, point))


#: Each with a ridge chosen inside the training table, and with a weak one.
_SKILLS: dict[str, Method] = {
    f"{name}{label}": partial(skills, rank, covariates, ridge)
    for ridge, label in ((None, ""), (WEAK, ", weak ridge"))
    for name, rank, covariates in (
        *((f"skills, d = {d}", d, by_product) for d in (1, 2, 3, 4)),
        ("FLOPs + family", None, by_flops),
        ("N, D + family", None, by_size),
    )
}

#: Rivals of each protocol.
RIVALS: dict[str, dict[str, Method]] = {
    "targets": {
        **{f"PCA + logistic, {n}": partial(principal, n) for n in (1, 2, 3, 4)},
        "sigmoid in log FLOPs": partial(sigmoid, ["series"]),
        **_SKILLS,
    },
    "families": {"sigmoid in log FLOPs": partial(sigmoid, ["series"]), **_SKILLS},
    "bundled": {
        "sigmoid in log FLOPs": partial(sigmoid, ["task", "shots"]),
        "same, each family": partial(sigmoid, ["family", "series"]),
        **_SKILLS,
    },
}
